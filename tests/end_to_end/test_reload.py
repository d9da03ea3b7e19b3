"""SIGHUP: stations, thresholds and sinks change while other streams go on; what is not valid changes nothing."""

import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Busy
from tests.end_to_end.harness import Daemon, Server, comparable, wait_until, write_event
from tests.end_to_end.test_faults import records_in, source_at
from xiaod.replay import ReplayConfig

SPEED = 30.0


def hang_up(daemon: Daemon, name: str, count: int = 1) -> dict[str, Any]:
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.wait_for(name, count)[-1]


def test_stations_and_sinks_change_and_other_streams_go_on(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    more, other = tmp_path / "more.mseed", tmp_path / "other.mseed"
    count = write_event(more, "MORE")
    write_event(other, "OTHER")
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as first,
        Server(ReplayConfig(inputs=(other, more), port=0, speed="max")) as second,
    ):
        stays = source_at(first.port)
        goes = source_at(second.port, name="second", streams=["BW.OTHER.*.*"])
        with Daemon(tmp_path, sources=[stays, goes]) as daemon:
            daemon.wait_for_records(20, "test")
            daemon.wait_for_records(count, "second")
            # Another station of the second server, and one sink more.
            lines = {"kind": "jsonl", "name": "more", "path": str(tmp_path / "more.jsonl")}
            daemon.write_config(
                sources=[stays, {**goes, "streams": ["BW.MORE.*.*"]}],
                sinks=[*daemon.content["sinks"], lines],
            )
            hang_up(daemon, "reload.done")
            wait_until(lambda: b"BW.MORE..EH" in daemon.get("/metrics")[1], "the new station")
            # The one that is not asked for any more will not be missed.
            assert b"BW.OTHER..EH" not in daemon.get("/metrics")[1]
            # The second server goes, and the new sink with it.
            daemon.wait_for_records(2 * count, "second")
            wait_until(
                lambda: stations_in(tmp_path / "more.jsonl").count("MORE") == 3, "picks of the new sink"
            )
            daemon.write_config(sources=[stays], sinks=daemon.content["sinks"][:1])
            hang_up(daemon, "reload.done", 2)
            assert b"BW.MORE..EH" not in daemon.get("/metrics")[1]
            assert json.loads(daemon.get("/readyz")[1])["sources"] == {"test": "streaming"}
            wait_until(
                lambda: daemon.metric("xiaod_records_total", source="test") >= records_in(path), "all records"
            )
            assert daemon.metric("xiaod_reloads_total", result="done") == 2
            assert daemon.metric("xiaod_reconnects_total", source="test") == 0
            assert daemon.stop() == 0
    picks = daemon.stored()
    assert comparable([pick for pick in picks if pick["station"] == "RJOB"]) == comparable(expected)
    assert {pick["station"] for pick in picks} == {"RJOB", "OTHER", "MORE"}
    written = stations_in(tmp_path / "more.jsonl")
    assert written.count("MORE") == sum(pick["station"] == "MORE" for pick in picks)
    assert "OTHER" not in written


def stations_in(path: Path) -> list[str]:
    """Of the picks in a file that may not be there yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line)["station"] for line in lines]


def test_a_signal_that_comes_while_everything_is_loaded_is_heeded_later(tmp_path: Path) -> None:
    with Daemon(tmp_path, sources=[{"server": "127.0.0.1:1", "reconnect_min_s": 30.0}]) as daemon:
        status = Path(f"/proc/{daemon.process.pid}/status")

        def held_back() -> bool:
            [mask] = re.findall(r"^SigBlk:\s*([0-9a-f]+)$", status.read_text(encoding="utf-8"), re.MULTILINE)
            return bool(int(mask, 16) & 1 << (signal.SIGHUP - 1))

        wait_until(held_back, "a process that knows what it is to be")
        hang_up(daemon, "reload.done")
        assert daemon.stop() == 0


def test_a_changed_source_loses_nothing(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server:
        source = source_at(server.port)
        with Daemon(tmp_path, sources=[source]) as daemon:
            for number in range(3):
                daemon.wait_for_records(20 * (number + 1))
                daemon.write_config(sources=[{**source, "network_timeout_s": 30.0 + number}])
                hang_up(daemon, "reload.done", number + 1)
            daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)


def test_a_sink_that_hangs_is_replaced(tmp_path: Path, busy: Busy, full_pipe: Path) -> None:
    path, expected = busy
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        sink = {"kind": "jsonl", "path": str(full_pipe)}
        with Daemon(tmp_path, sources=[source_at(server.port)], sinks=[sink], grace_s=2.0) as daemon:
            wait_until(lambda: daemon.metric("xiaod_sink_backlog", sink="jsonl") >= 2, "picks that wait")
            daemon.write_config(sinks=[{**sink, "path": str(daemon.picks_path)}])
            hang_up(daemon, "reload.done")
            wait_until(lambda: len(daemon.picks()) >= 2, "picks that waited")
            daemon.finish(records_in(path))
    assert comparable(daemon.picks()) == comparable(expected)


def test_thresholds_change_from_now_on(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server,
        Daemon(tmp_path, sources=[source_at(server.port)]) as daemon,
    ):
        wait_until(lambda: daemon.metric("xiaod_picks_total", stage="final") >= 2, "picks")
        keys = ("threshold_p", "threshold_s", "early_threshold_p", "early_threshold_s")
        daemon.write_config(picker={"stations": {"BW.RJOB": dict.fromkeys(keys, 0.999)}})
        hang_up(daemon, "reload.done")
        before = daemon.metric("xiaod_picks_total", stage="final")
        daemon.finish(records_in(path))
    picks = daemon.stored()
    assert {pick["id"] for pick in picks} < {pick["id"] for pick in expected}
    later = sorted(picks, key=lambda pick: pick["time"])[int(before) + 1 :]
    assert all(pick["probability"] >= 0.999 for pick in later)


def test_a_file_that_is_not_valid_leaves_everything_as_it_was(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server:
        source = source_at(server.port)
        with Daemon(tmp_path, sources=[source]) as daemon:
            daemon.wait_for_records(20)
            daemon.write_config(picker={"treshold_p": 0.5})
            refused = hang_up(daemon, "reload.refused")
            assert "unknown key; did you mean 'threshold_p'?" in refused["problems"][0]
            daemon.config_path.write_bytes(b"\xff\0")
            hang_up(daemon, "reload.refused", 2)
            daemon.config_path.unlink()
            hang_up(daemon, "reload.refused", 3)
            # A replay of nothing cannot be opened: neither does anything else change.
            daemon.content.pop("picker")
            daemon.write_config(sources=[{"name": "new", "server": "replay:/nowhere"}], sinks=[])
            hang_up(daemon, "reload.refused", 4)
            daemon.write_config(sources=[source], sinks=[{"kind": "jsonl", "path": str(daemon.picks_path)}])
            daemon.write_config(windows={"early_hop_s": 1.0})
            waits = hang_up(daemon, "reload.needs_restart")
            assert waits["keys"] == ["windows.early_hop_s"]
            assert daemon.metric("xiaod_reconnects_total") == 0
            assert daemon.metric("xiaod_reloads_total", result="refused") == 4
            daemon.finish(records_in(path))
    daemon.write_config(windows={"early_hop_s": 0.5})
    assert comparable(daemon.picks()) == comparable(expected)


def test_an_embedded_server_ends_with_its_source(tmp_path: Path) -> None:
    def listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    played = {"name": "played", "server": "replay:example"}
    with Daemon(tmp_path, sources=[played]) as daemon:
        daemon.wait_for("source.streaming")
        daemon.write_config(sources=[{**played, "streams": ["BW.*.*.*"]}])
        hang_up(daemon, "reload.done")
        first, second = (event["port"] for event in daemon.wait_for("replay.listening", 2))
        assert (listens(first), listens(second)) == (False, True)
        # What was begun for a reload that is refused ends too.
        daemon.write_config(sources=[{**played, "name": "other"}, {"server": "replay:/nowhere"}])
        hang_up(daemon, "reload.refused")
        third = daemon.wait_for("replay.listening", 3)[-1]["port"]
        assert (listens(second), listens(third)) == (True, False)
        assert daemon.stop() == 0

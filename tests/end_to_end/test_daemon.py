"""The daemon against a replay server over real sockets: live equals offline, whatever the line does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import obspy
import pytest

from tests.end_to_end.harness import (
    LIMIT_S,
    Daemon,
    Server,
    assert_event_picked,
    comparable,
    offline_picks,
    streaming,
    wait_until,
    write_event,
)
from tests.everysink import EverySink
from tests.ports import free_port
from xiaod.daemon.stop_signals import TOGETHER_S
from xiaod.domain.document import schema
from xiaod.replay import Faults, Outage, ReplayConfig
from xiaod.storage.pick_store import PickStore


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list[dict[str, Any]]]:
    """A file with an event, its number of records, and its offline picks."""
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    records = write_event(path)
    picks = offline_picks(path)
    assert_event_picked(picks)
    return path, records, picks


Event = tuple[Path, int, list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("faults", "speed"),
    [
        pytest.param(Faults(), "max", id="plain, as fast as it goes"),
        pytest.param(Faults(), 20.0, id="plain, 20 times real time"),
        pytest.param(Faults(delays_s={"*N": 6.0, "*E": 9.0}), 20.0, id="components out of step"),
        pytest.param(Faults(duplicate_every=3, reorder_every=5), 20.0, id="doubled and out of order"),
        pytest.param(Faults(garbage_every=4), "max", id="garbage between records"),
        pytest.param(
            Faults(cut_after_packets=15, cut_connections=2), 20.0, id="cut twice in the middle of a record"
        ),
    ],
)
def test_live_equals_offline(tmp_path: Path, event: Event, faults: Faults, speed: float | str) -> None:
    path, records, offline = event
    config = ReplayConfig(inputs=(path,), port=0, speed=speed, faults=faults)  # type: ignore[arg-type]
    with streaming(tmp_path, config) as (_, daemon):
        wait_until(
            lambda: (
                daemon.metric("xiaod_records_total", verdict="good")
                + daemon.metric("xiaod_records_total", verdict="overlapping")
                >= records
            ),
            "all records",
        )
        assert daemon.stop() == 0
        assert comparable(daemon.picks()) == comparable(offline)
        for pick in daemon.picks():
            whole = datetime.fromisoformat(pick["created"]) - datetime.fromisoformat(pick["time"])
            assert pick["latency_s"] == pytest.approx(whole.total_seconds(), abs=1e-5)
            assert sum(pick["latency"].values()) == pytest.approx(whole.total_seconds(), abs=1e-5)
        first = min(daemon.picks(), key=lambda pick: str(pick["time"]))
        # Lookahead and hop, and no more than the second look when the network was not sure at once.
        assert 4.0 <= first["latency"]["lookahead_s"] <= 8.05
        if faults.garbage_every:
            assert daemon.events("record.bad")[0]["reason"] in {"decode", "empty", "stream", "log"}
        if faults.cut_after_packets:
            assert len(daemon.events("source.disconnected")) >= 2


def test_two_servers_and_every_sink(tmp_path: Path, event: Event) -> None:
    import jsonschema

    path, records, offline = event
    other = tmp_path / "other.mseed"
    other_records = write_event(other, station="RTWO", shift_s=3.0)
    with (
        EverySink(tmp_path) as every,
        Server(ReplayConfig(inputs=(path,), port=0, speed=30.0)) as first,
        Server(ReplayConfig(inputs=(other,), port=0, speed=30.0)) as second,
        Daemon(
            tmp_path,
            sources=[
                {"name": "first", "server": f"127.0.0.1:{first.port}"},
                {
                    "name": "second",
                    "server": f"seedlink://127.0.0.1:{second.port}",
                    "streams": ["BW.RTWO..EH?"],
                },
            ],
            sinks=every.configuration(),
        ) as daemon,
    ):
        daemon.wait_for_records(records, "first")
        daemon.wait_for_records(other_records, "second")
        status, body = daemon.get("/readyz")
        assert status == 200, body
        assert json.loads(body)["sources"] == {"first": "streaming", "second": "streaming"}
        assert daemon.get("/healthz")[0] == 200
        assert daemon.stop() == 0
        picks = daemon.picks()
        assert daemon.process.stdout is not None
        shown = daemon.process.stdout.read().decode().splitlines()
        arrived = every.arrived()
    assert comparable([pick for pick in picks if pick["station"] == "RJOB"]) == comparable(offline)
    assert comparable([pick for pick in picks if pick["station"] == "RTWO"]) == comparable(
        offline_picks(other)
    )
    for pick in picks:
        jsonschema.validate(pick, schema())
    assert sorted(line.split()[0] for line in shown) == sorted(pick["time"] for pick in picks)
    everything = sorted(pick["id"] for pick in picks)
    assert arrived == dict.fromkeys(arrived, everything)


def test_a_station_that_stops_is_seen(tmp_path: Path, event: Event) -> None:
    path, _, _ = event
    other = tmp_path / "other.mseed"
    write_event(other, station="RTWO")
    config = ReplayConfig(
        inputs=(path, other), port=0, shift_to_now=True, faults=Faults(outages=(Outage("BW_RTWO_*"),))
    )
    with streaming(tmp_path, config, http={"port": 0, "stale_after_s": 6.0}) as (_, daemon):
        [stale] = daemon.wait_for("station.stale")[:1]
        assert stale["instrument"] == "BW.RTWO..EH"
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "readiness")
        _, body = daemon.get("/readyz")
        assert json.loads(body)["stations_stale"] == ["BW.RTWO..EH"]
        metrics = daemon.metrics()
        assert metrics["xiaod_station_stale", (("station", "BW.RTWO..EH"),)] == 1
        assert metrics["xiaod_station_stale", (("station", "BW.RJOB..EH"),)] == 0
        assert daemon.stop() == 0


def test_not_ready_without_data_and_a_server_that_comes_later(tmp_path: Path, event: Event) -> None:
    path, records, offline = event
    port = free_port()
    config = ReplayConfig(inputs=(path,), port=port, speed="max", faults=Faults(refuse_connections=True))
    with streaming(tmp_path, config) as (server, daemon):
        daemon.wait_for("source.connect_failed", 3)
        assert daemon.get("/readyz")[0] == 503
        assert daemon.get("/healthz")[0] == 200
        server.set_faults(Faults())
        daemon.wait_for_records(records)
        assert daemon.metric("xiaod_reconnects_total") >= 3
        assert daemon.stop() == 0
        assert comparable(daemon.picks()) == comparable(offline)


def test_gaps_are_counted_and_nothing_is_picked_across_them(tmp_path: Path) -> None:
    """Two events with six seconds missing between, of a sensor with an offset: zeros there would be two great steps."""
    path, quiet_s, event_s, gap_s = tmp_path / "event.mseed", (25, 6), 29, 6.0
    begins_s = 0.0, quiet_s[0] + event_s + gap_s
    stream = obspy.Stream()
    for before_s, begin_s in zip(quiet_s, begins_s, strict=True):
        write_event(path, quiet_s=before_s, shift_s=begin_s)
        part = obspy.read(str(path))
        start = part[0].stats.starttime
        stream += part.trim(endtime=start + before_s + event_s - 0.01)
    for trace in stream:
        trace.data += 100_000
    stream.write(str(path), format="MSEED", reclen=512, encoding="STEIM2")
    start -= begins_s[-1]
    config = ReplayConfig(inputs=(path,), port=0, speed=20.0)
    with streaming(tmp_path, config, buffer={"max_component_wait_s": 0.5, "max_future_s": None}) as (
        _,
        daemon,
    ):
        daemon.wait_for_records(path.stat().st_size // 512)
        assert daemon.metric("xiaod_gaps_total") == 1
        assert daemon.metric("xiaod_gap_seconds_total") == gap_s
        assert daemon.stop() == 0
        assert {event["gap_s"] for event in daemon.events("station.gap")} == {gap_s}
    found = sorted((obspy.UTCDateTime(pick["time"]) - start, pick["phase"]) for pick in daemon.picks())
    onsets = [
        (before_s + onset_s, phase)
        for before_s in map(sum, zip(begins_s, quiet_s, strict=True))
        for onset_s, phase in ((4.73, "P"), (5.71, "S"))
    ]
    assert [phase for _, phase in found] == [phase for _, phase in onsets]
    for (seen_s, _), (onset_s, _) in zip(found, onsets, strict=True):
        assert abs(seen_s - onset_s) < 0.05


def test_a_resumed_run_goes_on_where_the_last_one_ended(tmp_path: Path, event: Event) -> None:
    path, records, _ = event
    with Server(ReplayConfig(inputs=(path,), port=0, speed=15.0)) as server:
        source = {"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}
        with Daemon(tmp_path, sources=[source]) as daemon:
            daemon.wait_for_records(5)
            assert daemon.stop() == 0
            before = [event for event in daemon.events() if event["event"].startswith("source.")]
            assert before[-1]["event"] == "source.ended"
        [(station, (sequence, _))] = PickStore(tmp_path / "state" / "picks.sqlite").positions("test").items()
        assert station == ("BW", "RJOB")
        with Daemon(tmp_path, sources=[source]) as daemon:
            wait_until(
                lambda: daemon.metric("xiaod_records_total") >= records - sequence, "the rest of the records"
            )
            assert daemon.metric("xiaod_records_total", verdict="good") == records - sequence
            assert daemon.stop() == 0


def test_metrics_tell_what_has_come_and_been_picked(tmp_path: Path, event: Event) -> None:
    path, records, _ = event
    with streaming(tmp_path, ReplayConfig(inputs=(path,), port=0, speed="max")) as (_, daemon):
        daemon.wait_for_records(records)
        wait_until(lambda: daemon.metric("xiaod_picks_total", stage="final") >= 2, "picks")
        found: dict[str, float] = defaultdict(float)
        for (name, labels), value in daemon.metrics().items():
            if ("stage", "early") not in labels:
                found[name] += value
        picks = found["xiaod_picks_total"]
        assert found["xiaod_pick_latency_seconds_count"] == found["xiaod_station_picks_total"] == picks
        assert found["xiaod_batch_windows_sum"] == found["xiaod_windows_total"] > 0
        assert daemon.metric("xiaod_received_bytes_total", source="test") == records * 512
        assert daemon.stop() == 0


FORGETFUL = {"sinks": [{"kind": "jsonl", "path": "/dev/full"}], "state": {"folder": "/proc/xiaod"}}
"""Neither the sink nor the store can be written."""


def test_a_second_signal_ends_at_once(tmp_path: Path, event: Event) -> None:
    path, records, _ = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max")
    with streaming(tmp_path, config, **FORGETFUL) as (_, daemon):
        daemon.wait_for_records(records)
        daemon.wait_for("sink.failed")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        # The sink cannot take its picks, and nothing else keeps them, so the orderly stop waits.
        time.sleep(2 * TOGETHER_S)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(LIMIT_S) == 130


def test_a_stop_that_takes_too_long_is_cut_short(tmp_path: Path, event: Event) -> None:
    path, records, _ = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max")
    with streaming(tmp_path, config, **FORGETFUL, grace_s=1.0) as (_, daemon):
        daemon.wait_for_records(records)
        daemon.wait_for("sink.failed")
        assert daemon.stop() == 3
        [waiting] = daemon.events("service.waiting")
        assert (waiting["sources"], waiting["records"], waiting["sinks"]) == ([], 0, ["jsonl"])
        assert waiting["backlog_jsonl"] >= 2
        [event_cut] = daemon.events("service.cut_short")
        assert event_cut["backlog_jsonl"] >= 2
        assert event_cut["records"] == 0


@pytest.mark.parametrize("part", ["engine", "loop"])
def test_a_stop_while_something_hangs_is_over_in_time_and_says_so(
    tmp_path: Path, event: Event, part: str
) -> None:
    path, _, offline = event
    hang = tmp_path / "hang"
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=10.0)) as server,
        Daemon(
            tmp_path,
            sources=[{"name": "test", "server": f"127.0.0.1:{server.port}"}],
            grace_s=2.0,
            command=[sys.executable, "-m", "tests.end_to_end.stuck"],
            environment={"HANG_FILE": str(hang), **({"HANG_LOOP": "1"} if part == "loop" else {})},
        ) as daemon,
    ):
        daemon.wait_for_records(20)
        hang.touch()
        wait_until(lambda: server.played, "all records to be sent")
        # It hangs for good: without an end to the stop this waits in vain.
        assert daemon.stop() == 3
        assert daemon.events("service.cut_short")
        hang.unlink()
    # The server is gone; a start finds that nothing has been harmed.
    assert {pick["id"] for pick in daemon.stored()} <= {pick["id"] for pick in offline}


def test_a_sink_that_is_down_at_the_end_gets_the_rest_after_a_restart(tmp_path: Path, event: Event) -> None:
    path, records, offline = event
    blocked = tmp_path / "blocked"
    blocked.symlink_to(tmp_path / "a disk that is not mounted")
    sinks = [{"kind": "jsonl", "path": str(blocked / "picks.jsonl")}]
    config = ReplayConfig(inputs=(path,), port=0, speed="max")
    with streaming(tmp_path, config, sinks=sinks) as (_, daemon):
        daemon.wait_for_records(records)
        daemon.wait_for("sink.failed")
        assert daemon.stop() == 0
        [left] = daemon.events("sink.undelivered")
        assert left["backlog"] == len(offline)
        blocked.unlink()
        with daemon:
            wait_until(lambda: (blocked / "picks.jsonl").exists(), "picks of the run before")
            assert daemon.stop() == 0
    lines = (blocked / "picks.jsonl").read_text().splitlines()
    assert comparable([json.loads(line) for line in lines]) == comparable(offline)


def test_a_sink_that_hangs_at_the_end_does_not_hold_it_up(tmp_path: Path, event: Event) -> None:
    import fcntl

    path, records, offline = event
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    # Nobody reads, and there is no room.
    room = fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(end, b" " * room)
    config = ReplayConfig(inputs=(path,), port=0, speed="max")
    sinks = [{"kind": "jsonl", "path": str(pipe)}]
    with streaming(tmp_path, config, sinks=sinks, grace_s=5.0) as (_, daemon):
        daemon.wait_for_records(records)
        wait_until(lambda: daemon.metric("xiaod_sink_backlog", sink="jsonl") >= 2, "picks")
        assert daemon.stop() == 0
        [left] = daemon.events("sink.undelivered")
        assert left["backlog"] == len(offline)
        assert "hangs" in left["error"]
    os.close(end)


def test_a_sink_that_fails_stops_nobody_and_gets_everything_later(tmp_path: Path, event: Event) -> None:
    path, records, offline = event
    blocked = tmp_path / "blocked"
    blocked.symlink_to(tmp_path / "a disk that is not mounted")
    sinks = [
        {"kind": "jsonl", "name": "blocked", "path": str(blocked / "picks.jsonl")},
        {"kind": "jsonl", "name": "free", "path": str(tmp_path / "picks.jsonl")},
    ]
    with streaming(tmp_path, ReplayConfig(inputs=(path,), port=0, speed="max"), sinks=sinks) as (_, daemon):
        daemon.wait_for_records(records)
        daemon.wait_for("sink.failed")
        wait_until(lambda: len(daemon.picks()) >= 2, "picks at the other sink")
        blocked.unlink()
        daemon.wait_for("sink.recovered")
        assert daemon.stop() == 0
        assert comparable(daemon.picks()) == comparable(offline)
    lines = (blocked / "picks.jsonl").read_text().splitlines()
    assert comparable([json.loads(line) for line in lines]) == comparable(offline)


def test_the_shipped_configuration_picks_the_example(tmp_path: Path) -> None:
    import yaml

    content = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    content["http"]["port"] = 0
    content["logs"]["format"] = "json"
    content["sinks"] = [
        {"kind": "console"},
        {"kind": "jsonl", "path": str(tmp_path / "picks.jsonl")},
        {"kind": "quakeml", "folder": str(tmp_path / "quakeml")},
    ]
    content["state"]["folder"] = str(tmp_path / "state")
    with Daemon(tmp_path, **content) as daemon:
        started = daemon.wait_for("source.streaming")
        picks = wait_until(lambda: len(daemon.picks()) >= 2 and daemon.picks(), "P and S of the example")
        assert [pick["phase"] for pick in picks[:2]] == ["P", "S"]
        assert started[0]["channels"] == 3
        seconds = [float(pick["time"][17:-1]) for pick in picks[:2]]
        # PhaseNet puts them at 4.73 s and 5.71 s.
        assert (seconds[1] - seconds[0]) % 60 == pytest.approx(5.71 - 4.73, abs=0.1)
        assert daemon.stop() == 0
        assert len(list((tmp_path / "quakeml").glob("*.xml"))) >= 2


def test_a_port_that_is_taken_and_a_replay_of_nothing_are_told_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = {"port": taken.getsockname()[1]}
        with Daemon(tmp_path / "port", sources=[{"server": "replay:example"}], http=http) as daemon:
            assert daemon.process.wait(LIMIT_S) == 1
            [event] = daemon.events("service.cannot_start")
            assert re.match(
                rf"{daemon.config_path}:\d+: http.port: cannot listen .*change http.port", event["error"]
            )
            # Where no log is asked for, a person may be looking.
            daemon.write_config(logs={"format": "auto"})
            command = [sys.executable, "-m", "xiaod", "--config", str(daemon.config_path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1] == event["error"]
    (tmp_path / "empty").mkdir()
    for played, told in (("/nowhere", "no such file or folder"), (str(tmp_path / "empty"), "no files found")):
        with Daemon(tmp_path / "replay", sources=[{"server": f"replay:{played}"}]) as daemon:
            assert daemon.process.wait(LIMIT_S) == 2
            assert re.search(
                rf"{daemon.config_path}:\d+: sources\[0\].server: .*{played}: {told}",
                daemon.log_path.read_text(),
            )

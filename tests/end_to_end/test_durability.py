"""A daemon that is killed, or whose store is damaged, makes the picks of an undisturbed run, each once."""

import json
import random
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.end_to_end.harness import LIMIT_S, Daemon, Server, comparable, wait_until, write_event
from tests.scripted import Scripted
from xiaod.replay import ReplayConfig
from xiaod.replay.packet import Record
from xiaod.replay.records import load

KILLS = 12
"""A fault that every fifth kill shows is seen in 93 of 100 runs."""
SPEED = 10.0
"""All data are on their way while the daemon is killed."""


def at_rest(daemon: Daemon) -> bool:
    """Whether its source streams, and no record has come for a second."""
    if not daemon.metric("xiaod_source_connected"):
        return False
    before = daemon.metric("xiaod_records_total")
    time.sleep(1.0)
    return before == daemon.metric("xiaod_records_total")


def test_killed_at_any_moment_again_and_again(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]
) -> None:
    path, expected = busy
    rng = random.Random(5)
    with Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server:
        source = {"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}
        state = {"folder": str(tmp_path / "state"), "save_interval_s": 0.3}
        for number in range(KILLS):
            with Daemon(tmp_path, sources=[source], state=state) as daemon:
                if not number:
                    # Where to resume is known from the first packet on.
                    daemon.wait_for_records(1)
                elif number % 4:
                    daemon.wait_for("source.streaming")
                time.sleep(rng.uniform(0, 1.5))
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
        with Daemon(tmp_path, sources=[source], state=state) as daemon:
            # What follows it can be picked only when the end of the data is known.
            late = sorted(pick["time"] for pick in expected)[-4]
            wait_until(lambda: any(pick["time"] >= late for pick in stored(tmp_path)), "the last picks")
            wait_until(lambda: server.played and at_rest(daemon), "the end of the data")
            assert daemon.stop() == 0
    assert comparable(daemon.stored()) == comparable(expected)
    # The file that the sink appends to has each of them once too.
    assert sorted(pick["id"] for pick in daemon.picks()) == sorted(pick["id"] for pick in expected)


def test_a_damaged_store_is_moved_aside_and_the_daemon_goes_on(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]
) -> None:
    path, expected = busy
    (tmp_path / "state").mkdir()
    store = tmp_path / "state" / "picks.sqlite"
    store.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        source = {"name": "test", "server": f"127.0.0.1:{server.port}"}
        with Daemon(tmp_path, sources=[source]) as daemon:
            [event] = daemon.wait_for("store.damaged")
            assert Path(event["moved_to"]).exists()
            wait_until(lambda: len(daemon.picks()) >= len(expected) - 1, "picks")
            assert daemon.stop() == 0
    assert comparable(daemon.stored()) == comparable(expected)
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_that_is_damaged_ends_the_daemon_whatever_hangs_and_the_next_begins_anew(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]], full_pipe: Path
) -> None:
    path, expected = busy
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        source = {"name": "test", "server": f"127.0.0.1:{server.port}"}
        with Daemon(tmp_path, sources=[source], sinks=[{"kind": "jsonl", "path": str(full_pipe)}]) as daemon:
            wait_until(lambda: daemon.metric("xiaod_sink_backlog", sink="jsonl") >= 2, "picks that wait")
            with closing(sqlite3.connect(tmp_path / "state" / "picks.sqlite")) as store:
                store.executescript(
                    "PRAGMA writable_schema = ON;"
                    "UPDATE sqlite_master SET sql = 'nonsense' WHERE name = 'frontiers';"
                    "PRAGMA schema_version = 1000;"
                )
            assert daemon.process.wait(LIMIT_S) == 1
            assert "malformed" in daemon.events("service.failed")[0]["exception"]
        with Daemon(tmp_path, sources=[source]) as daemon:
            daemon.wait_for("store.damaged")
            wait_until(lambda: len(daemon.picks()) >= len(expected) - 1, "picks")
            assert daemon.stop() == 0


def test_what_a_sink_holds_back_outlives_a_kill(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]
) -> None:
    path, expected = busy
    held = [{"kind": "quakeml", "folder": str(tmp_path / "quakeml"), "interval_s": 3600.0}]
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        source = {"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}
        with Daemon(tmp_path, sources=[source], sinks=held) as daemon:
            wait_until(
                lambda: daemon.metric("xiaod_sink_picks_total", sink="quakeml") >= len(expected) - 1, "picks"
            )
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
        assert not list((tmp_path / "quakeml").glob("*.xml"))
        with Daemon(tmp_path, sources=[source], sinks=held) as daemon:
            wait_until(
                lambda: daemon.metric("xiaod_sink_picks_total", sink="quakeml") >= len(expected) - 1, "picks"
            )
            # Those before came from the store; the last pick follows only when all data have come.
            wait_until(lambda: at_rest(daemon), "the end of the data")
            assert daemon.stop() == 0
    written = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "quakeml").glob("*.xml"))
    assert all(pick["id"] in written for pick in expected)


def test_killed_before_a_component_has_come_that_is_late(tmp_path: Path) -> None:
    """The other one has been picked far beyond; what only this one shows is picked when it comes, which is in the next run."""
    path = tmp_path / "event.mseed"
    write_event(path, quiet_s=40)
    records = sorted(load([path]).records, key=lambda record: record.end_ns)
    begin_ns = min(record.start_ns for record in records)

    def until(seconds: float, component: str) -> list[Record]:
        found = [record for record in records if record.channel.endswith(component)]
        return [record for record in found if record.end_ns <= begin_ns + seconds * 1e9]

    # The vertical stops before the onsets, and comes when the horizontal is almost as far ahead as it is waited for.
    first = until(44.2, "Z") + until(70.8, "N")
    late = [record for record in until(70.8, "Z") if record not in first]
    rest = [one for one in records if not one.channel.endswith("E") and one not in first + late]
    frames = [b"SL%06X" % number + one.raw for number, one in enumerate([*first, *late, *rest], 1)]

    def picked(folder: Path, killed: bool) -> list[str]:
        sent = len(first) if killed else len(frames)

        def send(sock: socket.socket) -> None:
            asked = next(line for line in reversed(server.commands) if line.startswith(b"DATA")).split()[1:]
            begin = int(asked[0], 16) - 1 if asked else 0
            sock.sendall(b"".join(frames[begin:sent]))

        with Scripted(send) as server:
            daemon = Daemon(
                folder,
                sources=[
                    {
                        "name": "test",
                        "server": f"127.0.0.1:{server.port}",
                        "streams": ["BW.RJOB..EH?"],
                        "begin": "resume",
                    }
                ],
                # Nobody is waited for, so that windows are cut of the horizontal alone.
                buffer={"max_component_wait_s": 0.0, "max_future_s": None},
                state={"folder": str(folder / "state"), "save_interval_s": 0.2},
            )
            if killed:
                with daemon:
                    daemon.wait_for_records(len(first))
                    wait_until(lambda: stored(folder), "what the horizontal shows")
                    wait_until(lambda: is_written_down(folder), "how far it has been picked")
                    daemon.process.send_signal(signal.SIGKILL)
                    daemon.process.wait()
                assert [(pick["phase"], pick["components"]) for pick in stored(folder)] == [("S", "-N-")]
                sent = len(frames)
            with daemon:
                wait_until(
                    lambda: ("P", "ZN-") in [(pick["phase"], pick["components"]) for pick in stored(folder)],
                    "what the vertical shows",
                )
                wait_until(lambda: at_rest(daemon), "the end of the data")
                assert daemon.stop() == 0
            return sorted(pick["id"] for pick in stored(folder))

    undisturbed = picked(tmp_path / "undisturbed", killed=False)
    assert picked(tmp_path / "killed", killed=True) == undisturbed


def stored(folder: Path) -> list[dict[str, Any]]:
    """Final picks that are in the store now."""
    query = "SELECT document FROM picks WHERE stage = 'final' ORDER BY time_ns"
    return [json.loads(document) for (document,) in rows_of(folder, query)]


def is_written_down(folder: Path) -> bool:
    """Whether the store holds how far each instrument has been picked, unchanged for a second."""
    question = "SELECT * FROM frontiers"
    before = rows_of(folder, question)
    time.sleep(1.0)
    return bool(before) and before == rows_of(folder, question)


def rows_of(folder: Path, question: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'state' / 'picks.sqlite'}?mode=ro", uri=True)) as store:
            return store.execute(question).fetchall()
    except sqlite3.OperationalError:
        # Not there yet.
        return []

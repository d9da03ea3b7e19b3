"""Whatever ends the daemon, and whenever: the picks are those of a run that nothing has disturbed, none lost, none twice."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import Daemon, Server, comparable, offline_picks, wait_until
from xiaod.bench.station import station_records
from xiaod.replay import ReplayConfig

MINUTES = 4
KILLS = 20
SPEED = 8.0


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Minutes of a busy station, and the picks of an undisturbed run."""
    path = tmp_path_factory.mktemp("data") / "busy.mseed"
    path.write_bytes(b"".join(station_records(MINUTES)))
    picks = offline_picks(path)
    assert len(picks) >= 2 * MINUTES
    return path, picks


def stored(folder: Path) -> list[dict[str, Any]]:
    """Picks of the store, as ``xiaod picks`` prints them."""
    done = subprocess.run(
        [sys.executable, "-m", "xiaod", "picks", "--config", str(folder / "config.yaml")],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def at_rest(daemon: Daemon) -> bool:
    """Whether no record has come for a second."""
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
                if number % 4:
                    daemon.wait_for("source.streaming")
                time.sleep(rng.uniform(0, 1.5))
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
        with Daemon(tmp_path, sources=[source], state=state) as daemon:
            # What follows it can be picked only when the end of the data is known.
            late = sorted(pick["time"] for pick in expected)[-4]
            wait_until(lambda: any(pick["time"] >= late for pick in stored(tmp_path)), "the last picks")
            wait_until(lambda: at_rest(daemon), "the end of the data")
            assert daemon.stop() == 0
    assert comparable(stored(tmp_path)) == comparable(expected)
    # The sink has each of them at least once.
    assert {pick["id"] for pick in daemon.picks()} == {pick["id"] for pick in expected}


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
    assert comparable(stored(tmp_path)) == comparable(expected)
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)

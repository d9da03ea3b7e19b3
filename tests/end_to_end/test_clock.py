"""A host whose clock is wrong at the start, as that of a small computer without a battery is: nothing is lost by it."""

import signal
import sys
import time
from pathlib import Path

from tests.end_to_end.conftest import Busy
from tests.end_to_end.harness import Daemon, Server, comparable, wait_until
from xiaod.acquisition.miniseed import decode
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.types import Segment
from xiaod.replay import ReplayConfig


def test_a_clock_that_is_behind_at_the_start_loses_nothing(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    first = decode(path.read_bytes()[:RECORD_BYTES], "test")
    assert isinstance(first, Segment)
    records = path.stat().st_size // RECORD_BYTES
    offset = tmp_path / "offset"

    def set_clock(seconds: float) -> None:
        """So many seconds after the data begin it is now."""
        new = tmp_path / "new"
        new.write_text(str(first.start_ns / 1e9 + seconds - time.time()))
        new.replace(offset)

    daemon = Daemon(
        tmp_path,
        command=[
            "env",
            f"CLOCK_OFFSET_FILE={offset}",
            sys.executable,
            str(Path(__file__).with_name("stepped.py")),
        ],
        buffer={"max_future_s": 60.0},
    )
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        source = {
            "name": "test",
            "server": f"127.0.0.1:{server.port}",
            "begin": "resume",
            "reconnect_min_s": 0.1,
        }
        daemon.write_config(sources=[source])
        set_clock(-3600)
        with daemon:
            wait_until(
                lambda: daemon.metric("xiaod_records_total", verdict="future") >= records,
                "that all records have been refused",
            )
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
        # Another run knows what this one refused, and refuses it too.
        set_clock(-3600)
        with daemon:
            wait_until(
                lambda: daemon.metric("xiaod_records_total", verdict="future") >= records,
                "that all records have been refused once more",
            )
            set_clock(3600)
            daemon.wait_for("source.disconnected")
            daemon.finish(records)
        [asked] = daemon.events("source.disconnected")
        assert "the clock of this machine was set" in asked["detail"]
    assert comparable(daemon.stored()) == comparable(expected)

"""Data that the end-to-end tests share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import Daemon, ServerProcess, offline_picks, streaming_from, wait_until
from xiaod.tools.bench.station import station_records

MINUTES = 4
SPEED = 10.0

Busy = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Busy:
    """Minutes of a busy station, and the picks of an undisturbed run."""
    path = tmp_path_factory.mktemp("data") / "busy.mseed"
    path.write_bytes(b"".join(station_records(MINUTES)))
    picks = offline_picks(path)
    assert len(picks) >= 2 * MINUTES
    return path, picks


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has picked, and goes on: the example event again and again, at some speed.

    Its server is no thread of this process, which between the tests that watch runs any others.
    """
    with (
        ServerProcess("example", "--speed", SPEED, "--loop", "--shift-to-now") as server,
        streaming_from(server.port, tmp_path_factory.mktemp("watched")) as daemon,
    ):
        wait_until(lambda: len(daemon.picks()) >= 2, "picks")
        yield daemon


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[Path]:
    """A full pipe without a reader: a write to it hangs."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except BlockingIOError:
        yield path
    finally:
        os.close(descriptor)

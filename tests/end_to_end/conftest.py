"""Data that the end-to-end tests share."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import offline_picks
from xiaod.bench.station import station_records

MINUTES = 4

Busy = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Busy:
    """Minutes of a busy station, and the picks of an undisturbed run."""
    path = tmp_path_factory.mktemp("data") / "busy.mseed"
    path.write_bytes(b"".join(station_records(MINUTES)))
    picks = offline_picks(path)
    assert len(picks) >= 2 * MINUTES
    return path, picks

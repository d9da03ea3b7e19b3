"""What survives a restart beside the store: for each server, the packet of each station that a later run goes on behind.

One small JSON file for each source, written to a temporary name, synced, and renamed, so that a power cut leaves the old or the new one
whole; written only when something changed. A damaged file is moved aside and reported, never fatal.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     store = StateStore(Path(folder))
...     store.save("server", {("BW", "RJOB"): (42, 1_251_073_203_000_000_000)})
...     store.load("server")
{('BW', 'RJOB'): (42, 1251073203000000000)}
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from xiaod.folders import sync_folder
from xiaod.logs import get_logger

STATE_VERSION = 1

Positions = Mapping[tuple[str, str], tuple[int, int]]
"""Network and station -> sequence number and start time (ns) of the last packet."""


class StateStore:
    """A folder of state files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[str, Positions] = {}
        self._lock = threading.Lock()
        self._log = get_logger("state")

    def load(self, source: str) -> dict[tuple[str, str], tuple[int, int]]:
        """Positions of a source; empty when there are none, or none that can be read."""
        path = self._path(source)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return _positions(content)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            aside = None
            if path.is_file():
                aside = path.replace(path.with_suffix(f".bad-{path.stat().st_mtime_ns}"))
            self._log.warning("state.unreadable", file=str(path), moved_to=str(aside), error=str(error))
            return {}

    def save(self, source: str, positions: Positions) -> None:
        """Save the positions of a source, if they have changed.

        Raises:
            OSError: when they cannot be written; what was saved before is left as it was.
        """
        with self._lock:
            self._save(source, positions)

    def _save(self, source: str, positions: Positions) -> None:
        if not positions or self._saved.get(source) == positions:
            return
        stations = {
            f"{network}.{station}": list(place) for (network, station), place in sorted(positions.items())
        }
        text = json.dumps({"state_version": STATE_VERSION, "source": source, "stations": stations}, indent=1)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(source)
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(self._folder)
        self._saved[source] = dict(positions)

    def _path(self, source: str) -> Path:
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", source)
        # Names that differ only in what a file name cannot carry get files of their own.
        extra = "" if safe == source else f"-{crc32(source.encode()):08x}"
        return self._folder / f"resume-{safe}{extra}.json"


def _positions(content: Any) -> dict[tuple[str, str], tuple[int, int]]:
    if content["state_version"] != STATE_VERSION:
        raise ValueError(f"state version {content['state_version']!r}; this program knows {STATE_VERSION}")
    positions = {}
    for name, (sequence, time_ns) in content["stations"].items():
        network, _, station = name.partition(".")
        if type(sequence) is not int or type(time_ns) is not int:
            raise ValueError(f"{name}: sequence number and time must be integers")
        positions[network, station] = (sequence, time_ns)
    return positions

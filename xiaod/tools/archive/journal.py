"""The journal of a run: a folder of finished chunks, so that an interrupted run continues where it was.

Each finished chunk is a file ``YYYY/DDD/NET.STA.LOC.BI.KEY.json``, written under another name, synced and renamed. The key is a hash of
everything that the picks depend on: the code that picks and its libraries, model, settings, the chunk, and path, size and modification
time of its files. If one of these changes, the chunk is picked again, and the old result is removed.

>>> from tempfile import TemporaryDirectory
>>> from xiaod.tools.archive.chunk import ChunkResult
>>> from xiaod.tools.archive.plan import Chunk
>>> from xiaod.domain.types import Instrument
>>> chunk = Chunk(Instrument("BW", "RJOB", "", "EH"), 0, 86_400_000_000_000, ())
>>> with TemporaryDirectory() as folder:
...     journal = Journal(Path(folder), "fingerprint")
...     key = journal.key(chunk)
...     before = journal.find(chunk, key)
...     journal.keep(chunk, key, ChunkResult((), records=3))
...     before, journal.find(chunk, key).records
(None, 3)
"""

import hashlib
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Pick
from xiaod.tools.archive.chunk import ChunkResult
from xiaod.tools.archive.plan import Chunk
from xiaod.waveform.data_account import Anomaly

KEY_LETTERS = 20


class Journal:
    """Results of chunks in a folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Open or begin one.

        Raises:
            OSError: when the folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint

    def key(self, chunk: Chunk) -> str:
        """Key of the result of a chunk, for its files as they are now."""
        states = []
        for name, *extent in chunk.files:
            try:
                status = Path(name).stat()
                states.append((str(Path(name).resolve()), status.st_size, status.st_mtime_ns, *extent))
            except OSError:
                states.append((name, -1, -1))
        asked = [
            self._fingerprint,
            str(chunk.instrument),
            chunk.start_ns,
            chunk.stop_ns,
            chunk.patterns,
            chunk.letters,
            states,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:KEY_LETTERS]

    def find(self, chunk: Chunk, key: str) -> ChunkResult | None:
        """The result under a key; None if there is none, or it is incomplete."""
        try:
            content = json.loads(self._path(chunk, key).read_bytes())
            picks = tuple(_pick(entry) for entry in content.pop("picks"))
            damaged = tuple((path, what) for path, what in content.pop("damaged"))
            notes = tuple(Anomaly(**note) for note in content.pop("notes"))
            return ChunkResult(picks, damaged=damaged, notes=notes, **content)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, chunk: Chunk, key: str, result: ChunkResult) -> None:
        """Keep a result, and remove those of the same chunk under other keys.

        Raises:
            OSError: when it cannot be written.
        """
        path = self._path(chunk, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(result), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in path.parent.glob(f"{escape(self._stem(chunk))}.*.json"):
            if old != path and old.name.count(".") == path.name.count("."):
                old.unlink(missing_ok=True)

    def _path(self, chunk: Chunk, key: str) -> Path:
        middle = datetime.fromtimestamp((chunk.start_ns + chunk.stop_ns) // 2 // NS_PER_S, UTC)
        return self._folder / f"{middle:%Y}" / f"{middle:%j}" / f"{self._stem(chunk)}.{key}.json"

    @staticmethod
    def _stem(chunk: Chunk) -> str:
        return str(chunk.instrument)


def _pick(entry: dict[str, Any]) -> Pick:
    return Pick(**{**entry, "channel": Channel(**entry["channel"])})

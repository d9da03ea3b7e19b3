"""The journal of a run: finished pieces are kept in a folder, so that an interrupted run goes on where it was.

Each finished piece is a file ``YYYY/DDD/NET.STA.LOC.BI.KEY.json``, written under another name, synced and renamed. The key is a
hash of all that its picks depend on: the code that picks and its libraries, model, settings, the piece, and path, size and time of change
of its files. When one of these changes, the piece is picked again, and the old result is removed.

>>> from tempfile import TemporaryDirectory
>>> from xiaod.tools.archive.piece import Outcome
>>> from xiaod.tools.archive.plan import Piece
>>> from xiaod.domain.types import Instrument
>>> piece = Piece(Instrument("BW", "RJOB", "", "EH"), 0, 86_400_000_000_000, ())
>>> with TemporaryDirectory() as folder:
...     journal = Journal(Path(folder), "fingerprint")
...     key = journal.key(piece)
...     before = journal.find(piece, key)
...     journal.keep(piece, key, Outcome((), records=3))
...     before, journal.find(piece, key).records
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
from xiaod.tools.archive.piece import Outcome
from xiaod.tools.archive.plan import Piece
from xiaod.waveform.data_account import Anomaly

KEY_LETTERS = 20


class Journal:
    """Results of pieces in a folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Open or begin one.

        Raises:
            OSError: when the folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint

    def key(self, piece: Piece) -> str:
        """What the result of a piece is kept under, for its files as they are now."""
        states = []
        for name, *extent in piece.files:
            try:
                status = Path(name).stat()
                states.append((str(Path(name).resolve()), status.st_size, status.st_mtime_ns, *extent))
            except OSError:
                states.append((name, -1, -1))
        asked = [
            self._fingerprint,
            str(piece.instrument),
            piece.start_ns,
            piece.stop_ns,
            piece.patterns,
            piece.letters,
            states,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:KEY_LETTERS]

    def find(self, piece: Piece, key: str) -> Outcome | None:
        """The result under a key; None when there is none, or none that is whole."""
        try:
            content = json.loads(self._path(piece, key).read_bytes())
            picks = tuple(_pick(entry) for entry in content.pop("picks"))
            damaged = tuple((path, what) for path, what in content.pop("damaged"))
            notes = tuple(Anomaly(**note) for note in content.pop("notes"))
            return Outcome(picks, damaged=damaged, notes=notes, **content)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, piece: Piece, key: str, outcome: Outcome) -> None:
        """Keep a result, instead of those that the same piece had under other keys.

        Raises:
            OSError: when it cannot be written.
        """
        path = self._path(piece, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(outcome), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in path.parent.glob(f"{escape(self._stem(piece))}.*.json"):
            if old != path and old.name.count(".") == path.name.count("."):
                old.unlink(missing_ok=True)

    def _path(self, piece: Piece, key: str) -> Path:
        middle = datetime.fromtimestamp((piece.start_ns + piece.stop_ns) // 2 // NS_PER_S, UTC)
        return self._folder / f"{middle:%Y}" / f"{middle:%j}" / f"{self._stem(piece)}.{key}.json"

    @staticmethod
    def _stem(piece: Piece) -> str:
        return str(piece.instrument)


def _pick(entry: dict[str, Any]) -> Pick:
    return Pick(**{**entry, "channel": Channel(**entry["channel"])})

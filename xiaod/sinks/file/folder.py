"""Documents in a folder, in any format: the common part of QuakeML and SCML files.

A file is written under a temporary name, synced and renamed, so no reader ever sees an incomplete one. Its name follows from its first
pick, so a repeated delivery replaces it. Picks that wait for the end of their interval are :attr:`~FolderSink.held`.

>>> from pathlib import Path
>>> from xiaod.config.sinks.file import QuakeMLConfig
>>> FolderSink(QuakeMLConfig(kind="quakeml", name="demo", folder=Path("picks")), lambda picks: b"").held
0
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence

from xiaod.config.sinks.file import FolderConfig
from xiaod.domain.codes import safe
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Pick
from xiaod.process.fsync import make_folder, sync_folder
from xiaod.sinks import ConfiguredSink

MAX_STEM = 200
"""Letters of a name; file systems take 255 bytes, suffix included."""


class FolderSink(ConfiguredSink):
    """Writes files into a folder; implements :class:`xiaod.sinks.Sink` and :class:`xiaod.sinks.Holding`."""

    def __init__(self, config: FolderConfig, document: Callable[[Sequence[Pick]], bytes]) -> None:
        """Set up; ``document`` makes the content of a file from its picks."""
        super().__init__(config)
        self._config = config
        self._document = document
        self._held: list[Pick] = []
        self._held_since_ns = 0

    @property
    def held(self) -> int:
        """Picks that wait for the end of their interval."""
        return len(self._held)

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Write each pick to a file of its own, or hold picks until the interval is over.

        Raises:
            OSError: when a file cannot be written; no pick is lost.
        """
        if not self._config.interval_s:
            for pick in picks:
                self._write([pick])
            return
        known = {pick.id for pick in self._held}
        if not self._held:
            self._held_since_ns = now_ns
        held = self._held + [pick for pick in picks if pick.id not in known]
        age_ns = now_ns - self._held_since_ns
        # Below zero: the clock was set back.
        if held and not 0 <= age_ns < self._config.interval_s * NS_PER_S:
            self._write(held)
            held = []
        self._held = held

    def close(self) -> None:
        """Write what is held.

        Raises:
            OSError: when it cannot be written; the picks are still held.
        """
        if self._held:
            self._write(self._held)
            self._held = []

    def _write(self, picks: Sequence[Pick]) -> None:
        folder = self._config.folder
        make_folder(folder)
        path = folder / f"{_stem(picks[0].id)}.xml"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(self._document(picks))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            # If the folder is no folder any more, there is nothing to remove.
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync_folder(folder)


def _stem(identifier: str) -> str:
    """The name of a file, for an identifier of any length."""
    stem = safe(identifier)
    if len(stem) <= MAX_STEM:
        return stem
    told_apart = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{stem[: MAX_STEM - 17]}-{told_apart}"

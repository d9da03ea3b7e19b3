"""Lines appended to a file in any format: the common part of JSON Lines, ANSS picks and tables.

Every pick is in the file once, however the process ends. A line is complete or absent: the rest of a failed write or sync is cut off
again. An incomplete last line, as a power cut leaves it, is moved to ``NAME.partial`` when the file is opened. Picks are
:attr:`~AppendingSink.held` until their lines are synced, so that they are delivered again after a crash; those already at the end of
the file, or of the files rotated last, are then skipped. Lines whose sync failed are written again before the next sync, because
the kernel may report success for pages that it has dropped (fsync(2)); so is the end of a file that is opened, as nobody knows what
became of the last sync of an earlier process.

The file is opened anew when somebody has moved or deleted it. Rotation by UTC day or by size is checked before each delivery; no file
is overwritten. A file that begins with another header is set aside in the same way.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from xiaod.config import AgencyConfig
>>> from xiaod.config.sinks.file import JsonLinesConfig
>>> from xiaod.sinks.file.jsonl import JsonLines
>>> with TemporaryDirectory() as folder:
...     config = JsonLinesConfig(kind="jsonl", path=Path(folder) / "picks.jsonl")
...     sink = AppendingSink(config, JsonLines(AgencyConfig()))
...     sink.deliver([], now_ns=0)
...     sink.close()
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence

from xiaod.config.sinks.file import AppendedConfig
from xiaod.domain.types import Pick
from xiaod.process.fsync import make_folder, sync_folder
from xiaod.sinks import ConfiguredSink
from xiaod.sinks.file.rotation import due_stamp, free_name, rotated_files, second_stamp
from xiaod.sinks.file.tail import (
    MAX_UNSYNCED_BYTES,
    LineFormat,
    begins_with,
    mend,
    picks_in,
    write_tail_again,
)

MAX_KNOWN = 10_000
"""Picks known to be in the file, at most; as many short lines as :data:`~xiaod.sinks.file.tail.TAIL_BYTES` hold."""


class AppendingSink(ConfiguredSink):
    """Appends lines to a file; implements :class:`xiaod.sinks.Sink` and :class:`xiaod.sinks.Holding`."""

    def __init__(
        self, config: AppendedConfig, lines: LineFormat, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up; the file is opened when there is something to write.

        Args:
            config: path, rotation and syncs of the file.
            lines: the format.
            monotonic_s: a monotonic clock, by which syncs are due.
        """
        super().__init__(config)
        self._config = config
        self._lines = lines
        self._monotonic_s = monotonic_s
        self._descriptor: int | None = None
        self._regular = True
        self._synced_s = self._monotonic_s()
        self._known: dict[str, None] = {}
        """Picks in the file, the oldest first."""
        self._unsynced: dict[str, bytes] = {}
        """Lines that are not synced yet, by pick."""
        self._safe_size = 0
        """Size of the file at the last sync."""
        self._doubtful = False
        """Whether a sync has failed, so that the unsynced lines have to be written again."""

    @property
    def held(self) -> int:
        """Picks appended since the last sync; 0 if nothing is ever synced."""
        return len(self._unsynced)

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Append the picks that are not in the file yet, all or none.

        Raises:
            OSError: when they cannot be written, or a due sync fails.
        """
        if not picks:
            self._sync(force=False)
            return
        stamp = due_stamp(self._config, now_ns)
        descriptor = self._opened(now_ns)
        # A pick without a line is held like the others, so that those before it in the store stay held.
        made = ((pick.id, self._lines.line(pick)) for pick in picks)
        keyed = {self._lines.identity(line[:-1]) if line else key: line for key, line in made}
        new = {key: line for key, line in keyed.items() if key not in self._known}
        if stamp is not None and new:
            self._rotate(stamp)
            descriptor = self._opened(now_ns)
        self._append(descriptor, new)
        self._known |= dict.fromkeys(new)
        for key in list(self._known)[:-MAX_KNOWN]:
            del self._known[key]

    def close(self) -> None:
        """Sync and close.

        Raises:
            OSError: when the file cannot be synced; it stays open, and closing can be tried again.
        """
        if self._descriptor is not None:
            self._sync(force=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, descriptor: int, new: Mapping[str, bytes]) -> None:
        if self._doubtful or _size(new) + _size(self._unsynced) > MAX_UNSYNCED_BYTES:
            self._sync(force=True)
        size = os.fstat(descriptor).st_size
        try:
            if new:
                self._write(descriptor, new, size)
            if self._regular and self._config.fsync != "never":
                self._unsynced |= new
            self._sync(force=False)
        except OSError:
            self._unsynced = {key: line for key, line in self._unsynced.items() if key not in new}
            self._doubtful &= bool(self._unsynced)
            self._cut(descriptor, size)
            raise

    def _write(self, descriptor: int, new: Mapping[str, bytes], size: int) -> None:
        content = b"".join(new.values())
        # A pipe or a device has no size.
        if not (size if self._regular else self._known):
            content = self._lines.header + content
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])

    def _cut(self, descriptor: int, size: int) -> None:
        """Undo a write; if even that fails, the file is checked when it is opened next."""
        if not self._regular:
            return
        try:
            os.ftruncate(descriptor, size)
        except OSError:
            self._drop()

    def _sync(self, force: bool) -> None:
        config = self._config
        # No unsynced lines: nothing to do, or a pipe or a device, which cannot be synced.
        if self._descriptor is None or not self._unsynced:
            return
        waited_s = self._monotonic_s() - self._synced_s
        if not (force or self._doubtful or config.fsync == "always" or waited_s >= config.fsync_interval_s):
            return
        if self._doubtful:
            self._write_again(self._descriptor)
        try:
            os.fsync(self._descriptor)
        except OSError:
            self._doubtful = True
            raise
        self._safe(self._descriptor)

    def _write_again(self, descriptor: int) -> None:
        """Write the unsynced lines after the synced ones."""
        size = os.fstat(descriptor).st_size
        header = 0 if self._safe_size else len(self._lines.header)
        # Any other size: somebody else has written to it, or it is another file.
        if size == self._safe_size + header + _size(self._unsynced):
            os.ftruncate(descriptor, self._safe_size)
            size = self._safe_size
        try:
            self._write(descriptor, self._unsynced, size)
        except OSError:
            self._cut(descriptor, size)
            raise

    def _safe(self, descriptor: int) -> None:
        """Note that the whole file is on the disk."""
        self._synced_s = self._monotonic_s()
        self._safe_size = os.fstat(descriptor).st_size
        self._unsynced = {}
        self._doubtful = False

    def _drop(self) -> None:
        """Close without an error; lines that could not be synced go into the file that is opened next."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            # Not after a failed sync: its lines are written to the next file.
            if self._unsynced and not self._doubtful:
                os.fsync(self._descriptor)
                self._safe(self._descriptor)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = None
        self._doubtful = bool(self._unsynced)

    def _opened(self, now_ns: int) -> int:
        """The file's descriptor, opened anew when another file, or none, is at its path."""
        path = self._config.path
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                # On a network file system the open file may be stale.
                with contextlib.suppress(OSError):
                    if os.path.samestat(found, os.fstat(self._descriptor)):
                        return self._descriptor
            self._drop()
        make_folder(path.parent)
        descriptor = self._open()
        if self._regular and not begins_with(descriptor, self._lines.header):
            # A file of another format, or of another version of this program.
            os.close(descriptor)
            path.rename(free_name(path, second_stamp(now_ns)))
            descriptor = self._open()
        self._descriptor = descriptor
        return descriptor

    def _open(self) -> int:
        """Open the file; its lines are then complete, synced and known."""
        path = self._config.path
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if self._regular:
                mend(descriptor, path, self._lines)
                self._learn(descriptor)
                # Its name too: an earlier process may have ended before it was on the disk.
                if self._config.fsync != "never":
                    sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _learn(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        # Lines written just before a rotation are in the file before.
        found = picks_in(descriptor, reversed(rotated_files(self._config.path)), self._lines)
        if size and self._config.fsync != "never":
            write_tail_again(descriptor)
            os.fsync(descriptor)
        self._safe_size = size
        self._known |= found
        self._unsynced = {key: line for key, line in self._unsynced.items() if key not in found}
        self._doubtful = bool(self._unsynced)

    def _rotate(self, stamp: str) -> None:
        """Rename the file, because its day is over or its size is reached."""
        path = self._config.path
        self.close()
        if not path.stat().st_size:
            return
        made = path.rename(free_name(path, stamp))
        if self._config.keep_files:
            # Names from a time when the clock was ahead sort after this one: they must not push it out.
            counted = [file for file in rotated_files(path) if file.name <= made.name]
            for old in counted[: -self._config.keep_files]:
                old.unlink(missing_ok=True)


def _size(lines: Mapping[str, bytes]) -> int:
    return sum(map(len, lines.values()))

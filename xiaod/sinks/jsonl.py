"""Picks as JSON Lines: one document a line, appended.

A line is whole or not there: what a failed write or sync left behind is cut off again, so picks delivered anew do not stand twice. A
partial last line, as a power cut leaves it, is moved to ``NAME.partial`` when the file is opened (or just ended, when only its newline is
missing): every line of the file itself is a document. The file is opened anew when somebody has moved or deleted it.

Rotation by UTC day or by size, looked at before each delivery, renames the file to ``STEM.YYYYMMDD[_N]SUFFIX`` or
``STEM.YYYYMMDDTHHMMSS[_N]SUFFIX``; the names sort by time, and no file is overwritten.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     sink = JsonLinesSink(JsonLinesConfig(kind="jsonl", path=Path(folder) / "picks.jsonl"), AgencyConfig())
...     sink.deliver([], now_ns=0)
...     sink.close()
"""

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from xiaod.config import AgencyConfig, JsonLinesConfig
from xiaod.folders import sync_folder
from xiaod.records import Pick
from xiaod.sinks.document import pick_document
from xiaod.timebase import NS_PER_S

BYTES_PER_MB = 1_000_000
DAY_S = 86_400
MAX_LINE_BYTES = 65_536
"""A longer last line is none of ours and left alone."""


def json_line(pick: Pick, agency: AgencyConfig) -> str:
    """A pick as one line, newline included."""
    return json.dumps(pick_document(pick, agency), separators=(",", ":"), allow_nan=False) + "\n"


class JsonLinesSink:
    """Appends to a file; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: JsonLinesConfig, agency: AgencyConfig) -> None:
        """Set up; the file is opened when there is something to write."""
        self._config = config
        self._agency = agency
        self._descriptor: int | None = None
        self._regular = True
        self._synced_s = time.monotonic()
        self._unsynced = False

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._config.name

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Append picks, all or none.

        Raises:
            OSError: when they cannot be written, or cannot be synced when that is due.
        """
        if picks:
            self._rotate(now_ns)
            self._append("".join(json_line(pick, self._agency) for pick in picks).encode())
        else:
            self._sync(force=False)

    def close(self) -> None:
        """Sync and close.

        Raises:
            OSError: when the file cannot be synced; it is still open, and closing can be tried again.
        """
        if self._descriptor is not None:
            self._sync(force=self._config.fsync != "never")
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, content: bytes) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        try:
            written = 0
            while written < len(content):
                written += os.write(descriptor, content[written:])
            self._unsynced = True
            self._sync(force=False)
        except OSError:
            self._cut(descriptor, size)
            raise

    def _cut(self, descriptor: int, size: int) -> None:
        """Undo a write; when even that fails, the file is looked at again when it is opened next."""
        if not self._regular:
            return
        try:
            os.ftruncate(descriptor, size)
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Close without a complaint."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._sync(force=self._config.fsync != "never")
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
            self._unsynced = False

    def _opened(self) -> int:
        """The file's descriptor, opened anew when the file is not the one at its path any more."""
        path = self._config.path
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(self._descriptor)):
                    return self._descriptor
            self._drop()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if self._regular:
                _repair(descriptor, path)
            if new and self._config.fsync != "never":
                sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor

    def _rotate(self, now_ns: int) -> None:
        """Rename the file when its day is over or its size is reached."""
        config = self._config
        path = config.path
        if config.rotate == "none" or not path.is_file():
            return
        status = path.stat()
        if config.rotate == "size":
            due = status.st_size >= config.rotate_mb * BYTES_PER_MB
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // NS_PER_S))
        else:
            due = int(status.st_mtime) // DAY_S < now_ns // NS_PER_S // DAY_S
            stamp = time.strftime("%Y%m%d", time.gmtime(status.st_mtime))
        if not due or not status.st_size:
            return
        self.close()
        path.rename(_free_name(path, stamp))
        if config.keep_files:
            for old in _rotated(path)[: -config.keep_files]:
                old.unlink(missing_ok=True)

    def _sync(self, force: bool) -> None:
        config = self._config
        # A pipe or a device cannot be synced.
        if self._descriptor is None or not self._unsynced or not self._regular:
            return
        due = config.fsync == "always" or (
            config.fsync == "interval" and time.monotonic() - self._synced_s >= config.fsync_interval_s
        )
        if due or force:
            os.fsync(self._descriptor)
            self._synced_s = time.monotonic()
            self._unsynced = False


def _repair(descriptor: int, path: Path) -> None:
    """Take care of a last line that does not end."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - MAX_LINE_BYTES)
    content = os.pread(descriptor, size - begin, begin)
    line = content[content.rfind(b"\n") + 1 :]
    if not line:
        return
    try:
        whole = isinstance(json.loads(line), dict)
    except ValueError:
        whole = False
    if whole or len(line) == MAX_LINE_BYTES:
        os.write(descriptor, b"\n")
        return
    with path.with_name(f"{path.name}.partial").open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.ftruncate(descriptor, size - len(line))


def _rotated(path: Path) -> list[Path]:
    """Rotated files of a path, oldest first."""
    name = re.compile(
        rf"{re.escape(path.stem)}\.[0-9]{{8}}(T[0-9]{{6}})?(_[0-9]{{3,}})?{re.escape(path.suffix)}"
    )
    return sorted(file for file in path.parent.iterdir() if name.fullmatch(file.name))


def _free_name(path: Path, stamp: str) -> Path:
    number = 0
    while True:
        # An underscore sorts behind the dot of the suffix.
        extra = f"_{number:03d}" if number else ""
        candidate = path.with_name(f"{path.stem}.{stamp}{extra}{path.suffix}")
        if not os.path.lexists(candidate):
            return candidate
        number += 1

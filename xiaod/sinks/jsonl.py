"""Picks as JSON Lines: one document a line, appended.

A line is whole or not there: what a failed write left behind is cut off again, and a partial last line that a power cut left is ended
when the file is opened, so that the next line stands alone. The file is opened anew when somebody has moved or deleted it.

Rotation by UTC day or by size renames the file to ``NAME.YYYYMMDD[-N]SUFFIX`` or ``NAME.YYYYMMDDTHHMMSS[-N]SUFFIX``; no file is
overwritten.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     sink = JsonLinesSink(JsonLinesConfig(kind="jsonl", path=Path(folder) / "picks.jsonl"), AgencyConfig())
...     sink.deliver([], now_ns=0)
...     sink.close()
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from xiaod.config import AgencyConfig, JsonLinesConfig
from xiaod.records import Pick
from xiaod.sinks.document import pick_document
from xiaod.timebase import NS_PER_S

BYTES_PER_MB = 1_000_000
DAY_S = 86_400


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
        self._day = 0
        self._synced_s = time.monotonic()
        self._unsynced = False

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._config.name

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Append picks, all or none.

        Raises:
            OSError: when they cannot be written.
        """
        if picks:
            self._rotate(now_ns)
            self._append("".join(json_line(pick, self._agency) for pick in picks).encode())
            self._unsynced = True
        self._sync(force=False)

    def close(self) -> None:
        """Sync and close."""
        if self._descriptor is not None:
            self._sync(force=self._config.fsync != "never")
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, content: bytes) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        written = 0
        try:
            while written < len(content):
                written += os.write(descriptor, content[written:])
        except OSError:
            if written:
                os.ftruncate(descriptor, size)
            raise

    def _opened(self) -> int:
        """The file's descriptor, opened anew when the file is not the one at its path any more."""
        path = self._config.path
        if self._descriptor is not None:
            try:
                if os.path.samestat(path.stat(), os.fstat(self._descriptor)):
                    return self._descriptor
            except FileNotFoundError:
                pass
            os.close(self._descriptor)
            self._descriptor = None
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")
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
            rotated = sorted(path.parent.glob(f"{path.stem}.[0-9]*{path.suffix}"))
            for old in rotated[: -config.keep_files]:
                old.unlink(missing_ok=True)

    def _sync(self, force: bool) -> None:
        config = self._config
        if self._descriptor is None or not self._unsynced:
            return
        due = config.fsync == "always" or (
            config.fsync == "interval" and time.monotonic() - self._synced_s >= config.fsync_interval_s
        )
        if due or force:
            os.fsync(self._descriptor)
            self._synced_s = time.monotonic()
            self._unsynced = False


def _free_name(path: Path, stamp: str) -> Path:
    number = 0
    while True:
        extra = f"-{number:03d}" if number else ""
        candidate = path.with_name(f"{path.stem}.{stamp}{extra}{path.suffix}")
        if not candidate.exists():
            return candidate
        number += 1

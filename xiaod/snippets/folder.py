"""The files of snippets: written once, whole or not at all; the oldest go when they are too many or too old.

A file is named by the id of its pick, so the same pick, made again after a crash, finds its file and leaves it alone. Only files with such
names are ever counted or deleted. Nothing is written while the disk has less than :data:`LEAST_FREE_BYTES` left.

All methods may wait for the disk, and may be called from several threads.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     folder = SnippetFolder(Path(name), keep_days=1.0, max_bytes=10)
...     folder.open()
...     [folder.write(file_name(id_, ".mseed"), b"12345678") for id_ in ("20090824.002007.73-P-a", "20090824.002008.73-S-a")]
...     folder.held_bytes, folder.prune(), folder.held_bytes, [path.name for path in Path(name).iterdir()]
[True, True]
(16, 1, 8, ['20090824.002008.73-S-a.mseed'])
"""

import contextlib
import errno
import os
import re
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from xiaod.domain.codes import safe
from xiaod.process.fsync import make_folder, sync_folder

LEAST_FREE_BYTES = 50_000_000
"""The disk may be that of the store."""
MINISEED, PICTURE = ".mseed", ".png"
PARTIAL = ".partial"
TRIAL, TRIAL_BYTES = "19700101.000000.00-P-trial.mseed", 4096
"""Named like a file of a pick, so that what a crash leaves of it is removed."""
DAY_S = 86_400.0
_NAME = re.compile(r"\d{8}\.\d{6}\.\d{2}-[PS]-[A-Za-z0-9._-]{1,200}\.(?:mseed|png)")


def file_name(pick_id: str, suffix: str) -> str:
    """Name of a file of a pick."""
    return safe(pick_id) + suffix


def is_file_name(name: str) -> bool:
    """Whether a name is one of a snippet; none leads out of the folder.

    >>> is_file_name("20090824.002007.73-P-BW.RJOB..EH-micro-1.1.0.png"), is_file_name("../20090824.002007.73-P-a.png")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


class _Entry(NamedTuple):
    written_s: float
    name: str
    size: int


class SnippetFolder:
    """One folder of snippets."""

    def __init__(self, path: Path, keep_days: float, max_bytes: float) -> None:
        """Set up; nothing is read before :meth:`open`.

        Args:
            path: of the folder.
            keep_days: age at which files go; 0: never.
            max_bytes: of all files together.
        """
        self.path = path
        self._keep_s = keep_days * DAY_S
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        """Oldest first."""
        self.held_bytes = 0
        """Size of all files."""

    def open(self) -> None:
        """Make the folder, find out what is there, and remove what a crash left half written.

        Raises:
            OSError: when that is not possible.
        """
        make_folder(self.path)
        found = []
        with os.scandir(self.path) as files:
            for file in files:
                if is_file_name(file.name):
                    with contextlib.suppress(FileNotFoundError):
                        status = file.stat()
                        found.append(_Entry(status.st_mtime, file.name, status.st_size))
                elif file.name.endswith(PARTIAL) and is_file_name(file.name.removesuffix(PARTIAL)):
                    self._remove(file.name)
        with self._lock:
            self._entries = deque(sorted(found))
            self.held_bytes = sum(entry.size for entry in found)

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return os.path.exists(self.path / name)  # noqa: PTH110  that of Path raises where a folder may not be searched

    def write(self, name: str, content: bytes) -> bool:
        """Write a file, unless it is there; whether it was written.

        Raises:
            OSError: when it cannot be written, or the disk is nearly full; nothing is left of it.
        """
        if self.has(name):
            return False
        make_folder(self.path)
        try:
            self._check_room(len(content))
            self.partial(name).write_bytes(content)
            return self.adopt(name)
        finally:
            # If the folder is no folder any more, there is nothing to remove.
            with contextlib.suppress(OSError):
                self.partial(name).unlink(missing_ok=True)

    def try_out(self) -> None:
        """Make sure that a file could be written.

        Raises:
            OSError: when it could not.
        """
        make_folder(self.path)
        self._check_room(0)
        trial = self.partial(TRIAL)
        try:
            trial.write_bytes(bytes(TRIAL_BYTES))
        finally:
            with contextlib.suppress(OSError):
                trial.unlink(missing_ok=True)

    def partial(self, name: str) -> Path:
        """Where a file can be written that :meth:`adopt` takes."""
        return self.path / f"{name}{PARTIAL}"

    def adopt(self, name: str) -> bool:
        """Take a file that was written beside its place, unless there is one; whether it was taken.

        Raises:
            OSError: when it cannot be synced or renamed, or the disk is nearly full.
        """
        if not is_file_name(name):
            raise OSError(errno.EINVAL, "not the name of a snippet", name)
        if self.has(name):
            return False
        self._check_room(0)
        partial = self.partial(name)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        size = partial.stat().st_size
        partial.replace(self.path / name)
        sync_folder(self.path)
        with self._lock:
            self._entries.append(_Entry(time.time(), name, size))
            self.held_bytes += size
        return True

    def prune(self) -> int:
        """Delete the oldest files while all are too large or these too old; how many.

        Raises:
            OSError: when one cannot be deleted.
        """
        deleted = 0
        with self._lock:
            while self._entries:
                oldest = self._entries[0]
                old = self._keep_s and time.time() - oldest.written_s > self._keep_s
                if not old and self.held_bytes <= self._max_bytes:
                    break
                self._remove(oldest.name)
                self._entries.popleft()
                self.held_bytes -= oldest.size
                deleted += 1
        return deleted

    def _check_room(self, size: int) -> None:
        if shutil.disk_usage(self.path).free < LEAST_FREE_BYTES + size:
            raise OSError(errno.ENOSPC, f"less than {LEAST_FREE_BYTES / 1e6:.0f} MB left", str(self.path))

    def _remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

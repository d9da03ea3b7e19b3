"""One daemon for one state folder: a lock that ends with the process that holds it, however that ends (flock(2)).

The file stays; what counts is the lock, not that it exists. In it stand the process and its shard, for the message of whoever comes second.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     lock = FolderLock(Path(folder), Shard(1, 3))
...     holder(Path(folder)) == Holder(os.getpid(), "1/3")
...     lock.release()
...     holder(Path(folder))
True
"""

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from xiaod.shard import Shard

LOCK = "xiaod.lock"
"""Name of the lock in the state folder."""
PATIENCE_S = 1.0
"""Whoever looks who holds a lock holds it for an instant: a refusal counts after so long."""
RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: its process, and which shard it is; 0 and nothing where that cannot be read."""

    pid: int
    shard: str


class LockedError(Exception):
    """Another process holds the folder."""

    def __init__(self, folder: Path, found: Holder) -> None:
        super().__init__(f"{folder}: process {found.pid} uses this folder already")
        self.holder = found


class FolderLock:
    """A lock on a folder, held until :meth:`release` or the end of the process."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Take the lock; makes the folder if it is not there.

        Raises:
            LockedError: when another process holds it.
            OSError: when the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(folder)
            self._sign(f"{os.getpid()} {shard}\n".encode())
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def _sign(self, note: bytes) -> None:
        """Say who holds it: over what the last one wrote, which needs no room; where there is none, it is held all the same."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, note, 0)
            os.ftruncate(self._descriptor, len(note))

    def _take(self, folder: Path) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise LockedError(folder, _read(self._descriptor)) from None
                time.sleep(RETRY_S)
            else:
                return


def holder(folder: Path) -> Holder | None:
    """Who holds a folder; None when nobody does."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def _read(descriptor: int) -> Holder:
    line, _, _ = os.pread(descriptor, 100, 0).decode(errors="replace").partition("\n")
    pid, _, shard = line.partition(" ")
    return Holder(int(pid) if pid.isdigit() else 0, shard)

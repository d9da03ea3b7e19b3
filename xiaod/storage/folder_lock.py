"""One daemon for one state folder: a lock that ends with its process, however that ends (flock(2)).

Both the folder and a file in it are locked. The file stays when the lock is released, and removing the file does not release the lock. It
names the process and its shard, for the error message of a second daemon. On a file system that cannot lock folders, such as NFS, the lock
of the file remains.

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
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from xiaod.domain.sharding import Shard
from xiaod.process.fsync import PRIVATE, make_folder

LOCK = "xiaod.lock"
"""Name of the lock in the state folder."""
PATIENCE_S = 1.0
"""Asking for the holder locks for an instant: a lock counts as held after so long."""
RETRY_S = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a lock: its process and its shard; 0 and empty where that cannot be read."""

    pid: int
    shard: str


class LockedError(Exception):
    """Another process holds the folder."""

    def __init__(self, folder: Path, found: Holder) -> None:
        who = f"process {found.pid}" if found.pid else "another process"
        super().__init__(f"{folder}: {who} uses this folder already")
        self.holder = found


class FolderLock:
    """A lock on a folder, held until :meth:`release` or the end of the process."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        """Take the lock; makes the folder if it is not there.

        Raises:
            LockedError: when another process holds it.
            OSError: when the folder cannot be written.
        """
        make_folder(folder, PRIVATE)
        with contextlib.ExitStack() as opened:
            parts = [_open(folder, os.O_RDONLY | os.O_DIRECTORY, opened)]
            parts.append(_open(folder / LOCK, os.O_RDWR | os.O_CREAT, opened))
            until_s = time.monotonic() + PATIENCE_S
            while not all(_locked(part, fcntl.LOCK_EX) for part in parts):
                if time.monotonic() > until_s:
                    raise LockedError(folder, _read(folder))
                time.sleep(RETRY_S)
            self._sign(parts[-1], f"{os.getpid()} {shard}\n".encode())
            self._held = opened.pop_all()

    def release(self) -> None:
        """Release the lock."""
        self._held.close()

    @staticmethod
    def _sign(descriptor: int, note: bytes) -> None:
        """Write who holds it, over the former note, which needs no space on the disk; on a full disk the lock holds all the same."""
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, note, 0)
            os.ftruncate(descriptor, len(note))


def holder(folder: Path) -> Holder | None:
    """The holder of a folder; None when it is not locked."""
    with contextlib.ExitStack() as opened:
        for path in (folder, folder / LOCK):
            try:
                descriptor = _open(path, os.O_RDONLY, opened)
            except OSError:
                continue
            if not _locked(descriptor, fcntl.LOCK_SH):
                return _read(folder)
    return None


def _open(path: Path, flags: int, opened: contextlib.ExitStack) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    opened.callback(os.close, descriptor)
    return descriptor


def _locked(descriptor: int, kind: int) -> bool:
    """Take a lock, also one that this process holds; False when another process holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    return True


def _read(folder: Path) -> Holder:
    try:
        text = (folder / LOCK).read_bytes()[:100].decode(errors="replace")
    except OSError:
        text = ""
    pid, _, shard = text.partition("\n")[0].partition(" ")
    return Holder(int(pid) if pid.isdigit() else 0, shard)

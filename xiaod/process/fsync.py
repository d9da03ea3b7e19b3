"""Making the name of a file survive a power cut.

A synced file can still be missing after a power cut: its name stands in the folder, which is synced by itself (fsync(2), Linux).

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     make_folder(Path(name) / "one" / "two")
...     (Path(name) / "one" / "two").is_dir()
True
"""

import os
from pathlib import Path

PRIVATE = 0o750
"""Permissions of a folder that only its owner and the group look into."""


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder that is not there, and those above it; their names are on the disk then.

    Args:
        folder: the folder.
        mode: its permissions if it is made here, less those that the process takes from all (umask).

    Raises:
        OSError: when that is not possible.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Force new, renamed and removed names of a folder onto the disk.

    Raises:
        OSError: when that is not possible.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""File names that survive a power cut.

A file that was synced can still be missing after a power cut: its name is in the folder, which needs a sync of its own (fsync(2), Linux).

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     make_folder(Path(name) / "one" / "two")
...     (Path(name) / "one" / "two").is_dir()
True
"""

import os
from pathlib import Path

PRIVATE = 0o750
"""Permissions of a folder that only its owner and group may read."""


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, unless it exists; then their names are on the disk.

    Args:
        folder: the folder.
        mode: its permissions if it is made here, less the umask of the process.

    Raises:
        OSError: when that is not possible.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Write new, renamed and removed names of a folder to the disk.

    Raises:
        OSError: when that is not possible.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Making the name of a file survive a power cut.

A synced file can still be missing after a power cut: its name stands in the folder, which is synced by itself (fsync(2), Linux).

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     sync_folder(Path(name))
"""

import os
from pathlib import Path


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

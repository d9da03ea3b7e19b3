"""Writes files atomically: complete or not at all, after a power cut too.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     partial = Path(folder) / "weights.partial"
...     _ = partial.write_text("whole")
...     put_in_place(partial, Path(folder) / "weights").read_text()
'whole'
"""

import os
from pathlib import Path


def put_in_place(partial: Path, path: Path) -> Path:
    """Force a file that was written beside its place onto the disk, and only then give it its name.

    Without that a power cut can leave the name with nothing behind it: contents and names reach the disk in any order
    (fsync(2), rename(2), Linux).

    Args:
        partial: the file as it was written, in the folder of its place.
        path: its place; what was there before is replaced.
    """
    _sync(partial, os.O_RDONLY)
    partial.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return path


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Caches the output of a teacher on disk: one file for each dataset and teacher.

The file name is a hash of the data, of the teacher's weights and of its preprocessing, so stale output is never read.
The file is replaced as a whole from time to time, so that an interrupted run continues where it stopped.

>>> import numpy as np
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     cache = TeacherCache(Path(folder), "data", "teacher", "{}")
...     cache.put("a", np.ones((3, 4), np.float16))
...     cache.save()
...     TeacherCache(Path(folder), "data", "teacher", "{}").get("a").shape
(3, 4)
"""

import hashlib
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.files import put_in_place

SAVE_EVERY_S = 60.0


class TeacherCache:
    """Probabilities by the name of the record."""

    def __init__(self, folder: Path, data: str, teacher: str, settings: str) -> None:
        """Open a cache, or begin one.

        Args:
            folder: of all caches.
            data: fingerprint of the dataset.
            teacher: fingerprint of the teacher.
            settings: how it annotates a record.
        """
        key = hashlib.sha256("\n".join((data, teacher, settings)).encode()).hexdigest()
        self.path = folder / f"teacher-{key[:16]}.npz"
        self._known: dict[str, NDArray[np.float16]] = {}
        if self.path.exists():
            try:
                self._known = dict(np.load(self.path, allow_pickle=False))
            except (OSError, ValueError, zipfile.BadZipFile):
                # It can be made again.
                self.path.unlink()
        self._changed = False
        self._saved = time.monotonic()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> NDArray[np.float16] | None:
        """The output for a record; None when there is none."""
        return self._known.get(name)

    def put(self, name: str, values: NDArray[np.float16]) -> None:
        """Keep the output for a record; it is saved some time later."""
        self._known[name] = values
        self._changed = True
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write new output to the disk."""
        if not self._changed:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial.npz")
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._known)
        put_in_place(partial, self.path)
        self._changed, self._saved = False, time.monotonic()

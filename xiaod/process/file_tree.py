"""All files below a folder. Symbolic links are followed, because archives use links to folders to spread over several disks.

Each folder is visited once, so a link to a folder above makes no endless loop. A folder that cannot be opened (a link to a disk that is
not mounted, no permission) is listed like a file: the error comes when it is opened.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     folder = Path(name)
...     (folder / "2020").mkdir()
...     _ = (folder / "2020" / "a").write_text("")
...     (folder / "2020" / "round").symlink_to(folder)
...     [str(path.relative_to(folder)) for path in files_below(folder)]
['2020/a']
"""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Paths of all files in a folder and below, in order of their names."""
    return iter(sorted(_files(folder, set())))


def _files(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in found:
        if entry.is_dir():
            yield from _files(folder / entry.name, visited)
        elif entry.is_file() or entry.is_symlink():
            yield folder / entry.name

"""Names of rotated files: ``STEM.YYYYMMDD[_N]SUFFIX`` or ``STEM.YYYYMMDDTHHMMSS[_N]SUFFIX``, which sort by time.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "picks.jsonl"
...     free_name(path, "20260131").touch()
...     free_name(path, "20260131").name, [file.name for file in rotated_files(path)]
('picks.20260131_001.jsonl', ['picks.20260131.jsonl'])
"""

import os
import re
import time
from pathlib import Path

from xiaod.config.sinks.file import AppendedConfig
from xiaod.domain.timegrid import NS_PER_S

BYTES_PER_MB = 1_000_000
DAY_S = 86_400


def due_stamp(config: AppendedConfig, now_ns: int) -> str | None:
    """The time for the name of a file whose UTC day is over, or whose size is reached; None: no rotation is due."""
    path = config.path
    if config.rotate == "none" or not path.is_file():
        return None
    status = path.stat()
    if config.rotate == "size":
        due = status.st_size >= config.rotate_mb * BYTES_PER_MB
        stamp = second_stamp(now_ns)
    else:
        due = int(status.st_mtime) // DAY_S < now_ns // NS_PER_S // DAY_S
        stamp = time.strftime("%Y%m%d", time.gmtime(status.st_mtime))
    return stamp if due and status.st_size else None


def second_stamp(now_ns: int) -> str:
    """A time as it is written in the name of a file.

    >>> second_stamp(1_000_000_000)
    '19700101T000001'
    """
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // NS_PER_S))


def rotated_files(path: Path) -> list[Path]:
    """Rotated files of a path, oldest first."""
    name = re.compile(
        rf"{re.escape(path.stem)}\.[0-9]{{8}}(T[0-9]{{6}})?(_[0-9]{{3,}})?{re.escape(path.suffix)}"
    )
    return sorted(file for file in path.parent.iterdir() if name.fullmatch(file.name))


def free_name(path: Path, stamp: str) -> Path:
    """A name that no file has."""
    number = 0
    while True:
        # An underscore sorts after the dot of the suffix.
        extra = f"_{number:03d}" if number else ""
        candidate = path.with_name(f"{path.stem}.{stamp}{extra}{path.suffix}")
        if not os.path.lexists(candidate):
            return candidate
        number += 1

r"""The end of a file of lines: its last line is repaired if it is incomplete, and its picks are read.

In: an open file and the format of its lines. Out: the file with complete lines only, and the identities of its last picks.

>>> from tempfile import TemporaryFile
>>> with TemporaryFile() as file:
...     _ = file.write(b"first\nsecond\n") + file.seek(0)
...     last_lines(file.fileno())
[b'first', b'second']
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

TAIL_BYTES = 1_000_000
"""How far back a file is read for its picks; well above the largest amount that waits for a sync. A longer last line is not one of this
program, whose longest are events of a thousand stations, and left as it is."""
MAX_UNSYNCED_BYTES = TAIL_BYTES // 4
"""More unsynced bytes are synced at once, whatever the interval: after a crash all of them are found at the end of the file."""
MAX_DOUBTFUL_BYTES = 2 * MAX_UNSYNCED_BYTES
"""How much of a file an earlier process may have left without a sync: those, and one delivery of picks."""
MAX_ROTATED = 16
"""Rotated files that are read at most, if all of them are small."""


class LineFormat(Protocol):
    """How a pick becomes a line, and how a line identifies its pick."""

    @property
    def header(self) -> bytes:
        """First line of each file, newline included; empty for none."""
        ...

    @property
    def closed(self) -> bool:
        """Whether a line that lacks only its newline can be told from an incomplete one."""
        ...

    def line(self, pick: Any) -> bytes:
        """A pick, or whatever else the sink takes, as one line, newline included; empty for one that the format has no place for."""
        ...

    def identity(self, line: bytes) -> str:
        """What identifies the pick of a line (without newline).

        Raises:
            ValueError: when it is no complete line of this format.
        """
        ...


def mend(descriptor: int, path: Path, lines: LineFormat) -> None:
    """Complete a last line that lacks only its newline, and move an incomplete one to ``NAME.partial``.

    Raises:
        OSError: when that is not possible.
    """
    size = os.fstat(descriptor).st_size
    begin = max(0, size - TAIL_BYTES)
    content = os.pread(descriptor, size - begin, begin)
    line = content[content.rfind(b"\n") + 1 :]
    if not line:
        return
    if len(line) == TAIL_BYTES or (lines.closed and _identity(line, lines) is not None):
        os.write(descriptor, b"\n")
        return
    with path.with_name(f"{path.name}.partial").open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.ftruncate(descriptor, size - len(line))


def begins_with(descriptor: int, header: bytes) -> bool:
    """Whether a file begins with a header, or is empty."""
    return os.pread(descriptor, len(header), 0) in {b"", header}


def picks_in(descriptor: int, earlier: Iterable[Path], lines: LineFormat) -> dict[str, None]:
    """Identities of the picks at the end of a file and of the files before it, the oldest first.

    Args:
        descriptor: of the file.
        earlier: the files before it, the newest first; as many are read as make up :data:`TAIL_BYTES`.
        lines: their format.
    """
    found = [_identities(descriptor, lines)]
    left = TAIL_BYTES - os.fstat(descriptor).st_size
    for path in islice(earlier, MAX_ROTATED):
        if left <= 0:
            break
        with path.open("rb") as file:
            found.append(_identities(file.fileno(), lines))
        left -= path.stat().st_size
    return dict.fromkeys(key for part in reversed(found) for key in part)


def write_tail_again(descriptor: int) -> None:
    """Write the last :data:`MAX_DOUBTFUL_BYTES` of a file once more, in their place, so that the next sync writes them to the disk.

    A process that has ended may have left lines whose sync failed. The kernel shows them to the next one, but has given up writing
    them, and reports success for a sync without them (fsync(2)). The time of the last change stays, as a rotation by day goes by it.
    A file system that cannot do this, or a file that may only grow, stays as it is.

    Raises:
        OSError: when that is not possible.
    """
    status = os.fstat(descriptor)
    begin = max(0, status.st_size - MAX_DOUBTFUL_BYTES)
    content = os.pread(descriptor, status.st_size - begin, begin)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        # With O_APPEND the place is ignored (pwrite(2), Linux).
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_APPEND)
    except OSError:
        # A file to which the administrator lets lines be appended only (chattr(1)), or a file system, such as some of FUSE, without this.
        return
    try:
        written = 0
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], begin + written)
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        with contextlib.suppress(OSError):
            # Its owner alone may, and not on every file system.
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


def last_lines(descriptor: int) -> list[bytes]:
    """The complete lines in the last :data:`TAIL_BYTES` of a file."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - TAIL_BYTES)
    found = os.pread(descriptor, size - begin, begin).split(b"\n")
    # The first may begin before, and nothing follows the last newline.
    return found[bool(begin) : -1]


def _identities(descriptor: int, lines: LineFormat) -> list[str]:
    found = (_identity(line, lines) for line in last_lines(descriptor))
    return [key for key in found if key is not None]


def _identity(line: bytes, lines: LineFormat) -> str | None:
    try:
        return lines.identity(line)
    except (ValueError, RecursionError):
        # Somebody else's line, or one that a power cut destroyed.
        return None

"""Standard output that nobody reads any more, as behind ``| head``, or whose disk is full.

>>> unread()
False
"""

import errno
import os
import select
import sys

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a write fails with when there is no room, or the disk is broken."""


def flush() -> None:
    """Write what is still held back; what is closed from the start holds nothing.

    Raises:
        OSError: when it cannot be written; Python would end with a status of its own.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no room, and not where: files have names.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.ENOSPC, "No space left on device", "file"))
    (True, False)
    """
    return error.errno in FULL and error.filename is None


def unread() -> bool:
    """Whether the reader of standard output has gone: a pipe without one is in error (poll(2), Linux)."""
    try:
        sys.stdout.flush()
        descriptor = sys.stdout.fileno()
    except BrokenPipeError:
        return True
    except (AttributeError, OSError, ValueError):
        # Closed from the start, or something that is no file.
        return False
    look = select.poll()
    look.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in look.poll(0))


def leave_quietly() -> None:
    """Whoever read our output has seen enough; Python would complain again when it closes standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

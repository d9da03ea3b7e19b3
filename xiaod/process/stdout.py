"""Standard output: whether its reader is gone, as after ``| head``, or its disk is full.

>>> unread()
False
"""

import errno
import os
import select
import sys

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a write to a disk that is full or broken."""


def flush() -> None:
    """Write out what is buffered, if there is a standard output.

    Raises:
        OSError: when it cannot be written; at its exit Python would end with a status of its own.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def is_full(error: OSError) -> bool:
    """Whether an error says that standard output is full: an error of another file has its name.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.ENOSPC, "No space left on device", "file"))
    (True, False)
    """
    return error.errno in FULL and error.filename is None


def unread() -> bool:
    """Whether standard output has lost its reader: a pipe without one is in error (poll(2), Linux)."""
    try:
        sys.stdout.flush()
        descriptor = sys.stdout.fileno()
    except BrokenPipeError:
        return True
    except (AttributeError, OSError, ValueError):
        # There is none, or it is no file.
        return False
    look = select.poll()
    look.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in look.poll(0))


def leave_quietly() -> None:
    """Drop the rest of the output, for which there is no reader; else Python would complain when it closes standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Standard output that nobody reads any more, as behind ``| head``.

>>> unread()
False
"""

import os
import select
import sys


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

"""The time limit of a clean shutdown: it begins with the signal, and when it is over the process ends, whatever hangs.

A thread of its own ends the process, because the event loop may be blocked, and because Python waits at its exit for threads that hang
in a call. As with ``kill -9``, nothing is lost that is in the store.

>>> from threading import Event
>>> ended = Event()
>>> grace_period = GracePeriod(ended.set)
>>> grace_period.begin(limit_s=0.01)
>>> ended.wait(10), grace_period.left_s == 0
(True, True)
"""

import os
import threading
import time
from collections.abc import Callable

from xiaod.process.exit_status import ExitCode
from xiaod.process.logs import get_logger

LOG_S = 0.5
"""Seconds to wait for the last log line, whose writing may hang too."""


def cut_short() -> None:
    """Log that the stop has taken too long, and end the process at once."""
    log = threading.Thread(
        target=get_logger("service").error,
        args=("service.cut_short",),
        kwargs={"detail": "something hangs"},
        daemon=True,
    )
    log.start()
    log.join(LOG_S)
    os._exit(ExitCode.CUT_SHORT)


class GracePeriod:
    """Ends a process whose stop takes too long."""

    def __init__(self, end: Callable[[], None] = cut_short) -> None:
        """Wait for a stop to begin; ``end`` is called, in a thread, when the time is over."""
        self._end = end
        self._begun = threading.Event()
        self._by_s = 0.0
        threading.Thread(target=self._wait, name="grace", daemon=True).start()

    def begin(self, limit_s: float) -> None:
        """The stop begins; only the first call counts. A signal handler may call this: it takes no lock that others hold."""
        if not self._by_s:
            self._by_s = time.monotonic() + limit_s
            self._begun.set()

    @property
    def left_s(self) -> float:
        """Seconds until the end, once the stop has begun."""
        return max(0.0, self._by_s - time.monotonic())

    def _wait(self) -> None:
        self._begun.wait()
        time.sleep(self.left_s)
        self._end()

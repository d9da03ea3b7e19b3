"""The time for an orderly stop: it begins with the signal, and what is not over when it is does not matter.

Neither an event loop that stands still nor a thread that hangs in a call, for which Python would wait at the end, lets a stop take
longer: a thread of its own ends the process. Like ``kill -9`` that loses nothing that the store has.

>>> from threading import Event
>>> ended = Event()
>>> grace = Grace(ended.set)
>>> grace.begin(limit_s=0.01)
>>> ended.wait(10), grace.left_s == 0
(True, True)
"""

import os
import threading
import time
from collections.abc import Callable

from xiaod.process.exit_status import ExitCode
from xiaod.process.logs import get_logger

SAY_S = 0.5
"""For so long the end waits for the log, which may hang as everything else does."""


def cut_short() -> None:
    """Say that the stop was not over in time, and end the process at once, with the status that says so."""
    say = get_logger("service").error
    saying = threading.Thread(
        target=say, args=("service.cut_short",), kwargs={"detail": "something hangs"}, daemon=True
    )
    saying.start()
    saying.join(SAY_S)
    os._exit(ExitCode.CUT_SHORT)


class Grace:
    """Ends what takes too long to stop."""

    def __init__(self, end: Callable[[], None] = cut_short) -> None:
        """Wait for a stop to begin; ``end`` is called, in a thread, when it is not over in time."""
        self._end = end
        self._begun = threading.Event()
        self._by_s = 0.0
        threading.Thread(target=self._wait, name="grace", daemon=True).start()

    def begin(self, limit_s: float) -> None:
        """The stop begins; only the first call counts. It may be made in a handler of signals: it takes no lock that others hold."""
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

"""A rate limit for log lines: at most so many of one kind in a period. The next line says how many were left out.

A station with a bad link, or a library that repeats a complaint, would fill a small disk within months and hide the rest of the log.

>>> limit = LogRateLimit(most=2, period_s=60.0, clock_s=iter([0.0, 1.0, 2.0, 3.0, 61.0]).__next__)
>>> [limit.admit("gap") for _ in range(5)]
[0, 0, None, None, 2]
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

MAX_KEYS = 10_000
"""Most kinds that are counted; the one whose period began first is forgotten first."""


@dataclass(slots=True)
class _Count:
    since_s: float
    logged: int = 0
    unlogged: int = 0


class LogRateLimit:
    """Counts the lines of each kind within a period."""

    def __init__(self, most: int, period_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._period_s = period_s
        self._clock_s = clock_s
        self._counts: dict[Hashable, _Count] = {}

    def admit(self, key: Hashable) -> int | None:
        """Number of lines of this kind that were left out since the last one; None when this one is to be left out too."""
        now_s = self._clock_s()
        count = self._counts.get(key)
        if count is None or now_s - count.since_s >= self._period_s:
            self._counts.pop(key, None)
            count = self._counts[key] = _Count(now_s, unlogged=0 if count is None else count.unlogged)
            if len(self._counts) > MAX_KEYS:
                del self._counts[next(iter(self._counts))]
        if count.logged >= self._most:
            count.unlogged += 1
            return None
        count.logged += 1
        unlogged, count.unlogged = count.unlogged, 0
        return unlogged

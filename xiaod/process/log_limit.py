"""How often something is said: so many lines of one kind within a time; what is said no more is counted, and told with the next line.

A station that falters, or a library that complains again and again, would fill a small disk within months and bury what else the log says.

>>> quota = Quota(most=2, period_s=60.0, clock_s=iter([0.0, 1.0, 2.0, 3.0, 61.0]).__next__)
>>> [quota.admit("gap") for _ in range(5)]
[0, 0, None, None, 2]
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

MAX_KEYS = 10_000
"""Things that are counted at most; the one that began longest ago is forgotten first."""


@dataclass(slots=True)
class _Count:
    since_s: float
    said: int = 0
    unsaid: int = 0


class Quota:
    """Lines of each kind within a period."""

    def __init__(self, most: int, period_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._period_s = period_s
        self._clock_s = clock_s
        self._counts: dict[Hashable, _Count] = {}

    def admit(self, key: Hashable) -> int | None:
        """How many lines of this kind have been left out since the last one; None when this one is to be left out too."""
        now_s = self._clock_s()
        count = self._counts.get(key)
        if count is None or now_s - count.since_s >= self._period_s:
            self._counts.pop(key, None)
            count = self._counts[key] = _Count(now_s, unsaid=0 if count is None else count.unsaid)
            if len(self._counts) > MAX_KEYS:
                del self._counts[next(iter(self._counts))]
        if count.said >= self._most:
            count.unsaid += 1
            return None
        count.said += 1
        unsaid, count.unsaid = count.unsaid, 0
        return unsaid

"""CPU time of a piece of work."""

import statistics
import time
from collections.abc import Callable

LEAST_S = 0.5
"""Least CPU time of a measurement."""


def median_us(work: Callable[[], object], least_s: float = LEAST_S) -> tuple[float, int]:
    """Median CPU time of a call in microseconds, and the number of calls. The first call is counted, but not timed."""
    work()
    times: list[float] = []
    begun = time.process_time()
    while not times or time.process_time() - begun < least_s:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e6, len(times) + 1

"""Steps of the host's clock, which can be set, measured against the monotonic clock, which cannot."""

import time

SET_NS = 500_000_000
"""A larger change within 0.25 s is no drift: sources request the records again that the clock had refused."""
STEP_NS = 1_000_000_000
"""A larger change is logged and counted."""


def offset_ns() -> int:
    """Host time minus monotonic time, in nanoseconds: it changes only when the host's clock is set, or drifts."""
    return time.time_ns() - time.monotonic_ns()

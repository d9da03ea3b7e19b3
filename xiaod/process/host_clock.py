"""The host's clock, which somebody may set, against the steady one, which nobody can: how a change of it is noticed."""

import time

SET_NS = 500_000_000
"""A change that is no drift between two looks some 0.25 s apart: what the clock had refused is asked for again."""
STEP_NS = 1_000_000_000
"""A change that the operator is told."""


def offset_ns() -> int:
    """Host time minus steady time, in nanoseconds: it changes only when the host's clock is set, or drifts."""
    return time.time_ns() - time.monotonic_ns()

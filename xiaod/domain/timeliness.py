"""Whether a record is taken by its time: neither too old nor of the future, by the host's clock when it came.

The host's clock may be wrong, at the start of a small computer most of all. So what is refused is told together with the change of the
clock by which it would be taken: a clock that is set later shows whether the record or the clock was wrong.

>>> limits = TimeLimits.from_s(max_age_s=None, max_future_s=60.0)
>>> limits.correction_ns(0, 10 * NS_PER_S, arrived_ns=0, edge_ns=None)
0
>>> limits.correction_ns(0, 3600 * NS_PER_S, arrived_ns=0, edge_ns=None) / NS_PER_S
3540.0
"""

from dataclasses import dataclass

from xiaod.domain.timegrid import NS_PER_S, ns_from_s

JOINS_NS = NS_PER_S
"""A record that begins so soon behind the newest data goes on where the stream was."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Limits of ``buffer.max_age_s`` and ``buffer.max_future_s``; None: there is none."""

    max_age_ns: int | None = None
    """Records that ended longer ago are refused."""
    max_future_ns: int | None = None
    """Records that end later than now by more are refused."""

    @classmethod
    def from_s(cls, max_age_s: float | None, max_future_s: float | None) -> "TimeLimits":
        """Limits as the configuration tells them."""
        return cls(
            None if max_age_s is None else ns_from_s(max_age_s),
            None if max_future_s is None else ns_from_s(max_future_s),
        )

    def correction_ns(self, start_ns: int, next_ns: int, arrived_ns: int, edge_ns: int | None) -> int:
        """By how much the host's clock would have to be set for a record to be taken.

        Args:
            start_ns: time of the record's first sample.
            next_ns: time of the sample after its last one.
            arrived_ns: host time when it came.
            edge_ns: time of the sample after the newest of its channel; None when there is none.

        Returns:
            0: it is taken; above: it is of the future; below: it is too old.
        """
        if self.max_age_ns is not None and next_ns < arrived_ns - self.max_age_ns:
            return next_ns - arrived_ns + self.max_age_ns
        if self.max_future_ns is None or next_ns <= arrived_ns + self.max_future_ns:
            return 0
        # A stream that goes on where it was is right, and the host's clock has been set back.
        if edge_ns is not None and start_ns <= edge_ns + JOINS_NS:
            return 0
        return next_ns - arrived_ns - self.max_future_ns


UNLIMITED = TimeLimits()

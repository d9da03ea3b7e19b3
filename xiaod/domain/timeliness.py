"""Whether a record is refused because its time is too old or in the future, by the host's clock on arrival.

The host's clock may be wrong, most of all when a small computer starts. So a refusal comes with the change of the clock that would make
the record acceptable. When the clock is set later, this shows whether the record or the clock was wrong.

>>> limits = TimeLimits.from_s(max_age_s=None, max_future_s=60.0)
>>> limits.correction_ns(0, 10 * NS_PER_S, arrived_ns=0, edge_ns=None)
0
>>> limits.correction_ns(0, 3600 * NS_PER_S, arrived_ns=0, edge_ns=None) / NS_PER_S
3540.0
"""

from dataclasses import dataclass

from xiaod.domain.timegrid import NS_PER_S, ns_from_s

JOINS_NS = NS_PER_S
"""A record that begins at most this long after the newest data continues the stream."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The limits ``buffer.max_age_s`` and ``buffer.max_future_s``; None: no limit."""

    max_age_ns: int | None = None
    """Records that ended longer ago are refused."""
    max_future_ns: int | None = None
    """Records that end further in the future are refused."""

    @classmethod
    def from_s(cls, max_age_s: float | None, max_future_s: float | None) -> "TimeLimits":
        """The limits of the configuration."""
        return cls(
            None if max_age_s is None else ns_from_s(max_age_s),
            None if max_future_s is None else ns_from_s(max_future_s),
        )

    def correction_ns(self, start_ns: int, next_ns: int, arrived_ns: int, edge_ns: int | None) -> int:
        """By how much the host's clock would have to be set for a record to be accepted.

        Args:
            start_ns: time of the record's first sample.
            next_ns: time of the sample after its last one.
            arrived_ns: host time when it came.
            edge_ns: time of the sample after the newest of its channel; None when there is none.

        Returns:
            0: it is accepted; positive: it is in the future; negative: it is too old.
        """
        if self.max_age_ns is not None and next_ns < arrived_ns - self.max_age_ns:
            return next_ns - arrived_ns + self.max_age_ns
        if self.max_future_ns is None or next_ns <= arrived_ns + self.max_future_ns:
            return 0
        # A stream that continues where it was is right: the host's clock was set back.
        if edge_ns is not None and start_ns <= edge_ns + JOINS_NS:
            return 0
        return next_ns - arrived_ns - self.max_future_ns


UNLIMITED = TimeLimits()

"""Data of the past: a clock that was set back, or what a datalogger had kept during an outage and sends beside what is new.

Both begin alike, and at first a clock is blamed. But a stream that then goes on where it was, behind a gap, proves that its clock is
right: from there on it takes :data:`BACKFILL_S` of the past without anything new to believe it once more, so that what is new is
not given up again and again for what is late.

>>> backfill = Backfill()
>>> backfill.set_back({"Z": 5000})
>>> backfill.goes_on("Z", start=5001, edge=1200)
>>> backfill.explains(late_s=30.0, edge=5400), backfill.explains(late_s=700.0, edge=5800)
(True, False)
"""

from collections.abc import Mapping

from xiaod.domain.timegrid import GRID_RATE_HZ, samples_from_s

BACKFILL_S = 600.0
"""Seconds of the past without anything new, and of what is new without anything of the past, after which the proof has expired."""
JOINS = samples_from_s(1.0)


class Backfill:
    """What is known of the past of one instrument; times are grid indices."""

    def __init__(self) -> None:
        self._left: Mapping[str, int] = {}
        """Where each component was when the clock seemed to be set back."""
        self._seen: int | None = None
        """How far the stream was when the past was last seen to be sent beside it."""

    def set_back(self, edges: Mapping[str, int]) -> None:
        """The clock is taken for set back; ``edges`` are the ends of the components until then."""
        self._left = edges

    def goes_on(self, component: str, start: int, edge: int) -> None:
        """A record begins at ``start``; what came of its component before, since the clock was set back, ends at ``edge``."""
        left = self._left.get(component)
        # What has come there in due course is no proof.
        if left is not None and abs(start - left) <= JOINS and start > edge + JOINS:
            self._seen = start

    def explains(self, late_s: float, edge: int) -> bool:
        """Whether so much of the past without anything new is no sign of a clock that was set back."""
        if self._seen is None or max(late_s, (edge - self._seen) / GRID_RATE_HZ) > BACKFILL_S:
            return False
        self._seen = edge
        return True

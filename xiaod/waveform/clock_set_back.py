"""Tells a clock that was set back from a datalogger that sends old data beside the new.

A datalogger keeps data during an outage and sends them later, beside the new ones (backfill). That begins as a clock that is set back
does, and is first taken for one. But an instrument that then goes on where it was, after a gap, proves that its clock is right. After such
a proof, :data:`BACKFILL_S` of old data without new ones are needed before the clock is taken for set back again. So an instrument is not
reset again and again for data that are only late.

>>> clock = SetBackClock()
>>> clock.set_back({"Z": 5000})
>>> clock.goes_on("Z", start=5001, edge=1200)
>>> clock.explains(late_s=30.0, edge=5400), clock.explains(late_s=700.0, edge=5800)
(True, False)
"""

from collections.abc import Mapping

from xiaod.domain.timegrid import GRID_RATE_HZ, samples_from_s

BACKFILL_S = 600.0
"""Seconds of old data without new ones, or of new data without old ones, after which the proof has expired."""
JOINS = samples_from_s(1.0)


class SetBackClock:
    """Where the components of one instrument were when its clock seemed to be set back; times are grid indices."""

    def __init__(self) -> None:
        self._left: Mapping[str, int] = {}
        """Where each component was when the clock seemed to be set back."""
        self._seen: int | None = None
        """Grid index of the newest data when old data were last seen to be sent beside them."""

    def set_back(self, edges: Mapping[str, int]) -> None:
        """The clock seems to be set back; ``edges`` are the ends of the components until then."""
        self._left = edges

    def goes_on(self, component: str, start: int, edge: int) -> None:
        """A record begins at ``start``; the data of its component since the clock seemed to be set back end at ``edge``."""
        left = self._left.get(component)
        # Data that reach there without a gap are no proof.
        if left is not None and abs(start - left) <= JOINS and start > edge + JOINS:
            self._seen = start

    def explains(self, late_s: float, edge: int) -> bool:
        """Whether ``late_s`` seconds of old data without new ones are backfill, by an earlier proof."""
        if self._seen is None or max(late_s, (edge - self._seen) / GRID_RATE_HZ) > BACKFILL_S:
            return False
        self._seen = edge
        return True

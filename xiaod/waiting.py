"""Records that wait for what lies before them, by time; in and out of :class:`xiaod.track.Track`.

Their extremes are asked for at every record and remembered: thousands of records of one sample each may wait.

>>> import numpy as np
>>> from xiaod.records import Channel
>>> waiting = Waiting()
>>> record = Segment(Channel("BW", "RJOB", "", "EHZ"), 2_000_000_000, 1.0, np.zeros(3, np.int32))
>>> waiting.add(record, now_ns=7)
>>> waiting.newest_ns, waiting.since_ns, len(waiting)
(5000000000, 7, 1)
>>> waiting.pop() is record, bool(waiting)
(True, False)
"""

from bisect import insort
from dataclasses import dataclass

from xiaod.records import Segment


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    start_ns: int
    order: int
    since_ns: int
    segment: Segment


class Waiting:
    """Records sorted by the time of their first sample, those of one time as they came."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._added = 0
        self._newest_ns: int | None = None
        self._since_ns: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, segment: Segment, now_ns: int) -> None:
        """Take a record at host time ``now_ns``."""
        if self._entries:
            self._newest_ns, self._since_ns = (
                max(self.newest_ns, segment.next_ns),
                min(self.since_ns, now_ns),
            )
        else:
            self._newest_ns, self._since_ns = segment.next_ns, now_ns
        self._added += 1
        insort(self._entries, _Entry(segment.start_ns, self._added, now_ns, segment))

    @property
    def first(self) -> Segment:
        """The oldest record; there must be one, here and below."""
        return self._entries[0].segment

    def pop(self) -> Segment:
        """Take the oldest record out."""
        self._newest_ns = self._since_ns = None
        return self._entries.pop(0).segment

    @property
    def newest_ns(self) -> int:
        """Time just after the newest sample that waits."""
        if self._newest_ns is None:
            self._newest_ns = max(entry.segment.next_ns for entry in self._entries)
        return self._newest_ns

    @property
    def since_ns(self) -> int:
        """Host time since when the one that has waited longest does."""
        if self._since_ns is None:
            self._since_ns = min(entry.since_ns for entry in self._entries)
        return self._since_ns

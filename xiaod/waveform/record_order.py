"""Records of one channel that wait for missing data before them, sorted by time.

Thousands of records of one sample each may wait, and the oldest and the newest are needed with every record. So each operation takes
constant time, or that of a heap.

>>> import numpy as np
>>> from xiaod.domain.types import Channel
>>> waiting = WaitingRecords()
>>> record = Segment(Channel("BW", "RJOB", "", "EHZ"), 2_000_000_000, 1.0, np.zeros(3, np.int32))
>>> waiting.add(record, delivery_ns=7)
>>> waiting.newest_ns, waiting.since_ns, len(waiting)
(5000000000, 7, 1)
>>> waiting.pop() is record, bool(waiting)
(True, False)
"""

from collections import deque
from heapq import heapify, heappop, heappush

from xiaod.domain.types import Segment

STALE = 64
"""So many entries of records that have left may stay in a heap or queue, besides half of it."""


class WaitingRecords:
    """Records sorted by the time of their first sample; those of one time in the order in which they came."""

    def __init__(self) -> None:
        self._added = 0
        self._by_start: list[tuple[int, int]] = []
        """Heap: time of the first sample, and number of the record in order of arrival."""
        self._by_end: list[tuple[int, int]] = []
        """Heap: negative time just after the last sample, and number; records that have left may still be in it."""
        self._since: deque[tuple[int, int]] = deque()
        """Number of each record and the delivery time since which it waits, likewise."""
        self.records: dict[int, Segment] = {}
        """Those that wait, by number."""

    def __len__(self) -> int:
        return len(self.records)

    def __bool__(self) -> bool:
        return bool(self.records)

    def add(self, segment: Segment, delivery_ns: int) -> None:
        """Take a record at a delivery time, which is not before that of any other."""
        self._added += 1
        self.records[self._added] = segment
        heappush(self._by_start, (segment.start_ns, self._added))
        heappush(self._by_end, (-segment.next_ns, self._added))
        self._since.append((self._added, delivery_ns))

    @property
    def first(self) -> Segment:
        """The oldest record; there must be one, here and below."""
        return self.records[self._by_start[0][1]]

    def pop(self) -> Segment:
        """Take the oldest record out."""
        segment = self.records.pop(heappop(self._by_start)[1])
        while self._by_end and self._by_end[0][1] not in self.records:
            heappop(self._by_end)
        while self._since and self._since[0][0] not in self.records:
            self._since.popleft()
        if len(self._by_end) > 2 * len(self.records) + STALE:
            self._by_end = [entry for entry in self._by_end if entry[1] in self.records]
            heapify(self._by_end)
        if len(self._since) > 2 * len(self.records) + STALE:
            self._since = deque(entry for entry in self._since if entry[0] in self.records)
        return segment

    @property
    def newest_ns(self) -> int:
        """Time just after the newest sample that waits."""
        return -self._by_end[0][0]

    @property
    def since_ns(self) -> int:
        """Delivery time since which the record waits that has waited longest."""
        return self._since[0][1]

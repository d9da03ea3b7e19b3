"""Which packets of a SeedLink server have come, and behind which of each station to go on: after a cut, and in a later run.

After a cut that is the last one; a later run needs more again, see :meth:`Places.resumable`. A server that numbers the packets of all
stations together begins a resumed subscription at the newest valid number, so it is asked with one number for all.

>>> places = Places({("BW", "RJOB"): (7, 100)})
>>> places.begins(("BW", "WETR"), sequence=9, start_ns=200)
(8, 200)
>>> places.passed(("BW", "WETR"), sequence=9, start_ns=200, next_ns=300)
>>> places.asked(limit_ns=None)
({('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (9, 200)}, [])
>>> places.resumable({})
{('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (8, 200)}
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xiaod.records import Positions

TRAIL = 2000
"""Packets of a station that are remembered, to go back to one of them: minutes of many channels."""
USELESS_S = 600.0
"""A packet that came so long before others that have been picked for good will give no pick any more."""
HALF_RANGE = 1 << 23
"""Sequence numbers wrap; of two, the one less than half the range behind is the older."""

Station = tuple[str, str]
"""Network and station."""
Place = tuple[int, int]
"""Sequence number and start time (ns) of a packet."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """A packet that was handed on."""

    place: Place
    next_ns: int
    """Time of the sample after its last one."""
    came_s: float
    """By the steady clock."""


class Places:
    """Places of all stations of one server; may be used from any thread."""

    def __init__(self, resume: Positions) -> None:
        """Begin where an earlier run has ended."""
        self.shared = False
        """Whether the server numbers all stations together."""
        self._lock = threading.Lock()
        self._newest: dict[Station, Place] = dict(resume)
        # What a later run may have to go back to.
        self._resumable = dict(self._newest)
        self._trails: dict[Station, deque[_Passed]] = {}
        self._picked_s = 0.0
        """When the newest packet came that has been picked for good."""
        self._last: Place | None = None
        """The last packet of all that came, on the newest connection that brought any."""

    @contextmanager
    def apart(self) -> Iterator[Place | None]:
        """Packets that come meanwhile come on a connection of their own: gives the last packet of the other, which stays that."""
        last = self._last
        try:
            yield last
        finally:
            self._last = last

    def newest(self) -> dict[Station, Place]:
        """Last packet of each station that was handed on."""
        with self._lock:
            return dict(self._newest)

    def knows(self, station: Station) -> bool:
        """Whether a later run knows where to begin."""
        return station in self._resumable

    def begins(self, station: Station, sequence: int, start_ns: int) -> Place:
        """The first packet of a station has come and is not handed on yet; where a later run begins, so that it comes again."""
        place = (sequence - 1) % (2 * HALF_RANGE), start_ns
        with self._lock:
            self._resumable[station] = place
        return place

    def passed(self, station: Station, sequence: int, start_ns: int, next_ns: int) -> None:
        """A packet has been handed on; ``next_ns`` is the time of the sample after its last one."""
        place = sequence, start_ns
        with self._lock:
            self._newest[station] = self._last = place
            trail = self._trails.setdefault(station, deque(maxlen=TRAIL))
            trail.append(_Passed(place, next_ns, time.monotonic()))

    def resumable(self, needed_ns: Mapping[Station, int]) -> dict[Station, Place]:
        """Packet of each station to go on behind so that everything that reaches beyond a time comes again.

        Args:
            needed_ns: that time, for each station; a station that is not in it keeps what it had.
        """
        with self._lock:
            for station, time_ns in needed_ns.items():
                trail = self._trails.get(station, deque())
                while trail and trail[0].next_ns <= time_ns:
                    passed = trail.popleft()
                    self._resumable[station] = passed.place
                    self._picked_s = max(self._picked_s, passed.came_s)
            if self.shared:
                self._catch_up()
            return dict(self._resumable)

    def asked(self, limit_ns: int | None) -> tuple[dict[Station, tuple[int | None, int]], list[str]]:
        """What to go on behind, and the stations of which something is left out because it is older than a time."""
        newest = self.newest()
        if not newest:
            return {}, []
        shared = (self._last or _oldest(list(newest.values()))) if self.shared else None
        asked: dict[Station, tuple[int | None, int]] = {}
        skipped = []
        for station, (sequence, time_ns) in newest.items():
            place: tuple[int | None, int] = (sequence, time_ns)
            if shared is not None:
                # A server that does not know the number goes by the oldest time: not by that of who has long been silent.
                place = (shared[0], max(time_ns, self._resumable[station][1]))
            if limit_ns is not None and (time_ns if shared is None else shared[1]) < limit_ns:
                place = (None, limit_ns)
                skipped.append(".".join(station))
            asked[station] = place
        if shared is not None and self._last is None:
            # All stations come again from there on: none may be gone on with behind what has come of the others.
            with self._lock:
                self._resumable = dict.fromkeys(self._resumable, shared)
        return asked, skipped

    def _catch_up(self) -> None:
        """A station that is silent, or that sends what cannot be picked, holds nobody back.

        Packets are picked in the order in which they came, and are numbered so: before a packet that has been picked for good none
        is left of a station that has nothing on the way.
        """
        for station, trail in self._trails.items():
            while trail and trail[0].came_s < self._picked_s - USELESS_S:
                self._resumable[station] = trail.popleft().place
        if going := [self._resumable[station] for station, trail in self._trails.items() if trail]:
            oldest = _oldest(going)
            self._resumable |= {
                station: oldest for station in self._resumable if not self._trails.get(station)
            }


def _oldest(places: Sequence[Place]) -> Place:
    """The place with the oldest sequence number, which may have wrapped."""
    origin = places[0][0]
    return min(places, key=lambda place: (place[0] - origin + HALF_RANGE) % (2 * HALF_RANGE))

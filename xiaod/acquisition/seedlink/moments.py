"""When a packet came: by the monotonic clock, by the amount of data so far, and by the time of its last sample.

A packet is abandoned, or a station silent, by the monotonic clock or by the amount of data, whichever is sooner. So a run of a few minutes
that catches up on hours of data abandons them too: its data come faster than real time.
"""

import time
from typing import NamedTuple

from xiaod.domain.resumption import ABANDONED_S
from xiaod.domain.timegrid import EARLIEST_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Segment, Station


class Moment(NamedTuple):
    """When a packet came."""

    came_s: float
    """By the monotonic clock."""
    streamed_s: float
    """By the amount of data: seconds of new data since this run began, of the station that had most."""
    edge_ns: int
    """Time of the sample after its last one, but not later than the host's when it came."""

    def is_abandoned(self, picked: "Moment") -> bool:
        """Whether it lies so far before a packet that has been picked that it will give no pick.

        A station may send data long after they were recorded, faster than real time. They show that others are silent only if they are
        later than the data of those.
        """
        if self.came_s < picked.came_s - ABANDONED_S:
            return True
        return (
            self.streamed_s < picked.streamed_s - ABANDONED_S
            and self.edge_ns < picked.edge_ns - ns_from_s(ABANDONED_S)
        )

    def or_later(self, other: "Moment") -> "Moment":
        """The later one by each clock."""
        return Moment(
            max(self.came_s, other.came_s),
            max(self.streamed_s, other.streamed_s),
            max(self.edge_ns, other.edge_ns),
        )

    def is_together(self, later: "Moment", within_s: float) -> bool:
        """Whether a later one is so near by both clocks."""
        return later.came_s - self.came_s < within_s and later.streamed_s - self.streamed_s < within_s


NEVER = Moment(float("-inf"), float("-inf"), EARLIEST_NS)


class StreamClock:
    """Counts how long this run lasts, by the monotonic clock and by the amount of data."""

    def __init__(self) -> None:
        self._streamed_s = 0.0
        self._begun_s: float | None = None
        """When the first packet came."""
        self._edges: dict[Station, tuple[int, float]] = {}
        """Of each station that has sent data: how far they reach, and the amount of data at which they came."""

    def moment(self, packet: Segment, next_ns: int) -> Moment:
        """When a packet comes whose next sample is due at a time; its data are counted."""
        station, now_s = packet.channel.station_codes, time.monotonic()
        start_ns, arrived_ns = packet.start_ns, packet.arrived_ns
        if self._begun_s is None:
            self._begun_s = now_s
        edge_ns, at_s = self._edges.get(station) or (next_ns, self._streamed_s)
        if next_ns < edge_ns and next_ns < edge_ns - ns_from_s(ABANDONED_S):
            # The clock of the station was set back, or was wrong for a moment.
            edge_ns = start_ns
        if (new_ns := next_ns - max(edge_ns, start_ns)) > 0:
            # New data take at least as long as they are, whatever gap lies before them.
            self._streamed_s = max(self._streamed_s, at_s + new_ns / NS_PER_S)
            edge_ns = next_ns
        self._edges[station] = edge_ns, self._streamed_s
        return Moment(now_s, self._streamed_s, next_ns if arrived_ns is None else min(next_ns, arrived_ns))

    def now(self, edge_ns: int) -> Moment:
        """The present moment, for data that end at a time."""
        return Moment(time.monotonic(), self._streamed_s, edge_ns)

    def lasts_s(self) -> float:
        """For how long packets have come, by the clock that is further; 0 before the first."""
        return 0.0 if self._begun_s is None else max(time.monotonic() - self._begun_s, self._streamed_s)

    def has_sent(self, station: Station) -> bool:
        """Whether a station has sent anything in this run."""
        return station in self._edges

    @property
    def newest_ns(self) -> int:
        """Time just after the newest sample of any station; there must be one."""
        return max(edge_ns for edge_ns, _ in self._edges.values())

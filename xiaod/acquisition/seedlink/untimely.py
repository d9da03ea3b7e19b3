"""Untimely packets: those refused because the host's clock, which may be wrong, shows another time. Where to go back to once it is set.

They hold back the position of their station. Packets that come within :data:`GROUP_S` are one group, so that a high rate of them takes no
more memory.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from xiaod.acquisition.seedlink.moments import Moment
from xiaod.acquisition.seedlink.sequence import NOTHING, is_after
from xiaod.domain.types import Position, Station

GROUP_S = 60.0
GROUPS = 30
"""At most so many groups of a station: longer than a packet takes to be picked or abandoned."""


@dataclass(slots=True)
class _Group:
    """Refused packets of a station that came together. An offset is host time minus monotonic time."""

    position: Position
    """To go on after, so that all of them come again."""
    begun: Moment
    """When the first came."""
    moment: Moment
    """When the last came."""
    forth_ns: int | None = None
    """At this offset or a greater one, some of them would have been accepted, ..."""
    back_ns: int | None = None
    """... and some at this one or a smaller one."""

    def add(self, moment: Moment, forth_ns: int | None, back_ns: int | None) -> None:
        """Take more of them."""
        self.moment = self.moment.or_later(moment)
        if forth_ns is not None:
            self.forth_ns = forth_ns if self.forth_ns is None else min(forth_ns, self.forth_ns)
        if back_ns is not None:
            self.back_ns = back_ns if self.back_ns is None else max(back_ns, self.back_ns)

    def is_right_at(self, offset_ns: int) -> bool:
        """Whether some of them would have been accepted at this offset."""
        return (self.forth_ns is not None and offset_ns >= self.forth_ns) or (
            self.back_ns is not None and offset_ns <= self.back_ns
        )


class UntimelyPackets:
    """Refused packets of all stations of one server."""

    def __init__(self) -> None:
        self._groups: dict[Station, deque[_Group]] = {}

    @property
    def stations(self) -> Collection[Station]:
        """Stations whose position is held back."""
        return self._groups.keys()

    def add(self, station: Station, position: Position, moment: Moment, needed_ns: int, forth: bool) -> None:
        """Packets after a position are refused until the clock is set to an offset or further, forward or back."""
        offsets = (needed_ns, None) if forth else (None, needed_ns)
        groups = self._groups.setdefault(station, deque())
        if groups and groups[-1].begun.is_together(moment, GROUP_S):
            groups[-1].add(moment, *offsets)
            return
        groups.append(_Group(position, moment, moment, *offsets))
        if len(groups) > GROUPS:
            # The first ones came so long ago that they hold nothing back once anything is picked.
            first, second = groups.popleft(), groups[0]
            first.add(second.moment, second.forth_ns, second.back_ns)
            groups[0] = first

    def hold(self, station: Station, position: Position) -> bool:
        """Whether the position of a station must stay before a packet."""
        if (groups := self._groups.get(station)) is None:
            return False
        return groups[0].position[0] == NOTHING or is_after(position[0], groups[0].position[0])

    def forget_abandoned(self, station: Station, picked: Moment) -> Iterator[Position]:
        """Forget groups that lie too far before a packet that has been picked; after each of them, the position of the next group."""
        groups = self._groups.get(station)
        while groups and groups[0].moment.is_abandoned(picked):
            groups.popleft()
            if groups:
                yield groups[0].position
        if groups is not None and not groups:
            del self._groups[station]

    def take_right(self, offset_ns: int) -> dict[Station, Position]:
        """Stations of which some packets would be accepted at this offset, and where to go back to; they are no longer held back."""
        right = {
            station: group.position
            for station, groups in self._groups.items()
            for group in reversed(groups)
            if group.is_right_at(offset_ns)
        }
        for station in right:
            del self._groups[station]
        return right

    def forget(self, station: Station) -> None:
        """A station has gone."""
        self._groups.pop(station, None)

"""Which packets of a SeedLink server have come, and behind which of each station to go on: after a cut, and in a later run.

After a cut that is the last one; a later run needs more again, see :meth:`Places.resumable`. A server that numbers the packets of all
stations together begins a resumed subscription at the newest valid number, so it is asked with one number for all: the oldest. What
then comes of stations that are further on, up to where each of them is, has come before and is not handed on again.

**What moves a place on.** Only a packet that was used, or refused for good. What was refused because of the host's clock may have been
right, and the clock wrong: it holds the place of its station

- until the clock is set so that it would have been taken: then the source goes back to it and asks again (:meth:`Places.asks_again`);
- or until packets that came :data:`ABANDONED_S` later have been picked for good: then the clock was right. So a station that dates its
  data 2100 holds a server, of which other stations are picked, for ten minutes; a wrong clock, under which nothing is picked, for as
  long as it is wrong.

**Who is silent** holds nobody back for longer than that either: its last packets are needed, should it go on, until others are so much
further. That is counted by the steady clock or by what the stream itself has brought, whichever is sooner, so that runs of minutes get
there too, and what was reached is in the store: the next run begins with the place of each station, and without those of whom nothing
has to come again (:data:`NOTHING`).

>>> import numpy as np
>>> from xiaod.domain.types import Channel
>>> def packet(station, sequence, start_s):
...     samples = np.zeros(1000, np.int32)
...     return Segment(Channel("BW", station, "", "EHZ"), start_s * NS_PER_S, 100.0, samples, sequence=sequence)
>>> places = Places({("BW", "RJOB"): (7, 100)})
>>> first = packet("WETR", 9, start_s=20)
>>> places.begins(first)
(8, 20000000000)
>>> places.passed(first)
>>> places.asked(limit_ns=None)
({('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (9, 20000000000)}, [])
>>> places.resumable({})
{('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (8, 20000000000)}
>>> places.resumable({("BW", "WETR"): 30 * NS_PER_S})["BW", "WETR"]
(9, 20000000000)
"""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from xiaod.domain.resumption import ABANDONED_S, GONE_S
from xiaod.domain.seedlink import HALF_RANGE, SEQUENCE_MODULUS
from xiaod.domain.timegrid import EARLIEST_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Segment, StationPositions
from xiaod.process import host_clock

SINGLE = 128
"""Packets of a station that are remembered one by one, to go back to one of them: minutes of three channels."""
GROUP_S = 1.0
"""Of more, those that come within this time are remembered together, so that no rate of packets takes more memory."""
TRAIL = 2000
"""So many of both are remembered at most."""
HELD_S = 60.0
HELD = 30
"""What was refused because of the host's clock within so many seconds is remembered together, and so many of these: for longer
than :data:`ABANDONED_S` and what is on its way to be picked take together."""
NOTHING = -1
"""In place of a sequence number: nothing of the station has to come again. The time is that of its last packet."""

Station = tuple[str, str]
"""Network and station."""
Place = tuple[int, int]
"""Sequence number and start time (ns) of a packet."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a packet came."""

    came_s: float
    """By the steady clock."""
    streamed_s: float
    """By the stream: seconds of new data that have come, of whichever station had most, since the beginning of this run."""
    edge_ns: int
    """Time of the sample after its last one, but not later than the host's when it came."""

    def is_abandoned(self, picked: "_Moment") -> bool:
        """Whether it lies so long before one that has been picked for good that it will give no pick any more.

        What a station sends long after it was recorded streams faster than time goes: it tells of the silence of others
        only where it is later than their data.
        """
        if self.came_s < picked.came_s - ABANDONED_S:
            return True
        return (
            self.streamed_s < picked.streamed_s - ABANDONED_S
            and self.edge_ns < picked.edge_ns - ns_from_s(ABANDONED_S)
        )

    def or_later(self, other: "_Moment") -> "_Moment":
        """The later one by each clock."""
        return _Moment(
            max(self.came_s, other.came_s),
            max(self.streamed_s, other.streamed_s),
            max(self.edge_ns, other.edge_ns),
        )


NEVER = _Moment(float("-inf"), float("-inf"), EARLIEST_NS)


@dataclass(slots=True)
class _Passed:
    """Packets of a station that were used, and came together."""

    place: Place
    """The last of them."""
    next_ns: int
    """Time of the sample after their last one."""
    moment: _Moment
    """When the first came."""


@dataclass(slots=True)
class _Held:
    """Packets of a station that were refused because of the host's clock. An offset is host time minus steady time."""

    place: Place
    """To go on behind, so that all of them come again."""
    begun: _Moment
    """When the first came."""
    moment: _Moment
    """When the last came."""
    forth_ns: int | None = None
    """From this offset on some of them would have been taken, ..."""
    back_ns: int | None = None
    """... and some up to this one."""

    def add(self, moment: _Moment, forth_ns: int | None, back_ns: int | None) -> None:
        """Take more of them."""
        self.moment = self.moment.or_later(moment)
        if forth_ns is not None:
            self.forth_ns = forth_ns if self.forth_ns is None else min(forth_ns, self.forth_ns)
        if back_ns is not None:
            self.back_ns = back_ns if self.back_ns is None else max(back_ns, self.back_ns)

    def is_right_at(self, offset_ns: int) -> bool:
        """Whether some of them would have been taken at this offset."""
        return (self.forth_ns is not None and offset_ns >= self.forth_ns) or (
            self.back_ns is not None and offset_ns <= self.back_ns
        )


class Places:
    """Places of all stations of one server; may be used from any thread."""

    def __init__(self, resume: StationPositions, lasting: bool = True) -> None:
        """Begin where an earlier run has ended.

        Args:
            resume: places of that run.
            lasting: whether a later run will be told where this one stood, by :meth:`resumable`; else nothing is kept for it.
        """
        self.shared = False
        """Whether the server numbers all stations together."""
        self._lasting = lasting
        self._lock = threading.Lock()
        self._newest: dict[Station, Place] = dict(resume)
        # What a later run may have to go back to.
        self._resumable = dict(self._newest)
        self._trails: dict[Station, deque[_Passed]] = {}
        self._held: dict[Station, deque[_Held]] = {}
        self._had: dict[Station, Place] = {}
        """Stations of which what comes now, up to this packet, has come before."""
        self._goes_back = False
        """Whether the next connection begins before what has come."""
        self._picked = NEVER
        """When the newest packet came that has been picked for good."""
        self._last: Place | None = None
        """The last packet of all that came, on the newest connection that brought any."""
        self._edges: dict[Station, tuple[int, float]] = {}
        """Of each station that has sent something in this run: how far its data reach, and when that came by the stream."""
        self._streamed_s = 0.0
        self._begun_s: float | None = None
        """When the first packet came."""
        self._offset_ns = host_clock.offset_ns()
        """Host time minus steady time, when last looked at."""
        self._listed: frozenset[Station] = frozenset()
        self._gone: set[Station] = set()

    @contextmanager
    def apart(self) -> Iterator[Place | None]:
        """Packets that come meanwhile come on a connection of their own: gives the last packet of the other, which stays that."""
        last = self._last
        try:
            yield last
        finally:
            if not self._goes_back:
                self._last = last

    def newest(self) -> dict[Station, Place]:
        """Last packet of each station that was handed on."""
        with self._lock:
            return dict(self._newest)

    def knows(self, station: Station) -> bool:
        """Whether a later run knows where to begin."""
        return station in self._resumable

    def begins(self, packet: Segment) -> Place:
        """The first packet of a station has come and is not handed on yet; where a later run begins, so that it comes again."""
        place = _before(packet)
        with self._lock:
            self._resumable[_station_of(packet)] = place
        return place

    def has_come(self, packet: Segment) -> bool:
        """Whether a packet has come before, and comes again only because others had to: it is not to be handed on."""
        station, (sequence, start_ns) = _station_of(packet), _place_of(packet)
        with self._lock:
            had = self._had.get(station)
            if had is None:
                return False
            if _is_after(sequence, had[0]):
                del self._had[station]
                return False
            if start_ns > had[1]:
                # Not what had that number then. Much later, it shows that the server counts anew.
                if start_ns > had[1] + ns_from_s(ABANDONED_S):
                    del self._had[station]
                return False
            self._last = sequence, start_ns
            self._picked = self._picked.or_later(self._moment(packet))
            return True

    def passed(self, packet: Segment) -> None:
        """A packet has been handed on, and will be used or refused for good."""
        with self._lock:
            moment = self._came(packet)
            if not self._lasting:
                self._picked = self._picked.or_later(moment)
                return
            trail = self._trails.setdefault(_station_of(packet), deque(maxlen=TRAIL))
            if len(trail) >= SINGLE and _is_together(trail[-1].moment, moment, GROUP_S):
                trail[-1].place = _place_of(packet)
                trail[-1].next_ns = max(trail[-1].next_ns, packet.next_ns)
            else:
                trail.append(_Passed(_place_of(packet), packet.next_ns, moment))

    def refused(self, packet: Segment, correction_ns: int, offset_ns: int) -> None:
        """A packet is about to be handed on that will be refused because of the host's clock.

        Args:
            packet: it.
            correction_ns: see :meth:`xiaod.domain.timeliness.TimeLimits.correction_ns`.
            offset_ns: host time minus steady time when it came.
        """
        station = _station_of(packet)
        with self._lock:
            # A server takes a number only with the time of its packet, whosever that is.
            behind = self._last if self.shared else self._newest.get(station)
            if behind is None or behind[0] == NOTHING or not _is_after(_place_of(packet)[0], behind[0]):
                behind = _before(packet)
            self._hold(station, behind, self._came(packet), offset_ns + correction_ns, correction_ns > 0)

    def asks_again(self) -> bool:
        """Whether to connect anew, because the host's clock was set and something that it had refused may have been right.

        Then the next :meth:`asked` goes back to it.
        """
        offset_ns = host_clock.offset_ns()
        if abs(offset_ns - self._offset_ns) < host_clock.SET_NS:
            return False
        with self._lock:
            self._offset_ns = offset_ns
            self._release(self._held, self._picked)
            right = {
                station: group.place
                for station, held in self._held.items()
                for group in reversed(held)
                if group.is_right_at(offset_ns)
            }
            for station, place in right.items():
                self._goes_back = True
                del self._held[station]
                self._go_back(station, place)
            return bool(right)

    def ask_from(self, station: Station, place: Place) -> None:
        """The next :meth:`asked` goes back behind a packet of a station, and what then comes of that station is handed on again."""
        with self._lock:
            self._goes_back = True
            self._go_back(station, place)

    def resumable(self, needed_ns: Mapping[Station, int]) -> dict[Station, Place]:
        """Packet of each station to go on behind so that everything that reaches beyond a time comes again.

        Args:
            needed_ns: that time, for each station; a station that is not in it keeps what it had.
        """
        with self._lock:
            for station, time_ns in needed_ns.items():
                picked = self._advance(station, time_ns)
                if self.shared:
                    self._picked = self._picked.or_later(picked)
                else:
                    self._release([station], picked)
            if self.shared:
                self._release(self._trails.keys() | self._held.keys(), self._picked)
                self._settle()
            self._forget()
            return dict(self._resumable)

    def listed(self, stations: Collection[Station]) -> None:
        """The server lists these stations; none: it does not tell."""
        with self._lock:
            self._listed = frozenset(stations)

    def gone(self) -> set[Station]:
        """Stations that have been forgotten since last asked."""
        with self._lock:
            gone, self._gone = self._gone, set()
            return gone

    def asked(self, limit_ns: int | None) -> tuple[dict[Station, tuple[int | None, int]], list[str]]:
        """What to go on behind, and the stations of which something is left out because it is older than a time."""
        with self._lock:
            numbered = {station: place for station, place in self._newest.items() if place[0] != NOTHING}
            shared = (self._last or _oldest(numbered.values())) if self.shared else None
            needed = [place[1] for place in self._resumable.values() if place[0] != NOTHING]
            asked: dict[Station, tuple[int | None, int]] = {}
            skipped = []
            for station, (sequence, time_ns) in self._newest.items():
                place: tuple[int | None, int] = (None if sequence == NOTHING else sequence, time_ns)
                if shared is not None:
                    # A server that does not know the number goes by the oldest time: not by that of who has long been silent.
                    number, needed_ns = self._resumable[station]
                    silent = number == NOTHING and needed
                    later_ns = max(time_ns, min(needed) if silent else needed_ns)
                    place = (shared[0], shared[1] if sequence == shared[0] else later_ns)
                begin_ns = time_ns if shared is None else shared[1]
                if limit_ns is not None and begin_ns < limit_ns:
                    place = (None, limit_ns)
                    skipped.append(".".join(station))
                    self._skip(station, begin_ns - limit_ns)
                asked[station] = place
            if shared is not None and (self._goes_back or self._last is None):
                self._goes_back = False
                self._had |= {
                    station: place for station, place in numbered.items() if _is_after(place[0], shared[0])
                }
            return asked, skipped

    def _came(self, packet: Segment) -> _Moment:
        """A packet has come for the first time."""
        station = _station_of(packet)
        self._newest[station] = self._last = _place_of(packet)
        if self._resumable.get(station, (NOTHING, 0))[0] == NOTHING:
            self._resumable[station] = _before(packet)
        return self._moment(packet)

    def _moment(self, packet: Segment) -> _Moment:
        """When a packet comes; the clock of the stream goes on by it."""
        station, now_s = _station_of(packet), time.monotonic()
        start_ns, next_ns, arrived_ns = packet.start_ns, packet.next_ns, packet.arrived_ns
        if self._begun_s is None:
            self._begun_s = now_s
        edge_ns, at_s = self._edges.get(station, (next_ns, self._streamed_s))
        if next_ns < edge_ns - ns_from_s(ABANDONED_S):
            # Its clock was set back, or was wrong for a moment.
            edge_ns = start_ns
        if (new_ns := next_ns - max(edge_ns, start_ns)) > 0:
            # New data take at least as long as they are, whatever gap lies before them.
            self._streamed_s = max(self._streamed_s, at_s + new_ns / NS_PER_S)
        self._edges[station] = max(edge_ns, next_ns), self._streamed_s
        return _Moment(now_s, self._streamed_s, next_ns if arrived_ns is None else min(next_ns, arrived_ns))

    def _advance(self, station: Station, time_ns: int) -> _Moment:
        """Move a station's place on to what reaches beyond a time; when the newest came of what does not."""
        picked = NEVER
        trail = self._trails.get(station)
        while trail and trail[0].next_ns <= time_ns and not self._is_held(station, trail[0].place):
            passed = trail.popleft()
            self._resumable[station] = passed.place
            picked = picked.or_later(passed.moment)
        if trail and trail[0].moment.is_abandoned(trail[-1].moment):
            # Packets in front that are not picked for good hold those behind, but for so long only.
            for passed in trail:
                if passed.next_ns <= time_ns:
                    picked = picked.or_later(passed.moment)
        return picked

    def _release(self, stations: Collection[Station], picked: _Moment) -> None:
        """Let go of what is useless, by when the newest packet came that has been picked for good."""
        for station in list(stations):
            held, trail = self._held.get(station), self._trails.get(station)
            while held and held[0].moment.is_abandoned(picked):
                held.popleft()
                if (
                    held
                    and held[0].place[0] != NOTHING
                    and not (trail and not self._is_held(station, trail[0].place))
                ):
                    self._resumable[station] = held[0].place
            if held is not None and not held:
                del self._held[station]
            while (
                trail and trail[0].moment.is_abandoned(picked) and not self._is_held(station, trail[0].place)
            ):
                self._resumable[station] = trail.popleft().place

    def _is_held(self, station: Station, place: Place) -> bool:
        """Whether a station must not be gone on with behind a packet."""
        if (held := self._held.get(station)) is None:
            return False
        return held[0].place[0] == NOTHING or _is_after(place[0], held[0].place[0])

    def _settle(self) -> None:
        """Stations of which nothing that has come is on its way: nobody has to go back for them."""
        if self._last is None:
            return
        last = self._last[0]
        on_their_way = {station for station, trail in self._trails.items() if trail} | self._held.keys()
        # A later run must begin before that, else what is on its way and has not come in this run is lost.
        begins = [self._resumable[station][0] for station in on_their_way]
        if not any(number != NOTHING and not _is_after(number, last) for number in begins):
            return
        for station, place in self._resumable.items():
            if station not in on_their_way and place[0] != NOTHING and not _is_after(place[0], last):
                self._resumable[station] = NOTHING, self._newest.get(station, place)[1]

    def _forget(self) -> None:
        """Forget who is not listed any more and has sent nothing for long: else it would be asked for at each start, for ever."""
        if not self._listed or self._begun_s is None:
            return
        if max(time.monotonic() - self._begun_s, self._streamed_s) < ABANDONED_S:
            return
        newest_ns = max(edge_ns for edge_ns, _ in self._edges.values())
        before_ns = min(newest_ns, time.time_ns()) - ns_from_s(GONE_S)
        for station, place in list(self._newest.items()):
            if station not in self._edges and station not in self._listed and place[1] < before_ns:
                del self._newest[station]
                self._resumable.pop(station, None)
                self._held.pop(station, None)
                self._had.pop(station, None)
                self._gone.add(station)

    def _skip(self, station: Station, correction_ns: int) -> None:
        """What lies behind the place of a station is not asked for, because it is too old by the host's clock."""
        place = self._newest[station]
        moment = _Moment(time.monotonic(), self._streamed_s, place[1])
        self._hold(station, place, moment, host_clock.offset_ns() + correction_ns, correction_ns > 0)

    def _hold(self, station: Station, place: Place, moment: _Moment, needed_ns: int, forth: bool) -> None:
        """Hold a station at a place, until the clock has been set at least to an offset, forth or back."""
        offsets = (needed_ns, None) if forth else (None, needed_ns)
        held = self._held.setdefault(station, deque())
        if held and _is_together(held[-1].begun, moment, HELD_S):
            held[-1].add(moment, *offsets)
            return
        held.append(_Held(place, moment, moment, *offsets))
        if len(held) > HELD:
            # Those in front came so long ago that they hold nobody once anything is picked.
            first, second = held.popleft(), held[0]
            first.add(second.moment, second.forth_ns, second.back_ns)
            held[0] = first

    def _go_back(self, station: Station, place: Place) -> None:
        """The next connection begins again behind a packet of a station."""
        self._newest[station] = place
        trail = self._trails.get(station)
        while trail and (place[0] == NOTHING or _is_after(trail[-1].place[0], place[0])):
            trail.pop()
        if place[0] != NOTHING:
            self._last = _oldest([place] if self._last is None else [place, self._last])


def _station_of(packet: Segment) -> Station:
    return packet.channel.network, packet.channel.station


def _place_of(packet: Segment) -> Place:
    return packet.sequence or 0, packet.start_ns


def _before(packet: Segment) -> Place:
    """The place to go on behind so that a packet comes again."""
    return ((packet.sequence or 0) - 1) % SEQUENCE_MODULUS, packet.start_ns


def _is_together(one: _Moment, other: _Moment, within_s: float) -> bool:
    return other.came_s - one.came_s < within_s and other.streamed_s - one.streamed_s < within_s


def _is_after(sequence: int, other: int) -> bool:
    """Whether a sequence number comes after another one."""
    return 0 < (sequence - other) % SEQUENCE_MODULUS <= HALF_RANGE


def _oldest(places: Iterable[Place]) -> Place | None:
    """The place with the oldest sequence number; None when there is none."""
    found: Place | None = None
    for place in places:
        if found is None or _is_after(found[0], place[0]):
            found = place
    return found

"""Which packets of a SeedLink server have come, and after which packet of each station to go on after a cut or in a later run.

After a cut of the connection that is the last packet. A later run needs earlier packets again: see :meth:`Positions.resumable`, and the
time-line in :mod:`xiaod.domain.resumption`. Some servers number the packets of all stations together, and begin all resumed subscriptions
at the newest of the numbers. They get one number for all stations, the oldest; packets that then come a second time are dropped.

**A position moves on** only with a packet that was used, or refused permanently. A packet that the host's clock refused may be right, and
the clock wrong. So it holds back the position of its station

- until the clock is set so that the packet would have been accepted: the source goes back to it and requests it again
  (:meth:`Positions.asks_again`);
- or until packets that came :data:`~xiaod.domain.resumption.ABANDONED_S` later have been picked: then the clock was right. A station
  that dates its data 2100 thus holds back its server for ten minutes. A wrong clock of the host, under which nothing is picked, holds it
  back as long as it is wrong.

**A silent station** holds nothing back for longer than that either (:mod:`xiaod.acquisition.seedlink.moments`). The store keeps these
positions: the next run begins with that of each station, except stations of which nothing has to come again
(:data:`~xiaod.acquisition.seedlink.sequence.NOTHING`).

>>> import numpy as np
>>> from xiaod.domain.timegrid import NS_PER_S
>>> from xiaod.domain.types import Channel
>>> def packet(station, sequence, start_s):
...     samples = np.zeros(1000, np.int32)
...     return Segment(Channel("BW", station, "", "EHZ"), start_s * NS_PER_S, 100.0, samples, sequence=sequence)
>>> positions = Positions({("BW", "RJOB"): (7, 100)})
>>> first = packet("WETR", 9, start_s=20)
>>> positions.begins(first)
(8, 20000000000)
>>> positions.passed(first)
>>> positions.asked(limit_ns=None)
({('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (9, 20000000000)}, [])
>>> positions.resumable({})
{('BW', 'RJOB'): (7, 100), ('BW', 'WETR'): (8, 20000000000)}
>>> positions.resumable({("BW", "WETR"): 30 * NS_PER_S})["BW", "WETR"]
(9, 20000000000)
"""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from xiaod.acquisition.seedlink.moments import NEVER, Moment, StreamClock
from xiaod.acquisition.seedlink.passed import PassedPackets
from xiaod.acquisition.seedlink.sequence import NOTHING, before, is_after, oldest, position_of, station_of
from xiaod.acquisition.seedlink.untimely import UntimelyPackets
from xiaod.domain.resumption import ABANDONED_S, GONE_S
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Position, Segment, Station, StationPositions
from xiaod.process import host_clock

SINGLE_PACKETS = 128
"""So many packets of a station are remembered one by one: minutes of three channels."""
GROUP_S = 1.0
"""Of more, those that come within this time are one group, so that no rate of packets takes more memory."""
GROUPS = 2000
"""At most so many packets and groups of a station: longer than a packet takes to be picked or abandoned."""


class Positions:
    """Positions of all stations of one server; may be used from any thread."""

    def __init__(self, resume: StationPositions, lasting: bool = True) -> None:
        """Begin where an earlier run has ended.

        Args:
            resume: positions of that run.
            lasting: whether a later run goes on after this one (:meth:`resumable`); otherwise nothing is kept for it.
        """
        self.shared = False
        """Whether the server numbers all stations together."""
        self._lasting = lasting
        self._lock = threading.Lock()
        self._newest: dict[Station, Position] = dict(resume)
        # The positions for a later run.
        self._resumable = dict(self._newest)
        self._passed: dict[Station, PassedPackets] = {}
        self._untimely = UntimelyPackets()
        self._had: dict[Station, Position] = {}
        """Stations whose packets, up to this one, come again."""
        self._goes_back = False
        """Whether the next connection begins before packets that have come."""
        self._picked = NEVER
        """When the newest packet came that has been picked."""
        self._last: Position | None = None
        """The last packet of any station, on the newest connection that brought one."""
        self._clock = StreamClock()
        self._offset_ns = host_clock.offset_ns()
        """Host time minus monotonic time, when last looked at."""
        self._listed: frozenset[Station] = frozenset()
        self._gone: set[Station] = set()

    @contextmanager
    def on_second_connection(self) -> Iterator[Position | None]:
        """Packets that come meanwhile are on another connection; yields the last packet of the main one, which does not change."""
        last = self._last
        try:
            yield last
        finally:
            if not self._goes_back:
                self._last = last

    def newest(self) -> dict[Station, Position]:
        """Last packet of each station that was handed on."""
        with self._lock:
            return dict(self._newest)

    def knows(self, station: Station) -> bool:
        """Whether a later run knows where to begin."""
        return station in self._resumable

    def begins(self, packet: Segment) -> Position:
        """The first packet of a station has come, and is not handed on yet; the position from which a later run gets it again."""
        position = before(packet)
        with self._lock:
            self._resumable[station_of(packet)] = position
        return position

    def has_come(self, packet: Segment) -> bool:
        """Whether a packet has come before, and comes again only because those of others had to: it is not handed on."""
        if not self._had:
            return False
        station, (sequence, start_ns) = station_of(packet), position_of(packet)
        with self._lock:
            had = self._had.get(station)
            if had is None:
                return False
            if is_after(sequence, had[0]):
                del self._had[station]
                return False
            if start_ns > had[1]:
                # Another packet than the one that had this number. Much later, it shows that the server counts anew.
                if start_ns > had[1] + ns_from_s(ABANDONED_S):
                    del self._had[station]
                return False
            self._last = sequence, start_ns
            self._picked = self._picked.or_later(self._clock.moment(packet, packet.next_ns))
            return True

    def passed(self, packet: Segment) -> None:
        """A packet has been handed on, and will be used or refused permanently."""
        station, next_ns = packet.channel.station_codes, packet.next_ns
        with self._lock:
            moment = self._came(packet, next_ns)
            if not self._lasting:
                self._picked = self._picked.or_later(moment)
                return
            if (groups := self._passed.get(station)) is None:
                groups = self._passed[station] = PassedPackets(GROUPS)
            if len(groups) >= SINGLE_PACKETS and groups[-1].moment.is_together(moment, GROUP_S):
                last = groups.pop()
                moment, next_ns = last.moment, max(last.next_ns, next_ns)
            groups.append(position_of(packet), next_ns, moment)

    def refused(self, packet: Segment, correction_ns: int, offset_ns: int) -> None:
        """A packet that the host's clock refuses is about to be handed on.

        Args:
            packet: the packet.
            correction_ns: see :meth:`xiaod.domain.timeliness.TimeLimits.correction_ns`.
            offset_ns: host time minus monotonic time when it came.
        """
        station = station_of(packet)
        with self._lock:
            # A server accepts a number only with the time of its packet, of whatever station that is.
            last = self._last if self.shared else self._newest.get(station)
            if last is None or last[0] == NOTHING or not is_after(position_of(packet)[0], last[0]):
                last = before(packet)
            self._untimely.add(
                station,
                last,
                self._came(packet, packet.next_ns),
                offset_ns + correction_ns,
                correction_ns > 0,
            )

    def asks_again(self, offset_ns: int | None = None) -> bool:
        """Whether to connect anew, because the host's clock was set, and packets that it had refused may be right.

        The next :meth:`asked` then goes back to them.

        Args:
            offset_ns: host time minus monotonic time; None: as it is now.
        """
        if offset_ns is None:
            offset_ns = host_clock.offset_ns()
        if abs(offset_ns - self._offset_ns) < host_clock.SET_NS:
            return False
        with self._lock:
            self._offset_ns = offset_ns
            self._release(self._untimely.stations, self._picked)
            right = self._untimely.take_right(offset_ns)
            for station, position in right.items():
                self._goes_back = True
                self._go_back(station, position)
            return bool(right)

    def ask_from(self, station: Station, position: Position) -> None:
        """The next :meth:`asked` goes back to the time after a packet of a station, and packets of that station are handed on again."""
        with self._lock:
            self._goes_back = True
            self._go_back(station, position)

    def resumable(self, needed_ns: Mapping[Station, int]) -> dict[Station, Position]:
        """Position of each station from which all packets that reach beyond a time come again.

        Args:
            needed_ns: that time for each station; the position of other stations does not change.
        """
        with self._lock:
            for station, time_ns in needed_ns.items():
                picked = self._advance(station, time_ns)
                if self.shared:
                    self._picked = self._picked.or_later(picked)
                else:
                    self._release([station], picked)
            if self.shared:
                self._release({*self._passed, *self._untimely.stations}, self._picked)
                self._mark_idle()
            self._forget()
            return dict(self._resumable)

    def listed(self, stations: Collection[Station]) -> None:
        """The server lists these stations; empty: it gives no list."""
        with self._lock:
            self._listed = frozenset(stations)

    def gone(self) -> set[Station]:
        """Stations that were forgotten since the last call."""
        with self._lock:
            gone, self._gone = self._gone, set()
            return gone

    def asked(self, limit_ns: int | None) -> tuple[dict[Station, tuple[int | None, int]], list[str]]:
        """Where to begin with each station on a new connection, and the stations whose data older than a time are left out."""
        with self._lock:
            numbered = {
                station: position for station, position in self._newest.items() if position[0] != NOTHING
            }
            shared = (self._last or oldest(numbered.values())) if self.shared else None
            needed = [position[1] for position in self._resumable.values() if position[0] != NOTHING]
            asked: dict[Station, tuple[int | None, int]] = {}
            skipped = []
            for station, (sequence, time_ns) in self._newest.items():
                position: tuple[int | None, int] = (None if sequence == NOTHING else sequence, time_ns)
                if shared is not None:
                    # A server that does not know the number begins at the oldest time: not at that of a station long silent.
                    number, needed_ns = self._resumable[station]
                    silent = number == NOTHING and needed
                    later_ns = max(time_ns, min(needed) if silent else needed_ns)
                    position = (shared[0], shared[1] if sequence == shared[0] else later_ns)
                begin_ns = time_ns if shared is None else shared[1]
                if limit_ns is not None and begin_ns < limit_ns:
                    position = (None, limit_ns)
                    skipped.append(".".join(station))
                    self._skip(station, begin_ns - limit_ns)
                asked[station] = position
            if shared is not None and (self._goes_back or self._last is None):
                self._goes_back = False
                self._had |= {
                    station: position
                    for station, position in numbered.items()
                    if is_after(position[0], shared[0])
                }
            return asked, skipped

    def _came(self, packet: Segment, next_ns: int) -> Moment:
        """A packet has come for the first time."""
        station = packet.channel.station_codes
        self._newest[station] = self._last = position_of(packet)
        position = self._resumable.get(station)
        if position is None or position[0] == NOTHING:
            self._resumable[station] = before(packet)
        return self._clock.moment(packet, next_ns)

    def _advance(self, station: Station, time_ns: int) -> Moment:
        """Move a station's position on to what reaches beyond a time; when the newest came of what does not."""
        picked = NEVER
        groups = self._passed.get(station)
        while (
            groups and groups[0].next_ns <= time_ns and not self._untimely.hold(station, groups[0].position)
        ):
            passed = groups.popleft()
            self._resumable[station] = passed.position
            picked = picked.or_later(passed.moment)
        if groups and groups[0].moment.is_abandoned(groups[-1].moment):
            # Packets in front that are not picked hold back those after them, but only for so long.
            for passed in groups:
                if passed.next_ns <= time_ns:
                    picked = picked.or_later(passed.moment)
        return picked

    def _release(self, stations: Collection[Station], picked: Moment) -> None:
        """Forget packets that are abandoned, by when the newest packet came that has been picked."""
        for station in list(stations):
            groups = self._passed.get(station)
            for position in self._untimely.forget_abandoned(station, picked):
                if position[0] != NOTHING and not (
                    groups and not self._untimely.hold(station, groups[0].position)
                ):
                    self._resumable[station] = position
            while (
                groups
                and groups[0].moment.is_abandoned(picked)
                and not self._untimely.hold(station, groups[0].position)
            ):
                self._resumable[station] = groups.popleft().position

    def _mark_idle(self) -> None:
        """Mark stations without packets that wait to be picked: nothing of them has to come again."""
        if self._last is None:
            return
        last = self._last[0]
        on_their_way = {station for station, groups in self._passed.items() if groups}
        on_their_way.update(self._untimely.stations)
        # A later run must begin before that; otherwise packets that have not come in this run would be lost.
        begins = [self._resumable[station][0] for station in on_their_way]
        if not any(number != NOTHING and not is_after(number, last) for number in begins):
            return
        for station, position in self._resumable.items():
            if station not in on_their_way and position[0] != NOTHING and not is_after(position[0], last):
                self._resumable[station] = NOTHING, self._newest.get(station, position)[1]

    def _forget(self) -> None:
        """Forget stations that are not listed any more and have long been silent; else each start would subscribe them, for ever."""
        if not self._listed or self._clock.lasts_s() < ABANDONED_S:
            return
        before_ns = min(self._clock.newest_ns, time.time_ns()) - ns_from_s(GONE_S)
        for station, position in list(self._newest.items()):
            if not self._clock.has_sent(station) and station not in self._listed and position[1] < before_ns:
                del self._newest[station]
                self._resumable.pop(station, None)
                self._untimely.forget(station)
                self._had.pop(station, None)
                self._gone.add(station)

    def _skip(self, station: Station, correction_ns: int) -> None:
        """Packets of a station are not requested, because they are too old by the host's clock."""
        position = self._newest[station]
        moment = self._clock.now(position[1])
        self._untimely.add(
            station, position, moment, host_clock.offset_ns() + correction_ns, correction_ns > 0
        )

    def _go_back(self, station: Station, position: Position) -> None:
        """The next connection begins again after a packet of a station."""
        self._newest[station] = position
        groups = self._passed.get(station)
        while groups and (position[0] == NOTHING or is_after(groups[-1].position[0], position[0])):
            groups.pop()
        if position[0] != NOTHING:
            self._last = oldest([position] if self._last is None else [position, self._last])

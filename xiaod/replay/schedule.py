"""The schedule of a replay: which record packet ``k`` carries, when it is due, and which time is written into it.

A record becomes available when its last sample has been recorded, as in a datalogger: components come at
different moments. The data are replayed once, or in cycles (``loop``). All cycles are known in advance, so no packet
is stored: packet ``k`` is computed when a client needs it. ``due_ns`` counts nanoseconds of data since the first
sample of a cycle.

>>> from xiaod.replay.records import load
>>> schedule = Schedule(load(["example"]), copies=2, loop=True, loop_gap_s=5.0)
>>> [stream.name for stream in schedule.streams][:3]
['BW_RJ000__EHE', 'BW_RJ000__EHN', 'BW_RJ000__EHZ']
>>> schedule.period_ns // 10**9
35
>>> schedule.packet(schedule.size) == schedule.packet(0), schedule.cycle_of(schedule.size)
(True, 1)
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import NS_PER_S
from xiaod.replay.cycle import Cycle, indexed, plain_cycle
from xiaod.replay.faults import Faults
from xiaod.replay.header import BTIME, STATION, TICK_NS, btime_of
from xiaod.replay.packet import Packet, Record
from xiaod.replay.records import Archive

GARBAGE = bytes((7 * i + 3) % 251 for i in range(RECORD_BYTES))
"""The meaningless record sent by `Faults.garbage_every`."""
LAST_NS = 4_102_444_800 * NS_PER_S
"""2100-01-01: readers of miniSEED 2 take later years for the wrong byte order, so no cycle goes beyond."""
_KEPT_CYCLES = 4


class Schedule:
    """All packets of a replay, in order; if looped, until the data would reach the year 2100.

    Args:
        archive: the records of one cycle.
        copies: above 1, so many copies of each station under synthetic codes.
        loop: whether cycles follow one another.
        loop_gap_s: gap between cycles (s); it and the span are rounded up to whole seconds.
        faults: lost, repeated, late or damaged packets.

    Attributes:
        shift_ns: by how much the first cycle is moved in time; set when the replay begins.

    Raises:
        ReplayError: if the synthetic codes do not suffice.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        copies: int = 1,
        loop: bool = False,
        loop_gap_s: float = 5.0,
        faults: Faults | None = None,
    ) -> None:
        self.loop = loop
        self.shift_ns = 0
        self.first_ns = min(record.start_ns for record in archive.records)
        span_ns = max(record.end_ns for record in archive.records) - self.first_ns
        # Cycles move by whole seconds, so that every sampling grid anchored to a second stays as it is.
        self.period_ns = (span_ns // NS_PER_S + 1 + math.ceil(loop_gap_s)) * NS_PER_S
        self.streams, plain = plain_cycle(archive, copies, faults or Faults())
        self._faults = faults or Faults()
        self._names = [stream.name for stream in self.streams]
        self._base = indexed(plain)
        self._first_index = [0]  # of each cycle known so far; used only when faults make cycles differ
        self._ended = False  # there are no cycles beyond those known
        self._kept: dict[int, Cycle] = {}

    @property
    def size(self) -> int:
        """Packets of a cycle without faults."""
        return len(self._base.packets)

    def total(self) -> int | None:
        """Number of packets; ``None`` if looped."""
        return None if self.loop else len(self.cycle(0).packets)

    def cycle(self, number: int) -> Cycle:
        """Packets of one cycle."""
        if not self._faults.disturbs:
            return self._base
        if number not in self._kept:
            while len(self._kept) >= _KEPT_CYCLES:
                self._kept.pop(next(iter(self._kept)))
            packets = self._faults.disturb(
                self._base.packets,
                names=self._names,
                ordinal=number * self.size,
                cycle_ns=number * self.period_ns,
            )
            self._kept[number] = indexed(packets)
        return self._kept[number]

    def locate(self, index: int) -> tuple[int, int] | None:
        """Cycle and position of packet ``index``; ``None`` if there is no such packet."""
        if not self._faults.disturbs:
            number, place = divmod(index, self.size)
            return (number, place) if self._exists(number) else None
        firsts = self._first_index
        while index >= firsts[-1] and not self._ended:
            self._count_next_cycle()
        number = bisect_right(firsts, index) - 1
        return (number, index - firsts[number]) if number < len(firsts) - 1 else None

    def _count_next_cycle(self) -> None:
        """Count the packets of the first cycle that has not been counted."""
        firsts = self._first_index
        number = len(firsts) - 1
        if not self._exists(number) or self._silent_from(number):
            self._ended = True
        else:
            firsts.append(firsts[-1] + len(self.cycle(number).packets))

    def _first_in(self, number: int, limit: int | None) -> int:
        """First packet of a cycle, or of the last cycle there is, or of the first one beyond ``limit``."""
        if not self._faults.disturbs:
            return number * self.size
        firsts = self._first_index
        while len(firsts) <= number and not self._ended and (limit is None or firsts[-1] < limit):
            self._count_next_cycle()
        return firsts[min(number, len(firsts) - 1)]

    def _exists(self, number: int) -> bool:
        end_ns = self.first_ns + self.shift_ns + (number + 1) * self.period_ns
        return number == 0 or (self.loop and end_ns <= LAST_NS)

    def _silent_from(self, number: int) -> bool:
        """Whether no packet will ever follow: no outage will end, and two cycles are empty."""
        if number * self.period_ns <= self._faults.last_change_ns:
            return False
        return not self.cycle(number).packets and not self.cycle(number + 1).packets

    def cycle_of(self, index: int) -> int:
        """Cycle of a packet.

        Raises:
            IndexError: if there is no such packet.
        """
        return self._found(index)[0]

    def packet(self, index: int) -> Packet:
        """Packet ``index``.

        Raises:
            IndexError: if there is no such packet.
        """
        number, place = self._found(index)
        return self.cycle(number).packets[place]

    def due_ns(self, index: int) -> int | None:
        """When packet ``index`` is due (ns of data since the start of the replay), or ``None``."""
        found = self.locate(index)
        return None if found is None else found[0] * self.period_ns + self.cycle(found[0]).dues[found[1]]

    def first_due_after(self, index: int, at_ns: int, *, inclusive: bool, limit: int | None = None) -> int:
        """Find the first packet from ``index`` on due after an instant, or at it if ``inclusive``.

        Args:
            index: where to begin.
            at_ns: the instant, in ns of data since the start of the replay.
            inclusive: whether a packet due at that very instant will do.
            limit: where the search ends: a client may name any year.

        Returns:
            its index, or ``limit``, or the number of packets if the replay ends before.
        """
        bisect = bisect_left if inclusive else bisect_right
        if self.loop and self.size:
            # Whole cycles are skipped. A delay may reach into later cycles; faults make nothing later than that.
            number = at_ns // self.period_ns - self._base.dues[-1] // self.period_ns
            index = max(index, self._first_in(max(0, number), limit))
        while (limit is None or index < limit) and (found := self.locate(index)) is not None:
            number, place = found
            dues = self.cycle(number).dues
            reached = bisect(dues, at_ns - number * self.period_ns, place)
            index += reached - place
            if reached < len(dues):
                break
        return index if limit is None else min(index, limit)

    def first_of(self, stream: int, index: int) -> int | None:
        """Packet of a stream at ``index`` or after, in this cycle or the next, or ``None``."""
        found = self.locate(index)
        while found is not None:
            number, place = found
            places = self.cycle(number).of_stream.get(stream, [])
            if (nearest := bisect_left(places, place)) < len(places):
                return index + places[nearest] - place
            index += len(self.cycle(number).packets) - place
            found = self.locate(index) if place else None
        return None

    def last_of(self, stream: int, index: int) -> int | None:
        """Packet of a stream at ``index`` or before, in this cycle or the one before, or ``None``."""
        found = self.locate(index) if index >= 0 else None
        for _ in range(2):
            if found is None:
                break
            number, place = found
            places = self.cycle(number).of_stream.get(stream, [])
            if nearest := bisect_right(places, place):
                return index + places[nearest - 1] - place
            index -= place + 1
            found = self.locate(index) if index >= 0 else None
        return None

    def payloads(self, begin: int, end: int, shift_ns: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield index, stream and record of packets ``begin`` to ``end``, moved by ``shift_ns``."""
        while begin < end and (found := self.locate(begin)) is not None:
            number, place = found
            packets = self.cycle(number).packets[place : place + end - begin]
            ticks = (shift_ns + number * self.period_ns) // TICK_NS
            for index, (_, stream, record) in enumerate(packets, begin):
                yield index, stream, self._body(stream, record, ticks)
            begin += len(packets)

    def _body(self, stream: int, record: Record | None, ticks: int) -> bytes:
        if record is None:
            return GARBAGE
        raw = record.raw
        code = self.streams[stream].code
        if not ticks and code is None:
            return raw
        btime = btime_of(record.ticks + ticks, record.order)
        head = (
            raw[: BTIME.start]
            if code is None
            else raw[: STATION.start] + code + raw[STATION.stop : BTIME.start]
        )
        return head + btime + raw[BTIME.stop :]

    def _found(self, index: int) -> tuple[int, int]:
        found = self.locate(index)
        if found is None:
            raise IndexError(f"the replay has no packet {index}")
        return found

"""The play: which record is packet ``k``, when is it due, and with what time written in it.

A record becomes available when its last sample has been recorded, as in a datalogger: components come at
different moments. All rounds of a play are known beforehand, so no packet is stored: packet ``k`` is computed
when a client needs it. Times: ``due_ns`` counts nanoseconds of data since the first sample of a round.

>>> from xiaod.replay.records import load
>>> play = Play(load(["example"]), copies=2, loop=True, loop_gap_s=5.0)
>>> [stream.name for stream in play.streams][:3]
['BW_RJ000__EHE', 'BW_RJ000__EHN', 'BW_RJ000__EHZ']
>>> play.period_ns // 10**9
35
>>> play.slot(play.size) == play.slot(0), play.round_of(play.size)
(True, 1)
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import NS_PER_S
from xiaod.replay.faults import Faults
from xiaod.replay.header import BTIME, STATION, TICK_NS, btime_of
from xiaod.replay.records import Archive, Record
from xiaod.replay.schedule import Round, Slot, indexed, plain_round

GARBAGE = bytes((7 * i + 3) % 251 for i in range(RECORD_BYTES))
"""The meaningless record sent by `Faults.garbage_every`."""
LAST_NS = 4_102_444_800 * NS_PER_S
"""2100-01-01: readers of miniSEED 2 take later years for the wrong byte order, so no round goes beyond."""
_KEPT_ROUNDS = 4


class Play:
    """All packets there are, in order; if looped, until the data would reach the year 2100.

    Args:
        archive: the records of one round.
        copies: above 1, so many copies of each station under synthetic codes.
        loop: whether rounds follow one another.
        loop_gap_s: silence between rounds (s); it and the span are rounded up to whole seconds.
        faults: trouble in the schedule.

    Attributes:
        shift_ns: by how much the first round is moved in time; set when the play begins.

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
        # Rounds move by whole seconds, so that every sampling grid anchored to a second stays as it is.
        self.period_ns = (span_ns // NS_PER_S + 1 + math.ceil(loop_gap_s)) * NS_PER_S
        self.streams, plain = plain_round(archive, copies, faults or Faults())
        self._faults = faults or Faults()
        self._names = [stream.name for stream in self.streams]
        self._base = indexed(plain)
        self._first_index = [0]  # of each round known so far; used only when faults make rounds differ
        self._ended = False  # there are no rounds beyond those known
        self._kept: dict[int, Round] = {}

    @property
    def size(self) -> int:
        """Packets of a round without faults."""
        return len(self._base.slots)

    def total(self) -> int | None:
        """Packets there are in all; ``None`` if looped."""
        return None if self.loop else len(self.round(0).slots)

    def round(self, number: int) -> Round:
        """Packets of one round."""
        if not self._faults.disturbs:
            return self._base
        if number not in self._kept:
            while len(self._kept) >= _KEPT_ROUNDS:
                self._kept.pop(next(iter(self._kept)))
            slots = self._faults.disturb(
                self._base.slots,
                names=self._names,
                ordinal=number * self.size,
                round_ns=number * self.period_ns,
            )
            self._kept[number] = indexed(slots)
        return self._kept[number]

    def locate(self, index: int) -> tuple[int, int] | None:
        """Round and position of packet ``index``; ``None`` if there is no such packet."""
        if not self._faults.disturbs:
            number, place = divmod(index, self.size)
            return (number, place) if self._played(number) else None
        firsts = self._first_index
        while index >= firsts[-1] and not self._ended:
            self._know_another_round()
        number = bisect_right(firsts, index) - 1
        return (number, index - firsts[number]) if number < len(firsts) - 1 else None

    def _know_another_round(self) -> None:
        """Count the packets of the first round that has not been counted."""
        firsts = self._first_index
        number = len(firsts) - 1
        if not self._played(number) or self._silent_from(number):
            self._ended = True
        else:
            firsts.append(firsts[-1] + len(self.round(number).slots))

    def _first_in(self, number: int, limit: int | None) -> int:
        """First packet of a round, or of the last round there is, or of the first one beyond ``limit``."""
        if not self._faults.disturbs:
            return number * self.size
        firsts = self._first_index
        while len(firsts) <= number and not self._ended and (limit is None or firsts[-1] < limit):
            self._know_another_round()
        return firsts[min(number, len(firsts) - 1)]

    def _played(self, number: int) -> bool:
        end_ns = self.first_ns + self.shift_ns + (number + 1) * self.period_ns
        return number == 0 or (self.loop and end_ns <= LAST_NS)

    def _silent_from(self, number: int) -> bool:
        """Tell whether no packet will ever follow: no silence will end, and two rounds are empty."""
        if number * self.period_ns <= self._faults.last_change_ns:
            return False
        return not self.round(number).slots and not self.round(number + 1).slots

    def round_of(self, index: int) -> int:
        """Tell the round a packet belongs to.

        Raises:
            IndexError: if there is no such packet.
        """
        return self._found(index)[0]

    def slot(self, index: int) -> Slot:
        """Packet ``index``.

        Raises:
            IndexError: if there is no such packet.
        """
        number, place = self._found(index)
        return self.round(number).slots[place]

    def due_ns(self, index: int) -> int | None:
        """Tell when packet ``index`` is due (ns of data since the start of the play), or ``None``."""
        found = self.locate(index)
        return None if found is None else found[0] * self.period_ns + self.round(found[0]).dues[found[1]]

    def first_due_after(self, index: int, at_ns: int, *, inclusive: bool, limit: int | None = None) -> int:
        """Find the first packet from ``index`` on due after an instant, or at it if ``inclusive``.

        Args:
            index: where to begin.
            at_ns: the instant, in ns of data since the start of the play.
            inclusive: whether a packet due at that very instant will do.
            limit: where to give up: a client may ask for any year.

        Returns:
            its index, or ``limit``, or the number of packets if the play ends before.
        """
        bisect = bisect_left if inclusive else bisect_right
        if self.loop and self.size:
            # Whole rounds need no looking at. A delay may reach into later rounds; faults make nothing later than that.
            number = at_ns // self.period_ns - self._base.dues[-1] // self.period_ns
            index = max(index, self._first_in(max(0, number), limit))
        while (limit is None or index < limit) and (found := self.locate(index)) is not None:
            number, place = found
            dues = self.round(number).dues
            reached = bisect(dues, at_ns - number * self.period_ns, place)
            index += reached - place
            if reached < len(dues):
                break
        return index if limit is None else min(index, limit)

    def first_of(self, stream: int, index: int) -> int | None:
        """Packet of a stream at ``index`` or after, in this round or the next, or ``None``."""
        found = self.locate(index)
        while found is not None:
            number, place = found
            places = self.round(number).of_stream.get(stream, [])
            if (nearest := bisect_left(places, place)) < len(places):
                return index + places[nearest] - place
            index += len(self.round(number).slots) - place
            found = self.locate(index) if place else None
        return None

    def last_of(self, stream: int, index: int) -> int | None:
        """Packet of a stream at ``index`` or before, in this round or the one before, or ``None``."""
        found = self.locate(index) if index >= 0 else None
        for _ in range(2):
            if found is None:
                break
            number, place = found
            places = self.round(number).of_stream.get(stream, [])
            if nearest := bisect_right(places, place):
                return index + places[nearest - 1] - place
            index -= place + 1
            found = self.locate(index) if index >= 0 else None
        return None

    def payloads(self, begin: int, end: int, shift_ns: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield index, stream and record of packets ``begin`` to ``end``, moved by ``shift_ns``."""
        while begin < end and (found := self.locate(begin)) is not None:
            number, place = found
            slots = self.round(number).slots[place : place + end - begin]
            ticks = (shift_ns + number * self.period_ns) // TICK_NS
            for index, (_, stream, record) in enumerate(slots, begin):
                yield index, stream, self._body(stream, record, ticks)
            begin += len(slots)

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
            raise IndexError(f"the play has no packet {index}")
        return found

"""Which packets a client can have now, and under which numbers: sequence numbers, back-data, resumption.

The server counts packets of the replay from 0 without end; SeedLink v3 shows only the lowest 24 bits, as six
hexadecimal digits. A number sent by such a client therefore means the newest packet with that number. SeedLink 4 has
64 bits, and a number means one packet (``whole_number``). Where a client resumes:

* number known: at that packet. If the client also gives the start time of its last packet, and the packet
  before does not begin in that second, the numbers were reset in between: the time alone counts;
* number older than the ring, no time: at the oldest packet kept, which loses least;
* number not used yet, no time: at the next new packet, as ringserver does;
* time only: at the first packet that ends at that time or later.

>>> from xiaod.replay.schedule import Schedule
>>> from xiaod.replay.records import load
>>> ring = Ring(Schedule(load(["example"])), capacity=10, first_sequence=0xFFFFFE, whole=False)
>>> ring.advance(12)
>>> ring.oldest, ring.next, f"{ring.sequence_of(2):06X}", ring.index_of(3), ring.index_of(0xFFFFFF)
(2, 12, '000000', 5, None)
"""

from collections.abc import Sequence

from xiaod.domain.seedlink import HALF_RANGE, SEQUENCE_MODULUS
from xiaod.domain.timegrid import NS_PER_S
from xiaod.replay.protocol import NUMBERS_4
from xiaod.replay.schedule import Schedule

LOOKAHEAD_CYCLES = 1000
"""At speed ``max``, how far ahead of all clients one may begin by time."""


class Ring:
    """Window of available packets over a replay.

    Args:
        schedule: all packets.
        capacity: how many of the newest packets stay available.
        first_sequence: number of packet 0.
        whole: every client has the whole replay to itself (speed ``max``): nothing ever leaves.
    """

    def __init__(self, schedule: Schedule, *, capacity: int, first_sequence: int, whole: bool) -> None:
        self.schedule = schedule
        self.capacity = capacity
        self.whole = whole
        self.next = 0
        self._offset = first_sequence
        self._floor = 0  # packets before this one have numbers that are no longer valid

    @property
    def oldest(self) -> int:
        """First available packet."""
        return 0 if self.whole else max(0, self.next - self.capacity)

    def advance(self, index: int) -> None:
        """Make packets before ``index`` available (speed ``max``: note how far any client has come)."""
        self.next = max(self.next, index)

    def renumber(self, sequence: int) -> None:
        """Let the next packet have this number; earlier numbers are invalid from now on."""
        self._offset = sequence - self.next
        self._floor = self.next

    def sequence_of(self, index: int) -> int:
        """24-bit number of a packet."""
        return (index + self._offset) % SEQUENCE_MODULUS

    def number_of(self, index: int) -> int:
        """64-bit number of a packet."""
        return (index + self._offset) % NUMBERS_4

    def index_of(self, sequence: int, *, whole_number: bool = False) -> int | None:
        """Packet that a number means: an available one, or the next one; else ``None``."""
        behind = (self.next + self._offset - sequence) % SEQUENCE_MODULUS
        index = sequence - self._offset if whole_number else self.next - behind
        if not whole_number and self.whole and behind > HALF_RANGE and index + SEQUENCE_MODULUS > 0:
            # Without a clock a packet ahead of what has been sent is as good as any other.
            index += SEQUENCE_MODULUS
        return (
            index if index >= max(self.oldest, self._floor) and (self.whole or index <= self.next) else None
        )

    def start_for(self, sequence: int | None, time_ns: int | None, *, whole_number: bool = False) -> int:
        """First packet for a client that gives a sequence number, a time, both or neither."""
        if sequence is None:
            return self._after(time_ns) if time_ns is not None else self._newest()
        if (index := self.named(sequence, time_ns, whole_number=whole_number)) is not None:
            return index
        if time_ns is not None:
            return self._after(time_ns)
        if whole_number:
            return max(self.oldest, self._floor) if sequence < self.number_of(self.next) else self._newest()
        behind = (self.next + self._offset - sequence) % SEQUENCE_MODULUS
        return self.oldest if behind < HALF_RANGE or sequence == 0 else self._newest()

    def named(self, sequence: int, time_ns: int | None, *, whole_number: bool = False) -> int | None:
        """Packet that a client names by its number and the start time of the packet before; None if there is none."""
        index = self.index_of(sequence, whole_number=whole_number)
        return index if index is None or time_ns is None or self._fits(index - 1, time_ns) else None

    def common_start(
        self, asked: Sequence[tuple[int | None, int | None]], *, whole_number: bool = False
    ) -> int:
        """First packet for a client whose stations give numbers and times, found as ringserver does.

        The newest packet that any station names by number; if none does, the first after the oldest of the times.
        (ringserver 4.5.3, ``SLHandleCmd`` in ``slclient.c``.)
        """
        named = [
            self.named(sequence, time_ns, whole_number=whole_number)
            for sequence, time_ns in asked
            if sequence is not None
        ]
        if (found := max((index for index in named if index is not None), default=None)) is not None:
            return found
        times = [time_ns for _, time_ns in asked if time_ns is not None]
        return self._after(min(times)) if times else self._newest()

    def start_ns(self, index: int) -> int | None:
        """Start time of a packet as served; ``None`` for garbage or no such packet."""
        found = self.schedule.locate(index)
        if found is None:
            return None
        record = self.schedule.packet(index).record
        return (
            None
            if record is None
            else record.start_ns + self.schedule.shift_ns + found[0] * self.schedule.period_ns
        )

    def end_ns(self, index: int) -> int | None:
        """Time of the last sample of a packet as served; ``None`` for garbage or no such packet."""
        found = self.schedule.locate(index)
        if found is None:
            return None
        record = self.schedule.packet(index).record
        return (
            None
            if record is None
            else record.end_ns + self.schedule.shift_ns + found[0] * self.schedule.period_ns
        )

    def _newest(self) -> int:
        # Without a clock everything is available at once, so "the next packet" is the first.
        return 0 if self.whole else self.next

    def _fits(self, index: int, time_ns: int) -> bool:
        start_ns = self.start_ns(index) if index >= self.oldest else None
        # Whole seconds: the times of SeedLink v3 have no finer part.
        return start_ns is None or start_ns // NS_PER_S == time_ns // NS_PER_S

    def _after(self, time_ns: int) -> int:
        at_ns = time_ns - self.schedule.shift_ns - self.schedule.first_ns
        limit = self.next + LOOKAHEAD_CYCLES * self.schedule.size if self.whole else self.next
        return self.schedule.first_due_after(self.oldest, at_ns, inclusive=True, limit=limit)

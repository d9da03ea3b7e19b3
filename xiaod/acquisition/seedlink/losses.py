"""Whether packets were lost on the way from a server, so that the source should connect anew and request them again.

TCP loses nothing, but tunnels, proxies and relays do. Three things show it:

**Bytes between packets.** A packet was damaged: the source closes the connection and goes on after the last packet. If the server itself
sends odd bytes, it sends them again. So bytes that follow the same packet a second time, or several times in a row after only a few
packets, are skipped and counted.

**A jump in the sequence numbers.** A ringserver numbers the packets of all its stations together, SeisComP those of each station, and
streams that were not subscribed use up numbers in either. So a jump alone means nothing. But if the numbers of the connection, or of a
station, had no jump for long, they count exactly the packets sent here, and a missing number is a lost packet. If it does not come when it
is requested, that conclusion was wrong, and twice as many numbers without a jump are needed before the next request: so few requests are
in vain, whatever a server does. Lower numbers are packets that come again, or the server has begun to count anew.

**A gap in a channel** that had none, where numbers cannot be trusted and some are missing since its last packet. Most gaps arise at the
station, and a station that comes back must not interrupt its neighbours again and again. So after such a request there is no other for ten
minutes, and after each one in vain for twice as long.

>>> losses = Losses()
>>> losses.begins(setup_s=0.1)
>>> [losses.of_connection(number) for number in (*range(100), 102)][-2:]
[0, 2]
"""

import time
from dataclasses import dataclass
from operator import gt

from xiaod.acquisition.seedlink.sequence import position_of
from xiaod.domain.seedlink import HALF_RANGE, SEQUENCE_MODULUS
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Position, Segment, Station

TRUSTED = 10
"""After so many numbers in a row, a missing number is a lost packet."""
MAX_BACK = 1 << 20
"""If numbers go back further, the server counts anew."""
SLOW_SETUP_S = 10.0
"""If it takes longer than that until data flow, less than half of the time is spent on connecting anew."""
FEW = 5
"""After fewer packets ..."""
IN_A_ROW = 3
"""... so many times in a row, odd bytes are not a loss: the server or a relay always sends them."""
JOINED = 10
"""So many packets of a channel must join before a gap after them may be a loss."""
GAP_SAMPLES = 1.5
"""A packet that begins later after the end of the one before does not follow it."""
GAP_PAUSE_S, LONGEST_PAUSE_S = 600.0, 86_400.0
"""Time between two requests because of a gap; doubled by those in vain."""
MAX_ROWS = 20_000
"""Limit of stations and channels; beyond it, counting begins anew."""


@dataclass(slots=True)
class _Row:
    """The numbers of a connection, or of a station."""

    last: int
    """The newest one."""
    part: tuple[int, int]
    """The part of the stream it belongs to: only within one part do numbers follow each other."""
    length: int = 0
    """How many numbers without a jump end with it."""
    jumps: int = 0
    """How many jumps there were."""


class _Numbers:
    """Numbers of one kind: of the connection, or of each station."""

    def __init__(self) -> None:
        self._rows: dict[Station | None, _Row] = {}
        self._needed = TRUSTED
        self._asked: tuple[Station | None, int] | None = None
        """Whose packet was requested again, and its number."""

    def missing(self, key: Station | None, sequence: int, part: tuple[int, int]) -> int:
        """How many packets are missing before this one; 0 also where that is unknown."""
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                self._rows.clear()
            self._rows[key] = _Row(sequence, part)
            return 0
        if self._asked is not None:
            self._answered(key, sequence, row, self._asked)
        ahead = (sequence - row.last) % SEQUENCE_MODULUS
        if ahead == 1:
            row.length += 1
        elif not 0 < ahead < HALF_RANGE:
            # It comes again; others that came in between need not.
            if (row.last - sequence) % SEQUENCE_MODULUS > MAX_BACK:
                self._rows[key] = _Row(sequence, part)
            return 0
        elif row.part == part:
            row.jumps += 1
            if row.length >= self._needed:
                self._needed *= 2
                self._asked = key, (row.last + 1) % SEQUENCE_MODULUS
                row.length = 0
                return ahead - 1
            row.length = 0
        row.last, row.part = sequence, part
        return 0

    def jumps(self, key: Station | None) -> int:
        """How many jumps there were so far."""
        row = self._rows.get(key)
        return 0 if row is None else row.jumps

    def _answered(
        self, key: Station | None, sequence: int, row: _Row, asked: tuple[Station | None, int]
    ) -> None:
        """Find out whether this is the packet that was requested again."""
        if asked[0] != key:
            return
        ahead = (sequence - asked[1]) % SEQUENCE_MODULUS
        if ahead == 0:
            # It was lost: these numbers can be trusted.
            self._needed = row.length = TRUSTED
        if ahead < HALF_RANGE:
            self._asked = None


@dataclass(slots=True)
class _Flow:
    """The packets of a channel."""

    position: Position
    """Number and start of the last one (ns), ..."""
    next_ns: int
    """... and the time at which the next one is due."""
    jumps: tuple[int, int]
    """Jumps until then, of the connection and of the station."""
    length: int = 0
    """How many packets that follow each other end with it."""


class Losses:
    """Examines all packets of one server, on one connection after the other."""

    def __init__(self) -> None:
        """Begin without packets."""
        self._connection = 0
        self._unknown = 0
        self._of_connection = _Numbers()
        self._of_stations = _Numbers()
        self._setup_s = 0.0
        self._begun_s = 0.0
        self._last: int | None = None
        self._whole = 0
        """Packets since the connection began, or since bytes were missing."""
        self._after: tuple[int | None] | None = None
        """In a tuple, the number of the last packet before bytes that were not a packet; None if there was no packet."""
        self._in_a_row = 0
        self._flows: dict[Channel, _Flow] = {}
        self._gap: Channel | None = None
        """The channel of which something was requested again."""
        self._pause_s = GAP_PAUSE_S
        self._next_s = 0.0

    def begins(self, setup_s: float) -> None:
        """A connection begins to send.

        Args:
            setup_s: seconds that it took until then.
        """
        self._connection += 1
        self._setup_s, self._begun_s = setup_s, time.monotonic()
        self._last = None
        self._whole = 0

    def bytes_between(self) -> bool:
        """Whether to connect anew, because there were bytes between the last packet and this one."""
        after, whole, self._whole = (self._last,), self._whole, 0
        slow = self._setup_s > SLOW_SETUP_S and time.monotonic() - self._begun_s < self._setup_s
        if whole >= FEW and not slow:
            self._in_a_row = 0
        if self._in_a_row >= IN_A_ROW or after == self._after:
            # Its numbers do not go on either.
            self._connection += 1
            return False
        self._after = after
        self._in_a_row += 1
        return True

    def of_connection(self, sequence: int) -> int:
        """A packet has come; how many are missing before it and must be requested again."""
        self._last = sequence
        self._whole += 1
        return self._of_connection.missing(None, sequence, (self._connection, 0))

    def of_station(self, station: Station, sequence: int) -> int:
        """The same packet, with its station; how many of the station are missing before it."""
        return self._of_stations.missing(station, sequence, (self._connection, self._unknown))

    def of_nobody(self) -> None:
        """The same packet, whose station is unknown: it may have used up a number of any station."""
        self._unknown += 1

    def of_channel(self, packet: Segment) -> Position | None:
        """The same packet, if it is wanted.

        Returns:
            position of an earlier packet of its channel to go back to, when packets in between may be missing.
        """
        channel, start_ns, next_ns = packet.channel, packet.start_ns, packet.next_ns
        position = position_of(packet)
        jumps = self._of_connection.jumps(None), self._of_stations.jumps(channel.station_codes)
        flow = self._flows.get(channel)
        if flow is None:
            if len(self._flows) >= MAX_ROWS:
                self._flows.clear()
            self._flows[channel] = _Flow(position, next_ns, jumps)
            return None
        if start_ns <= flow.position[1]:
            return None
        joins = start_ns - flow.next_ns <= GAP_SAMPLES * NS_PER_S / packet.sampling_rate_hz
        if self._gap is not None and self._gap == channel:
            self._gap = None
            self._pause_s = GAP_PAUSE_S if joins else min(2 * self._pause_s, LONGEST_PAUSE_S)
        odd = not joins and flow.length >= JOINED and all(map(gt, jumps, flow.jumps))
        if odd and time.monotonic() >= self._next_s:
            self._gap, self._next_s = channel, time.monotonic() + self._pause_s
            flow.length = 0
            return flow.position
        flow.position, flow.next_ns, flow.jumps = position, next_ns, jumps
        flow.length = flow.length + 1 if joins else 0
        return None

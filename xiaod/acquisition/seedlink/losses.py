"""Whether something got lost on the way from a server, so that it is worth to connect anew and ask for it again.

TCP loses nothing; tunnels, proxies and relays do. Three things show it:

**Bytes between packets.** Then what stood there is gone, and the connection is given up, to go on behind the last packet. A server that
sends something odd there by itself sends it again: what comes at the same place once more, or after a few packets again and again, is
passed over, and counted.

**A jump in the numbers.** What it means depends on who numbers. A ringserver numbers the packets of all its stations together, SeisComP
those of each station; streams that were not asked for take numbers in either. So a jump says nothing in itself. But where numbers have
been without one for long, those of the connection or those of a station, they count what is sent here, and one that is left out has
been lost. If it does not come when it is asked for, that was wrong, and twice as many have to be without a jump before the next question;
so there are few of them in vain, whatever a server does. Numbers that go back are those of packets that come again, or are counted anew.

**A gap in a channel** that had none, where numbers cannot be trusted and some have been left out since its last packet. Most gaps are
the station's own, and a station that comes back is no reason to connect anew once for each of its neighbours: so after such a question
there is none for ten minutes, and after each in vain for twice as long as before.

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
"""Numbers in a row after which one that is left out is taken to be lost."""
MAX_BACK = 1 << 20
"""Numbers further back are counted anew."""
SLOW_SETUP_S = 10.0
"""Where it takes longer than that until data flow, less than half of the time goes into asking again."""
FEW = 5
"""After fewer packets than that ..."""
IN_A_ROW = 3
"""... so many times in a row the server, or the way, is taken to be like that."""
JOINED = 10
"""Packets of a channel that have to follow each other before a gap behind them is odd."""
GAP_SAMPLES = 1.5
"""A packet that begins later than that behind the end of the one before does not follow it."""
GAP_PAUSE_S, LONGEST_PAUSE_S = 600.0, 86_400.0
"""Time between two questions for what a gap may hide; doubled by those in vain."""
MAX_ROWS = 20_000
"""Stations and channels that are looked at; with more, it begins anew."""


@dataclass(slots=True)
class _Row:
    """The numbers of a connection, or of a station."""

    last: int
    """The one that is furthest on."""
    part: tuple[int, int]
    """Of what that was a part: only within it do numbers follow each other."""
    length: int = 0
    """How many have come one after the other up to it."""
    jumps: int = 0
    """How often any was left out."""


class _Numbers:
    """Numbers of one kind: of the connection, or of each station."""

    def __init__(self) -> None:
        self._rows: dict[Station | None, _Row] = {}
        self._needed = TRUSTED
        self._asked: tuple[Station | None, int] | None = None
        """Whose packet has been asked for again, and its number."""

    def missing(self, key: Station | None, sequence: int, part: tuple[int, int]) -> int:
        """How many packets are missing before this one; 0 also where that cannot be told."""
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                self._rows.clear()
            self._rows[key] = _Row(sequence, part)
            return 0
        self._answered(key, sequence, row)
        ahead = (sequence - row.last) % SEQUENCE_MODULUS
        if not 0 < ahead < HALF_RANGE:
            # It comes again, and others that came between them need not.
            if (row.last - sequence) % SEQUENCE_MODULUS > MAX_BACK:
                self._rows[key] = _Row(sequence, part)
            return 0
        if ahead > 1 and row.part == part:
            row.jumps += 1
            if row.length >= self._needed:
                self._needed *= 2
                self._asked = key, (row.last + 1) % SEQUENCE_MODULUS
                row.length = 0
                return ahead - 1
            row.length = 0
        elif ahead == 1:
            row.length += 1
        row.last, row.part = sequence, part
        return 0

    def jumps(self, key: Station | None) -> int:
        """How often a number was left out so far."""
        row = self._rows.get(key)
        return 0 if row is None else row.jumps

    def _answered(self, key: Station | None, sequence: int, row: _Row) -> None:
        """Look whether this is what was asked for again."""
        if self._asked is None or self._asked[0] != key:
            return
        ahead = (sequence - self._asked[1]) % SEQUENCE_MODULUS
        if ahead == 0:
            # It was lost indeed: these numbers can be trusted.
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
    """How often a number had been left out by then, on the connection and of the station."""
    length: int = 0
    """How many have followed each other up to it."""


class Losses:
    """Looks at everything that comes of one server, on one connection after the other."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._connection = 0
        self._unknown = 0
        self._of_connection = _Numbers()
        self._of_stations = _Numbers()
        self._setup_s = 0.0
        self._begun_s = 0.0
        self._last: int | None = None
        self._whole = 0
        """Packets since the connection began, or since bytes were missing."""
        self._behind: tuple[int | None] | None = None
        """Number of the packet behind which bytes were missing last, in a tuple; there may have been none before."""
        self._in_a_row = 0
        self._flows: dict[Channel, _Flow] = {}
        self._gap: Channel | None = None
        """Of which channel something has been asked for again."""
        self._pause_s = GAP_PAUSE_S
        self._next_s = 0.0

    def begins(self, setup_s: float) -> None:
        """A connection begins to send.

        Args:
            setup_s: how long it has taken to get there.
        """
        self._connection += 1
        self._setup_s, self._begun_s = setup_s, time.monotonic()
        self._last = None
        self._whole = 0

    def bytes_between(self) -> bool:
        """Whether to ask again, because there were bytes between the last packet and the one that comes."""
        behind, whole, self._whole = (self._last,), self._whole, 0
        slow = self._setup_s > SLOW_SETUP_S and time.monotonic() - self._begun_s < self._setup_s
        if whole >= FEW and not slow:
            self._in_a_row = 0
        if self._in_a_row >= IN_A_ROW or behind == self._behind:
            # Its numbers do not go on either.
            self._connection += 1
            return False
        self._behind = behind
        self._in_a_row += 1
        return True

    def of_connection(self, sequence: int) -> int:
        """A packet comes; how many are missing before it and are to be asked for again."""
        self._last = sequence
        self._whole += 1
        return self._of_connection.missing(None, sequence, (self._connection, 0))

    def of_station(self, station: Station, sequence: int) -> int:
        """The same packet, and whose it is; how many of this station are missing before it."""
        return self._of_stations.missing(station, sequence, (self._connection, self._unknown))

    def of_nobody(self) -> None:
        """The same packet, which does not tell whose it is: it may have taken a number of any station."""
        self._unknown += 1

    def of_channel(self, packet: Segment) -> Position | None:
        """The same packet, when it is wanted.

        Returns:
            number and start (ns) of a former packet of its channel, to go back to it, when others between them may be missing.
        """
        channel = packet.channel
        position = position_of(packet)
        jumps = (
            self._of_connection.jumps(None),
            self._of_stations.jumps((channel.network, channel.station)),
        )
        flow = self._flows.get(channel)
        if flow is None:
            if len(self._flows) >= MAX_ROWS:
                self._flows.clear()
            self._flows[channel] = _Flow(position, packet.next_ns, jumps)
            return None
        if packet.start_ns <= flow.position[1]:
            return None
        joins = packet.start_ns - flow.next_ns <= GAP_SAMPLES * NS_PER_S / packet.sampling_rate_hz
        if self._gap == channel:
            self._gap = None
            self._pause_s = GAP_PAUSE_S if joins else min(2 * self._pause_s, LONGEST_PAUSE_S)
        odd = not joins and flow.length >= JOINED and all(map(gt, jumps, flow.jumps))
        if odd and time.monotonic() >= self._next_s:
            self._gap, self._next_s = channel, time.monotonic() + self._pause_s
            flow.length = 0
            return flow.position
        flow.position, flow.next_ns, flow.jumps = position, packet.next_ns, jumps
        flow.length = flow.length + 1 if joins else 0
        return None

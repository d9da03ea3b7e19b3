"""Picks as packets in a ringserver: the document of the JSON Lines, or QuakeML, one packet for each.

The stream ID of a pick is the FDSN source identifier of its channel with the suffix that ringserver recommends, ``JSON`` or ``TEXT``; the
time of the packet is that of the pick. Each packet is delivered at least once, in order: :meth:`DataLinkSink.deliver` returns only when the
server has acknowledged every one. What was under way when the connection broke, 20 packets at most, may arrive twice: readers compare
``id``.

**A ringserver that is killed** forgets what it acknowledged: it writes the bounds of its ring to the disk at an orderly end only
(ringserver 4.5, ``RingShutdown``). So the newest :data:`REMEMBERED` packets stay in memory with the numbers that the server has given them.
A new connection looks whether the newest one is still there, and sends again what is not.

>>> source_id(Channel("BW", "RJOB", "", "EHZ")), source_id(Channel("A_", "B/C", "00", "X"))
('FDSN:BW_RJOB__E_H_Z', 'FDSN:A-_B-C_00_X__')
"""

import re
from collections import deque
from collections.abc import Sequence

from xiaod.config import AgencyConfig
from xiaod.config.sinks.datalink import MAX_STREAM_ID, DataLinkConfig
from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.event import json_of
from xiaod.domain.sharding import ALONE
from xiaod.domain.types import Channel, Event, PickOrEvent
from xiaod.process.logs import get_logger
from xiaod.sinks import ConfiguredSink, Refused
from xiaod.sinks.datalink.connection import UNDER_WAY, DataLinkConnection, Packet
from xiaod.sinks.file.quakeml import quakeml_bytes

REMEMBERED = 1000
"""Packets that are sent again to a server that has lost them; a thousand bytes each."""
NOWHERE = 1 << 64
"""A number above all of a server, for a packet that is not in its ring."""
NS_PER_US = 1000


def source_id(channel: Channel) -> str:
    """The FDSN source identifier of a channel, whatever its codes are."""
    code = _code(channel.channel)
    codes = (*map(_code, (channel.network, channel.station, channel.location)), code[:1], code[1:2], code[2:])
    return f"FDSN:{'_'.join(codes)}"


def _code(text: str) -> str:
    """A code without what separates codes, and without what a stream ID cannot carry."""
    return re.sub(r"[^A-Za-z0-9-]", "-", text)


class DataLinkSink(ConfiguredSink):
    """Writes packets; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: DataLinkConfig, agency: AgencyConfig) -> None:
        """Check that all secrets can be read; the connection is opened with the first tick.

        Raises:
            OSError: when one cannot.
        """
        super().__init__(config)
        self._config = config
        self._agency = agency
        self._connection = DataLinkConnection(config)
        self._acknowledged: set[str] = set()
        """Picks of a delivery that failed later: they are not sent again, however long the server was away."""
        self._newest: deque[tuple[int, Packet]] = deque(maxlen=REMEMBERED)
        self._log = get_logger("datalink").bind(sink=config.name)
        self._connection.secrets()

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Write picks, each acknowledged; a tick opens a connection that is lost.

        Raises:
            Refused: when one is larger than the server takes.
            OSError: when the server cannot be reached, refuses, or does not acknowledge in time.
        """
        del now_ns
        self._connect()
        waiting = [(one.id, self._packet(one)) for one in picks if one.id not in self._acknowledged]
        for name, packet in waiting:
            if problem := self._problem(packet):
                raise Refused(problem, [name])
        for begin in range(0, len(waiting), UNDER_WAY):
            some = waiting[begin : begin + UNDER_WAY]
            numbers = self._connection.write([packet for _, packet in some])
            for (name, packet), number in zip(some, numbers, strict=True):
                self._acknowledged.add(name)
                self._newest.append((number, packet))
        self._acknowledged.clear()

    def close(self) -> None:
        """Close the connection; nothing is held back."""
        self._connection.close()

    def _connect(self) -> None:
        """Open a connection when there is none, and send again what the server has lost meanwhile."""
        if self._connection.is_open():
            return
        self._connection.open()
        lost = self._take_lost()
        sent = 0
        try:
            for begin in range(0, len(lost), UNDER_WAY):
                some = lost[begin : begin + UNDER_WAY]
                for packet, number in zip(some, self._connection.write(some), strict=True):
                    self._newest.append((number, packet))
                    sent += 1
        finally:
            # With a number that no packet has, so that they are looked for, and sent, next time.
            self._newest.extend((NOWHERE, packet) for packet in lost[sent:])
        if lost:
            self._log.warning("datalink.restored", packets=len(lost))

    def _take_lost(self) -> list[Packet]:
        """Take from what is remembered the newest packets that were acknowledged and are not in the ring any more, oldest first."""
        lost: deque[Packet] = deque()
        if self._newest:
            newest = self._connection.newest()
            while self._newest and self._is_lost(*self._newest[-1], newest):
                lost.appendleft(self._newest.pop()[1])
        return list(lost)

    def _is_lost(self, number: int, packet: Packet, newest: int) -> bool:
        if number > newest:
            return True
        found = self._connection.read(number)
        # One that is not there has been pushed out by newer ones, as in any ring.
        return found is not None and (found.streamid, found.data) != (packet.stream_id, packet.content)

    def _packet(self, one: PickOrEvent) -> Packet:
        config = self._config
        if isinstance(one, Event):
            stream_id = config.event_stream_id.format(
                type=config.payload_type, stage=one.stage, shard=ALONE.index
            )
            times_ns = [one.time_ns, *(pick.time_ns for pick in one.picks)]
        else:
            channel = one.channel
            stream_id = config.stream_id.format(
                source_id=source_id(channel),
                type=config.payload_type,
                network=_code(channel.network),
                station=_code(channel.station),
                location=_code(channel.location) or EMPTY_LOCATION,
                channel=_code(channel.channel),
                phase=_code(one.phase),
                stage=one.stage,
                shard=ALONE.index,
            )
            times_ns = [one.time_ns]
        content = (
            json_of(one, self._agency).encode()
            if config.format == "json"
            else quakeml_bytes([one], self._agency, config.authority)
        )
        return Packet(stream_id, min(times_ns) // NS_PER_US, max(times_ns) // NS_PER_US, content)

    def _problem(self, packet: Packet) -> str:
        """Why the server will never take a packet; empty: it will."""
        if len(packet.stream_id) > MAX_STREAM_ID:
            return f"{packet.stream_id}: a ringserver takes {MAX_STREAM_ID} letters of a stream ID"
        if len(packet.content) > self._connection.most:
            return (
                f"{packet.stream_id}: {len(packet.content)} bytes, and the server takes {self._connection.most} "
                "(MaxPacketSize of its ring.conf)"
            )
        return ""

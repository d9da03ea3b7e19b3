"""One client: reads and answers its commands, and sends the requested packets until it disconnects.

Two loops share the socket: the reader goes on answering INFO (clients send INFO ID as keep-alive) while the
streamer sends packets in batches and waits for the client whenever its buffers are full.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xiaod.replay.cycle import Stream
from xiaod.replay.info import ConnectionStatus
from xiaod.replay.link import Link, LinkFaults
from xiaod.replay.packet4 import as_version_3, packet
from xiaod.replay.playback import Playback
from xiaod.replay.protocol import LineSplitter, LineTooLongError
from xiaod.replay.session import Action, Request, Session, StationRequest

BATCH_PACKETS = 256
"""Packets in one write: 133 kB."""
READ_BYTES = 4096


class Server(Protocol):
    """What a connection needs of its server.

    Attributes:
        hello: the two lines that answer HELLO.
        link_faults: shared by all connections.
        playback: the running replay.
        sent_packets: packets handed to sockets so far.
        overrun_packets: packets that left the ring before a slow client had read them.
        data_format: code of the format that clients of SeedLink 4 get: ``2`` or ``3``.
        logins: words after AUTH, each of which lets a client in.
    """

    hello: bytes
    link_faults: LinkFaults
    playback: Playback
    sent_packets: int
    overrun_packets: int
    data_format: str
    logins: Sequence[tuple[str, ...]]

    def info(self, level: str) -> bytes:
        """Packets that answer INFO."""
        ...

    def info_4(self, item: str, patterns: Sequence[str]) -> bytes:
        """The packet that answers INFO in SeedLink 4."""
        ...

    def catalogue(self) -> bytes:
        """Text that answers CAT."""
        ...


@dataclass(frozen=True)
class StreamRequest:
    """What a client requests of one stream.

    Attributes:
        begin: first packet of the replay.
        window_ns: begin and end of a time window; the end may be open.
    """

    begin: int
    window_ns: tuple[int, int | None] | None = None


class Connection:
    """One client of a replay server.

    Args:
        server: whose packets are sent.
        reader, writer: the socket.
    """

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._link = Link(writer, server.link_faults)
        self._session = Session(server.hello, server.link_faults.refuses, server.logins)
        self._streamer: asyncio.Task[None] | None = None
        self._since_ns = time.time_ns()
        self._peer = writer.get_extra_info("peername") or ("", 0)
        self._cursor = 0

    @property
    def status(self) -> ConnectionStatus:
        """Facts for INFO CONNECTIONS."""
        sequence = self._server.playback.ring.sequence_of(self._cursor)
        return ConnectionStatus(self._peer[0], self._peer[1], self._since_ns, self._link.sent, sequence)

    async def run(self) -> None:
        """Serve until the client or the server ends the connection; raises programming errors only."""
        splitter = LineSplitter()
        try:
            while received := await self._reader.read(READ_BYTES):
                for line in splitter.feed(received):
                    if not await self._answer(line):
                        return
        except LineTooLongError:
            if not self._session.streaming:
                with contextlib.suppress(ConnectionError):
                    await self._link.reply(b"ERROR\r\n")
        except (ConnectionError, ssl.SSLError):
            pass  # the client has gone
        finally:
            await self._finish()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()

    async def _finish(self) -> None:
        if self._streamer is not None:
            self._streamer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._streamer
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await self._writer.wait_closed()

    async def _answer(self, line: bytes) -> bool:
        """Carry out one command; False ends the connection."""
        response = self._session.handle(line)
        if response.action is Action.CLOSE:
            return False
        if response.action is Action.INFO:
            await self._link.reply(
                self._server.info(response.level)
                if self._session.version == 3
                else self._server.info_4(response.level, response.patterns)
            )
        elif response.action is Action.CAT:
            await self._link.reply(self._server.catalogue())
        elif response.reply:
            await self._link.reply(response.reply)
        if response.action is Action.STREAM:
            self._server.playback.begin()
            self._streamer = asyncio.create_task(
                self._stream(self._session.request()), name="replay-streamer"
            )
        return True

    async def _stream(self, request: Request) -> None:
        try:
            await self._send_all(self._requested(request), request)
            await self._link.reply(b"END")
        except (ConnectionError, ssl.SSLError):
            pass  # cut on purpose or by the client
        finally:
            self._writer.close()  # the reader sees the end and finishes

    def _requested(self, request: Request) -> dict[int, StreamRequest]:
        """Requested streams, and where each begins: no station loses packets because another is ahead."""
        ring, streams = self._server.playback.ring, self._server.playback.schedule.streams
        whole_number = request.version == 4
        begins = [
            ring.oldest
            if item.oldest and item.begin_ns is None
            else ring.start_for(item.sequence, item.begin_ns, whole_number=whole_number)
            for item in request.stations
        ]
        if self._server.link_faults.faults.resume_at_newest:
            asked = [(item.sequence, item.begin_ns) for item in request.stations]
            begins = [ring.common_start(asked, whole_number=whole_number)] * len(begins)
        requests: dict[int, StreamRequest] = {}
        for index, stream in enumerate(streams):
            taken = request.match(
                stream.network,
                stream.station,
                stream.location,
                stream.channel,
                stream.kind if request.version == 3 else self._server.data_format + stream.kind,
            )
            if taken is not None:
                requests[index] = StreamRequest(begins[taken], _window(request.stations[taken]))
        return requests

    async def _send_all(self, requests: dict[int, StreamRequest], request: Request) -> None:
        """Send packets in order; return when END is due: dial-up or a time window, and no more to come."""
        playback = self._server.playback
        ring, schedule = playback.ring, playback.schedule
        limit = playback.dialup_limit() if request.dialup else None
        ending = request.dialup or (
            bool(requests)
            and all(requested.window_ns and requested.window_ns[1] for requested in requests.values())
        )
        plain = len(requests) == len(schedule.streams) and len(set(requests.values())) == 1 and not ending
        plain = plain and all(requested.window_ns is None for requested in requests.values())
        open_streams = set(requests)
        self._cursor = min((requested.begin for requested in requests.values()), default=ring.next)
        while limit is None or self._cursor < limit:
            stop = playback.available(self._cursor, BATCH_PACKETS)
            if limit is not None:
                stop = min(stop, limit)
            if self._cursor < ring.oldest:
                self._server.overrun_packets += ring.oldest - self._cursor
                self._cursor = ring.oldest
            packets: list[bytes] = []
            reached = self._cursor
            for index, stream, body in schedule.payloads(self._cursor, stop, schedule.shift_ns):
                reached = index + 1
                if plain or self._passes(index, stream, requests, open_streams):
                    packets.append(self._packet(request.version, index, schedule.streams[stream], body))
            if reached == self._cursor:
                if ending and (not open_streams or playback.over(self._cursor)):
                    return
                await playback.wait_beyond(self._cursor)
                continue
            self._cursor = reached
            playback.note_sent(reached)
            self._server.sent_packets += len(packets)
            if packets:
                await self._link.send(packets)
            if ending and not request.dialup and not open_streams:
                return
            # With nothing to write, or room in the socket, drain() does not yield: other tasks run here.
            await asyncio.sleep(0)

    def _packet(self, version: int, index: int, stream: Stream, body: bytes) -> bytes:
        """A packet as the client's version of SeedLink has it."""
        ring, data_format = self._server.playback.ring, self._server.data_format
        if version == 3:
            return b"SL%06X" % ring.sequence_of(index) + body
        record = as_version_3(body) if data_format == "3" else body
        number = ring.number_of(index)
        return packet(f"{data_format}{stream.kind}", number, f"{stream.network}_{stream.station}", record)

    def _passes(
        self, index: int, stream: int, requests: dict[int, StreamRequest], open_streams: set[int]
    ) -> bool:
        requested = requests.get(stream)
        if requested is None or index < requested.begin:
            return False
        if requested.window_ns is None:
            return True
        begin_ns, end_ns = requested.window_ns
        first_ns, last_ns = (
            self._server.playback.ring.start_ns(index),
            self._server.playback.ring.end_ns(index),
        )
        if first_ns is None or last_ns is None:
            return False
        if end_ns is not None and first_ns > end_ns:
            open_streams.discard(stream)
            return False
        return last_ns >= begin_ns


def _window(request: StationRequest) -> tuple[int, int | None] | None:
    return (request.begin_ns, request.end_ns) if request.windowed and request.begin_ns is not None else None

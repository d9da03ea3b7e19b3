"""One client: reads its commands, answers them, and streams what it has asked for until it leaves.

Two loops share the socket: the reader goes on answering INFO (clients send INFO ID as keep-alive) while the
streamer sends packets in batches and waits for the client whenever its buffers are full.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xiaod.replay.info import ConnectionStatus
from xiaod.replay.link import Link
from xiaod.replay.protocol import LineSplitter, LineTooLongError
from xiaod.replay.session import Action, Request, Session, StationRequest

if TYPE_CHECKING:
    from xiaod.replay.server import ReplayServer

BATCH_PACKETS = 256
"""Packets in one write: 133 kB."""
READ_BYTES = 4096


@dataclass(frozen=True)
class Want:
    """What a client wants of one stream.

    Attributes:
        begin: first packet of the play.
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

    def __init__(
        self, server: "ReplayServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._link = Link(writer, server.trouble)
        self._session = Session(server.hello, server.trouble.refuses)
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
        """Serve until the client or the server ends the connection; only programming errors get out."""
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
        except ConnectionError:
            pass  # the client has gone: nothing is left to be done for it
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
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _answer(self, line: bytes) -> bool:
        """Carry out one command; False ends the connection."""
        outcome = self._session.handle(line)
        if outcome.action is Action.CLOSE:
            return False
        if outcome.action is Action.INFO:
            await self._link.reply(self._server.info(outcome.level))
        elif outcome.action is Action.CAT:
            await self._link.reply(self._server.catalogue())
        elif outcome.reply:
            await self._link.reply(outcome.reply)
        if outcome.action is Action.STREAM:
            self._server.playback.begin()
            self._streamer = asyncio.create_task(
                self._stream(self._session.request()), name="replay-streamer"
            )
        return True

    async def _stream(self, request: Request) -> None:
        try:
            await self._send_all(self._wanted(request), request)
            await self._link.reply(b"END")
        except ConnectionError:
            pass  # cut on purpose or by the client
        finally:
            self._writer.close()  # the reader sees the end and finishes

    def _wanted(self, request: Request) -> dict[int, Want]:
        """Streams asked for, and where each begins: no station loses packets because another is ahead."""
        ring, streams = self._server.playback.ring, self._server.playback.play.streams
        begins = [ring.start_for(item.sequence, item.begin_ns) for item in request.stations]
        if self._server.trouble.faults.resume_at_newest:
            asked = [(item.sequence, item.begin_ns) for item in request.stations]
            begins = [ring.common_start(asked)] * len(begins)
        wants: dict[int, Want] = {}
        for index, stream in enumerate(streams):
            taken = request.wants(
                stream.network, stream.station, stream.location, stream.channel, stream.kind
            )
            if taken is not None:
                wants[index] = Want(begins[taken], _window(request.stations[taken]))
        return wants

    async def _send_all(self, wants: dict[int, Want], request: Request) -> None:
        """Send packets in order; return when END is due: dial-up or a time window, and no more to come."""
        playback = self._server.playback
        ring, play = playback.ring, playback.play
        limit = playback.dialup_limit() if request.dialup else None
        ending = request.dialup or (
            bool(wants) and all(want.window_ns and want.window_ns[1] for want in wants.values())
        )
        plain = len(wants) == len(play.streams) and len(set(wants.values())) == 1 and not ending
        plain = plain and all(want.window_ns is None for want in wants.values())
        open_streams = set(wants)
        self._cursor = min((want.begin for want in wants.values()), default=ring.next)
        while limit is None or self._cursor < limit:
            stop = playback.available(self._cursor, BATCH_PACKETS)
            if limit is not None:
                stop = min(stop, limit)
            if self._cursor < ring.oldest:
                self._server.overrun_packets += ring.oldest - self._cursor
                self._cursor = ring.oldest
            packets: list[bytes] = []
            reached = self._cursor
            offset = ring.sequence_of(0)
            for index, stream, body in play.payloads(self._cursor, stop, play.shift_ns):
                reached = index + 1
                if plain or self._passes(index, stream, wants, open_streams):
                    packets.append(b"SL%06X" % ((index + offset) & 0xFFFFFF) + body)
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
            # With nothing to write, or an unhurried socket, drain() does not yield: the others get their
            # turn here.
            await asyncio.sleep(0)

    def _passes(self, index: int, stream: int, wants: dict[int, Want], open_streams: set[int]) -> bool:
        want = wants.get(stream)
        if want is None or index < want.begin:
            return False
        if want.window_ns is None:
            return True
        begin_ns, end_ns = want.window_ns
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

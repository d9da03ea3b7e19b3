"""The replay server: binds a port, keeps the clock of the play, and hands each client to a `Connection`.

Runs in the asyncio loop of whoever starts it: the daemon for its demonstration, a test, or `serve` for the
command line.

>>> import asyncio
>>> async def streams() -> list[str]:
...     async with ReplayServer(ReplayConfig(inputs=("example",), port=0, speed="max")) as server:
...         return [status.channel for status in server.streams()]
>>> asyncio.run(streams())
['EHE', 'EHN', 'EHZ']
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import xiaod
from xiaod.replay import info
from xiaod.replay.clock import Play
from xiaod.replay.config import ReplayConfig, ReplayError
from xiaod.replay.connection import Connection
from xiaod.replay.faults import Faults
from xiaod.replay.link import Trouble
from xiaod.replay.records import Problem, load
from xiaod.replay.ring import Ring
from xiaod.timebase import NS_PER_S

SOFTWARE = f"SeedLink v3.1 (xiaod replay {xiaod.__version__}) :: SLPROTO:3.1 CAP EXTREPLY"
BACKLOG = 128


class ReplayServer:
    """SeedLink v3 server over miniSEED files.

    Args:
        config: what to play and how.

    Attributes:
        port: TCP port in use, once started.
        problems: files and records that could not be read, once started.
        played: set when the last packet has become available (never if looped; at speed ``max``, with the
            play's begin).
        sent_packets: packets handed to sockets so far.
        overrun_packets: packets that left the ring before a slow client had read them.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        self.port = config.port
        self.problems: tuple[Problem, ...] = ()
        self.played = asyncio.Event()
        self.sent_packets = 0
        self.overrun_packets = 0
        self.trouble = Trouble(config.faults)
        organization = " ".join(config.organization.split()).encode("ascii", "replace")
        self.hello = SOFTWARE.encode() + b"\r\n" + organization + b"\r\n"
        self.play: Play
        self.ring: Ring
        self._started_ns = 0
        self._origin_s: float | None = None
        self._listener: asyncio.Server | None = None
        self._clock: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        """``host:port`` for a client."""
        return f"{self.config.host}:{self.port}"

    @property
    def next_sequence(self) -> int:
        """Number of the next packet; given to another server as ``first_sequence`` it goes on counting."""
        return self.ring.sequence_of(self.ring.next)

    @property
    def clients(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def start(self) -> None:
        """Read the inputs and listen.

        Raises:
            ReplayError: if nothing can be played, or the address cannot be had.
        """
        config = self.config
        archive = await asyncio.to_thread(load, config.inputs)
        self.problems = archive.problems
        self.play = Play(
            archive,
            copies=config.copies,
            loop=config.loop,
            loop_gap_s=config.loop_gap_s,
            faults=config.faults,
        )
        self.ring = Ring(
            self.play,
            capacity=config.ring_packets,
            first_sequence=config.first_sequence,
            whole=config.speed == "max",
        )
        self._started_ns = time.time_ns()
        if not config.faults.refuse_connections:
            await self._listen()
        if not config.clock_waits_for_client:
            self.begin()

    async def stop(self) -> None:
        """Close the port and all connections."""
        await self._unlisten()
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock

    async def set_faults(self, faults: Faults) -> None:
        """Switch line faults while running.

        Raises:
            ReplayError: if faults of the schedule differ: those are fixed when the server starts.
        """
        if not faults.same_schedule(self.config.faults):
            raise ReplayError(
                "only line faults can change while the server runs; give the others in ReplayConfig.faults"
            )
        self.trouble.change(faults)
        if faults.reset_sequence_to is not None:
            self.ring.renumber(faults.reset_sequence_to)
        if faults.refuse_connections:
            await self._unlisten()
        elif self._listener is None:
            await self._listen()

    def drop_clients(self) -> None:
        """Abort all connections; the server goes on listening."""
        for connection in self._connections.values():
            connection.abort()

    def streams(self) -> tuple[info.StreamStatus, ...]:
        """All streams and what can be had of them now."""
        statuses = []
        newest = self.play.total() if self.ring.whole and not self.play.loop else self.ring.next
        for index, stream in enumerate(self.play.streams):
            first = self.play.first_of(index, self.ring.oldest)
            last = self.play.last_of(index, (newest or 0) - 1)
            begin_ns = (
                None if first is None else self.ring.start_ns(first)
            ) or self.play.first_ns + self.ring.shift_ns
            end_ns = (None if last is None else self.ring.end_ns(last)) or begin_ns
            codes = (stream.network, stream.station, stream.location, stream.channel, stream.kind)
            statuses.append(info.StreamStatus(*codes, begin_ns, max(begin_ns, end_ns)))
        return tuple(statuses)

    # What connections need.

    def begin(self) -> None:
        """Start the clock of the play, unless it runs."""
        if self._origin_s is not None:
            return
        now_ns = time.time_ns()
        late_ns = 0
        if self.config.shift_to_now:
            # Whole seconds keep the sampling grid; the first sample then lies less than a second ago.
            self.ring.shift_ns = (now_ns - self.play.first_ns) // NS_PER_S * NS_PER_S
            late_ns = now_ns - self.play.first_ns - self.ring.shift_ns
        self._origin_s = asyncio.get_running_loop().time() - late_ns / NS_PER_S
        if self.config.speed == "max":
            self.played.set()
        else:
            self._clock = asyncio.create_task(
                self._run_clock(self._origin_s, self.config.speed), name="replay-clock"
            )
            self._clock.add_done_callback(_report_death)

    def available(self, cursor: int, most: int) -> int:
        """End of the packets that can be sent from ``cursor`` on, ``most`` of them."""
        return cursor + most if self.ring.whole else min(self.ring.next, max(cursor, self.ring.oldest) + most)

    def over(self, cursor: int) -> bool:
        """Whether no packet will ever come at ``cursor``."""
        total = self.play.total()
        return total is not None and cursor >= total

    def dialup_limit(self) -> int:
        """Where a dial-up transfer ends: at what is there now; at speed ``max``, after one round."""
        return len(self.play.round(0).slots) if self.ring.whole else self.ring.next

    async def wait_beyond(self, cursor: int) -> None:
        """Return when the packet at ``cursor`` has become available: never, if there is none to come."""
        # At speed max what exists is available, so whoever waits has reached the end.
        while self.ring.whole or self.ring.next <= cursor:
            await self._news.wait()

    def note_sent(self, reached: int, packets: int) -> None:
        """Take note of how far a client has come."""
        self.sent_packets += packets
        if self.ring.whole:
            self.ring.advance(reached)

    def info(self, level: str) -> bytes:
        """Packets that answer INFO."""
        root = info.identity(SOFTWARE, self.config.organization, self._started_ns)
        sequences = (
            self.ring.sequence_of(self.ring.oldest),
            self.ring.sequence_of(max(self.ring.next - 1, 0)),
        )
        failed = False
        match level:
            case "ID":
                pass
            case "CAPABILITIES":
                info.add_capabilities(root)
            case "STATIONS" | "STREAMS":
                info.add_stations(root, self.streams(), sequences, with_streams=level == "STREAMS")
            case "CONNECTIONS":
                info.add_connections(root, [item.status for item in self._connections.values()])
            case _:
                failed = True
        return info.info_packets(root, failed=failed)

    def catalogue(self) -> bytes:
        """Text that answers CAT: one station a line, then END."""
        stations = sorted({(stream.network, stream.station) for stream in self.play.streams})
        lines = [f"{network:<2} {station:<5} replayed\r\n" for network, station in stations]
        return "".join([*lines, "END"]).encode("ascii", "replace")

    # Sockets and clock.

    async def _listen(self) -> None:
        try:
            self._listener = await asyncio.start_server(
                self._accept, self.config.host, self.port, backlog=BACKLOG
            )
        except OSError as error:
            raise ReplayError(
                f"cannot listen on {self.address}: {error.strerror}; choose another --host or --port"
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
            self._listener = None
        for connection in self._connections.values():
            connection.abort()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.config.max_clients:
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        task = asyncio.create_task(connection.run(), name="replay-connection")
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)
        task.add_done_callback(_report_death)

    async def _run_clock(self, origin_s: float, speed: float) -> None:
        loop, ring, play = asyncio.get_running_loop(), self.ring, self.play
        while True:
            if (due_ns := play.due_ns(ring.next)) is None:
                break
            due_s = due_ns / NS_PER_S / speed
            await asyncio.sleep(max(0.0, origin_s + due_s - loop.time()))
            elapsed_ns = int((loop.time() - origin_s) * speed * NS_PER_S)
            ring.advance(play.first_due_after(ring.next, elapsed_ns, inclusive=False))
            self._tell()
        self.played.set()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _report_death(task: asyncio.Task[None]) -> None:
    """Tell the loop of a task that died of an error: it must not look like a quiet network."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} died", "exception": error, "task": task}
        )


async def serve(config: ReplayConfig, announce: Callable[[str, int], None], stop: asyncio.Event) -> None:
    """Run a server until told to stop.

    Args:
        config: what to play and how.
        announce: called with host and port once clients can connect.
        stop: set by the caller to end.

    Raises:
        ReplayError: if nothing can be played, or the address cannot be had.
    """
    async with ReplayServer(config) as server:
        announce(config.host, server.port)
        await stop.wait()

"""The replay server: binds a port, starts the replay, and hands each client to a `Connection`.

Runs in the asyncio loop of its caller: the daemon for its demonstration, a test, or `serve` for the
command line.

>>> import asyncio
>>> async def streams() -> list[str]:
...     async with ReplayServer(ReplayConfig(inputs=("example",), port=0, speed="max")) as server:
...         return [status.channel for status in server.streams()]
>>> asyncio.run(streams())
['EHE', 'EHN', 'EHZ']
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import xiaod
from xiaod.replay import info, info4
from xiaod.replay.config import EXAMPLE, AddressError, ReplayConfig, ReplayError
from xiaod.replay.connection import Connection
from xiaod.replay.faults import Faults
from xiaod.replay.link import LinkFaults
from xiaod.replay.playback import Playback, report_death
from xiaod.replay.records import Problem, load

SOFTWARE = f"SeedLink v4.0 (xiaod replay {xiaod.__version__}) :: SLPROTO:4.0 SLPROTO:3.1 CAP EXTREPLY"
BACKLOG = 128
TLS_SHUTDOWN_S = 2.0
"""How long the end of a TLS connection may take."""


class ReplayServer:
    """Server of SeedLink 3 and 4 over miniSEED files.

    Args:
        config: what to replay and how.

    Attributes:
        port: TCP port in use, once started.
        problems: files and records that could not be read, once started.
        played: set when the last packet has become available (never if looped; at speed ``max``, with the
            replay begins).
        sent_packets: packets handed to sockets so far.
        overrun_packets: packets that left the ring before a slow client had read them.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self.config = config
        self.port = config.port
        self.problems: tuple[Problem, ...] = ()
        self.sent_packets = 0
        self.overrun_packets = 0
        self.link_faults = LinkFaults(config.faults)
        organization = " ".join(config.organization.split()).encode("ascii", "replace")
        self.hello = SOFTWARE.encode() + b"\r\n" + organization + b"\r\n"
        self.data_format = str(config.miniseed_version)
        self.logins = config.logins
        self._tls = _tls_context(config)
        self.playback: Playback
        self._started_ns = 0
        self._listener: asyncio.Server | None = None
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
    def played(self) -> asyncio.Event:
        """Set when the last packet has become available."""
        return self.playback.played

    @property
    def next_sequence(self) -> int:
        """Number of the next packet; given to another server as ``first_sequence`` it goes on counting."""
        return self.playback.ring.sequence_of(self.playback.ring.next)

    @property
    def clients(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def start(self) -> None:
        """Read the inputs and listen.

        Raises:
            ReplayError: if nothing can be replayed, or the address is not available.
        """
        config = self.config
        if EXAMPLE in config.inputs:
            from xiaod.replay.example import example_records

            # In the main thread, because ObsPy imports plug-ins as it reads; cached for the thread that loads.
            example_records()
        archive = await asyncio.to_thread(load, config.inputs, config.record_bytes)
        self.problems = archive.problems
        self.playback = Playback(config, archive)
        self._started_ns = time.time_ns()
        if not config.faults.refuse_connections:
            await self._listen()
        if not config.clock_waits_for_client:
            self.playback.begin()

    async def stop(self) -> None:
        """Close the port and all connections."""
        await self._unlisten()
        if self._started_ns:
            await self.playback.stop()

    async def set_faults(self, faults: Faults) -> None:
        """Switch link faults while running.

        Raises:
            ReplayError: if faults of the schedule differ: those are fixed when the server starts.
        """
        if not faults.same_schedule(self.config.faults):
            raise ReplayError(
                "only link faults can change while the server runs; give the others in ReplayConfig.faults"
            )
        self.link_faults.change(faults)
        if faults.reset_sequence_to is not None:
            self.playback.ring.renumber(faults.reset_sequence_to)
        if faults.refuse_connections:
            await self._unlisten()
        elif self._listener is None:
            await self._listen()

    def drop_clients(self) -> None:
        """Abort all connections; the server goes on listening."""
        for connection in self._connections.values():
            connection.abort()

    def streams(self) -> tuple[info.StreamStatus, ...]:
        """All streams and what is available of each."""
        return self.playback.streams()

    # What connections need.

    def info(self, level: str) -> bytes:
        """Packets that answer INFO."""
        root = info.identity(SOFTWARE, self.config.organization, self._started_ns)
        sequences = (
            self.playback.ring.sequence_of(self.playback.ring.oldest),
            self.playback.ring.sequence_of(max(self.playback.ring.next - 1, 0)),
        )
        failed = False
        denied = self.link_faults.faults.deny_info and level in {"STATIONS", "STREAMS"}
        match "" if denied else level:
            case "ID":
                pass
            case "CAPABILITIES":
                info.add_capabilities(root)
            case "STATIONS" | "STREAMS":
                info.add_stations(root, self.streams(), sequences, with_streams=level == "STREAMS")
            case "CONNECTIONS":
                statuses = [item.status for item in self._connections.values()]
                info.add_connections(root, statuses, self.config.record_bytes)
            case _:
                failed = True
        return info.info_packets(root, failed=failed)

    def info_4(self, item: str, patterns: Sequence[str]) -> bytes:
        """The packet that answers INFO in SeedLink 4."""
        identity = {"software": SOFTWARE, "organization": self.config.organization}
        if len(patterns) > 2:
            answer = info4.failure("ARGUMENTS", "INFO takes an item, a station pattern and a stream pattern")
            return info4.info_packet(identity | answer)
        denied = self.link_faults.faults.deny_info and item in {"STATIONS", "STREAMS"}
        ring = self.playback.ring
        match "" if denied else item:
            case "ID":
                answer = {}
            case "CAPABILITIES":
                answer = {"capability": list(info4.CAPABILITIES)}
            case "FORMATS":
                answer = {"format": info4.FORMATS, "filter": {"native": "records as they are"}}
            case "STATIONS" | "STREAMS":
                numbers = ring.number_of(ring.oldest), ring.number_of(ring.next)
                answer = info4.stations(
                    self.streams(), numbers, patterns, self.data_format, with_streams=item == "STREAMS"
                )
            case "CONNECTIONS":
                answer = info4.connections(one.status for one in self._connections.values())
            case _:
                answer = info4.failure("UNAUTHORIZED" if denied else "ARGUMENTS", f"no INFO {item[:20]}")
        return info4.info_packet(identity | answer)

    def catalogue(self) -> bytes:
        """Text that answers CAT: one station a line, then END."""
        if self.link_faults.faults.deny_info:
            return b"ERROR\r\n"
        stations = sorted({(stream.network, stream.station) for stream in self.playback.schedule.streams})
        lines = [f"{network:<2} {station:<5} replayed\r\n" for network, station in stations]
        return "".join([*lines, "END"]).encode("ascii", "replace")

    # Sockets and clock.

    async def _listen(self) -> None:
        try:
            self._listener = await asyncio.start_server(
                self._accept,
                self.config.host,
                self.port,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_shutdown_timeout=None if self._tls is None else TLS_SHUTDOWN_S,
            )
        except OSError as error:
            raise AddressError(
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
        task.add_done_callback(report_death)


def _tls_context(config: ReplayConfig) -> ssl.SSLContext | None:
    """What the port needs to speak TLS; None without a certificate.

    Raises:
        ReplayError: if the certificate or its key cannot be read.
    """
    if config.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key)
    except OSError as error:
        files = " and ".join(str(path) for path in (config.tls_certificate, config.tls_key) if path)
        raise ReplayError(f"{files}: no PEM certificate with its key ({error})") from error
    return context


async def serve(config: ReplayConfig, announce: Callable[[str, int], None], stop: asyncio.Event) -> None:
    """Run a server until told to stop.

    Args:
        config: what to replay and how.
        announce: called with host and port once clients can connect.
        stop: set by the caller to end.

    Raises:
        ReplayError: if nothing can be replayed, or the address is not available.
    """
    async with ReplayServer(config) as server:
        announce(config.host, server.port)
        await stop.wait()

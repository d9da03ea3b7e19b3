"""Who is let in by the HTTP server: a real one, real sockets, clients that ask for nothing, read nothing or talk nonsense."""

import asyncio
import socket
from collections import Counter

import pytest
from aiohttp import web

from tests.descriptors import open_sockets
from xiaod.config import Config
from xiaod.daemon.web import connection_limit
from xiaod.daemon.web.api import Identity, StatusApi
from xiaod.daemon.web.connection_limit import BACKLOG, CONNECTIONS, RESERVED
from xiaod.daemon.web.web_server import WebServer
from xiaod.domain.timegrid import NS_PER_S
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings

LIMIT_S = 60.0
QUESTION = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Open:
    """A server, and what it has refused."""

    def __init__(self, metrics: bytes = b"", api: StatusApi | None = None) -> None:
        self.refused: Counter[str] = Counter()
        self.server = WebServer(
            "127.0.0.1", 0, lambda: asyncio.sleep(0, metrics), lambda: (True, {}), api,
            refused=lambda reason: self.refused.update([reason]),
        )  # fmt: skip

    async def __aenter__(self) -> "Open":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def ask(self, what: bytes) -> bytes:
        """The first line of the answer; nothing when the connection is cut."""
        reader, writer = await self.connect()
        try:
            writer.write(what)
            return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()


IDLE = 500


@pytest.mark.parametrize("question", [b"", QUESTION[:20]])
def test_connections_that_ask_for_nothing_keep_nobody_out(question: bytes) -> None:
    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open() as opened:
            held = []
            for _ in range(IDLE):
                held.append(await opened.connect())
                held[-1][1].write(question)
            for path in (b"/healthz", b"/metrics", b"/readyz"):
                assert await opened.ask(QUESTION.replace(b"/healthz", path)) == b"HTTP/1.1 200 OK\r\n"
            assert IDLE - CONNECTIONS - BACKLOG <= opened.refused["full"] <= IDLE + 3 - CONNECTIONS
            for _, writer in held:
                writer.close()

    asyncio.run(body())


def test_who_reads_no_answer_keeps_nobody_out() -> None:
    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open(metrics=bytes(4_000_000)) as opened:
            held = [await opened.connect() for _ in range(2 * CONNECTIONS)]
            for _, writer in held:
                writer.write(QUESTION.replace(b"healthz", b"metrics"))
            assert await opened.ask(QUESTION) == b"HTTP/1.1 200 OK\r\n"
            for _, writer in held:
                writer.close()

    asyncio.run(body())


class SlowApi(StatusApi):
    """The API with a disk that gives no picks until it is told to."""

    def __init__(self) -> None:
        metrics, station_table = Metrics(), StationTable(60 * NS_PER_S)
        monitor = Monitor(
            station_table,
            Assembler(BufferSettings(length=1000, hop=50), metrics, station_table, lambda: 0),
            lambda _: None,
            0,
        )
        identity = Identity("0", "micro", 0)
        config = Config.model_validate({"sources": [{"server": "localhost"}]})
        super().__init__(config, monitor, metrics, identity, dict, list, None)
        self.asked = 0
        self.answers = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/picks", self.picks)]

    async def picks(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        return web.Response()


def test_an_api_that_is_slow_leaves_room_for_health() -> None:
    async def body() -> None:
        api = SlowApi()
        async with asyncio.timeout(LIMIT_S), Open(api=api) as opened:
            picks = QUESTION.replace(b"/healthz", b"/api/picks")
            waiting = [asyncio.create_task(opened.ask(picks)) for _ in range(CONNECTIONS - RESERVED)]
            while api.asked < len(waiting):  # noqa: ASYNC110  counts
                await asyncio.sleep(0.01)
            for _ in range(CONNECTIONS):
                assert await opened.ask(picks) == b"HTTP/1.1 503 Service Unavailable\r\n"
                assert await opened.ask(QUESTION) == b"HTTP/1.1 200 OK\r\n"
            api.answers.set()
            assert set(await asyncio.gather(*waiting)) == {b"HTTP/1.1 200 OK\r\n"}

    asyncio.run(body())


@pytest.mark.parametrize("question", [b"", QUESTION[:20], QUESTION, QUESTION + QUESTION[:20]])
def test_a_connection_that_asks_for_nothing_is_closed(
    question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.daemon.web.web_server.IDLE_S", 0.2)

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open() as opened:
            reader, writer = await opened.connect()
            writer.write(question)
            assert (await reader.read()).count(b" 200 OK") == question.count(QUESTION)
            writer.close()

    asyncio.run(body())


def test_an_answer_that_nobody_reads_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limit, "UNREAD_MS", 500)

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open(metrics=bytes(20_000_000)) as opened:
            before = open_sockets()
            with socket.create_connection(("127.0.0.1", opened.server.port)) as client:
                client.sendall(QUESTION.replace(b"healthz", b"metrics"))
                # The client's and the server's, and then the client's.
                for count in (2, 1):
                    while open_sockets() != before + count:  # noqa: ASYNC110  counts, not events
                        await asyncio.sleep(0.01)

    asyncio.run(body())


def test_what_is_no_http_is_refused_counted_and_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    nonsense = [
        b"HELLO\r\n",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + b"a" * 190,
        QUESTION.replace(b"localhost", b"x" * 20_000),
        QUESTION.replace(b"\r\n\r\n", b"\r\nContent-Length: abc\r\n\r\n"),
        QUESTION.replace(b"/healthz", b"/\xff\xfe"),
    ]

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open() as opened:
            for what in nonsense:
                assert await opened.ask(what) == b"HTTP/1.0 400 Bad Request\r\n"
            assert opened.refused == {"not_http": len(nonsense)}

    asyncio.run(body())
    assert caplog.records == []

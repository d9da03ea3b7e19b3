"""Who is let in by the HTTP server: a real one, real sockets, clients that ask for nothing, read nothing or talk nonsense."""

import asyncio
import socket
from collections import Counter

import pytest

from xiaod.web import WebServer, door

LIMIT_S = 60.0
QUESTION = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Open:
    """A server, and what it has refused."""

    def __init__(self, metrics: bytes = b"") -> None:
        self.refused: Counter[str] = Counter()
        self.server = WebServer(
            "127.0.0.1", 0, lambda: metrics, lambda: (True, {}), refused=lambda reason: self.refused.update([reason])
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


def test_connections_that_ask_for_nothing_take_no_more_than_their_share() -> None:
    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open() as opened:
            held = [await opened.connect() for _ in range(3 * door.SPARE)]
            while opened.refused["full"] < 3 * door.SPARE - door.SPARE - door.BACKLOG:  # noqa: ASYNC110  counts
                await asyncio.sleep(0.01)
            for _, writer in held:
                writer.close()
            while not (answer := await opened.ask(QUESTION)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert answer == b"HTTP/1.1 200 OK\r\n"

    asyncio.run(body())


@pytest.mark.parametrize("question", [b"", QUESTION[:20], QUESTION, QUESTION + QUESTION[:20]])
def test_a_connection_that_asks_for_nothing_is_closed(
    question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.web.app.IDLE_S", 0.2)

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open() as opened:
            reader, writer = await opened.connect()
            writer.write(question)
            assert (await reader.read()).count(b" 200 OK") == question.count(QUESTION)
            writer.close()

    asyncio.run(body())


def test_an_answer_that_nobody_reads_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "UNREAD_MS", 500)

    async def body() -> None:
        async with asyncio.timeout(LIMIT_S), Open(metrics=bytes(20_000_000)) as opened:
            runner = opened.server._runner
            assert runner is not None
            assert runner.server is not None
            with socket.create_connection(("127.0.0.1", opened.server.port)) as client:
                client.sendall(QUESTION.replace(b"healthz", b"metrics"))
                while not runner.server.connections:  # noqa: ASYNC110  counts, not events
                    await asyncio.sleep(0.01)
                while runner.server.connections:  # noqa: ASYNC110
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

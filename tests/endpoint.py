"""HTTP endpoints over real sockets: one with scripted answers, and one that hands each connection to the test."""

import asyncio
import contextlib
import email
import email.policy
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

LIMIT_S = 60.0


@dataclass
class Request:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def parts(self) -> dict[str, bytes]:
        """Contents of a form by their names, as a library reads it that knows nothing of this program; none of another body."""
        head = f"content-type: {self.headers.get('Content-Type', '')}\r\n\r\n".encode()
        message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)  # type: ignore[misc]
            for part in message.iter_parts()
        }

    @property
    def ids(self) -> list[str]:
        """Identifiers of the picks and events in it."""
        if "form" in self.headers.get("Content-Type", "") and "pick" not in self.parts:
            return []
        content = json.loads(self.parts["pick"] if self.parts else self.body)
        if "id" in content:
            return [content["id"]]
        if "title" in content:
            # A message of Apprise says what the configuration makes it say.
            return [content["title"]]
        return [one["id"] for kind in ("picks", "events") for one in content.get(kind, [])]


@dataclass
class Answer:
    """What goes out."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


class Endpoint:
    """aiohttp's server in a thread; ``answers`` are given in turn, then always the last of them."""

    def __init__(
        self,
        answers: Iterable[Answer] = (),
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers = list(answers) or [Answer()]
        self.decide: Callable[[Request], Answer] = self._next
        """What answers; by default the answers given, in turn."""
        self._tls = tls
        self.requests: list[Request] = []
        self.taken: list[str] = []
        """Identifiers of picks that were answered with 2xx."""
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        [address] = self._runner.addresses
        self.port = address[1]

    async def _answer(self, request: web.Request) -> web.Response:
        got = Request(request.path_qs, dict(request.headers), await request.read())
        self.requests.append(got)
        answer = self.decide(got)
        await asyncio.sleep(answer.wait_s)
        if 200 <= answer.status < 300:
            self.taken += got.ids
        return web.Response(status=answer.status, headers=answer.headers)

    def _next(self, _: Request) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class RawEndpoint:
    """Reads a request's header and hands the socket over."""

    def __init__(self, then: Callable[[socket.socket], Any]) -> None:
        self._then = then
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._socket, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                received += sock.recv(65536)
            self._then(sock)

"""Who is let in: so many connections at one time, and none that asks for nothing or reads nothing.

Each connection costs a descriptor and the answer that waits in it. Without a bound whoever reaches the port could take all descriptors of
the process, and with them those of sources, sinks and store. Where all places are taken, the connection that was opened first, of those
whose question is not being answered just now, makes room for the new one, and is counted: who holds a connection and asks for nothing, or
does not read, keeps nobody out. Some places are kept for questions about health and metrics: when the others are busy, the API says so.
What is no HTTP is counted too: that is the asker's fault and no line of our log.

>>> from aiohttp.http_exceptions import HttpProcessingError
>>> log = request_log(lambda: print("counted"))
>>> log.filter(logging.LogRecord("", logging.ERROR, "", 0, "Error", (), (HttpProcessingError, HttpProcessingError(), None)))
counted
False
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from xiaod.daemon.web.guard import UNGUARDED, refusal

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

SPARE = 64
"""Connections besides those of listeners to the stream."""
KEPT = 16
"""Of these, places in which the API is not answered: whoever asks for health and metrics finds room."""
RETRY_S = 10
"""When who found the API busy may ask again."""
BACKLOG = 16
"""Connections that the kernel holds for us; asyncio lets as many in at once before anybody has counted them."""
IDLE_S = 75.0
"""A connection that asks for nothing for so long, or never ends its question, is closed; Prometheus asks each 15 to 60 s."""
UNREAD_MS = 60_000
"""An answer that is not read for so long ends its connection (tcp(7), ``TCP_USER_TIMEOUT``)."""


class Answering:
    """The connections whose question is being answered, and a middleware that keeps the account of them."""

    def __init__(self, most: int) -> None:
        self._busy: set[asyncio.BaseProtocol] = set()
        self._most = most

    def __contains__(self, protocol: asyncio.BaseProtocol) -> bool:
        return protocol in self._busy

    def middleware(self) -> "Middleware":
        """To stand around all handlers."""
        from aiohttp import web

        @web.middleware
        async def counted(request: web.Request, handler: "Handler") -> web.StreamResponse:
            if len(self._busy) >= self._most and request.path not in UNGUARDED:
                answer = refusal(503, "too many questions at one time")
                answer.headers["Retry-After"] = str(RETRY_S)
                return answer
            self._busy.add(request.protocol)
            try:
                return await handler(request)
            finally:
                self._busy.discard(request.protocol)

        return counted


class Door:
    """Makes what serves a connection; asyncio calls it for each one."""

    def __init__(
        self, server: "web.Server", answering: Answering, most: int, refused: Callable[[], None]
    ) -> None:
        """Set up.

        Args:
            server: what serves.
            answering: whom it answers just now.
            most: connections at one time.
            refused: called for each connection that is cut for want of room.
        """
        self._server = server
        self._answering = answering
        self._most = most
        self._refused = refused

    def __call__(self) -> asyncio.Protocol:
        """The server's own protocol, in the place of another where all are taken; or one that ends the connection, where all are busy."""
        # In the order in which they were opened.
        living = [
            (protocol, protocol.transport)
            for protocol in self._server.connections
            if protocol.transport is not None and not protocol.transport.is_closing()
        ]
        if len(living) < self._most:
            return self._server()
        self._refused()
        idle = [transport for protocol, transport in living if protocol not in self._answering]
        if not idle:
            return _Closed()
        # Rather one that has got all its answers than one that reads.
        min(idle, key=lambda transport: transport.get_write_buffer_size() > 0).abort()
        return self._server()

    async def open(self, host: str, port: int) -> asyncio.Server:
        """Listen.

        Raises:
            OSError: when the address cannot be bound.
        """
        server = await asyncio.get_running_loop().create_server(self, host, port, backlog=BACKLOG)
        for listening in server.sockets:
            # Connections inherit it.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        return server


class _Closed(asyncio.Protocol):
    """Ends a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


def request_log(refused: Callable[[], None]) -> logging.Logger:
    """A logger for the server, which counts what is no HTTP where aiohttp would write a traceback for each."""
    from aiohttp.http_exceptions import HttpProcessingError

    def worth_a_line(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            refused()
            return False
        return True

    # Of this server alone: another may count elsewhere. At the lowest level, for some of it aiohttp takes to be of no interest.
    log = logging.Logger("aiohttp.server", logging.DEBUG)
    log.parent = logging.getLogger()
    log.addFilter(worth_a_line)
    return log

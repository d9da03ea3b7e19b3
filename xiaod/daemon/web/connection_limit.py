"""The limit of HTTP connections, so that no client takes all file descriptors or keeps others out.

Each connection costs a descriptor and memory for its answer; sources, sinks and store need descriptors too. When all slots are taken, a
new connection replaces the oldest one that has no request in progress, and the loss is counted: an idle client, or one that does not
read, blocks nobody. Some slots are reserved for health and metrics: while requests take all the others, the API answers 503. Data that
are not HTTP are counted too, in place of a traceback in the log for each.

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

from xiaod.daemon.web.security import UNCHECKED_PATHS, error_response

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

CONNECTIONS = 64
"""Connections at one time, besides those of listeners to the event stream."""
RESERVED = 16
"""Of these, slots for health and metrics alone."""
RETRY_AFTER_S = 10
"""Seconds after which a client that found the API busy may ask again."""
BACKLOG = 16
"""Connections that wait in the kernel; asyncio accepts as many at once before they are counted."""
IDLE_S = 75.0
"""A connection without a complete request for so long is closed; Prometheus scrapes each 15 to 60 s."""
UNREAD_MS = 60_000
"""An answer that is not read for so long ends its connection (tcp(7), ``TCP_USER_TIMEOUT``)."""


class ActiveRequests:
    """The connections with a request in progress, and the middleware that counts them."""

    def __init__(self, most: int) -> None:
        self._busy: set[asyncio.BaseProtocol] = set()
        self._most = most

    def __contains__(self, protocol: asyncio.BaseProtocol) -> bool:
        return protocol in self._busy

    def middleware(self) -> "Middleware":
        """A middleware around all handlers."""
        from aiohttp import web

        @web.middleware
        async def counted(request: web.Request, handler: "Handler") -> web.StreamResponse:
            if len(self._busy) >= self._most and request.path not in UNCHECKED_PATHS:
                answer = error_response(503, "too many requests at one time")
                answer.headers["Retry-After"] = str(RETRY_AFTER_S)
                return answer
            self._busy.add(request.protocol)
            try:
                return await handler(request)
            finally:
                self._busy.discard(request.protocol)

        return counted


class ConnectionLimit:
    """The protocol factory of the server; asyncio calls it for each new connection."""

    def __init__(
        self, server: "web.Server", active: ActiveRequests, most: int, refused: Callable[[], None]
    ) -> None:
        """Set up.

        Args:
            server: makes the protocol of a connection.
            active: its requests in progress.
            most: connections at one time.
            refused: called for each connection that is closed or replaced.
        """
        self._server = server
        self._active = active
        self._most = most
        self._refused = refused

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection. When all slots are taken it replaces an idle connection, or is closed if there is none."""
        # Oldest first.
        living = [
            (protocol, protocol.transport)
            for protocol in self._server.connections
            if protocol.transport is not None and not protocol.transport.is_closing()
        ]
        if len(living) < self._most:
            return self._server()
        self._refused()
        idle = [transport for protocol, transport in living if protocol not in self._active]
        if not idle:
            return _Closed()
        # One that has read all its answers goes before one that still reads.
        min(idle, key=lambda transport: transport.get_write_buffer_size() > 0).abort()
        return self._server()

    async def open(self, host: str, port: int) -> asyncio.Server:
        """Listen.

        Raises:
            OSError: when the address cannot be bound.
        """
        server = await asyncio.get_running_loop().create_server(self, host, port, backlog=BACKLOG)
        for listening in server.sockets:
            # Accepted connections inherit it.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        return server


class _Closed(asyncio.Protocol):
    """Closes its connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


def request_log(refused: Callable[[], None]) -> logging.Logger:
    """The logger of the server: it calls ``refused`` for data that are not HTTP, for which aiohttp would log a traceback."""
    from aiohttp.http_exceptions import HttpProcessingError

    def is_logged(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            refused()
            return False
        return True

    # A logger of this server alone. At the lowest level, since aiohttp reports some of it as debug messages.
    log = logging.Logger("aiohttp.server", logging.DEBUG)
    log.parent = logging.getLogger()
    log.addFilter(is_logged)
    return log

"""Who is let in: so many connections at one time, and none that asks for nothing or reads nothing.

Each connection costs a descriptor and the answer that waits in it. Without a bound whoever reaches the port could take all descriptors of
the process, and with them those of sources, sinks and store. One more than the bound is cut at once, and counted; so is what is no HTTP,
which is the asker's fault and no line of our log.

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

if TYPE_CHECKING:
    from aiohttp import web

SPARE = 64
"""Connections besides those of listeners to the stream."""
BACKLOG = 16
"""Connections that the kernel holds for us; asyncio lets as many in at once before anybody has counted them."""
IDLE_S = 75.0
"""A connection that asks for nothing for so long, or never ends its question, is closed; Prometheus asks each 15 to 60 s."""
UNREAD_MS = 60_000
"""An answer that is not read for so long ends its connection (tcp(7), ``TCP_USER_TIMEOUT``)."""


class Door:
    """Makes what serves a connection, while there is room; asyncio calls it for each one."""

    def __init__(self, server: "web.Server", most: int, refused: Callable[[], None]) -> None:
        self._server = server
        self._most = most
        self._refused = refused

    def __call__(self) -> asyncio.Protocol:
        """The server's own protocol, or one that ends the connection."""
        if len(self._server.connections) < self._most:
            return self._server()
        self._refused()
        return _Closed()

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

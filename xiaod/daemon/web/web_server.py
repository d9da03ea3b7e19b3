"""The HTTP server, with metrics and health.

- ``/metrics``: Prometheus' text format.
- ``/healthz``: 200 while the event loop turns.
- ``/readyz``: 200 when every source is subscribed (or other shards have all its stations), at least one station sends data, and nothing
  hinders picking; 503 otherwise, with what is missing. Stale stations and problems are listed in either case.
- ``/`` and ``/api/...``: the status page, see :mod:`xiaod.daemon.web.api`.

Answers are JSON except ``/metrics`` and the page. The server listens on loopback unless the configuration says otherwise.

>>> readiness({"a": "streaming"}, fresh=1, stale=["XX.B..HH"])
(True, {'ready': True, 'sources': {'a': 'streaming'}, 'stations_fresh': 1, 'stations_stale': ['XX.B..HH'], 'problems': []})
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xiaod.daemon.web.connection_limit import (
    CONNECTIONS,
    IDLE_S,
    RESERVED,
    ActiveRequests,
    ConnectionLimit,
    request_log,
)
from xiaod.daemon.web.documents import problem_document
from xiaod.daemon.web.security import add_headers, host_check
from xiaod.pipeline.problems import HINDERING, Problem

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web

    from xiaod.daemon.web.api import StatusApi

EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Readiness = tuple[bool, dict[str, Any]]


def readiness(
    sources: Mapping[str, str], fresh: int, stale: Sequence[str], problems: Sequence[Problem] = ()
) -> Readiness:
    """Whether the daemon is ready, and the facts behind it.

    Args:
        sources: state of each source's link.
        fresh: stations that send data.
        stale: stations that are subscribed and silent.
        problems: what is wrong.
    """
    # An idle source waits for nothing: other shards have all its stations.
    waiting = [state for state in sources.values() if state != "idle"]
    ready = bool(sources) and all(state == "streaming" for state in waiting) and (fresh > 0 or not waiting)
    ready = ready and not any(one.code in HINDERING for one in problems)
    return ready, {
        "ready": ready,
        "sources": dict(sources),
        "stations_fresh": fresh,
        "stations_stale": list(stale),
        "problems": [problem_document(one) for one in problems],
    }


class WebServer:
    """The HTTP server, in the event loop of the daemon."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[], Awaitable[bytes]],
        ready: Callable[[], Readiness],
        api: "StatusApi | None" = None,
        listeners: int = 0,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; nothing is opened before :meth:`start`.

        Args:
            host: to listen on.
            port: to listen on; 0: any free one.
            metrics: gives the answer of ``/metrics``.
            ready: gives the answer of ``/readyz``.
            api: the page and its API; None: there is no page.
            listeners: connections to the event stream at one time, besides those for everything else.
            refused: called with the reason for each connection that is refused or replaced.
        """
        self._host = host
        self._port = port
        self._metrics = metrics
        self._ready = ready
        self._api = api
        self._most = listeners + CONNECTIONS
        self._refused = refused
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._port

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: when the address cannot be bound.
        """
        from aiohttp import web

        active = ActiveRequests(self._most - RESERVED)
        application = web.Application(
            client_max_size=1024, middlewares=[active.middleware(), host_check(self._host)]
        )
        application.on_response_prepare.append(add_headers)
        application.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/healthz", self._serve_health),
                web.get("/readyz", self._serve_readiness),
            ]
        )
        if self._api is not None:
            application.add_routes(self._api.routes())
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=request_log(lambda: self._refused("not_http")),
            keepalive_timeout=IDLE_S,
            shutdown_timeout=1.0,
            handler_cancellation=True,
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  it has been set up
        limit = ConnectionLimit(self._runner.server, active, self._most, lambda: self._refused("full"))
        self._listening = await limit.open(self._host, self._port)
        if self._port == 0:
            self._port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close all connections."""
        if self._api is not None:
            self._api.stream.close()
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve_metrics(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.Response(body=await self._metrics(), headers={"Content-Type": EXPOSITION_TYPE})

    async def _serve_health(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.json_response({"alive": True})

    async def _serve_readiness(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        ready, facts = self._ready()
        return web.json_response(facts, status=200 if ready else 503)

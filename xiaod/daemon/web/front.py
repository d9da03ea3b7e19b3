"""What the web server is told of a running daemon: metrics, readiness, and what the page and its API show.

>>> from xiaod.daemon.web.front import Front
>>> Front.open.__name__
'open'
"""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod import __version__
from xiaod.config import Config
from xiaod.daemon.web.app import Readiness, WebServer, readiness
from xiaod.pipeline.pipeline import Pipeline
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore

if TYPE_CHECKING:
    from xiaod.daemon.web.api import StatusApi


class Front:
    """The HTTP side of one run of the daemon."""

    def __init__(
        self,
        config: Config,
        pipeline: Pipeline,
        model: str,
        metrics: Metrics,
        store: PickStore | None,
    ) -> None:
        """Set up.

        Args:
            config: of the daemon.
            pipeline: what is shown.
            model: its name and version.
            metrics: what ``/metrics`` gives.
            store: where picks are read from.
        """
        self._config = config
        self._pipeline = pipeline
        self._model = model
        self._metrics = metrics
        self._store = store
        self._api = self._status_api()

    def reconfigure(self, config: Config) -> None:
        """Sign picks with another agency from now on."""
        if self._api is not None:
            self._api.reconfigure(config)

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen until the stack is left.

        Raises:
            StartError: when it cannot.
        """
        http = self._config.http
        web = WebServer(
            http.host,
            http.port,
            self._exposition,
            self._readiness,
            self._api,
            http.max_clients,
            lambda reason: self._metrics.http_refused.labels(reason).inc(),
        )
        try:
            await web.start()
        except OSError as error:
            raise StartError(
                f"http: cannot listen on {http.host}:{http.port}: {error.strerror}; "
                "stop what uses it, or change http.port (0 takes a free one)",
                ExitCode.FAILURE,
            ) from error
        stack.push_async_callback(web.stop)
        shown = {} if self._pipeline.monitor is None else {"page": f"{http.url(web.port)}/"}
        get_logger("service").info("web.listening", host=http.host, port=web.port, **shown)

    def _status_api(self) -> "StatusApi | None":
        """What is behind the status page, where there is one."""
        if self._pipeline.monitor is None:
            return None
        from xiaod.daemon.web.api import Identity, StatusApi

        return StatusApi(
            self._config,
            self._pipeline.monitor,
            self._metrics,
            Identity(__version__, self._model, time.time_ns()),
            self._pipeline.links,
            self._store,
        )

    async def _exposition(self) -> bytes:
        self._pipeline.update_metrics()
        # Those of a thousand stations take a tenth of a second, and a disk that hangs more: nobody is to wait for them.
        return await asyncio.to_thread(self._rendered, self._config.state.folder)

    def _rendered(self, folder: Path) -> bytes:
        self._metrics.room(folder)
        return self._metrics.exposition()

    def _readiness(self) -> Readiness:
        pipeline = self._pipeline
        return readiness(pipeline.links(), pipeline.stations().fresh, pipeline.stale_stations())

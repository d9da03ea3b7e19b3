"""The HTTP service of a running daemon: the web server with the daemon's metrics, readiness, page and API."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod import __version__
from xiaod.config import Config
from xiaod.daemon.web.web_server import Readiness, WebServer, readiness
from xiaod.pipeline.pipeline import Pipeline
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore

if TYPE_CHECKING:
    from xiaod.daemon.web.api import StatusApi


class HttpService:
    """The HTTP service of one run of the daemon."""

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
            pipeline: the pipeline whose state is served.
            model: name and version of its model.
            metrics: of the daemon.
            store: the API reads picks from it; None: from memory.
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
        """Listen until the stack is closed.

        Raises:
            StartError: when the address cannot be bound.
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
                f"{self._config.origin.where('http', 'port')}: cannot listen on {http.host}:{http.port}: {error.strerror}; "
                "stop what uses it, or change http.port (0 takes a free one)",
                ExitCode.FAILURE,
            ) from error
        stack.push_async_callback(web.stop)
        shown = {} if self._pipeline.monitor is None else {"page": f"{http.url(web.port)}/"}
        get_logger("service").info("web.listening", host=http.host, port=web.port, **shown)

    def _status_api(self) -> "StatusApi | None":
        """The page and its API; None: there is no page."""
        if self._pipeline.monitor is None:
            return None
        from xiaod.daemon.web.api import Identity, StatusApi

        return StatusApi(
            self._config,
            self._pipeline.monitor,
            self._metrics,
            Identity(__version__, self._model, time.time_ns()),
            self._pipeline.links,
            self._pipeline.problems,
            self._store,
        )

    async def _exposition(self) -> bytes:
        self._pipeline.update_metrics()
        # In a thread: metrics of a thousand stations take a tenth of a second, and a disk that hangs much longer.
        return await asyncio.to_thread(self._rendered, self._config.state.folder)

    def _rendered(self, folder: Path) -> bytes:
        self._metrics.update_disk(folder)
        return self._metrics.exposition()

    def _readiness(self) -> Readiness:
        pipeline = self._pipeline
        return readiness(
            pipeline.links(), pipeline.stations().fresh, pipeline.stale_stations(), pipeline.problems()
        )

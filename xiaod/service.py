"""The daemon: builds the pipeline from the configuration, watches it, and stops it in order.

The first SIGTERM or SIGINT asks the sources to end; everything received is picked and delivered, then the process ends with
status 0. A second signal ends it at once. A failure in any task ends the process with status 1: the service manager restarts it, and
only reconnection and delivery heal themselves.

>>> ExitCode.CONFIGURATION.value
2
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from models.weights import resolve
from xiaod import __version__
from xiaod.config import Config, SeedLinkConfig
from xiaod.engines import ENGINES, Engine
from xiaod.engines.errors import ModelError
from xiaod.ledger import Ledger
from xiaod.logs import get_logger
from xiaod.metrics import Metrics
from xiaod.notify import Notifier
from xiaod.pipeline import Pipeline
from xiaod.sinks import SINKS, Sink
from xiaod.sources import SOURCES
from xiaod.state import Positions, StateStore
from xiaod.store import PickStore
from xiaod.streampicker import stream_window
from xiaod.tables import load
from xiaod.timebase import ns_from_s, samples_from_s
from xiaod.web import Readiness, WebServer, readiness

if TYPE_CHECKING:
    from xiaod.sources.seedlink import SeedLinkSource

STORE = "picks.sqlite"
"""Name of the store in the state folder."""
SETTLE_S = 15.0
"""With ``max_lead_s``, how far behind the newest window everything is picked for good."""
WARM_UP_S = 15.0
"""With the length of a window, what must come again before that for windows, averages and filters to be as they were."""
DAY_S = 86_400.0
HEARTBEAT_S = 1.0
"""How often stations, watchdog and state are looked at."""


class ExitCode(IntEnum):
    """Exit statuses of ``xiaod``."""

    OK = 0
    """Stopped in order, or the command did what it was asked."""
    FAILURE = 1
    """Something failed that only a restart can mend; the log says what."""
    CONFIGURATION = 2
    """The configuration, the model or the command line is wrong; a restart does not help."""
    CUT_SHORT = 3
    """The orderly stop took longer than ``grace_s``."""
    SECOND_SIGNAL = 130
    """A second signal came while stopping."""


class StartError(Exception):
    """The daemon cannot start; the message says why and what helps, ``code`` how to end."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class _CutShort(Exception):  # noqa: N818  the orderly stop took too long; never leaves this file
    pass


def open_engine(config: Config) -> Engine:
    """Load the configured engine and model.

    Raises:
        ModelError: when the model cannot be used, or does not fit the configured windows.
    """
    try:
        path = resolve(config.engine.model, stateful=config.engine.kind == "stateful")
    except FileNotFoundError as error:
        raise ModelError(f"engine.model: {error}") from error
    engine: Engine = load(ENGINES, config.engine.kind)(path, threads=config.engine.threads)
    _fit(config, engine)
    return engine


def _fit(config: Config, engine: Engine) -> None:
    """Refuse windows of a length that the model cannot use."""
    length, spec = samples_from_s(config.windows.length_s), engine.spec
    rate_hz = spec.sampling_rate_hz
    if engine.stateful:
        needed = stream_window(spec.delay_samples, spec.chunk_samples, samples_from_s(config.windows.hop_s))
        if length < needed:
            raise ModelError(
                f"windows.length_s: {config.windows.length_s:g} s; model {spec.name}, which is "
                f"{spec.delay_samples / rate_hz:g} s late, needs at least {needed / rate_hz:g} s"
            )
        return
    lengths = sorted({spec.window_samples, *spec.lengths})
    if not lengths[0] <= length <= lengths[-1]:
        taken = " to ".join(f"{samples / rate_hz:g}" for samples in dict.fromkeys((lengths[0], lengths[-1])))
        raise ModelError(
            f"windows.length_s: {config.windows.length_s:g} s; model {spec.name} takes windows of {taken} s"
        )


def open_sinks(config: Config) -> list[Sink]:
    """Make the configured sinks."""
    return [load(SINKS, sink.kind)(sink, config.agency) for sink in config.sinks]


class Service:
    """One run of the daemon."""

    def __init__(self, config: Config, engine: Engine, config_path: Path) -> None:
        self._config = config
        self._engine = engine
        self._config_path = config_path
        self._log = get_logger("service")
        self._notifier = Notifier(os.environ)
        self._metrics = Metrics()
        self._metrics.build.info({"version": __version__})
        self._state = StateStore(config.state.folder)
        self._store: PickStore | None = None
        self._ledger: Ledger | None = None
        self._stopping = asyncio.Event()
        self._sources: list[SeedLinkSource] = []

    async def run(self) -> ExitCode:
        """Run until a signal comes or something fails.

        Raises:
            StartError: when a listener or an embedded server cannot be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        async with AsyncExitStack() as stack:
            self._open_store(stack)
            self._sources = [await self._open_source(source, stack) for source in self._config.sources]
            pipeline = Pipeline(
                self._config,
                self._engine,
                self._sources,
                open_sinks(self._config),
                self._metrics,
                time.time_ns,
                self._store,
                self._ledger,
            )
            if self._config.http.enabled:
                web = WebServer(
                    self._config.http.host,
                    self._config.http.port,
                    lambda: self._exposition(pipeline),
                    lambda: self._readiness(pipeline),
                )
                try:
                    await web.start()
                except OSError as error:
                    raise StartError(
                        f"http: cannot listen on {self._config.http.host}:{self._config.http.port}: {error.strerror}; "
                        "stop what uses it, or change http.port (0 takes a free one)",
                        ExitCode.FAILURE,
                    ) from error
                stack.push_async_callback(web.stop)
                self._log.info("web.listening", host=self._config.http.host, port=web.port)
            return await self._work(pipeline)

    async def _work(self, pipeline: Pipeline) -> ExitCode:
        spec = self._engine.spec
        self._log.info(
            "service.started",
            version=__version__,
            config=str(self._config_path),
            pid=os.getpid(),
            model=f"{spec.name}-{spec.version}",
            model_sha256=self._engine.sha256[:16],
            sources=[source.name for source in self._sources],
            sinks=[outlet.name for outlet in pipeline.outlets],
        )
        self._notifier.send("READY=1", "STATUS=started")
        code = ExitCode.OK
        try:
            async with asyncio.TaskGroup() as group:
                finished = pipeline.start(group)
                watching = group.create_task(self._watch(pipeline), name="watch")
                stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
                try:
                    await asyncio.wait({finished, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    stopping.cancel()
                self._notifier.send("STOPPING=1")
                pipeline.stop_sources()
                try:
                    async with asyncio.timeout(self._config.grace_s):
                        await finished
                except TimeoutError:
                    raise _CutShort from None
                watching.cancel()
        except* _CutShort:
            self._log.error("service.cut_short", grace_s=self._config.grace_s, **_left(pipeline))
            code = ExitCode.CUT_SHORT
        finally:
            pipeline.abandon()
            self._save_state()
        self._log.info("service.stopped", status=int(code))
        return code

    def _signalled(self, number: int) -> None:
        if self._stopping.is_set():
            self._log.warning("service.second_signal", signal=signal.Signals(number).name)
            os._exit(ExitCode.SECOND_SIGNAL)
        self._log.info("service.stopping", signal=signal.Signals(number).name)
        self._stopping.set()

    def _open_store(self, stack: AsyncExitStack) -> None:
        """Open the record of truth; without a disk to write to, picks go to the sinks from memory, and the log says so."""
        try:
            self._store = PickStore(self._config.state.folder / STORE)
        except OSError as error:
            self._metrics.store_errors.inc()
            self._log.error(
                "store.unavailable",
                error=str(error),
                consequence="picks are not kept for sinks that are down, and not across a restart",
            )
            return
        stack.callback(self._store.close)
        resumed = any(source.begin == "resume" for source in self._config.sources)
        self._ledger = Ledger(self._store, resumed, self._config.buffer.max_lead_s + SETTLE_S)

    async def _open_source(self, config: SeedLinkConfig, stack: AsyncExitStack) -> "SeedLinkSource":
        if config.replay_input is not None:
            config = await self._embed_replay(config, config.replay_input, stack)
        resume = self._state.load(config.label) if config.begin == "resume" else None

        def remember(positions: Positions) -> None:
            try:
                self._state.save(config.label, positions)
            except OSError as error:
                self._metrics.state_errors.inc()
                self._log.warning("state.not_saved", error=str(error))

        source: SeedLinkSource = load(SOURCES, config.kind)(config, resume=resume, remember=remember)
        return source

    async def _embed_replay(
        self, config: SeedLinkConfig, played: str, stack: AsyncExitStack
    ) -> SeedLinkConfig:
        """Start a replay server in this process and point the source at it."""
        from xiaod.replay import ReplayConfig, ReplayError, ReplayServer

        try:
            server = await stack.enter_async_context(
                ReplayServer(ReplayConfig(inputs=(played,), port=0, shift_to_now=True, loop=True))
            )
        except ReplayError as error:
            raise StartError(f"sources: {config.label}: {error}", ExitCode.CONFIGURATION) from error
        self._log.info("replay.listening", host="127.0.0.1", port=server.port, plays=played)
        return config.model_copy(update={"name": config.label, "server": f"127.0.0.1:{server.port}"})

    def _exposition(self, pipeline: Pipeline) -> bytes:
        pipeline.observe()
        return self._metrics.exposition()

    def _readiness(self, pipeline: Pipeline) -> Readiness:
        board = pipeline.board
        links = {source.name: board.links.get(source.name, "starting") for source in self._sources}
        return readiness(
            links, board.fresh(), sorted(str(entry.instrument) for entry in board if entry.stale)
        )

    async def _watch(self, pipeline: Pipeline) -> None:
        """Look after stations, state and the watchdog."""
        saved_s = time.monotonic()
        worked = -1
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for change in pipeline.board.review(time.time_ns()):
                event = self._log.warning if change.stale else self._log.info
                event(
                    "station.stale" if change.stale else "station.fresh",
                    instrument=str(change.instrument),
                    silent_s=round(change.silent_s, 1),
                )
            # Alive is who has nothing to do, or has done something since: a timer alone would prove nothing.
            done = pipeline.work_done()
            if not pipeline.pending() or done != worked:
                status = f"STATUS={pipeline.board.fresh()}/{len(pipeline.board)} stations fresh"
                self._notifier.send("WATCHDOG=1", status)
            worked = done
            if time.monotonic() - saved_s >= self._config.state.save_interval_s:
                saved_s = time.monotonic()
                self._save_state()

    def _save_state(self) -> None:
        try:
            needed = {}
            if self._ledger is not None:
                self._ledger.flush()
                warm_ns = ns_from_s(self._config.windows.length_s + WARM_UP_S)
                needed = {station: time_ns - warm_ns for station, time_ns in self._ledger.resume_at().items()}
            for source in self._sources:
                self._state.save(source.name, source.resumable(needed))
            self._prune()
        except OSError as error:
            self._metrics.state_errors.inc()
            self._log.warning("state.not_saved", error=str(error))

    def _prune(self) -> None:
        if self._store is not None and self._config.state.keep_days:
            before_ns = time.time_ns() - ns_from_s(self._config.state.keep_days * DAY_S)
            self._store.prune(before_ns, [sink.name for sink in self._config.sinks])


def _left(pipeline: Pipeline) -> dict[str, int]:
    return {f"backlog_{outlet.name}": len(outlet) for outlet in pipeline.outlets}

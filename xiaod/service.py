"""The daemon: builds the pipeline from the configuration, watches it, and stops it in order.

SIGHUP rereads the configuration: stations, thresholds and sinks change, and what stays the same is not disturbed; a file that is not
valid changes nothing. The first SIGTERM or SIGINT asks the sources to end; everything received is picked and delivered, then the
process ends with status 0. A second signal ends it at once. A failure in any task ends the process with status 1: the service manager
restarts it, and only reconnection and delivery heal themselves.

>>> StartError("http: cannot listen", ExitCode.FAILURE).code.value
1
"""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.weights import resolve
from xiaod import __version__
from xiaod.config import Config, SeedLinkConfig, SinkConfig
from xiaod.configfile import ConfigError
from xiaod.engines import ENGINES, Engine
from xiaod.engines.errors import ModelError
from xiaod.exitcode import ExitCode
from xiaod.inheritance import OtherCountError, inherit, refuse_other_counts
from xiaod.ledger import Ledger
from xiaod.lock import FolderLock, LockedError
from xiaod.logs import configure_logs, get_logger
from xiaod.metrics import Metrics
from xiaod.notify import Notifier, Watchdog
from xiaod.pipeline import Pipeline
from xiaod.placement import base_folder, load_placed_anew
from xiaod.records import Positions
from xiaod.reload import Reload, plan_reload
from xiaod.shard import Shard
from xiaod.sinks import SINKS, Sink, SinkError
from xiaod.sources import SOURCES
from xiaod.sources.patterns import may_match
from xiaod.store import STORE, PickStore, StoreError
from xiaod.streampicker import stream_window
from xiaod.tables import MissingExtraError, load
from xiaod.timebase import NS_PER_S, ns_from_s, samples_from_s
from xiaod.web import Readiness, WebServer, readiness

if TYPE_CHECKING:
    from xiaod.sources.seedlink import SeedLinkSource
    from xiaod.web.api import StatusApi

SETTLE_S = 15.0
"""With ``max_lead_s``, how far behind the newest window everything is picked for good."""
WARM_UP_S = 15.0
"""With the length of a window, what must come again before that for windows, averages and filters to be as they were."""
DAY_S = 86_400.0
RESUME = "resume"
CLOCK_STEP_NS = NS_PER_S
"""A change of the host's clock against the steady one that is more than drift."""
HEARTBEAT_S = 1.0
"""How often stations, watchdog and state are looked at, at least."""


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
    """Make the configured sinks.

    Raises:
        SinkError: when one cannot be made.
    """
    return [open_sink(config, sink) for sink in config.sinks]


def open_sink(config: Config, sink: SinkConfig) -> Sink:
    """Make one sink; nothing is opened before it delivers.

    Raises:
        SinkError: when a package is missing, or a secret cannot be read.
    """
    try:
        made: Sink = load(SINKS, sink.kind)(sink, config.agency)
    except MissingExtraError as error:
        raise SinkError(f"sinks: {sink.name}: {error}") from error
    return made


class Service:
    """One run of the daemon."""

    def __init__(
        self, config: Config, engine: Engine, config_path: Path, shard_option: str | None = None
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: as this shard uses it, see :mod:`xiaod.placement`.
            engine: loaded.
            config_path: the file, to be read again at SIGHUP.
            shard_option: value of ``--shard``, for then.
        """
        self._config = config
        self._shard = Shard(config.shard.index or 0, config.shard.count)
        self._shard_option = shard_option
        self._engine = engine
        self._config_path = config_path
        self._log = get_logger("service")
        self._notifier = Notifier(os.environ)
        self._watchdog = Watchdog.from_environment(os.environ)
        self._reload_refused = False
        self._metrics = Metrics()
        self._metrics.build.info({"version": __version__})
        self._metrics.start_time.set(time.time())
        self._metrics.accepted(time.time())
        self._store: PickStore | None = None
        self._ledger: Ledger | None = None
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()
        self._sources: dict[str, SeedLinkSource] = {}

    async def run(self) -> ExitCode:
        """Run until a signal comes or something fails.

        Raises:
            StartError: when a listener or an embedded server cannot be started, a sink not made, or another daemon uses the state
                folder.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        async with self._stack as stack:
            self._lock_state(stack)
            try:
                sinks = open_sinks(self._config)
            except SinkError as error:
                raise StartError(str(error), ExitCode.CONFIGURATION) from error
            self._open_store(stack)
            for source in self._config.sources:
                self._sources[source.label] = await self._open_source(source)
            pipeline = Pipeline(
                self._config,
                self._engine,
                list(self._sources.values()),
                sinks,
                self._metrics,
                time.time_ns,
                self._store,
                self._ledger,
                shown=self._config.http.enabled and self._config.http.page,
            )
            if self._config.http.enabled:
                web = WebServer(
                    self._config.http.host,
                    self._config.http.port,
                    lambda: self._exposition(pipeline),
                    lambda: self._readiness(pipeline),
                    self._api(pipeline),
                    self._config.http.max_clients,
                    lambda reason: self._metrics.http_refused.labels(reason).inc(),
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
            shard=str(self._shard),
            model=f"{spec.name}-{spec.version}",
            model_sha256=self._engine.sha256[:16],
            sources=list(self._sources),
            sinks=[outlet.name for outlet in pipeline.outlets],
        )
        self._notifier.send("READY=1")
        code = ExitCode.OK
        try:
            async with asyncio.TaskGroup() as group:
                finished = pipeline.start(group)
                watching = group.create_task(self._watch(pipeline), name="watch")
                stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
                reloading = group.create_task(self._reload_when_told(pipeline), name="reload")
                try:
                    await asyncio.wait({finished, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    stopping.cancel()
                    reloading.cancel()
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

    def _lock_state(self, stack: AsyncExitStack) -> None:
        """Be the only one in the state folder: two daemons would take each other's picks for their own."""
        folder = self._config.state.folder
        try:
            lock = FolderLock(folder, self._shard)
            stack.callback(lock.release)
            refuse_other_counts(base_folder(folder, self._shard), self._shard)
        except LockedError as error:
            raise StartError(
                f"state.folder: {error}; stop that one, or give this one a folder or a shard of its own",
                ExitCode.CONFIGURATION,
            ) from error
        except OtherCountError as error:
            # Once those have stopped, a restart mends it.
            raise StartError(f"shard.count: {error}", ExitCode.FAILURE) from error
        except OSError as error:
            # Without a folder to write to there is nothing to share; the store will say so.
            self._log.warning("state.not_locked", folder=str(folder), error=error.strerror)

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
        if self._store.lost_ns is None:
            # What others left long ago is no substitute for a store that was damaged.
            self._inherit()
        self._metrics.store_available.set(1)
        resumed = any(source.begin == RESUME for source in self._config.sources)
        self._ledger = Ledger(self._store, resumed, self._config.buffer.max_lead_s + SETTLE_S)

    def _inherit(self) -> None:
        """Go on where other shards have left stations that are picked here now."""
        base = base_folder(self._config.state.folder, self._shard)
        try:
            found = inherit(base, self._shard, [sink.name for sink in self._config.sinks])
        except sqlite3.Error as error:
            raise StartError(
                f"state.folder: what other shards have left cannot be taken over: {error}", ExitCode.FAILURE
            ) from error
        if found.unreadable:
            self._log.error(
                "shard.not_inherited",
                stores=found.unreadable,
                consequence="stations that have come from there begin anew",
            )
        if found.stations or found.undelivered:
            self._log.info(
                "shard.inherited",
                shard=str(self._shard),
                stations=found.stations,
                undelivered=found.undelivered,
            )

    async def _open_source(self, config: SeedLinkConfig) -> "SeedLinkSource":
        if config.replay_input is not None:
            config = await self._embed_replay(config, config.replay_input)
        resume: Positions | None = None
        lost_ns = None
        if config.begin == RESUME and self._store is not None:
            resume = self._store.positions(config.label)
            if self._store.lost_ns is not None:
                # What was in the damaged store is behind what it was written last for.
                lost_ns = self._store.lost_ns - ns_from_s(
                    self._warm_s + self._config.buffer.max_lead_s + SETTLE_S
                )

        def remember(positions: Positions) -> None:
            if self._store is not None:
                self._saving(lambda store: store.save({}, {config.label: positions}))

        source: SeedLinkSource = load(SOURCES, config.kind)(
            config, resume=resume, remember=remember, lost_ns=lost_ns, shard=self._shard
        )
        return source

    async def _embed_replay(self, config: SeedLinkConfig, played: str) -> SeedLinkConfig:
        """Start a replay server in this process and point the source at it."""
        from xiaod.replay import ReplayConfig, ReplayError, ReplayServer

        try:
            server = await self._stack.enter_async_context(
                ReplayServer(ReplayConfig(inputs=(played,), port=0, shift_to_now=True, loop=True))
            )
        except ReplayError as error:
            raise StartError(f"sources: {config.label}: {error}", ExitCode.CONFIGURATION) from error
        self._log.info("replay.listening", host="127.0.0.1", port=server.port, plays=played)
        return config.model_copy(update={"name": config.label, "server": f"127.0.0.1:{server.port}"})

    def _api(self, pipeline: Pipeline) -> "StatusApi | None":
        """What is behind the status page, where there is one."""
        if pipeline.monitor is None:
            return None
        from xiaod.web.api import Identity, StatusApi

        spec = self._engine.spec
        return StatusApi(
            self._config.http,
            pipeline.monitor,
            lambda: self._config.agency,
            self._metrics,
            Identity(__version__, f"{spec.name}-{spec.version}", time.time_ns()),
            lambda: self._links(pipeline),
            self._store,
        )

    def _links(self, pipeline: Pipeline) -> dict[str, str]:
        return {name: pipeline.board.links.get(name, "starting") for name in self._sources}

    def _exposition(self, pipeline: Pipeline) -> bytes:
        pipeline.observe()
        self._metrics.room(self._config.state.folder)
        return self._metrics.exposition()

    def _readiness(self, pipeline: Pipeline) -> Readiness:
        board = pipeline.board
        return readiness(
            self._links(pipeline),
            board.fresh(),
            sorted(str(entry.instrument) for entry in board if entry.stale),
        )

    async def _watch(self, pipeline: Pipeline) -> None:
        """Look after stations, state and the watchdog."""
        saved_s = time.monotonic()
        worked = -1
        offset_ns = time.time_ns() - time.monotonic_ns()
        # Twice within the pace, so that a look that comes late does not miss it.
        heartbeat_s = min(HEARTBEAT_S, (self._watchdog.pace_s or HEARTBEAT_S) / 2)
        while True:
            self._notifier.status(self._status(pipeline))
            await asyncio.sleep(heartbeat_s)
            for change in pipeline.board.review(time.monotonic_ns()):
                event = self._log.warning if change.stale else self._log.info
                event(
                    "station.stale" if change.stale else "station.fresh",
                    instrument=str(change.instrument),
                    silent_s=round(change.silent_s, 1),
                )
            if pipeline.monitor is not None:
                pipeline.monitor.tidy()
            step_ns = time.time_ns() - time.monotonic_ns() - offset_ns
            if abs(step_ns) > CLOCK_STEP_NS:
                offset_ns += step_ns
                self._metrics.clock_steps.inc()
                self._log.warning("clock.stepped", step_s=round(step_ns / NS_PER_S, 3))
            # Alive is who has nothing to do, or has done something since: a timer alone would prove nothing.
            done = pipeline.work_done()
            if self._watchdog.due(time.monotonic(), alive=not pipeline.pending() or done != worked):
                self._notifier.send("WATCHDOG=1")
            worked = done
            if time.monotonic() - saved_s >= self._config.state.save_interval_s:
                saved_s = time.monotonic()
                self._save_state()

    def _status(self, pipeline: Pipeline) -> str:
        refused = "; the last reload was refused, see the log" if self._reload_refused else ""
        return f"{pipeline.board.fresh()}/{len(pipeline.board)} stations fresh{refused}"

    def _save_state(self) -> None:
        """Save how far everything has been picked, and forget what is old."""
        if self._ledger is None:
            return
        ledger = self._ledger
        warm_ns = ns_from_s(self._warm_s)
        needed = {station: time_ns - warm_ns for station, time_ns in ledger.resume_at().items()}
        positions = {name: source.resumable(needed) for name, source in self._sources.items()}
        self._saving(lambda _: ledger.flush(positions))
        if self._config.state.keep_days:
            before_ns = time.time_ns() - ns_from_s(self._config.state.keep_days * DAY_S)
            self._saving(lambda store: store.prune(before_ns, [sink.name for sink in self._config.sinks]))

    def _saving(self, write: Callable[[PickStore], object]) -> None:
        """Write to the store; what cannot be written now is written later."""
        try:
            if self._store is not None:
                write(self._store)
        except OSError as error:
            self._metrics.state_errors.inc()
            self._log.warning("state.not_saved", error=str(error))

    @property
    def _warm_s(self) -> float:
        return self._config.windows.length_s + WARM_UP_S

    async def _reload_when_told(self, pipeline: Pipeline) -> None:
        """Reread the configuration at each SIGHUP."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._reload_refused = False
            try:
                # Reading takes a second on a small computer.
                plan = plan_reload(self._config, await asyncio.to_thread(self._reread))
                await self._reload(plan, pipeline)
            except (ConfigError, StartError, SinkError, StoreError) as error:
                self._reload_refused = True
                self._metrics.reloads.labels("refused").inc()
                self._metrics.reload_successful.set(0)
                self._log.error(
                    "reload.refused",
                    problems=str(error).splitlines(),
                    consequence="everything goes on as it was",
                )
            self._notifier.send("READY=1")

    def _reread(self) -> Config:
        return load_placed_anew(self._config_path, self._shard, self._shard_option)

    async def _reload(self, plan: Reload, pipeline: Pipeline) -> None:
        config = plan.config
        sources = {source.label: source for source in config.sources}
        sinks = {sink.name: sink for sink in config.sinks}
        # First what may be refused, before anything is changed.
        opened = {
            name: await self._open_source(sources[name])
            for name in (*plan.sources.begun, *plan.sources.replaced)
        }
        made = [open_sink(config, sinks[name]) for name in (*plan.sinks.begun, *plan.sinks.replaced)]
        if self._store is not None:
            for sink in made:
                self._store.begin(sink.name)
        old = {source.label: source for source in self._config.sources}
        self._config = config
        configure_logs(config.logs.level, config.logs.format)
        pipeline.reconfigure(config)
        pipeline.hold()
        try:
            for name in (*plan.sources.ended, *plan.sources.replaced):
                streams = sources[name].streams if name in sources else None
                await pipeline.remove_source(
                    name, None if streams is None else partial(may_match, patterns=streams)
                )
                ended = self._sources.pop(name)
                if name in opened and sources[name].server == old[name].server:
                    opened[name].continue_from(ended)
            for name, source in opened.items():
                self._sources[name] = source
                pipeline.add_source(source)
        finally:
            # A signal to stop may come meanwhile.
            pipeline.release()
        for name in (*plan.sinks.ended, *plan.sinks.replaced):
            await pipeline.remove_sink(name)
        for sink in made:
            pipeline.add_sink(sink)
        self._metrics.reloads.labels("done").inc()
        self._metrics.accepted(time.time())
        self._log.info("reload.done", sources=list(sources), sinks=list(sinks))
        if plan.needs_restart:
            self._log.warning("reload.needs_restart", keys=list(plan.needs_restart))


def _left(pipeline: Pipeline) -> dict[str, int]:
    return {f"backlog_{outlet.name}": len(outlet) for outlet in pipeline.outlets}

"""The daemon: builds the pipeline from the configuration, watches it, reloads the configuration, and shuts down cleanly.

- SIGHUP reads the configuration again. What a reload changes stands in :mod:`xiaod.config.diff`; everything else goes on undisturbed. A
  file that is not valid changes nothing.
- The first SIGTERM or SIGINT stops the sources. Everything received is picked and delivered, then the process ends with status 0, or
  with 3 when that takes longer than ``grace_s``. A second signal, 0.1 s later or more, ends it at once.
- A failure in any task ends the process with status 1, and the service manager restarts it. Only connections and deliveries recover by
  themselves.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod import __version__
from xiaod.config import Config
from xiaod.config.diff import Reconfigurable, ReloadPlan, plan_reload
from xiaod.config.loader import ConfigError, with_stations
from xiaod.config.per_shard import load_placed_anew
from xiaod.daemon.exposed import warn_of_exposed_files
from xiaod.daemon.housekeeping import Housekeeping
from xiaod.daemon.source_factory import SourceFactory
from xiaod.daemon.state_folder import StateFolder
from xiaod.daemon.stop_signals import StopSignals
from xiaod.daemon.web.http_service import HttpService
from xiaod.domain.sharding import Shard
from xiaod.domain.timeliness import TimeLimits
from xiaod.inference import Engine
from xiaod.inference.scout import Scout
from xiaod.pipeline.events import AssociationError
from xiaod.pipeline.factory import check_events, check_snippets, open_sink, open_sinks
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import configure_logs, get_logger
from xiaod.process.loop_turns import TurnMeter
from xiaod.process.metrics import Metrics
from xiaod.process.plugins import MissingExtraError
from xiaod.process.systemd import Notifier, Watchdog
from xiaod.sinks import Sink, SinkError
from xiaod.storage.pick_store import StoreError

if TYPE_CHECKING:
    from xiaod.acquisition.seedlink.source import SeedLinkSource


SAID_PART = 0.25
"""Part of ``grace_s`` after which the log says what the stop waits for."""
YOUNG_OBJECTS = 10_000
"""So many new objects cause a garbage collection. Records on their way are some thousand, of which nothing is left a moment later."""


class _CutShort(Exception):  # noqa: N818  the orderly stop took too long; never leaves this file
    pass


class Service:
    """One run of the daemon."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        config_path: Path,
        shard_option: str | None = None,
        meter: TurnMeter | None = None,
        scout: Scout | None = None,
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: of this shard, see :mod:`xiaod.config.per_shard`.
            engine: with its model loaded.
            config_path: the file, which SIGHUP reads again.
            shard_option: value of ``--shard``, for the same purpose.
            meter: of the event loop that runs the daemon.
            scout: the net that notices onsets, if the configuration has one.
        """
        self._config = config
        self._shard = Shard(config.shard.index or 0, config.shard.count)
        self._shard_option = shard_option
        self._engine = engine
        self._scout = scout
        self._config_path = config_path
        self._log = get_logger("service")
        self._notifier = Notifier(os.environ)
        self._metrics = Metrics()
        self._metrics.build.info({"version": __version__})
        self._metrics.start_time.set(time.time())
        if meter is not None:
            self._metrics.longest_turn.set_function(lambda: meter.longest_s)
        self._metrics.config_accepted(time.time())
        self._state = StateFolder(config, self._shard, self._metrics)
        self._housekeeping = Housekeeping(
            config,
            self._notifier,
            Watchdog.from_environment(os.environ),
            self._metrics,
            lambda: self._state.save_in_thread(self._sources),
        )
        self._stop_signals = StopSignals(lambda: self._config.grace_s)
        self._hung_up = asyncio.Event()
        self._stack = AsyncExitStack()
        self._source_factory = SourceFactory(
            self._state,
            self._shard,
            self._stack,
            TimeLimits.from_s(config.buffer.max_age_s, config.buffer.max_future_s),
        )
        self._sources: dict[str, SeedLinkSource] = {}
        self._reconfigured: list[Reconfigurable] = [self._state, self._housekeeping]
        """Parts of the daemon with settings that a reload changes, besides the pipeline."""

    async def run(self) -> ExitCode:
        """Run until a signal comes or something fails.

        Raises:
            StartError: when the HTTP server or a replay server cannot start, a sink cannot be made, or another daemon uses the
                state folder.
        """
        self._stop_signals.hear()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up.set)
        # The command line blocks SIGHUP until there is a handler.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        async with self._stack as stack:
            self._state.lock(stack)
            try:
                sinks = open_sinks(self._config)
                check_snippets(self._config)
                check_events(self._config)
            except (SinkError, MissingExtraError, AssociationError) as error:
                raise StartError(str(error), ExitCode.CONFIGURATION) from error
            warn_of_exposed_files(self._config)
            self._state.open(stack)
            for number, source in enumerate(self._config.sources):
                where = self._config.origin.where("sources", number, "server")
                self._sources[source.label] = await self._source_factory.source(source, where=where)
            pipeline = Pipeline(
                self._config,
                self._engine,
                list(self._sources.values()),
                sinks,
                self._metrics,
                LiveRun(self._state.store, self._state.progress, lambda: self._state.complaint),
                self._scout,
            )
            if self._config.http.enabled:
                model = self._engine.spec.label
                http = HttpService(self._config, pipeline, model, self._metrics, self._state.store)
                await http.open(stack)
                self._reconfigured.append(http)
            return await self._work(pipeline)

    async def _work(self, pipeline: Pipeline) -> ExitCode:
        self._log.info(
            "service.started",
            version=__version__,
            config=str(self._config_path),
            pid=os.getpid(),
            shard=str(self._shard),
            model=self._engine.spec.label,
            model_sha256=self._engine.sha256[:16],
            sources=list(self._sources),
            sinks=list(pipeline.backlogs()),
        )
        # Modules and model stay: to skip them saves a tenth of a second in each full garbage collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        self._notifier.send("READY=1")
        code = ExitCode.OK
        try:
            async with asyncio.TaskGroup() as group:
                finished = pipeline.start(group)
                watching = [
                    group.create_task(self._housekeeping.run(pipeline), name="housekeeping"),
                    group.create_task(self._housekeeping.save_regularly(), name="save"),
                    group.create_task(self._housekeeping.give_back_memory(), name="memory"),
                ]
                reloading = group.create_task(self._reload_at_sighup(pipeline), name="reload")
                try:
                    await self._stop_signals.until_stop(finished)
                finally:
                    reloading.cancel()
                self._notifier.send("STOPPING=1")
                pipeline.stop_sources()
                watching.append(group.create_task(self._say_what_is_waited_for(pipeline), name="waiting"))
                try:
                    async with asyncio.timeout(self._stop_signals.orderly_s):
                        await finished
                except TimeoutError:
                    raise _CutShort from None
                for task in watching:
                    task.cancel()
        except* _CutShort:
            self._log.error(
                "service.cut_short",
                grace_s=self._config.grace_s,
                records=pipeline.records_waiting(),
                **_left(pipeline.backlogs()),
            )
            code = ExitCode.CUT_SHORT
        finally:
            pipeline.release_threads()
            await self._state.save_in_thread(self._sources)
        self._log.info("service.stopped", status=int(code))
        return code

    async def _say_what_is_waited_for(self, pipeline: Pipeline) -> None:
        """Log it when the stop takes long."""
        await asyncio.sleep(SAID_PART * self._config.grace_s)
        self._log.info(
            "service.waiting",
            left_s=round(self._stop_signals.left_s, 1),
            sources=pipeline.sources_running(),
            records=pipeline.records_waiting(),
            sinks=pipeline.sinks_open(),
            **_left(pipeline.backlogs()),
        )

    async def _reload_at_sighup(self, pipeline: Pipeline) -> None:
        """Read the configuration again at each SIGHUP, and apply what it changes."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._housekeeping.reload_refused = False
            try:
                # In a thread: reading takes a second on a small computer.
                plan = plan_reload(self._config, await asyncio.to_thread(self._reread))
                await self._reload(plan, pipeline)
            except (ConfigError, StartError, SinkError, StoreError) as error:
                self._housekeeping.reload_refused = True
                self._metrics.reloads.labels("refused").inc()
                self._metrics.reload_successful.set(0)
                self._log.error(
                    "reload.refused",
                    problems=str(error).splitlines(),
                    consequence="the configuration in use stays",
                )
            self._notifier.send("READY=1")

    def _reread(self) -> Config:
        return with_stations(load_placed_anew(self._config_path, self._shard, self._shard_option))

    async def _prepare(self, plan: ReloadPlan) -> tuple[dict[str, "SeedLinkSource"], list[Sink]]:
        """Make the sources and sinks that a reload starts; if one cannot be made, those that have been made are released."""
        config = plan.config
        sources: dict[str, SeedLinkSource] = {}
        try:
            for number, source in enumerate(config.sources):
                if source.label in plan.sources.started:
                    where = config.origin.where("sources", number, "server")
                    former = self._sources[source.label] if source.label in plan.continued else None
                    sources[source.label] = await self._source_factory.source(source, former, where)
            sinks = [open_sink(config, sink) for sink in config.sinks if sink.name in plan.sinks.started]
            if self._state.store is not None:
                for sink in sinks:
                    await self._state.store.run_in_thread(self._state.store.begin, sink.name)
        except BaseException:
            for made in sources.values():
                await self._source_factory.release(made)
            raise
        return sources, sinks

    async def _reload(self, plan: ReloadPlan, pipeline: Pipeline) -> None:
        # Whatever may fail comes before the first change.
        sources, sinks = await self._prepare(plan)
        config = self._config = plan.config
        configure_logs(config.logs.level, config.logs.format)
        for part in self._reconfigured:
            part.reconfigure(config)
        ended = [self._sources.pop(name) for name in plan.sources.stopped]
        self._sources |= sources
        await pipeline.apply(plan, list(sources.values()), sinks)
        for source in ended:
            await self._source_factory.release(source)
        self._metrics.reloads.labels("done").inc()
        self._metrics.config_accepted(time.time())
        self._log.info(
            "reload.done",
            sources=[source.label for source in config.sources],
            sinks=[sink.name for sink in config.sinks],
        )
        warn_of_exposed_files(self._config)
        if plan.needs_restart:
            self._log.warning("reload.needs_restart", keys=list(plan.needs_restart))


def _left(backlogs: Mapping[str, int]) -> dict[str, int]:
    return {f"backlog_{name}": waiting for name, waiting in backlogs.items()}

"""The process of ``xiaod events``: start, watch, and stop in order.

- SIGTERM and SIGINT stop it: what was read is stored, and the events of it are delivered, within ``grace_s``; then status 0, or 3.
- SIGHUP does nothing but a line in the log: another configuration needs a restart.
- A failure in any task ends the process with status 1, and the service manager restarts it. Bus, store and sinks recover by themselves.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from xiaod import __version__
from xiaod.config import Config
from xiaod.config.events_process import with_bus
from xiaod.config.sinks.kind import SinkModel
from xiaod.daemon.exposed import warn_of_exposed_files
from xiaod.daemon.stop_signals import StopSignals
from xiaod.daemon.web.documents import problem_document
from xiaod.daemon.web.web_server import Readiness, WebServer
from xiaod.domain.sharding import ALONE
from xiaod.pipeline.bus import BusRun
from xiaod.pipeline.events import AssociationError
from xiaod.pipeline.factory import open_sinks
from xiaod.pipeline.pipeline import SINK_PART
from xiaod.pipeline.problems import HINDERING
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.process.plugins import MissingExtraError, imported
from xiaod.process.systemd import Notifier, Watchdog
from xiaod.sinks import SinkError
from xiaod.storage.folder_lock import FolderLock, LockedError
from xiaod.storage.pick_store import STORE, NewerStoreError, PickStore, StoreError

HEARTBEAT_S = 1.0
STUCK_S = 300.0
"""A connection may take minutes to fail; whoever does nothing for longer hangs, and the watchdog ends it."""


class EventsService:
    """One run of the process."""

    def __init__(self, config: Config, bus: SinkModel, config_path: Path) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: as this process uses it, see :mod:`xiaod.config.events_process`.
            bus: the sink whose bus is read.
            config_path: the file, for the log.
        """
        self._config = config
        self._bus = bus
        self._config_path = config_path
        self._log = get_logger("service")
        self._notifier = Notifier(os.environ)
        self._watchdog = Watchdog.from_environment(os.environ)
        self._metrics = Metrics()
        self._metrics.build.info({"version": __version__})
        self._metrics.start_time.set(time.time())
        self._metrics.config_accepted(time.time())
        self._stop_signals = StopSignals(lambda: config.grace_s)

    async def run(self) -> ExitCode:
        """Run until a signal comes or something fails.

        Raises:
            StartError: when the state folder or the port is in use, or the bus or a sink cannot be used at all.
        """
        self._stop_signals.hear()
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, partial(self._log.warning, "reload.unsupported", remedy="restart xiaod events")
        )
        async with AsyncExitStack() as stack:
            run = self._opened(stack)
            if self._config.http.enabled:
                await self._listen(stack, run)
            return await self._work(run)

    def _opened(self, stack: AsyncExitStack) -> BusRun:
        config, where = self._config, self._config.origin.where
        folder = config.state.folder
        try:
            reader = imported(self._bus.READER, f"kind {self._bus.kind}", self._bus.EXTRA)
            sinks = open_sinks(config)
            lock = FolderLock(folder, ALONE)
            stack.callback(lock.release)
            store = PickStore(folder / STORE)
            stack.callback(store.close)
            run = BusRun(config, self._bus.name, partial(reader, self._bus), sinks, store, self._metrics)
        except (SinkError, MissingExtraError, AssociationError, ImportError) as error:
            raise StartError(str(error), ExitCode.CONFIGURATION) from error
        except NewerStoreError as error:
            raise StartError(f"{where('state', 'folder')}: {error}", ExitCode.CONFIGURATION) from error
        except (LockedError, OSError) as error:
            # A restart helps once another one has ended, or the disk can be written.
            raise StartError(f"{where('state', 'folder')}: {error}", ExitCode.FAILURE) from error
        self._store = store
        self._metrics.store_available.set(1)
        warn_of_exposed_files(with_bus(config, self._bus))
        return run

    async def _listen(self, stack: AsyncExitStack, run: BusRun) -> None:
        http = self._config.http

        async def exposition() -> bytes:
            for name, backlog in run.backlogs().items():
                self._metrics.sink_backlog.labels(name).set(backlog)
            return await asyncio.to_thread(self._rendered)

        def ready() -> Readiness:
            problems = run.problems()
            is_ready = all(state == "streaming" for state in run.links().values())
            is_ready = is_ready and not any(one.code in HINDERING for one in problems)
            return is_ready, {
                "ready": is_ready,
                "sources": run.links(),
                "problems": [problem_document(one) for one in problems],
            }

        web = WebServer(http.host, http.port, exposition, ready)
        try:
            await web.start()
        except OSError as error:
            raise StartError(
                f"{self._config.origin.where('http', 'port')}: cannot listen on {http.host}:{http.port}: {error.strerror}; stop what uses "
                "it, or change http.port: xiaod events listens on http.port plus the number of shards",
                ExitCode.FAILURE,
            ) from error
        stack.push_async_callback(web.stop)
        self._log.info("web.listening", host=http.host, port=web.port)

    def _rendered(self) -> bytes:
        self._metrics.update_disk(self._config.state.folder)
        return self._metrics.exposition()

    async def _work(self, run: BusRun) -> ExitCode:
        self._log.info(
            "service.started",
            version=__version__,
            config=str(self._config_path),
            pid=os.getpid(),
            bus=self._bus.name,
            sinks=[sink.name for sink in self._config.sinks],
        )
        self._notifier.send("READY=1")
        code = ExitCode.OK
        try:
            async with asyncio.TaskGroup() as group:
                finished = run.start(group)
                watching = [
                    group.create_task(self._watch(run), name="watch"),
                    group.create_task(self._forget_regularly(), name="forget"),
                ]
                await self._stop_signals.until_stop(finished)
                self._notifier.send("STOPPING=1")
                run.stop(SINK_PART * self._config.grace_s)
                async with asyncio.timeout(self._stop_signals.orderly_s):
                    await finished
                for task in watching:
                    task.cancel()
        except* TimeoutError:
            self._log.error("service.cut_short", grace_s=self._config.grace_s, backlogs=run.backlogs())
            code = ExitCode.CUT_SHORT
        finally:
            run.release_threads()
        self._log.info("service.stopped", status=int(code))
        return code

    async def _watch(self, run: BusRun) -> None:
        """Feed the watchdog, and tell the service manager how it is."""
        while True:
            [state] = run.links().values()
            self._notifier.status(f"bus {self._bus.name}: {state}")
            await asyncio.sleep(min(HEARTBEAT_S, (self._watchdog.keepalive_s or HEARTBEAT_S) / 2))
            run.flush_log()
            alive = time.monotonic() - run.stepped_s < STUCK_S
            if self._watchdog.due(time.monotonic(), alive=alive):
                self._notifier.send("WATCHDOG=1")

    async def _forget_regularly(self) -> None:
        """Delete old picks and events that all sinks have."""
        state = self._config.state
        while True:
            await asyncio.sleep(state.save_interval_s)
            if not state.keep_days:
                continue
            try:
                names = [sink.name for sink in self._config.sinks]
                await self._store.run_in_thread(self._store.prune, state.keep_s, names)
            except StoreError as error:
                self._metrics.state_errors.inc()
                self._log.warning("state.not_saved", error=str(error))

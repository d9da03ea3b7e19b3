"""What the daemon does regularly: log what falls silent, notice steps of the clock, feed the watchdog, save, give back memory.

>>> from xiaod.config import Config, SeedLinkConfig
>>> config = Config(sources=(SeedLinkConfig(server="localhost"),))
>>> housekeeping = Housekeeping(config, Notifier({}), Watchdog(10.0), Metrics(), lambda: asyncio.sleep(0))
>>> housekeeping.heartbeat_s
1.0
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S
from xiaod.pipeline.pipeline import Pipeline
from xiaod.pipeline.station_table import Change
from xiaod.process import host_clock
from xiaod.process.allocator import give_back_freed_memory
from xiaod.process.grouped_log import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.process.systemd import Notifier, Watchdog

FREED_PERIOD_S = 10.0
"""How often memory that was freed is given back: what a flood of data took would stay with the daemon for months."""
HEARTBEAT_S = 1.0
"""Longest time between two rounds."""
CHANGES = 30
CHANGES_PERIOD_S = 3600.0
"""Of one instrument the log says so many times within this period that it is silent, and as many times that it is back."""


class Housekeeping:
    """Housekeeping of one run of the daemon."""

    def __init__(
        self,
        config: Config,
        notifier: Notifier,
        watchdog: Watchdog,
        metrics: Metrics,
        save: Callable[[], Awaitable[None]],
    ) -> None:
        """Set up.

        Args:
            config: of the daemon.
            notifier: sends messages to the service manager.
            watchdog: of the service manager.
            metrics: count steps of the clock.
            save: called every ``state.save_interval_s``.
        """
        self.reconfigure(config)
        self._notifier = notifier
        self._watchdog = watchdog
        self._metrics = metrics
        self._save = save
        self._log = get_logger("service")
        self._grouped = GroupedLog(self._log, CHANGES, CHANGES_PERIOD_S)
        # Two rounds for each keep-alive, so that a late round misses none.
        self.heartbeat_s = min(HEARTBEAT_S, (watchdog.keepalive_s or HEARTBEAT_S) / 2)
        self.reload_refused = False
        """Whether the last reload was refused, for the status."""

    def reconfigure(self, config: Config) -> None:
        """Save at another interval from now on."""
        self._save_interval_s = config.state.save_interval_s

    async def run(self, pipeline: Pipeline) -> None:
        """Look after stations, clock and watchdog until cancelled."""
        offset_ns = host_clock.offset_ns()
        while True:
            self._notifier.status(self._status(pipeline))
            await asyncio.sleep(self.heartbeat_s)
            self.log_changes(pipeline.review())
            self.flush_log()
            step_ns = host_clock.offset_ns() - offset_ns
            if abs(step_ns) > host_clock.STEP_NS:
                offset_ns += step_ns
                self._metrics.clock_steps.inc()
                self._log.warning("clock.stepped", step_s=round(step_ns / NS_PER_S, 3))
            if self._watchdog.due(time.monotonic(), alive=pipeline.is_alive()):
                self._notifier.send("WATCHDOG=1")

    async def save_regularly(self) -> None:
        """Save the state every ``state.save_interval_s`` until cancelled; a task of its own, since a disk may hang."""
        saved_s = time.monotonic()
        while True:
            await asyncio.sleep(self.heartbeat_s)
            if time.monotonic() - saved_s >= self._save_interval_s:
                saved_s = time.monotonic()
                await self._save()

    async def give_back_memory(self) -> None:
        """Give freed memory back regularly, until cancelled; in a thread, since it takes some milliseconds."""
        while True:
            await asyncio.sleep(FREED_PERIOD_S)
            await asyncio.to_thread(give_back_freed_memory)

    def log_changes(self, changes: Iterable[Change]) -> None:
        """Log instruments that have fallen silent or come back, grouped: a server that stops silences all its stations."""
        for change in changes:
            instrument = change.instrument.text
            self._grouped.tell(
                "warning" if change.stale else "info",
                "station.stale" if change.stale else "station.fresh",
                instrument,
                instrument=instrument,
                silent_s=round(change.silent_s, 1),
            )

    def flush_log(self, everything: bool = False) -> None:
        """Write log lines that have waited for others of their kind."""
        self._grouped.flush(everything)

    def _status(self, pipeline: Pipeline) -> str:
        refused = "; the last reload was refused, see the log" if self.reload_refused else ""
        stations = pipeline.stations()
        return f"{stations.fresh}/{stations.known} stations fresh{refused}"

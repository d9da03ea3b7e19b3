"""Every second: silent stations, a clock that was set, signs of life for the service manager, state to be saved.

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
from xiaod.pipeline.station_status import Change
from xiaod.process.log_grouping import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.process.systemd import Notifier, Watchdog

CLOCK_STEP_NS = NS_PER_S
"""A change of the host's clock against the steady one that is more than drift."""
HEARTBEAT_S = 1.0
"""How often stations, watchdog and state are looked at, at least."""
CHANGES = 30
CHANGES_PERIOD_S = 3600.0
"""So often within this time it is told of one instrument that it has fallen silent, and as often that it has come back."""


class Housekeeping:
    """Looks after one run of the daemon."""

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
            notifier: to the service manager.
            watchdog: how often that wants a sign of life.
            metrics: where steps of the clock are counted.
            save: called every ``state.save_interval_s``.
        """
        self.reconfigure(config)
        self._notifier = notifier
        self._watchdog = watchdog
        self._metrics = metrics
        self._save = save
        self._log = get_logger("service")
        self._said = GroupedLog(self._log, CHANGES, CHANGES_PERIOD_S)
        # Twice within the pace, so that a look that comes late does not miss it.
        self.heartbeat_s = min(HEARTBEAT_S, (watchdog.pace_s or HEARTBEAT_S) / 2)
        self.reload_refused = False
        """Whether the status says so."""

    def reconfigure(self, config: Config) -> None:
        """Save at another interval from now on."""
        self._save_interval_s = config.state.save_interval_s

    async def run(self, pipeline: Pipeline) -> None:
        """Look after stations, clock and the watchdog, for ever."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        while True:
            self._notifier.status(self._status(pipeline))
            await asyncio.sleep(self.heartbeat_s)
            self.tell(pipeline.review())
            self.flush_log()
            step_ns = time.time_ns() - time.monotonic_ns() - offset_ns
            if abs(step_ns) > CLOCK_STEP_NS:
                offset_ns += step_ns
                self._metrics.clock_steps.inc()
                self._log.warning("clock.stepped", step_s=round(step_ns / NS_PER_S, 3))
            if self._watchdog.due(time.monotonic(), alive=pipeline.is_alive()):
                self._notifier.send("WATCHDOG=1")

    async def save_now_and_then(self) -> None:
        """Save the state every ``state.save_interval_s``, for ever; beside the looks, which wait for no disk."""
        saved_s = time.monotonic()
        while True:
            await asyncio.sleep(self.heartbeat_s)
            if time.monotonic() - saved_s >= self._save_interval_s:
                saved_s = time.monotonic()
                await self._save()

    def tell(self, changes: Iterable[Change]) -> None:
        """Say who has fallen silent or come back: a server that stops takes all its stations along."""
        for change in changes:
            instrument = change.instrument.text
            self._said.tell(
                "warning" if change.stale else "info",
                "station.stale" if change.stale else "station.fresh",
                instrument,
                instrument=instrument,
                silent_s=round(change.silent_s, 1),
            )

    def flush_log(self, everything: bool = False) -> None:
        """Write the lines that have waited for others of their kind."""
        self._said.flush(everything)

    def _status(self, pipeline: Pipeline) -> str:
        refused = "; the last reload was refused, see the log" if self.reload_refused else ""
        stations = pipeline.stations()
        return f"{stations.fresh}/{stations.known} stations fresh{refused}"

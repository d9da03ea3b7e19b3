"""Events of a run: takes new picks from the pick stage, and gives events that are stored and new.

>>> from xiaod.config import Config
>>> config = Config.model_validate({"sources": [{"server": "a"}], "events": {"enabled": True, "stations": 1}})
>>> Events(config, Metrics(), lambda: None).update()
[]
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from xiaod.association.cluster import Associator
from xiaod.association.coincidence import Coincidence, CoincidenceSettings
from xiaod.association.tracker import EventTracker
from xiaod.association.velocity import Layer
from xiaod.config import Config
from xiaod.config.events import IASP91, VelocityError, read_layers
from xiaod.domain.event import about
from xiaod.domain.timegrid import EARLIEST_NS, GRID_NS, NS_PER_S, iso_from_ns, ns_from_s
from xiaod.domain.types import Channel, Clock, Event, Pick, Window
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.process.plugins import MissingExtraError, imported
from xiaod.storage.pick_store import PickStore

SPARE_S = 120.0
ANNOUNCE_S = 0.5
"""Seconds, at least, between two associations that announce located events: without a clock, of data."""
PAUSE = 15
"""After one that has taken long, so many times as long: a sixteenth of a core at most."""
UNKNOWN_STATIONS = 1000
"""Stations without coordinates that are named in the log."""


class AssociationError(Exception):
    """Events cannot be made as they are configured; the message begins with the place in the configuration."""


def open_associator(config: Config, unknown: Callable[[Channel], None] = lambda channel: None) -> Associator:
    """The configured method.

    Args:
        config: section ``events``, and stations.
        unknown: called with the channel of a pick whose station has no coordinates.

    Raises:
        AssociationError: when a package is missing, or the file of layers cannot be used.
    """
    events, where = config.events, config.origin.where
    if events.method == "coincidence":
        return Coincidence(
            CoincidenceSettings(
                events.stations,
                events.window_s,
                events.max_s_minus_p_s,
                events.p_velocity_km_s,
                events.s_velocity_km_s,
                events.velocity_uncertainty,
            )
        )
    file = events.velocity_model_file
    try:
        layers = read_layers(file) if file is not None else events.velocity_model or IASP91
    except VelocityError as error:
        raise AssociationError(f"{where('events', 'velocity_model_file')}: {error}") from error
    name = file.stem if file is not None else "configured" if events.velocity_model else "iasp91"
    module = "xiaod.association.located"
    try:
        settings = imported(f"{module}:LocatedSettings", "method pyocto", "events")(
            tuple(Layer(one.top_km, one.p_km_s, one.s_km_s) for one in layers),
            name,
            events.stations,
            events.min_picks,
            events.tolerance_s,
            events.max_distance_km,
            events.max_depth_km,
            events.margin_km,
        )
        made: Associator = imported(f"{module}:Located")(settings, config.stations, unknown)
    except (MissingExtraError, ImportError) as error:
        raise AssociationError(f"{where('events', 'method')}: {error}") from error
    return made


class Events:
    """Association of the picks of a run."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Clock,
        store: PickStore | None = None,
        monotonic_clock: Callable[[], int] = time.monotonic_ns,
        reloads: bool = True,
    ) -> None:
        """Begin; after :meth:`resume` it goes on where the run before ended.

        Args:
            config: section ``events``, and how long final picks wait for data.
            metrics: where events are counted.
            clock: the host's.
            store: keeps events; None: nothing does.
            monotonic_clock: ns, does not change when the host's is set.
            reloads: whether the process takes other stations by a reload; otherwise it needs a restart.
        """
        events = config.events
        self._associator = open_associator(config, self._tell_unknown)
        self.store = store
        """Keeps events; None: nothing does."""
        self.in_thread = events.method != "coincidence"
        """Whether association takes long, so that :meth:`updated` leaves it to a thread."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="associate")
        self._waiting: list[Pick] = []
        """Picks that have come while the thread was busy."""
        self._announce_from_ns = EARLIEST_NS
        self._unknown: set[tuple[str, str]] = set()
        self._tracker = EventTracker(self._associator, events.wait_s)
        self._newest_ns = EARLIEST_NS
        self._behind_ns = ns_from_s(config.picker.final_lookahead_s + config.windows.final_hop_s)
        self._remembered_s = 2 * self._associator.forget_ns / NS_PER_S + events.wait_s + SPARE_S
        self._late = 0
        self._failure = ""
        """Why the last association failed; empty: it did not."""
        self._clock = clock
        self._monotonic_clock = monotonic_clock
        self._silent_ns = ns_from_s(events.silent_s)
        self._moved_ns = monotonic_clock()
        """Monotonic time from which no data have come, though they could."""
        self._offset_ns = -monotonic_clock()
        """Host time minus monotonic time, at most so far."""
        self._metrics = metrics
        self._heeding = "reload" if reloads else "restart xiaod events"
        self._log = get_logger("event")
        metrics.expect_events()

    async def resume(self) -> None:
        """Take picks and events of the run before; what it did not come to say is said by the next update.

        Raises:
            StoreError: when they cannot be read.
        """
        if self.store is not None:
            self._tracker.restore(
                *await self.store.run_in_thread(self.store.last_minutes, self._remembered_s)
            )

    def reconfigure(self, config: Config) -> None:
        """Use other stations from now on."""
        self._associator.locate_by(config.stations)

    def take(self, picks: Iterable[Pick]) -> None:
        """Take picks, and what withdraws some, that are stored and new."""
        self._waiting += picks

    def followed(self, window: Window) -> None:
        """A window has been picked."""
        if window.stage == "final":
            self.reached(window.stop * GRID_NS - self._behind_ns)

    def reached(self, time_ns: int) -> None:
        """Final picks of some instrument are there until a time."""
        now_ns = self._clock()
        if now_ns is not None:
            # By a station whose clock is ahead, all others would lag. When this machine's is set back, time goes on all the same.
            monotonic_ns = self._monotonic_clock()
            self._offset_ns = max(self._offset_ns, now_ns - monotonic_ns)
            time_ns = min(time_ns, monotonic_ns + self._offset_ns - self._behind_ns)
        self._newest_ns = max(self._newest_ns, time_ns)
        self.end_silence()

    def end_silence(self) -> None:
        """Data have come, or cannot come yet: silence begins anew."""
        self._moved_ns = self._monotonic_clock()

    @property
    def is_overdue(self) -> bool:
        """Whether events are announced, and data have stopped for so long that the next update says what became of them."""
        silent_ns = self._monotonic_clock() - self._moved_ns
        return self._clock() is not None and self._tracker.announced > 0 and silent_ns > self._silent_ns

    def update(self, everything: bool = False) -> list[Event]:
        """Events that have changed, to be stored; ``everything``: no more picks will come."""
        self._pass_on()
        events = self._tried(self._tracker.update, everything)
        return self._stamped(events + self._tried(self._tracker.conclude) if self.is_overdue else events)

    async def updated(self, everything: bool = False) -> list[Event]:
        """The same, with association in a thread where it takes long, and not oftener than it may."""
        if not self.in_thread:
            return self.update(everything)
        self._pass_on()
        overdue = self.is_overdue
        announce = everything or self._now_ns() >= self._announce_from_ns
        if not (everything or overdue or self._tracker.is_due(announce)):
            return []
        begun = time.perf_counter()
        loop = asyncio.get_running_loop()
        events = await loop.run_in_executor(
            self._executor, self._tried, self._tracker.update, everything, announce
        )
        if overdue:
            events += await loop.run_in_executor(self._executor, self._tried, self._tracker.conclude)
        spent_s = time.perf_counter() - begun
        self._metrics.events_association.observe(spent_s)
        if announce:
            pause_s = ANNOUNCE_S if self._clock() is None else max(ANNOUNCE_S, PAUSE * spent_s)
            self._announce_from_ns = self._now_ns() + ns_from_s(pause_s)
        return self._stamped(events)

    def _tried(self, work: Callable[..., list[Event]], *arguments: bool) -> list[Event]:
        """What an association makes; nothing where it fails: picks go on all the same."""
        try:
            events = work(*arguments)
        except Exception as error:  # noqa: BLE001  whatever a pick does to it, the next ones make events again
            self._metrics.events_failed.inc()
            failure = f"{type(error).__name__}: {error}"
            if failure != self._failure:
                self._log.error("event.failed", error=failure, exc_info=True)
            self._failure = failure
            return []
        self._failure = ""
        return events

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def made(self, events: Sequence[Event]) -> None:
        """Count and log events that are stored and new."""
        for event in events:
            self._metrics.events.labels(event.stage).inc()
            self._log.info(
                f"event.{event.stage}",
                event_id=event.event_id,
                version=event.version,
                first_pick_time=iso_from_ns(event.time_ns),
                about=about(event),
            )

    def _pass_on(self) -> None:
        """Give the tracker what has come since the last time; nothing else is using it."""
        waiting, self._waiting = self._waiting, []
        for pick in waiting:
            self._tracker.take(pick)
        self._tracker.advance(self._newest_ns)
        if self._tracker.late > self._late:
            self._metrics.events_late_picks.inc(self._tracker.late - self._late)
            self._late = self._tracker.late

    def _stamped(self, events: Sequence[Event]) -> list[Event]:
        return [replace(event, created_ns=self._clock()) for event in events]

    def _now_ns(self) -> int:
        """Monotonic time; without a clock, that of the data."""
        return self._newest_ns if self._clock() is None else self._monotonic_clock()

    def _tell_unknown(self, channel: Channel) -> None:
        """A station has no coordinates; called in the thread."""
        codes = channel.station_codes
        if codes in self._unknown or len(self._unknown) >= UNKNOWN_STATIONS:
            return
        self._unknown.add(codes)
        self._log.warning(
            "event.unknown_station",
            station=".".join(codes),
            consequence="its picks are in no event",
            remedy=f"add its coordinates to stations_file, and {self._heeding}",
        )

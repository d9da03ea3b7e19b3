"""Events of a run: takes new picks from the pick stage, and gives events that are stored and new.

>>> from xiaod.config import Config
>>> config = Config.model_validate({"sources": [{"server": "a"}], "events": {"enabled": True, "stations": 1}})
>>> Events(config, Metrics(), lambda: None).update()
[]
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from xiaod.association.coincidence import LONGEST_S, CoincidenceSettings
from xiaod.association.tracker import EventTracker
from xiaod.config import Config
from xiaod.domain.event import about
from xiaod.domain.timegrid import GRID_NS, iso_from_ns, ns_from_s
from xiaod.domain.types import Clock, Event, Pick, Window
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore

SPARE_S = 120.0


class Events:
    """Association of the picks of a run."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock: Clock,
        store: PickStore | None = None,
        monotonic_clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin; after :meth:`resume` it goes on where the run before ended.

        Args:
            config: section ``events``, and how long final picks wait for data.
            metrics: where events are counted.
            clock: the host's.
            store: keeps events; None: nothing does.
            monotonic_clock: ns, does not change when the host's is set.
        """
        events = config.events
        settings = CoincidenceSettings(
            events.stations,
            events.window_s,
            events.max_s_minus_p_s,
            events.p_velocity_km_s,
            events.s_velocity_km_s,
            events.velocity_uncertainty,
        )
        self.store = store
        """Keeps events; None: nothing does."""
        self._tracker = EventTracker(settings, events.wait_s)
        self._behind_ns = ns_from_s(config.picker.final_lookahead_s + config.windows.final_hop_s)
        self._remembered_s = (
            LONGEST_S + events.wait_s + 2 * (events.window_s + events.max_s_minus_p_s) + SPARE_S
        )
        self._late = 0
        self._clock = clock
        self._monotonic_clock = monotonic_clock
        self._offset_ns = -monotonic_clock()
        """Host time minus monotonic time, at most so far."""
        self._metrics = metrics
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

    def take(self, picks: Iterable[Pick]) -> None:
        """Take picks, and what withdraws some, that are stored and new."""
        for pick in picks:
            self._tracker.take(pick)
        if self._tracker.late > self._late:
            self._metrics.events_late_picks.inc(self._tracker.late - self._late)
            self._late = self._tracker.late

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
        self._tracker.advance(time_ns)

    def update(self, everything: bool = False) -> list[Event]:
        """Events that have changed, to be stored; ``everything``: no more picks will come."""
        return [replace(event, created_ns=self._clock()) for event in self._tracker.update(everything)]

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

"""What the status page shows of a running daemon: recent picks, traces, and why a station has no pick.

The pick stage fills it: for each window a look-up in a dictionary, and every few windows a fold into the trace
(:mod:`xiaod.pipeline.trace`); for each pick an entry in a ring. Envelopes for many stations or a long time are made of whole batches
(:mod:`xiaod.pipeline.envelopes`). Where somebody watches, samples come from the streams too, before there is
a window of them. The state of the stations is computed on request. Memory is bounded: a number of picks, and of traces besides those that
somebody watches.

>>> from xiaod.process.metrics import Metrics
>>> from xiaod.waveform.instrument import BufferSettings
>>> station_table = StationTable(60_000_000_000)
>>> monitor = Monitor(station_table, Assembler(BufferSettings(), Metrics(), station_table, lambda: 0), lambda _: None, traces=1)
>>> from xiaod.domain.types import Channel
>>> station_table.expect("server", [Channel("BW", "RJOB", "", "EHZ")], now_ns=0)
>>> [(str(status.entry.instrument), status.condition.state) for status in monitor.stations(0)]
[('BW.RJOB..EH', 'waiting')]
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.onsets import PHASES
from xiaod.domain.timegrid import grid_index
from xiaod.domain.types import Instrument, Pick, Stage, Window
from xiaod.picking.diagnosis import Condition, PhaseView, Reason, explain
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.envelopes import Envelopes
from xiaod.pipeline.station_table import StationEntry, StationTable
from xiaod.pipeline.trace import Trace

UNKNOWN = np.zeros((len(PHASES), 0), np.float32)
"""Probabilities of new samples of a stream."""
RECENT_PICKS = 1000
"""Picks, early, final and withdrawn, that are held for a daemon without a store."""

Views = Callable[[Instrument], tuple[PhaseView, PhaseView] | None]
"""What the picker of an instrument has seen of P and S; None before its first window."""


@dataclass(frozen=True, slots=True)
class PhaseStatus:
    """What the picker has recently seen of one phase, and why it was not picked."""

    phase: str
    threshold: float | None
    """None before the first window."""
    highest: float | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class StationStatus:
    """One instrument now."""

    entry: StationEntry
    condition: Condition
    phases: tuple[PhaseStatus, ...]


class MonitorListener(Protocol):
    """Is told at once of picks and traces; the calls come from the event loop and must not block."""

    def on_pick(self, pick: Pick) -> None:
        """A pick was made, or an early one was withdrawn."""
        ...

    def on_trace(self, instrument: Instrument, first: int) -> None:
        """The trace of a watched instrument has changed, from bin ``first`` on."""
        ...


class Monitor:
    """Recent picks and traces, and the state of all stations."""

    def __init__(
        self, station_table: StationTable, assembler: Assembler, views: Views, traces: int, days: int = 0
    ) -> None:
        """Begin.

        Args:
            station_table: all instruments.
            assembler: tells what their data are like.
            views: gives what their pickers have seen.
            traces: instruments whose last minute is kept without a viewer.
            days: instruments whose last 24 h are kept.
        """
        self._station_table = station_table
        self._assembler = assembler
        self._views = views
        self._kept = traces
        self._traces: dict[Instrument, Trace] = {}
        self._watchers: dict[Instrument, int] = {}
        self.envelopes = Envelopes(days)
        self.recent: deque[Pick] = deque(maxlen=RECENT_PICKS)
        self._listeners: list[MonitorListener] = []

    def subscribe(self, listener: MonitorListener) -> None:
        """Tell a listener of picks and traces from now on."""
        self._listeners.append(listener)

    def followed(self, window: Window, curve: NDArray[np.floating], stage: Stage = "final") -> None:
        """Take a window that has been picked, for a stage; ``curve`` is the picker's probabilities at its end, shape ``(2, m)``."""
        instrument = window.instrument
        watched = bool(self._watchers) and instrument in self._watchers
        trace = self._traces.get(instrument)
        if trace is None:
            if not watched and len(self._traces) >= self._kept:
                return
            trace = self._traces[instrument] = Trace()
        first = trace.fold(window, curve, watched, stage)
        if watched:
            self._tell(instrument, first)

    def streamed(self, windows: Iterable[Window]) -> None:
        """Take new samples of streams; of use are those of watched instruments that have had a window."""
        if not self._watchers:
            return
        for window in windows:
            if window.instrument in self._watchers and (trace := self._traces.get(window.instrument)):
                self._tell(window.instrument, trace.fold(window, UNKNOWN, at_once=True, stage="stream"))

    def picked(self, pick: Pick) -> None:
        """Take a pick, or that an early one was withdrawn."""
        self.recent.append(pick)
        for listener in self._listeners:
            listener.on_pick(pick)

    def find(self, text: str) -> Instrument | None:
        """The instrument in the station table with this identifier, ``NET.STA.LOC.BI``."""
        return next(
            (entry.instrument for entry in self._station_table if entry.instrument.text == text), None
        )

    def trace(self, instrument: Instrument) -> Trace | None:
        """The last minute of an instrument; None if it is not kept."""
        return self._traces.get(instrument)

    def watch(self, instrument: Instrument) -> None:
        """Keep the trace of an instrument, up to date with each window, until :meth:`unwatch`."""
        self._watchers[instrument] = self._watchers.get(instrument, 0) + 1

    def unwatch(self, instrument: Instrument) -> None:
        """One viewer of an instrument has left."""
        self._watchers[instrument] -= 1
        if not self._watchers[instrument]:
            del self._watchers[instrument]
            if len(self._traces) > self._kept:
                # One that has had no window yet has none.
                self._traces.pop(instrument, None)

    def tidy(self) -> None:
        """Drop traces and envelopes of instruments that are no longer in the station table."""
        known = self._station_table
        for instrument in [one for one in self._traces if one not in known and one not in self._watchers]:
            del self._traces[instrument]
        self.envelopes.tidy(known)

    @property
    def trace_count(self) -> int:
        """Number of traces."""
        return len(self._traces)

    def stations(self, now_ns: int) -> Iterator[StationStatus]:
        """All instruments in the station table, at a time of the monotonic clock."""
        for entry in self._station_table:
            condition = self._assembler.condition(entry, now_ns)
            views = self._views(entry.instrument)
            newest = grid_index(entry.newest_ns or 0)
            yield StationStatus(
                entry,
                condition,
                tuple(
                    _phase(phase, None if views is None else views[number], condition, newest)
                    for number, phase in enumerate(PHASES)
                ),
            )

    def _tell(self, instrument: Instrument, first: int | None) -> None:
        """Tell listeners from which bin on a trace has changed, if it has."""
        if first is not None:
            for listener in self._listeners:
                listener.on_trace(instrument, first)


def _phase(phase: str, view: PhaseView | None, condition: Condition, newest: int) -> PhaseStatus:
    return PhaseStatus(
        phase,
        None if view is None else view.threshold,
        None if view is None or view.threshold is None else view.highest_at(newest),
        explain(condition, phase, view, newest),
    )

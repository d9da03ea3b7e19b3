"""Envelopes for the wall and the day view of the status page: the highest amplitude in bins, in the band of onsets.

What is kept of an instrument is the peak of its vertical component, or of the first that it has, without sign: :data:`WALL_S` of it for
all instruments while somebody looks, and :data:`DAY_S` for some. They are made of the windows of final picks, all of a batch at once; what
the filter needs before new samples is in the windows. Bins lie on the absolute grid: bin ``k`` begins ``k`` lengths of a bin after 1970.
Bins without data, and those in which the filter has not settled, are not a number.

>>> from xiaod.domain.types import Instrument
>>> envelope, samples = Envelope(WALL_BINS), np.arange(8, dtype=np.float32)
>>> envelope.put(100, samples)
>>> first, peaks = envelope.since(104)
>>> first, peaks.tolist()
(104, [4.0, 5.0, 6.0, 7.0])
"""

import math
import time
from collections.abc import Callable, Container, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.components import MISSING
from xiaod.domain.timegrid import BEFORE_ALL, samples_from_s
from xiaod.domain.types import Instrument, Window
from xiaod.picking.band import RUN_IN, band_passed

WALL_BIN_S, WALL_S = 0.25, 300.0
DAY_BIN_S, DAY_S = 2.0, 86_400.0
BIN = samples_from_s(WALL_BIN_S)
"""Samples of the grid in a bin of the wall."""
WALL_BINS, DAY_BINS = round(WALL_S / WALL_BIN_S), round(DAY_S / DAY_BIN_S)
WALL_BINS_IN_DAY_BIN = round(DAY_BIN_S / WALL_BIN_S)
WALL_BYTES, DAY_BYTES = 4 * WALL_BINS, 4 * DAY_BINS
"""Memory of an envelope."""
KEPT_S = 300.0
"""The wall goes on for so long after the last viewer has left, who may come back."""


class Envelope:
    """The newest peaks of one instrument in a ring."""

    def __init__(self, bins: int) -> None:
        self._ring = np.full(bins, np.nan, np.float32)
        self._oldest = 0
        self.stop: int | None = None
        """Bin after the newest; None while there is none."""

    def put(self, first: int, peaks: NDArray[np.float32]) -> None:
        """Write bins from ``first`` on. Those that are left out are a gap; of one that is there already the higher peak remains."""
        bins, stop = len(self._ring), first + len(peaks)
        if self.stop is None or stop < self.stop - bins or first >= self.stop + bins:
            # The first ones, or the clock was set.
            self._ring[:] = np.nan
            self.stop = self._oldest = first
        self._oldest = min(self._oldest, first)
        self._ring[np.arange(self.stop, max(stop, self.stop))[-bins:] % bins] = np.nan
        places = np.arange(first, stop)[-bins:] % bins
        self._ring[places] = np.fmax(self._ring[places], peaks[-bins:])
        self.stop = max(stop, self.stop)

    def since(self, first: int) -> tuple[int, NDArray[np.float32]]:
        """The first bin that is kept and not before ``first``, and the peaks from there on."""
        if self.stop is None:
            return first, self._ring[:0]
        begin = min(max(first, self._oldest, self.stop - len(self._ring)), self.stop)
        return begin, self._ring[np.arange(begin, self.stop) % len(self._ring)]


class Envelopes:
    """The envelopes of all instruments."""

    def __init__(self, days: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Begin; ``days`` instruments at most have one of a day."""
        self._most = days
        self._monotonic_s = monotonic_s
        self._wall: dict[Instrument, Envelope] = {}
        self._days: dict[Instrument, Envelope] = {}
        """The one that somebody has asked for last is the last."""
        self._viewers = 0
        self._until_s = -math.inf

    def look(self) -> None:
        """Somebody looks from now on."""
        self._viewers += 1

    def leave(self) -> None:
        """A viewer has left."""
        self._viewers -= 1
        self._until_s = self._monotonic_s() + KEPT_S

    @property
    def is_looked_at(self) -> bool:
        """Whether somebody looks, or did some minutes ago."""
        return self._viewers > 0 or self._monotonic_s() < self._until_s

    @property
    def wall(self) -> Iterator[tuple[Instrument, Envelope]]:
        """What there is of all instruments."""
        return iter(self._wall.items())

    def day(self, instrument: Instrument) -> Envelope | None:
        """The last 24 h of an instrument; kept from now on if it was not, in place of the one that was asked for longest ago.

        None where none are kept.
        """
        if self._most == 0:
            return None
        envelope = self._days.pop(instrument, None)
        while len(self._days) >= self._most:
            del self._days[next(iter(self._days))]
        self._days[instrument] = envelope or Envelope(DAY_BINS)
        return self._days[instrument]

    def take(self, windows: Sequence[Window]) -> None:
        """Take windows of a batch, of any stage."""
        looked_at = self.is_looked_at
        wanted: list[Window] = []
        for window in windows:
            # Those of late components change little, and not the vertical as a rule.
            if window.stage == "final" and window.revision == 0:
                instrument = window.instrument
                if looked_at and instrument not in self._wall:
                    self._wall[instrument] = Envelope(WALL_BINS)
                if len(self._days) < self._most and instrument not in self._days:
                    self._days[instrument] = Envelope(DAY_BINS)
                if looked_at or instrument in self._days:
                    wanted.append(window)
        spans, stops = [], dict[Instrument, int]()
        for window in wanted:
            # A batch may hold windows of one instrument that follow each other.
            stop = stops.get(window.instrument)
            spans.append(bins_of(window, self._stop(window.instrument, looked_at) if stop is None else stop))
            stops[window.instrument] = spans[-1][1]
        for window, (first, peaks) in zip(wanted, peaks_of(wanted, spans), strict=True):
            if looked_at:
                self._wall[window.instrument].put(first, peaks)
            if (day := self._days.get(window.instrument)) is not None:
                day.put(*coarser(first, peaks))

    def tidy(self, known: Container[Instrument]) -> None:
        """Drop what nobody looks at, and instruments that are not known any more."""
        if not self.is_looked_at:
            self._wall.clear()
        for kept in (self._wall, self._days):
            for instrument in [one for one in kept if one not in known]:
                del kept[instrument]

    def _stop(self, instrument: Instrument, looked_at: bool) -> int:
        """Bin of the wall up to which peaks of an instrument are kept; one before all others if there are none."""
        if looked_at:
            stop = self._wall[instrument].stop
        elif (stop := self._days[instrument].stop) is not None:
            # What the newest bin of a day has got already does no harm a second time.
            stop = (stop - 1) * WALL_BINS_IN_DAY_BIN
        return BEFORE_ALL if stop is None else stop


def coarser(first: int, peaks: NDArray[np.float32]) -> tuple[int, NDArray[np.float32]]:
    """First bin and peaks of a day, of some of the wall.

    >>> coarser(15, np.arange(3, dtype=np.float32))
    (1, array([0., 2.], dtype=float32))
    """
    before = first % WALL_BINS_IN_DAY_BIN
    after = -(before + len(peaks)) % WALL_BINS_IN_DAY_BIN
    padded = np.pad(peaks, (before, after), constant_values=np.nan)
    return first // WALL_BINS_IN_DAY_BIN, np.fmax.reduce(padded.reshape(-1, WALL_BINS_IN_DAY_BIN), axis=1)


def bins_of(window: Window, stop: int) -> tuple[int, int]:
    """The whole bins of the wall that a window brings: those from ``stop`` on, or all if it does not hold that one."""
    last = window.stop // BIN
    whole = -(-window.index // BIN)
    return (stop if whole <= stop <= last else whole), last


def peaks_of(
    windows: Sequence[Window], spans: Sequence[tuple[int, int]]
) -> list[tuple[int, NDArray[np.float32]]]:
    """For each window the first bin and the peaks of a span of bins of the wall."""
    found: dict[int, tuple[int, NDArray[np.float32]]] = {}
    shapes: dict[tuple[int, int], list[int]] = {}
    for number, (window, (first, stop)) in enumerate(zip(windows, spans, strict=True)):
        before = min(first * BIN - window.index, RUN_IN)
        shapes.setdefault((before, stop - first), []).append(number)
    # Windows that are due together bring the same number of bins, as a rule.
    for (before, count), numbers in shapes.items():
        rows = [_row(windows[number], spans[number], before) for number in numbers]
        passed = np.abs(band_passed(np.stack(rows))[:, before:])
        peaks = passed.reshape(len(rows), count, BIN).max(axis=2)
        for number, own in zip(numbers, peaks, strict=True):
            found[number] = spans[number][0], own
    return [found[number] for number in range(len(windows))]


def _row(window: Window, span: tuple[int, int], before: int) -> NDArray[np.float32]:
    row = next((row for row, letter in enumerate(window.components) if letter != MISSING), 0)
    first, stop = span
    return window.samples[row, first * BIN - before - window.index : stop * BIN - window.index]

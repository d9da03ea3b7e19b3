"""RSAM, the Real-time Seismic Amplitude Measurement of volcano observatories: the mean of the absolute amplitude over 1 and 10 minutes.

Endo & Murray (1991), "Real-time Seismic Amplitude Measurement (RSAM): a volcano monitoring and prediction tool", Bull. Volcanol. 53. It is
measured of the vertical, in counts, within a band, so that neither an offset nor microseisms are in it. Minutes are those of UTC, and so
are tens of minutes (12:00, 12:10). Samples come with the windows of final picks, each once: the filter goes on from window to window, and
keeps its memory. So values are the same however records came, live and offline.

A gap: the filter begins again from rest behind it, and needs :data:`SETTLE_PERIODS` of the lower corner to settle. A value is the
mean of the samples that there are; if they are less than :data:`ENOUGH` of its minutes there is none.

Memory: some hundred bytes for an instrument.

>>> mean = Mean(minutes=1)
>>> mean.add(0, np.ones(2900)), mean.add(5900, np.full(200, 3.0))
(None, None)
>>> mean.newest
Value(stop=6000, counts=1.0666666666666667)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.recursive_filter import band_pass, recursive_filter
from xiaod.config import RsamConfig
from xiaod.domain.components import MISSING
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S, samples_from_s
from xiaod.domain.types import Channel, Instrument, RsamValue, Window

MINUTES = (1, 10)
"""Lengths of time of which a mean is taken."""
ENOUGH = 0.5
"""Part of the samples of a mean that must be there."""
SETTLE_PERIODS = 2.0
"""Periods of the lower corner after which of a step a hundredth is left."""
SHOWN_S = 120.0
"""A value is shown until the next one should have come, and for so long after that."""


class Value(NamedTuple):
    """A mean."""

    stop: int
    """Grid index after its last sample."""
    counts: float


class Mean:
    """The mean over minutes of UTC of one stream."""

    def __init__(self, minutes: int) -> None:
        self._length = samples_from_s(60.0 * minutes)
        self._number: int | None = None
        """Which lengths since 1970 the sum is of."""
        self._sum, self._count = 0.0, 0
        self.newest: Value | None = None
        self.made: list[tuple[Value, float]] = []
        """Those that nobody has taken yet, the oldest first, each with the part of its samples that there were."""

    def add(self, first: int, amplitudes: NDArray[np.float64]) -> None:
        """Take amplitudes from a grid index on, without a gap."""
        while len(amplitudes):
            number, at = divmod(first, self._length)
            if number != self._number:
                # After a gap, or a clock that was set.
                self.finish()
                self._number = number
            some = amplitudes[: self._length - at]
            self._sum += float(some.sum())
            self._count += len(some)
            if at + len(some) == self._length:
                self.finish()
            first, amplitudes = first + len(some), amplitudes[len(some) :]

    def finish(self) -> None:
        """No more samples of these minutes will come."""
        if self._number is not None and self._count >= ENOUGH * self._length:
            self.newest = Value((self._number + 1) * self._length, self._sum / self._count)
            self.made.append((self.newest, self._count / self._length))
        self._number, self._sum, self._count = None, 0.0, 0


@dataclass(slots=True)
class _Stream:
    """The vertical of one instrument."""

    channel: Channel
    following: int
    """Grid index of the next sample."""
    settled: int
    """From this one on the filter has settled."""
    zero: float
    """The first sample, which the filter takes for rest."""
    memory: NDArray[np.float64]
    means: tuple[Mean, ...] = field(default_factory=lambda: tuple(map(Mean, MINUTES)))


class Rsam:
    """The means of all instruments."""

    def __init__(self, config: RsamConfig) -> None:
        self._config = config
        self._filter = band_pass(config.low_hz, config.high_hz, GRID_RATE_HZ)
        self._settle = samples_from_s(SETTLE_PERIODS / config.low_hz)
        self._streams: dict[Instrument, _Stream] = {}

    def take(self, windows: Sequence[Window]) -> list[RsamValue]:
        """Take windows of a batch, of any stage; those of one instrument in order of time. Gives the means that are made by them."""
        streams: dict[Instrument, _Stream] = {}
        # Windows that are due together bring the same number of samples, as a rule: these are filtered at once.
        together: dict[int, list[tuple[_Stream, NDArray[np.float32]]]] = {}
        taken: set[Instrument] = set()
        for window in windows:
            # A vertical that came late is in the second of two windows only.
            if window.stage != "final" or window.components[0] == MISSING:
                continue
            if window.instrument in taken:
                self._filter_all(together)
                together, taken = {}, set()
            streams[window.instrument] = stream = self._stream(window)
            new = (
                window.samples[0, stream.following - window.index :]
                if stream.following < window.stop
                else None
            )
            if new is not None:
                taken.add(window.instrument)
                together.setdefault(len(new), []).append((stream, new))
        self._filter_all(together)
        return [value for stream in streams.values() for value in self._made(stream)]

    def _stream(self, window: Window) -> _Stream:
        """Of the instrument of a window, begun anew where its samples do not go on."""
        stream = self._streams.get(window.instrument)
        first, zero = window.index, float(window.samples[0, 0])
        memory = np.zeros(len(self._filter[1]) - 1)
        if stream is None:
            one = window.instrument
            channel = Channel(one.network, one.station, one.location, one.band + window.components[0])
            stream = _Stream(channel, first, first + self._settle, zero, memory)
            self._streams[window.instrument] = stream
        elif stream.following < first or (
            # The clock of the station was set back.
            window.discontinuous and window.revision == 0 and window.stop <= stream.following
        ):
            stream.following, stream.settled, stream.zero, stream.memory = (
                first,
                first + self._settle,
                zero,
                memory,
            )
        return stream

    def _filter_all(self, together: dict[int, list[tuple[_Stream, NDArray[np.float32]]]]) -> None:
        for length, some in together.items():
            waves = np.stack([samples for _, samples in some]).astype(np.float64)
            waves -= np.array([[stream.zero] for stream, _ in some])
            passed, memories = recursive_filter(
                *self._filter, waves, np.stack([stream.memory for stream, _ in some])
            )
            for (stream, _), amplitudes, memory in zip(some, np.abs(passed), memories, strict=True):
                unsettled = min(max(stream.settled - stream.following, 0), length)
                for mean in stream.means:
                    mean.add(stream.following + unsettled, amplitudes[unsettled:])
                # A copy: a row would keep those of all others.
                stream.following, stream.memory = stream.following + length, memory.copy()

    def forget(self, instruments: Iterable[Instrument]) -> list[RsamValue]:
        """Drop instruments that have gone; gives the means of the minutes in which their data ended."""
        gone = [self._streams.pop(instrument) for instrument in instruments if instrument in self._streams]
        for stream in gone:
            for mean in stream.means:
                mean.finish()
        return [value for stream in gone for value in self._made(stream)]

    def _made(self, stream: _Stream) -> Iterator[RsamValue]:
        """Take the new means of a stream."""
        for minutes, mean in zip(MINUTES, stream.means, strict=True):
            for value, share in mean.made:
                time_ns = (value.stop - samples_from_s(60.0 * minutes)) * GRID_NS
                yield RsamValue(
                    stream.channel,
                    minutes,
                    time_ns,
                    self._config.low_hz,
                    self._config.high_hz,
                    value.counts,
                    share,
                )
            mean.made.clear()

    def values(self) -> list[tuple[Instrument, int, Value]]:
        """The newest mean of each instrument and length in minutes; called from any thread."""
        return [
            (instrument, minutes, mean.newest)
            for instrument, stream in list(self._streams.items())
            for minutes, mean in zip(MINUTES, stream.means, strict=True)
            if mean.newest is not None
        ]

    def shown(self, now_ns: int) -> list[tuple[Instrument, int, float]]:
        """Instrument, minutes and counts of values that are not out of date: a station that is silent has none."""
        return [
            (instrument, minutes, value.counts)
            for instrument, minutes, value in self.values()
            if now_ns - value.stop * GRID_NS <= (60.0 * minutes + SHOWN_S) * NS_PER_S
        ]

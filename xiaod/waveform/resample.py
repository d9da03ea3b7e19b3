"""Resampling of a stream from any rate to the absolute 100 Hz grid.

Two converters share one interface: samples of one channel without a gap go in, in any pieces; samples on the grid come out.

- :class:`Aligner` is for streams of exactly 100 Hz. It changes no sample, but assigns a grid index to each. The difference that remains,
  at most half a sample, is :attr:`Aligner.offset_ns`, which is added to pick times.
- :class:`Interpolator` is for every other rate from 20 to 500 Hz, such as 99.998 Hz or 19.998 Hz. It evaluates a windowed-sinc
  interpolant (Crochiere & Rabiner, Multirate Digital Signal Processing, 1983, ch. 2; Kaiser window with beta of Kaiser, 1974)
  at the times of the grid. The kernel is symmetric about each output, so there is no delay to correct: an onset stays where it is.
  Each output has to wait for :attr:`Interpolator.half` input samples after it, and the first so many inputs give no output.

The clock of a stream may run at another rate than its header says. It then drifts against the prediction, which :meth:`advance` corrects.

>>> import numpy as np
>>> tone = np.sin(2 * np.pi * 5 * np.arange(1000) / 50.0)
>>> converter = converter_for(50.0, start_ns=0)
>>> first, out = converter.push(tone)
>>> float(np.abs(out - np.sin(2 * np.pi * 5 * (first + np.arange(len(out))) / 100.0)).max()) < 2e-3
True
"""

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, grid_index
from xiaod.domain.types import SampleArray

MIN_RATE_HZ = 20.0
MAX_RATE_HZ = 500.0
RATE_TOLERANCE = 5e-4
"""Relative deviation of the rate in a header from the nominal one: clocks differ, and headers write a rate as a ratio of integers."""
EXACT_RATE_TOLERANCE = 1e-7
"""Relative deviation from 100 Hz up to which samples pass unchanged: one sample in four months."""
ZERO_CROSSINGS = 16
"""Zero crossings of the sinc on each side; with the Kaiser window below, a transition band of 0.135 of the cut-off's rate."""
KAISER_BETA = 6.76
"""Stop band 70 dB down: beta = 0.1102 (70 - 8.7)."""
ROLL_OFF = 0.865
"""Cut-off relative to the lower Nyquist frequency, so that the stop band begins at it."""
KERNEL_POSITIONS = 512
"""Rows of the kernel table; between rows the kernel is interpolated linearly (error below 1e-6)."""
GUARD = 1e-3
"""Part of a sample by which the support of an output is larger than needed, so that rounding cannot leave what is held."""
STEP_SAMPLES = 16
"""Input samples held in addition, for corrections of the time forwards."""
SLIP_NS = 6 * GRID_NS // 10
"""Offset at which a drifting 100 Hz stream moves by one grid index: more than half a sample, so that it does not move back and forth."""


class Converter(Protocol):
    """Streaming conversion of one gapless run to the grid."""

    @property
    def offset_ns(self) -> int:
        """What to add to grid times to get true times."""
        ...

    def push(self, samples: SampleArray) -> tuple[int, SampleArray]:
        """Take the next samples, shape ``(n,)``; give the grid index of the first output and the outputs."""
        ...

    def advance(self, drift_ns: int) -> None:
        """Note that the samples pushed next lie ``drift_ns`` later than predicted (earlier when negative)."""
        ...


class Aligner:
    """For exactly 100 Hz: a grid index and an offset."""

    def __init__(self, start_ns: int) -> None:
        self._next = grid_index(start_ns)
        self.offset_ns = start_ns - self._next * GRID_NS
        """What to add to grid times to get true times."""
        self._slip = 0
        self._last: SampleArray = np.zeros(1)
        """The samples that were pushed last."""

    def advance(self, drift_ns: int) -> None:
        """Move the offset; beyond :data:`SLIP_NS` move the index by whole samples instead."""
        self.offset_ns += drift_ns
        if abs(self.offset_ns) > SLIP_NS:
            slip = round(self.offset_ns / GRID_NS)
            self._slip += slip
            self.offset_ns -= slip * GRID_NS

    def push(self, samples: SampleArray) -> tuple[int, SampleArray]:
        """Give the samples back with the grid index of the first.

        After a slip samples are left out, or put in on the line between their neighbours: a clock that drifts by 10 ms
        in minutes or hours leaves no gap.
        """
        first = self._next
        if self._slip:
            samples = self._slipped(samples)
        if length := len(samples):
            self._last = samples
            self._next += length
        return first, samples

    def _slipped(self, samples: SampleArray) -> SampleArray:
        if len(samples) and self._slip > 0:
            between = np.linspace(float(self._last[-1]), float(samples[0]), self._slip + 2)[1:-1]
            samples = np.concatenate([between, samples])
            self._slip = 0
        elif self._slip < 0:
            left_out = min(-self._slip, len(samples))
            samples = samples[left_out:]
            self._slip += left_out
        return samples


class Interpolator:
    """Windowed-sinc interpolation from a rate of 20 to 500 Hz to the grid."""

    offset_ns = 0
    """Outputs lie on the grid."""

    def __init__(self, rate_hz: float, start_ns: int) -> None:
        self._rate_hz = rate_hz
        self._anchor_ns = start_ns
        self._table = _kernel_table(rate_hz)
        self.half = self._table.shape[1] // 2
        """Input samples needed on each side of an output instant."""
        self._held = np.empty(0)
        self._held_from = 0
        self._next = self._first_index_at(self.half - 1 + GUARD)

    def advance(self, drift_ns: int) -> None:
        """Shift the time of all samples, past ones included: the step is below :data:`STEP_SAMPLES`."""
        self._anchor_ns += drift_ns

    def push(self, samples: SampleArray) -> tuple[int, SampleArray]:
        """Interpolate at every grid instant that has its full support; the rest is held."""
        held = np.concatenate([self._held, samples])
        first = self._next
        # The last output needs input samples up to floor(position) + half.
        stop = self._first_index_at(self._held_from + len(held) - self.half - GUARD)
        count = max(0, stop - first)
        if count == 0:
            self._held = held
            return first, np.empty(0)
        elapsed_ns = np.arange(count, dtype=np.int64) * GRID_NS + (first * GRID_NS - self._anchor_ns)
        position = elapsed_ns * (self._rate_hz / 1e9)
        whole = np.floor(position)
        fraction = (position - whole) * KERNEL_POSITIONS
        row = fraction.astype(np.int64)
        weight = (fraction - row)[:, None]
        kernel = self._table[row] * (1 - weight) + self._table[row + 1] * weight
        begin = whole.astype(np.int64) - (self.half - 1) - self._held_from
        # After a shift of the anchor, the support of the first outputs may begin just before the held samples.
        taps = np.clip(begin, 0, len(held) - 2 * self.half)[:, None] + np.arange(2 * self.half)
        # Differences from a sample nearby: a constant stays the same to the last digit, however large it is.
        support = held[taps]
        near = support[:, self.half - 1]
        out = near + ((support - near[:, None]) * kernel).sum(axis=1)
        keep = max(0, int(begin[-1]) - STEP_SAMPLES)
        self._held = held[keep:]
        self._held_from += keep
        self._next = stop
        return first, out

    def _first_index_at(self, sample: float) -> int:
        """First grid index not before a position in the input."""
        # Integers from the anchor on: a float of nanoseconds since 1970 is only good to some 200 ns.
        return -(-(self._anchor_ns + round(sample * 1e9 / self._rate_hz)) // GRID_NS)


def usable_rate(rate_hz: float) -> bool:
    """Whether a rate is 20 to 500 Hz, within the tolerance of clocks and headers.

    >>> usable_rate(19.99), usable_rate(500.01), usable_rate(19.9)
    (True, True, False)
    """
    # The limits themselves are allowed, however floats round.
    tolerance = RATE_TOLERANCE + EXACT_RATE_TOLERANCE
    return MIN_RATE_HZ * (1 - tolerance) <= rate_hz <= MAX_RATE_HZ * (1 + tolerance)


def meant_rate(rate_hz: float) -> float:
    """The nominal rate for the rate in a header: in whole Hz, below 100 Hz in quarters; the rate itself where none is near.

    >>> meant_rate(99.97), meant_rate(62.501), meant_rate(99.9)
    (100.0, 62.5, 99.9)
    """
    parts = 1 if rate_hz > GRID_RATE_HZ else 4
    whole = round(rate_hz * parts) / parts
    return whole if abs(rate_hz - whole) <= RATE_TOLERANCE * rate_hz else rate_hz


def converter_for(rate_hz: float, start_ns: int) -> Converter:
    """Converter for a run that begins at ``start_ns``.

    Raises:
        ValueError: when the rate is outside 20 to 500 Hz.
    """
    if not usable_rate(rate_hz):
        raise ValueError(f"sampling rate must be {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} Hz; got {rate_hz:g}")
    if abs(rate_hz / GRID_RATE_HZ - 1) < EXACT_RATE_TOLERANCE:
        return Aligner(start_ns)
    return Interpolator(rate_hz, start_ns)


@lru_cache(maxsize=32)
def _kernel_table(rate_hz: float) -> NDArray[np.float64]:
    """Kernel at ``KERNEL_POSITIONS + 1`` fractional positions, shape ``(KERNEL_POSITIONS + 1, 2 half)``; each row sums to one."""
    stretch = max(1.0, rate_hz / GRID_RATE_HZ)
    half = int(np.ceil(ZERO_CROSSINGS * stretch))
    cut_off = ROLL_OFF / stretch
    fraction = np.arange(KERNEL_POSITIONS + 1)[:, None] / KERNEL_POSITIONS
    distance = np.arange(-half + 1, half + 1)[None, :] - fraction
    inside = np.clip(1 - (distance / half) ** 2, 0, None)
    table = np.sinc(cut_off * distance) * np.i0(KAISER_BETA * np.sqrt(inside))
    table /= table.sum(axis=1, keepdims=True)
    table.flags.writeable = False
    return np.asarray(table)

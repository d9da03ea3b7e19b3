"""A run: samples of one component on the 100 Hz grid without a gap.

Grows at its end, is trimmed at its beginning, and gives views of what it holds. Also remembers which record brought which sample,
so that a window can say when it became complete.

Samples are held in single precision, which has digits enough for them only near zero. So each stretch is held less a level of its own,
and a sample that is far from the level of those before it begins another one: no reading, however odd, costs the digits of others.

>>> import numpy as np
>>> from xiaod.waveform.resample import converter_for
>>> run = Run(converter_for(100.0, start_ns=0))
>>> run.push(np.arange(5.0), arrived_ns=7, record_end_ns=50_000_000)
>>> run.first, run.stop, run.view(1, 4, level=0.0).tolist()
(0, 5, [1.0, 2.0, 3.0])
>>> run.push(np.array([2.0**31, 7.0]), arrived_ns=8, record_end_ns=70_000_000)
>>> run.level(1, 7), run.view(4, 7, level=0.0).tolist()
(0.0, [4.0, 2147483648.0, 7.0])
>>> run.arrival_of(4)
(7, 50000000)
"""

from bisect import bisect_right
from collections import deque
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xiaod.waveform.resample import Converter

_INITIAL_CAPACITY = 4096
"""Samples; a run that is trimmed as windows are cut stays at about twice the longest lead."""

LEVEL_STEP = float(2**22)
"""Counts; levels are multiples of it, so that they are the same wherever in a stream a run begins, and zero after most odd readings."""
LEVEL_REACH = 0.75 * LEVEL_STEP
"""A stretch reaches so far from its level: float32 holds integers and quarters there. Less than a step, so that what is near one level is
never held by the next one, and more than half a step, so that nothing flutters between two."""
MAX_STRETCHES = 256
"""Stretches held at most; who jumps about more than that has no digits to lose."""


class Run:
    """Gapless samples of one component, float32, each stretch less a level that is taken out before the precision is halved."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._data = np.empty(_INITIAL_CAPACITY, np.float32)
        self._begin = 0
        self._end = 0
        self.first = 0
        """Grid index of the oldest sample held."""
        self.began = 0
        """Grid index of the first sample of all."""
        self.length = 0
        """Samples so far, those that have been forgotten included."""
        self._started = False
        self._levels: deque[tuple[int, float]] = deque()
        """Grid index at which each stretch begins, and its level."""
        self._offsets: deque[tuple[int, int]] = deque()
        self._arrivals: deque[tuple[int, int, int]] = deque()

    @property
    def stop(self) -> int:
        """Grid index just after the newest sample."""
        return self.first + self._end - self._begin

    @property
    def started(self) -> bool:
        """Whether the converter has put out its first sample."""
        return self._started

    def push(self, samples: NDArray[np.float64], arrived_ns: int, record_end_ns: int) -> None:
        """Append the samples of a record, shape ``(n,)``, at the rate of the stream."""
        first, converted = self._converter.push(samples)
        if not len(converted):
            return
        if not self._started:
            self._started = True
            self.first = self.began = first
            self._levels.append((first, _level_near(converted[0])))
        self._hold(first, converted)
        self.length += len(converted)
        offset_ns = self._converter.offset_ns
        if not self._offsets or self._offsets[-1][1] != offset_ns:
            self._offsets.append((first, offset_ns))
        self._arrivals.append((self.stop, arrived_ns, record_end_ns))

    def drift(self, drift_ns: int) -> None:
        """Note that the next samples lie later than predicted (earlier when negative)."""
        self._converter.advance(drift_ns)

    def level(self, start: int, stop: int) -> float:
        """Level of most samples from grid index ``start`` up to ``stop``, which must be held."""
        stretches = self._stretches(start, stop)
        if len(stretches) == 1:
            return stretches[0][2]
        samples: dict[float, int] = {}
        for begin, end, level in stretches:
            samples[level] = samples.get(level, 0) + end - begin
        return max(samples, key=samples.__getitem__)

    def view(self, start: int, stop: int, level: float) -> NDArray[np.float32]:
        """Samples from grid index ``start`` up to ``stop``, which must be held, less a level."""
        held = self._data[self._begin + start - self.first : self._begin + stop - self.first]
        stretches = self._stretches(start, stop)
        if all(own == level for _, _, own in stretches):
            return held
        shift = np.repeat(
            [own - level for _, _, own in stretches], [end - begin for begin, end, _ in stretches]
        )
        with np.errstate(over="ignore"):
            return np.asarray(held + shift, np.float32)

    def offset_at(self, index: int) -> int:
        """Offset of true time from grid time, in nanoseconds, for a sample."""
        offset_ns = self._offsets[0][1]
        for start, value in self._offsets:
            if start > index:
                break
            offset_ns = value
        return offset_ns

    def arrival_of(self, index: int) -> tuple[int, int]:
        """``(arrived_ns, record_end_ns)`` of the record that brought the sample at ``index``."""
        place = bisect_right(self._arrivals, index, key=lambda entry: entry[0])
        _, arrived_ns, record_end_ns = self._arrivals[min(place, len(self._arrivals) - 1)]
        return arrived_ns, record_end_ns

    @property
    def held_bytes(self) -> int:
        """Memory allocated for samples."""
        return self._data.nbytes

    def trim(self, index: int) -> None:
        """Forget samples before a grid index."""
        cut = min(index, self.stop) - self.first
        if cut <= 0:
            return
        self._begin += cut
        self.first += cut
        while len(self._arrivals) > 1 and self._arrivals[0][0] <= self.first:
            self._arrivals.popleft()
        while len(self._offsets) > 1 and self._offsets[1][0] <= self.first:
            self._offsets.popleft()
        while len(self._levels) > 1 and self._levels[1][0] <= self.first:
            self._levels.popleft()

    def _stretches(self, start: int, stop: int) -> list[tuple[int, int, float]]:
        """Begin, end and level of the stretches between two grid indices."""
        if self._levels[-1][0] <= start:
            return [(start, stop, self._levels[-1][1])]
        ends = [begin for begin, _ in islice(self._levels, 1, None)] + [stop]
        return [
            (max(begin, start), min(end, stop), level)
            for (begin, level), end in zip(self._levels, ends, strict=True)
            if begin < stop and end > start
        ]

    def _hold(self, first: int, samples: NDArray[np.float64]) -> None:
        """Append samples, the first of which has a grid index, as stretches."""
        begin = new = 0
        while begin < len(samples):
            left = samples[begin:] - self._levels[-1][1]
            near = len(left)
            if len(self._levels) < MAX_STRETCHES:
                # What a stretch begins with belongs to it, though it be infinite.
                far = np.flatnonzero(~(np.abs(left[new:]) < LEVEL_REACH))
                near = new + int(far[0]) if len(far) else near
            with np.errstate(over="ignore"):
                self._append(left[:near].astype(np.float32))
            begin += near
            if begin < len(samples):
                self._levels.append((first + begin, _level_near(samples[begin])))
                new = 1

    def _append(self, samples: NDArray[np.float32]) -> None:
        needed = self._end + len(samples)
        if needed > len(self._data):
            held = self._data[self._begin : self._end]
            grown = np.empty(max(_INITIAL_CAPACITY, 2 * (len(held) + len(samples))), np.float32)
            grown[: len(held)] = held
            self._data = grown
            self._begin, self._end = 0, len(held)
        self._data[self._end : self._end + len(samples)] = samples
        self._end += len(samples)


def _level_near(sample: float) -> float:
    return LEVEL_STEP * float(np.round(sample / LEVEL_STEP))

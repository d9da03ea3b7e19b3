"""A run: samples of one component on the 100 Hz grid without a gap.

Grows at its end, is trimmed at its beginning, and gives views of what it holds. Also remembers which record brought which sample,
so that a window can say when it became complete.

>>> import numpy as np
>>> from xiaod.resample import converter_for
>>> run = Run(converter_for(100.0, start_ns=0))
>>> run.push(np.arange(5.0), arrived_ns=7, record_end_ns=50_000_000)
>>> run.first, run.stop, run.view(1, 4).tolist()
(0, 5, [1.0, 2.0, 3.0])
>>> run.arrival_of(4)
(7, 50000000)
"""

from bisect import bisect_right
from collections import deque

import numpy as np
from numpy.typing import NDArray

from xiaod.resample import Converter

_INITIAL_CAPACITY = 4096
"""Samples; a run that is trimmed as windows are cut stays at about twice the longest lead."""

REFERENCE_STEP = float(2**20)
"""Counts; what is left of a stable sensor stays below half of it, where float32 holds integers and sixteenths."""


class Run:
    """Gapless samples of one component, float32, less a constant that is taken out before the precision is halved."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._data = np.empty(_INITIAL_CAPACITY, np.float32)
        self._begin = 0
        self._end = 0
        self.first = 0
        """Grid index of the oldest sample held."""
        self._started = False
        self._reference = 0.0
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
            self.first = first
            # float32 holds integers up to 2**24: a sensor with a large offset would lose its small signals.
            # A multiple of a large step is the same wherever in a stream a run begins.
            self._reference = REFERENCE_STEP * float(np.round(converted[0] / REFERENCE_STEP))
        self._append((converted - self._reference).astype(np.float32))
        offset_ns = self._converter.offset_ns
        if not self._offsets or self._offsets[-1][1] != offset_ns:
            self._offsets.append((first, offset_ns))
        self._arrivals.append((self.stop, arrived_ns, record_end_ns))

    def drift(self, drift_ns: int) -> None:
        """Note that the next samples lie later than predicted (earlier when negative)."""
        self._converter.advance(drift_ns)

    def view(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples from grid index ``start`` up to ``stop``, which must be held."""
        return self._data[self._begin + start - self.first : self._begin + stop - self.first]

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

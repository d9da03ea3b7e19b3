"""A stretch: the samples of one channel on the 100 Hz grid without a gap; they lie in a ring of its own.

It grows at its end and loses its beginning as the ring is overwritten. It also remembers which record brought which sample, so that a
window knows when it became complete.

Samples are held as float32, which keeps quarters of a count only near zero. So a *level* near them is subtracted first: a multiple of
:data:`LEVEL_STEP` counts. A sample far from the level begins another part with a level of its own: no reading, however odd, costs the
precision of others.

>>> import numpy as np
>>> from xiaod.waveform.resample import converter_for
>>> stretch = Stretch(converter_for(100.0, start_ns=0), Rings(length=1000))
>>> stretch.push(np.arange(5.0), arrived_ns=7, record_end_ns=50_000_000)
>>> stretch.first, stretch.stop, stretch.read(1, 4, level=0.0).tolist()
(0, 5, [1.0, 2.0, 3.0])
>>> stretch.push(np.array([2.0**31, 7.0]), arrived_ns=8, record_end_ns=70_000_000)
>>> stretch.level(1, 7), stretch.read(4, 7, level=0.0).tolist()
(0.0, [4.0, 2147483648.0, 7.0])
>>> stretch.arrival_of(4)
(7, 50000000)
"""

from collections import deque
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.timegrid import BEFORE_ALL
from xiaod.domain.types import SampleArray
from xiaod.waveform.resample import Converter
from xiaod.waveform.rings import Rings

LEVEL_STEP = float(2**22)
"""Counts. Levels are multiples of it, so they do not depend on where a stretch begins, and are zero for most sensors."""
LEVEL_REACH = 0.75 * LEVEL_STEP
"""Counts that a sample may lie from the level of its part: there float32 holds integers and quarters. Less than a step, so that samples
near one level are never held with the next, and more than half a step, so that none alternate between two."""
MAX_PARTS = 256
"""Parts held at most: samples that jump more often than that have no digits to lose."""


class Stretch:
    """Gapless samples of one channel, float32, in parts from each of which a level is subtracted before the precision is halved."""

    __slots__ = (
        "_arrivals",
        "_converter",
        "_levels",
        "_offsets",
        "_ring",
        "_rings",
        "_usual",
        "began",
        "first",
        "length",
        "needed",
        "started",
        "stop",
    )

    def __init__(self, converter: Converter, rings: Rings) -> None:
        """Begin without samples.

        Args:
            converter: from the rate of the channel to the grid.
            rings: where samples lie; one of them is this stretch's as long as it lives, or a longer one.
        """
        self._converter = converter
        self._usual = self._rings = rings
        self._ring = rings.open()
        self.needed = BEFORE_ALL
        """Grid index of the oldest sample that is still needed, see :meth:`forget_before`."""
        self.stop = 0
        """Grid index just after the newest sample."""
        self.began = 0
        """Grid index of the first sample of all."""
        self.first = BEFORE_ALL
        """Grid index of the oldest sample that is held."""
        self.length = 0
        """Samples so far, those that are overwritten included."""
        self.started = False
        """Whether the converter has put out its first sample."""
        self._levels: list[tuple[int, float]] = []
        """Grid index at which each part begins, and its level."""
        self._offsets: list[tuple[int, int]] = []
        """Grid index from which each offset holds. Mostly there is one, as of levels: a list takes a sixth of a deque."""
        self._arrivals: deque[tuple[int, int, int]] = deque()

    def __del__(self) -> None:
        self._rings.close(self._ring)

    def push(self, samples: SampleArray, arrived_ns: int, record_end_ns: int) -> None:
        """Append the samples of a record, shape ``(n,)``, at the rate of the channel."""
        first, converted = self._converter.push(samples)
        more = len(converted)
        if not more:
            return
        if not self.started:
            self.started = True
            self.stop = self.began = self.first = first
            self._levels.append((first, _level_near(converted[0])))
        rings = self._rings
        if rings.longer is not None and self.stop + more - max(self.needed, self.began) > rings.length:
            self._move(rings.longer)
            rings = self._rings
        level = self._levels[-1][1]
        above = converted - np.float64(level) if level else converted
        # As nearly always; not a number is never near. The places of extremes are found in a tenth of the time of their values.
        if above.item(above.argmin()) > -LEVEL_REACH and above.item(above.argmax()) < LEVEL_REACH:
            rings.write(self._ring, self.stop, above)
            self.stop += more
        else:
            self._hold(converted.astype(np.float64))
        self.length += more
        offset_ns = self._converter.offset_ns
        if not self._offsets or self._offsets[-1][1] != offset_ns:
            self._offsets.append((first, offset_ns))
        self._arrivals.append((self.stop, arrived_ns, record_end_ns))
        if (oldest := self.stop - rings.length) > self.first:
            self._forget(oldest)

    def forget_before(self, index: int) -> None:
        """Samples before a grid index are not needed any more; the usual ring takes the place of a longer one that is not needed either."""
        self.needed = index
        if (
            self._rings is not self._usual
            and self.stop - max(index, self.began) <= self._usual.length * 3 // 4
        ):
            self._move(self._usual)

    def drift(self, drift_ns: int) -> None:
        """The next samples lie later than predicted by ``drift_ns``; earlier when it is negative."""
        self._converter.advance(drift_ns)

    def level(self, start: int, stop: int) -> float:
        """Level of most samples from grid index ``start`` up to ``stop``, which must be held."""
        begin, newest = self._levels[-1]
        if begin <= start:
            return newest
        parts = self._parts(start, stop)
        if len(parts) == 1:
            return parts[0][2]
        samples: dict[float, int] = {}
        for begin, end, level in parts:
            samples[level] = samples.get(level, 0) + end - begin
        return max(samples, key=samples.__getitem__)

    def read(
        self, start: int, stop: int, level: float, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Samples from grid index ``start`` up to ``stop``, which must be held, less a level, into ``out`` if it is given."""
        held = self._rings.read(self._ring, start, stop, out)
        if self._levels[-1][0] <= start and self._levels[-1][1] == level:
            # As nearly always.
            return held
        parts = self._parts(start, stop)
        if not all(own == level for _, _, own in parts):
            shift = np.repeat([own - level for _, _, own in parts], [end - begin for begin, end, _ in parts])
            with np.errstate(over="ignore"):
                held[:] = held + shift
        return held

    def copy(self, start: int, stop: int, level: float, out: NDArray[np.float32]) -> bool:
        """As :meth:`read`, where the samples from there on are held less this very level; else nothing is done, and False is returned."""
        since, held = self._levels[-1]
        if held != level or since > start:
            return False
        self._rings.read(self._ring, start, stop, out)
        return True

    def offset_at(self, index: int) -> int:
        """Offset of true time from grid time, in nanoseconds, for a sample."""
        offset_ns = self._offsets[0][1]
        if len(self._offsets) == 1:
            return offset_ns
        for start, value in self._offsets:
            if start > index:
                break
            offset_ns = value
        return offset_ns

    def arrival_of(self, index: int) -> tuple[int, int]:
        """``(arrived_ns, record_end_ns)`` of the record that brought the sample at ``index``."""
        found = self._arrivals[-1]
        # Mostly one of the newest.
        for one in reversed(self._arrivals):
            if one[0] <= index:
                break
            found = one
        return found[1], found[2]

    def _forget(self, first: int) -> None:
        """Forget what is known of samples before one: they are overwritten."""
        self.first = first
        arrivals, offsets, levels = self._arrivals, self._offsets, self._levels
        while arrivals[0][0] <= first and len(arrivals) > 1:
            arrivals.popleft()
        while len(offsets) > 1 and offsets[1][0] <= first:
            del offsets[0]
        while len(levels) > 1 and levels[1][0] <= first:
            del levels[0]

    def _move(self, rings: Rings) -> None:
        """Let other rings hold the newest samples."""
        first = max(self.first, self.stop - rings.length)
        ring = rings.open()
        rings.write(ring, first, self._rings.read(self._ring, first, self.stop))
        self._rings.close(self._ring)
        self._rings, self._ring, self.first = rings, ring, first

    def _parts(self, start: int, stop: int) -> list[tuple[int, int, float]]:
        """Begin, end and level of the parts between two grid indices."""
        if self._levels[-1][0] <= start:
            return [(start, stop, self._levels[-1][1])]
        ends = [begin for begin, _ in islice(self._levels, 1, None)] + [stop]
        return [
            (max(begin, start), min(end, stop), level)
            for (begin, level), end in zip(self._levels, ends, strict=True)
            if begin < stop and end > start
        ]

    def _hold(self, samples: NDArray[np.float64]) -> None:
        """Append samples in parts."""
        begin = new = 0
        while begin < len(samples):
            left = samples[begin:] - self._levels[-1][1]
            near = len(left)
            if len(self._levels) < MAX_PARTS:
                # What a part begins with belongs to it, though it be infinite.
                far = np.flatnonzero(~(np.abs(left[new:]) < LEVEL_REACH))
                near = new + int(far[0]) if len(far) else near
            with np.errstate(over="ignore"):
                self._rings.write(self._ring, self.stop, left[:near])
            self.stop += near
            begin += near
            if begin < len(samples):
                self._levels.append((self.stop, _level_near(samples[begin])))
                new = 1


def _level_near(sample: float) -> float:
    return LEVEL_STEP * float(np.round(float(sample) / LEVEL_STEP))

"""The samples of all channels: one ring for each gapless stretch, all of one length; samples are held nowhere else.

A sample of the 100 Hz grid with index ``k`` lies in column ``k % length`` of its ring, so the newest ``length`` samples of a stretch are
there and older ones are overwritten. Where more samples are needed, because a component lags, a longer ring takes the place of one, see
:class:`~xiaod.waveform.stretch.Stretch`. Rings lie in blocks of :data:`BLOCK`: one more station moves nothing, and one that leaves makes
room for the next.

>>> rings = Rings(length=8)
>>> ring = rings.open()
>>> rings.write(ring, 6, np.arange(5, dtype=np.float32))
>>> rings.read(ring, 7, 11).tolist()
[1.0, 2.0, 3.0, 4.0]
>>> rings.close(ring)
>>> rings.held_bytes
0
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.types import SampleArray

BLOCK = 48
"""Rings in a block: sixteen stations of three components."""


class Rings:
    """Rings of one length; each has a number."""

    def __init__(self, length: int, longer: "Rings | None" = None) -> None:
        """Begin without rings.

        Args:
            length: of each, in samples.
            longer: others that can take the place of these; None: there are none.
        """
        self.length = length
        self.longer = longer
        self._blocks: dict[int, NDArray[np.float32]] = {}
        self._used: Counter[int] = Counter()
        self._free: list[int] = []
        self._rings: dict[int, NDArray[np.float32]] = {}

    def open(self) -> int:
        """Number of a free ring; what it holds is undefined."""
        if not self._free:
            block = next(number for number in range(len(self._blocks) + 1) if number not in self._blocks)
            self._blocks[block] = np.empty((BLOCK, self.length), np.float32)
            self._free = list(range((block + 1) * BLOCK - 1, block * BLOCK - 1, -1))
        ring = self._free.pop()
        self._used[ring // BLOCK] += 1
        self._rings[ring] = self._blocks[ring // BLOCK][ring % BLOCK]
        return ring

    def close(self, ring: int) -> None:
        """Give a ring back; a block without rings in use is freed."""
        del self._rings[ring]
        self._free.append(ring)
        block = ring // BLOCK
        self._used[block] -= 1
        if not self._used[block]:
            del self._blocks[block], self._used[block]
            self._free = [free for free in self._free if free // BLOCK != block]

    def write(self, ring: int, index: int, samples: SampleArray) -> None:
        """Write samples, shape ``(n,)``, the first of which has a grid index; of more than a ring holds the last ones stay."""
        if (excess := len(samples) - self.length) > 0:
            index, samples = index + excess, samples[excess:]
        row, begin = self._rings[ring], index % self.length
        end = begin + len(samples)
        if end <= self.length:
            row[begin:end] = samples
        else:
            split = self.length - begin
            row[begin:], row[: end - self.length] = samples[:split], samples[split:]

    def read(
        self, ring: int, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Samples from a grid index up to another, shape ``(stop - start,)``, copied; they must be at most a ring's length apart.

        Args:
            ring: its number.
            start: grid index of the first sample.
            stop: grid index just after the last one.
            out: where they are written; None: into a new array.
        """
        if out is None:
            out = np.empty(stop - start, np.float32)
        row, begin = self._rings[ring], start % self.length
        end = begin + stop - start
        if end <= self.length:
            out[:] = row[begin:end]
        else:
            split = self.length - begin
            out[:split], out[split:] = row[begin:], row[: end - self.length]
        return out

    @property
    def held_bytes(self) -> int:
        """Memory of the rings that are used, and of longer ones."""
        longer = 0 if self.longer is None else self.longer.held_bytes
        return len(self._rings) * self.length * 4 + longer

"""A span of time of one instrument, filled by the windows that lie over it.

Samples are those that the network gets, on the 100 Hz grid. Probabilities are averaged over windows as the picker does
(:func:`xiaod.picking.picker.window_weight`); those of a stateful engine are final and stand as they are.

>>> from xiaod.domain.types import Instrument, Window
>>> scene = Scene(Instrument("XX", "A", "", "HH"), 0, 2_000_000_000)
>>> window = Window(scene.instrument, 100, 0, np.ones((3, 2000), np.float32), "Z--")
>>> scene.add(Probabilities(window, np.full((2, 2000), 0.25, np.float32)), np.ones(2000, np.float32))
>>> scene.probabilities[:, [99, 100]].tolist(), scene.letters
([[nan, 0.25], [nan, 0.25]], 'Z--')
"""

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.components import MISSING, ROWS
from xiaod.domain.timegrid import GRID_NS, grid_index
from xiaod.domain.types import Instrument, Probabilities


class Scene:
    """Samples ``(3, n)`` and probabilities of P and S ``(2, n)`` from a time to a time."""

    def __init__(self, instrument: Instrument, start_ns: int, stop_ns: int) -> None:
        self.instrument = instrument
        self.first = grid_index(start_ns)
        """Grid index of the first sample."""
        self.stop = max(grid_index(stop_ns), self.first + 1)
        """Grid index just after the last one."""
        length = self.stop - self.first
        self.samples = np.full((ROWS, length), np.nan, np.float32)
        """NaN where there are no data."""
        self.letters = MISSING * ROWS
        self._sum = np.zeros((2, length), np.float32)
        self._weight = np.zeros(length, np.float32)

    @property
    def start_ns(self) -> int:
        """Time of the first sample."""
        return self.first * GRID_NS

    @property
    def empty(self) -> bool:
        """Whether no window lay over it."""
        return self.letters == MISSING * ROWS

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """NaN where no window has an opinion."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._weight > 0, self._sum / self._weight, np.float32(np.nan)).astype(np.float32)

    def add(self, result: Probabilities, weight: NDArray[np.float32]) -> None:
        """Add a window; ``weight`` has the shape ``(length,)`` of its samples."""
        window = result.window
        start, stop = max(self.first, window.index), min(self.stop, window.stop)
        if start >= stop:
            return
        here, there = (
            slice(start - self.first, stop - self.first),
            slice(start - window.index, stop - window.index),
        )
        for row, letter in enumerate(window.components):
            if letter != MISSING:
                self.samples[row, here] = window.samples[row, there]
                self.letters = self.letters[:row] + letter + self.letters[row + 1 :]
        if result.valid is not None:
            weight = np.zeros_like(weight)
            weight[slice(*result.valid)] = 1
        self._sum[:, here] += weight[there] * result.values[:, there]
        self._weight[here] += weight[there]

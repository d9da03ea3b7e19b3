"""Records what an engine computes over spans of time, for figures and for who wants probabilities.

Samples are those that the network gets, on the 100 Hz grid. Probabilities are averaged over windows; a window counts
by how much of its data lies after a sample (:func:`window_weight`).

>>> from xiaod.domain.types import Instrument, Window
>>> span = RecordedSpan(Instrument("XX", "A", "", "HH"), 0, 2_000_000_000)
>>> window = Window(span.instrument, 100, 0, np.ones((3, 2000), np.float32), "Z--")
>>> span.add(Probabilities(window, np.full((2, 2000), 0.25, np.float32)), np.ones(2000, np.float32))
>>> span.waveforms.probabilities[:, [99, 100]].tolist(), span.components
([[nan, 0.25], [nan, 0.25]], 'Z--')
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec
from xiaod.domain.components import MISSING, ROWS
from xiaod.domain.figure import Waveforms
from xiaod.domain.timegrid import GRID_NS, grid_index, samples_from_s
from xiaod.domain.types import Instrument, Probabilities, Window, WindowBatch
from xiaod.inference import Engine
from xiaod.picking.picker import PickerSettings

LEAST_AFTER_S = 0.25
"""Data after a sample below which a window says nothing about it."""


class ProbabilitySpan:
    """Probabilities of one instrument in a span of time."""

    def __init__(self, instrument: Instrument, start_ns: int, stop_ns: int) -> None:
        self.instrument = instrument
        self.first = grid_index(start_ns)
        """Grid index of the first sample."""
        self.stop = max(grid_index(stop_ns), self.first + 1)
        """Grid index just after the last one."""
        self.offset_ns = 0
        """What to add to grid times to get true times, at the newest window that was added."""
        self._sum = np.zeros((2, self.stop - self.first), np.float32)
        self._weight = np.zeros(self.stop - self.first, np.float32)

    @property
    def start_ns(self) -> int:
        """Time of the first sample."""
        return self.first * GRID_NS

    @property
    def stop_ns(self) -> int:
        """Time just after the last one."""
        return self.stop * GRID_NS

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of P and S, shape ``(2, n)``; NaN where no window reaches."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._weight > 0, self._sum / self._weight, np.float32(np.nan))

    def add(self, result: Probabilities, weight: NDArray[np.float32]) -> None:
        """Add a window; ``weight`` has the shape ``(length,)`` of its samples."""
        here, there = self._shared(result.window)
        if here.start == here.stop:
            return
        self.offset_ns = result.window.offset_ns
        if result.valid is not None:
            known = np.zeros(len(weight), bool)
            known[slice(*result.valid)] = True
            weight = np.where(known, weight, np.float32(0))
        self._sum[:, here] += weight[there] * result.values[:, there]
        self._weight[here] += weight[there]

    def _shared(self, window: Window) -> tuple[slice, slice]:
        """The samples that a window and the span share: where they lie in the span, and in the window."""
        start = max(self.first, window.index)
        stop = max(start, min(self.stop, window.stop))
        return (
            slice(start - self.first, stop - self.first),
            slice(start - window.index, stop - window.index),
        )


class RecordedSpan(ProbabilitySpan):
    """The same with the samples."""

    def __init__(self, instrument: Instrument, start_ns: int, stop_ns: int) -> None:
        super().__init__(instrument, start_ns, stop_ns)
        self.samples = np.full((ROWS, self.stop - self.first), np.nan, np.float32)
        """Shape ``(3, n)``; NaN where there are no data."""
        self.components = MISSING * ROWS

    @property
    def empty(self) -> bool:
        """Whether no window overlapped it."""
        return self.components == MISSING * ROWS

    @property
    def waveforms(self) -> Waveforms:
        """What was recorded; probabilities are NaN where no window reaches."""
        return Waveforms(self.first, 1, self.samples, self.samples, self.probabilities, self.components)

    def add(self, result: Probabilities, weight: NDArray[np.float32]) -> None:
        """Add a window; ``weight`` has the shape ``(length,)`` of its samples."""
        window = result.window
        here, there = self._shared(window)
        for row, letter in enumerate(window.components):
            if letter != MISSING and here.start < here.stop:
                self.samples[row, here] = window.samples[row, there]
                self.components = self.components[:row] + letter + self.components[row + 1 :]
        super().add(result, weight)


class RecordingEngine:
    """Implements :class:`xiaod.inference.Engine` around another one, and records its results."""

    def __init__(
        self,
        engine: Engine,
        settings: PickerSettings,
        spans_of: Callable[[Instrument], Sequence[ProbabilitySpan]],
    ) -> None:
        """Set up.

        Args:
            engine: computes the probabilities.
            settings: of the picker: they give the weights of windows.
            spans_of: the spans of an instrument.
        """
        self._engine = engine
        self._spans_of = spans_of
        self._weight = lru_cache(maxsize=4)(lambda length: window_weight(length, settings))

    @property
    def spec(self) -> ModelSpec:
        """That of the engine."""
        return self._engine.spec

    @property
    def sha256(self) -> str:
        """That of the engine."""
        return self._engine.sha256

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the engine does."""
        return self._engine.annotate(samples)

    def annotate_end(self, samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        """As the engine does."""
        return self._engine.annotate_end(samples, read)

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        """As the engine does; what it says of windows of final picks is recorded."""
        # All of each window: a picker reads less.
        results = self._engine.follow(replace(batch, read=batch.samples.shape[2]))
        for result in results:
            if result.window.stage != "final":
                continue
            weight = self._weight(result.window.samples.shape[1])
            for span in self._spans_of(result.window.instrument):
                span.add(result, weight)
        return results


def window_weight(length: int, settings: PickerSettings) -> NDArray[np.float32]:
    """Weight of a window at each of its samples, by the data that follow the sample.

    Nothing below :data:`LEAST_AFTER_S`, rising linearly to full weight at the lookahead and a hop.
    """
    after = np.arange(length, 0, -1) - 1
    least = min(samples_from_s(LEAST_AFTER_S), settings.lookahead // 2)
    full = settings.lookahead + settings.hop
    return np.clip((after - least + 1) / (full - least), 0.0, 1.0).astype(np.float32)

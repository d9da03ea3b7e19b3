"""An engine that lets scenes watch: it passes on what the real one says, and fills the scenes that a window lies over."""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec
from xiaod.domain.types import Instrument, Probabilities, Window
from xiaod.inference import Engine
from xiaod.picking.picker import PickerSettings, window_weight
from xiaod.tools.plot.scene import Scene


class Tap:
    """Implements :class:`xiaod.inference.Engine` around another."""

    def __init__(
        self, engine: Engine, settings: PickerSettings, scenes_of: Callable[[Instrument], Sequence[Scene]]
    ) -> None:
        """Set up.

        Args:
            engine: the one that computes.
            settings: by which windows are weighed.
            scenes_of: the scenes of an instrument.
        """
        self._engine = engine
        self._scenes_of = scenes_of
        self.stateful = engine.stateful
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

    def follow(self, windows: Sequence[Window]) -> list[Probabilities]:
        """As the engine does; the scenes see it."""
        results = self._engine.follow(windows)
        for result in results:
            weight = self._weight(result.window.samples.shape[1])
            for scene in self._scenes_of(result.window.instrument):
                scene.add(result, weight)
        return results

    def forget(self, instruments: Collection[Instrument]) -> None:
        """As the engine does."""
        self._engine.forget(instruments)

"""What every engine has when its model is loaded.

>>> from models.spec import ModelSpec
>>> LoadedModel(ModelSpec(name="example", version="1.0.0"), b"").sha256[:8]
'e3b0c442'
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec
from xiaod.domain.types import Instrument, Probabilities, Window


class LoadedModel:
    """Specification and hash of a weights file, and where P and S stand in its output."""

    def __init__(self, spec: ModelSpec, content: bytes) -> None:
        self._spec = spec
        self._sha256 = hashlib.sha256(content).hexdigest()
        rows = [spec.phases.index(phase) for phase in ("P", "S")]
        # A slice where it can be one: it copies nothing.
        self._rows: slice | list[int] = slice(rows[0], rows[0] + 2) if rows[1] == rows[0] + 1 else rows

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and gives."""
        return self._spec

    @property
    def sha256(self) -> str:
        """Hash of the weights file."""
        return self._sha256


class WindowModel(LoadedModel, ABC):
    """A model that takes windows that stand alone."""

    stateful = False

    @abstractmethod
    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S; see :meth:`xiaod.inference.Engine.annotate`."""

    def follow(self, windows: Sequence[Window]) -> list[Probabilities]:
        """Probability of P and S, of all windows in one call."""
        values = self.annotate(np.stack([window.samples for window in windows]))
        values.flags.writeable = False
        return [Probabilities(window, value) for window, value in zip(windows, values, strict=True)]

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Nothing: windows that stand alone leave nothing behind."""

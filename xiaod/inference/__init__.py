"""Engines, which compute probabilities: the :class:`Engine` protocol."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.spec import ModelSpec
from xiaod.domain.types import Probabilities, WindowBatch


class Engine(Protocol):
    """A loaded model, called from one thread at a time."""

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and gives."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the weights file."""
        ...

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S.

        Args:
            samples: shape ``(n, 3, spec.window_samples)``, rows Z N E, raw counts at the rate of the model; a missing
                component is all zeros.

        Returns:
            Shape ``(n, 2, spec.window_samples)``: P, S. A row does not depend on the rest of the batch.
        """
        ...

    def annotate_end(self, samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        """The same for the last samples of windows: at least ``read`` of each, shape ``(n, 2, m)``."""
        ...

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        """Probability of P and S in the windows of streams, in the order given."""
        ...

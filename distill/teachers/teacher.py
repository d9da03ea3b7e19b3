"""The interface of a teacher: a network that annotates a record."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Teacher(Protocol):
    """Annotates a record."""

    @property
    def fingerprint(self) -> str:
        """Hash of its weights; with its section of the configuration it identifies its output."""
        ...

    @property
    def description(self) -> str:
        """Description."""
        ...

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probabilities of N, P, S, shape ``(3, n)``, of a record Z N E of the same shape at 100 Hz."""
        ...

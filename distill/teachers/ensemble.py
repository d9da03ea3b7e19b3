"""Several teachers as one: the weighted mean of their probabilities.

>>> import numpy as np
>>> class Sure:
...     fingerprint, description = "a", "sure"
...     def annotate(self, record):
...         return np.tile(np.array([[0.0], [1.0], [0.0]], np.float32), record.shape[1])
>>> class Blind(Sure):
...     def annotate(self, record):
...         return np.tile(np.array([[1.0], [0.0], [0.0]], np.float32), record.shape[1])
>>> Ensemble([Sure(), Blind()], [3.0, 1.0]).annotate(np.zeros((3, 2)))[:, 0].tolist()
[0.25, 0.75, 0.0]
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.teachers.teacher import Teacher


class Ensemble:
    """Mean of teachers (as in Hinton et al. 2015, arXiv:1503.02531, sec. 3: the labels of an ensemble)."""

    def __init__(self, teachers: Sequence[Teacher], weights: Sequence[float]) -> None:
        """Take at least one teacher, and a weight above zero for each."""
        self._teachers = tuple(teachers)
        self._weights = np.asarray(weights, np.float64) / np.sum(weights)
        parts = [
            f"{weight:.6f} {teacher.fingerprint}"
            for weight, teacher in zip(self._weights, self._teachers, strict=True)
        ]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        self.description = " + ".join(
            f"{weight:.2f} ({teacher.description})"
            for weight, teacher in zip(self._weights, self._teachers, strict=True)
        )

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """See :class:`distill.teachers.Teacher`."""
        total = np.zeros(record.shape)
        for weight, teacher in zip(self._weights, self._teachers, strict=True):
            total += weight * teacher.annotate(record)
        return total.astype(np.float32)

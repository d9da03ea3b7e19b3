"""Teachers: networks whose probabilities the student learns.

A teacher looks at a whole record in overlapping windows, each with its own native preprocessing; where
windows overlap, its probabilities are averaged with triangular weights.

>>> import numpy as np
>>> starts_of(7000, window=3000, hop=2000)
[0, 2000, 4000]
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distill.config import TeacherSection

BATCH = 32
EDGE_WEIGHT = 0.02
"""Least weight of a window's opinion, at its edges, so that the ends of a record have one too."""


class Teacher(Protocol):
    """Annotates a record."""

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probabilities of N, P, S, shape ``(3, n)``, of a record Z N E of the same shape at 100 Hz."""
        ...


class OnnxTeacher:
    """PhaseNet (Zhu & Beroza 2019) as an ONNX file: input ``wave`` E N Z, output ``prob`` N P S."""

    def __init__(self, path: Path, config: TeacherSection, threads: int) -> None:
        import onnxruntime

        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._window = config.window_samples
        self._hop = config.hop_samples

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """See :class:`Teacher`."""
        samples = record.shape[1]
        if samples < self._window:
            record = np.pad(record, ((0, 0), (0, self._window - samples)), mode="edge")
        length = record.shape[1]
        starts = starts_of(length, self._window, self._hop)
        ramp = np.minimum(np.arange(self._window) + 1, self._window - np.arange(self._window)) / (
            self._window / 2
        )
        weight = np.maximum(ramp, EDGE_WEIGHT)
        total, weights = np.zeros((3, length)), np.zeros(length)
        for begin in range(0, len(starts), BATCH):
            chosen = starts[begin : begin + BATCH]
            wave = np.stack([record[::-1, start : start + self._window] for start in chosen])
            wave = wave - wave.mean(axis=-1, keepdims=True)
            deviation = wave.std(axis=-1, keepdims=True)
            wave /= np.where(deviation > 0, deviation, 1)
            [values] = self._session.run(None, {"wave": wave.astype(np.float32)})
            for start, value in zip(chosen, values, strict=True):
                total[:, start : start + self._window] += weight * value
                weights[start : start + self._window] += weight
        return (total / weights)[:, :samples].astype(np.float32)


def starts_of(length: int, window: int, hop: int) -> list[int]:
    """Give the starts of windows that cover a record, the last one flush with its end."""
    starts = list(range(0, length - window + 1, hop))
    if starts[-1] != length - window:
        starts.append(length - window)
    return starts

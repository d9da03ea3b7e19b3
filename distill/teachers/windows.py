"""Annotates a record in overlapping windows, for teachers with windows of one length.

Where windows overlap, probabilities are averaged with triangular weights.

>>> import numpy as np
>>> starts_of(7000, window=3000, hop=2000)
[0, 2000, 4000]
>>> flat = annotate_windows(np.zeros((3, 50)), 20, 10, lambda waves: np.full((len(waves), 3, 20), 1 / 3))
>>> flat.shape, round(float(flat.min()), 3)
((3, 50), 0.333)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BATCH = 32
EDGE_WEIGHT = 0.02
"""Least weight of a window, at its edges, so that the ends of a record also have one."""


def annotate_windows(
    record: NDArray[np.floating],
    window: int,
    hop: int,
    run: Callable[[NDArray[np.float64]], NDArray[np.floating]],
) -> NDArray[np.float32]:
    """Probabilities of a whole record.

    Args:
        record: shape ``(3, n)``, Z N E; a record shorter than a window is padded with its last samples.
        window: samples of a window.
        hop: samples between windows.
        run: windows ``(k, 3, window)``, Z N E, as recorded -> probabilities of N, P, S of the same shape.
    """
    samples = record.shape[1]
    if samples < window:
        record = np.pad(record, ((0, 0), (0, window - samples)), mode="edge")
    length = record.shape[1]
    starts = starts_of(length, window, hop)
    ramp = np.minimum(np.arange(window) + 1, window - np.arange(window)) / (window / 2)
    weight = np.maximum(ramp, EDGE_WEIGHT)
    total, weights = np.zeros((3, length)), np.zeros(length)
    for begin in range(0, len(starts), BATCH):
        chosen = starts[begin : begin + BATCH]
        values = run(np.stack([record[:, start : start + window] for start in chosen]).astype(np.float64))
        for start, value in zip(chosen, values, strict=True):
            total[:, start : start + window] += weight * value
            weights[start : start + window] += weight
    return (total / weights)[:, :samples].astype(np.float32)


def starts_of(length: int, window: int, hop: int) -> list[int]:
    """Starts of windows that cover a record; the last one ends with it."""
    starts = list(range(0, length - window + 1, hop))
    if starts[-1] != length - window:
        starts.append(length - window)
    return starts


def standardised(waves: NDArray[np.float64]) -> NDArray[np.float32]:
    """Each component minus its mean, divided by its standard deviation (Zhu & Beroza 2019, sec. 2)."""
    waves = waves - waves.mean(axis=-1, keepdims=True)
    deviation = waves.std(axis=-1, keepdims=True)
    return np.asarray(waves / np.where(deviation > 0, deviation, 1), np.float32)

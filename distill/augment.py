"""Augmentations of one window, each with its probability in the configuration.

In and out: waves ``(3, n)`` float64, Z N E, and labels ``(3, n)`` float32, N P S. The teacher has labelled
the record before.

>>> import numpy as np
>>> waves = np.ones((3, 4))
>>> drop(waves, np.random.default_rng(0), horizontals=1.0, one=0.0)[:, 0].tolist()
[1.0, 0.0, 0.0]
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from distill.config import AugmentSection

QUIET = 0.1
"""Highest probability of P or S in a window that counts as noise."""

Waves = NDArray[np.float64]
Labels = NDArray[np.float32]


def augment(
    waves: Waves, labels: Labels, other: tuple[Waves, Labels], rng: Generator, config: AugmentSection
) -> tuple[Waves, Labels]:
    """Apply all augmentations; ``other`` is a window of another record, for superposition."""
    waves = waves - waves.mean(axis=1, keepdims=True)
    if rng.random() < config.superpose:
        waves, labels = superpose(
            waves, labels, other[0] - other[0].mean(axis=1, keepdims=True), other[1], rng
        )
    if rng.random() < config.flip:
        waves = -waves
    if rng.random() < config.gain:
        waves = waves * np.exp(rng.normal(0, 0.5, (3, 1)))
    if rng.random() < config.rotate:
        waves = rotate(waves, rng.uniform(0, 2 * np.pi))
    waves = drop(waves, rng, config.drop_horizontals, config.drop_one)
    deviation = waves.std(axis=1, keepdims=True)
    if rng.random() < config.white_noise:
        waves = waves + rng.normal(0, 1, waves.shape) * deviation * 10 ** rng.uniform(-2.5, -0.7)
    if rng.random() < config.drift:
        phase = 2 * np.pi * (np.arange(waves.shape[1]) / rng.uniform(600, 3000) + rng.uniform(0, 1, (3, 1)))
        waves = waves + deviation * rng.uniform(0, 3, (3, 1)) * np.sin(phase)
    return waves, labels


def superpose(
    waves: Waves, labels: Labels, other: Waves, other_labels: Labels, rng: Generator
) -> tuple[Waves, Labels]:
    """Add noise at a chosen signal-to-noise ratio, or a second event of comparable size."""
    ratio = (waves.std() + 1e-9) / (other.std() + 1e-9)
    if other_labels[1:].max() < QUIET:
        loudest = -0.3 if labels[1:].max() > QUIET else 0.0
        return waves + ratio * 10 ** rng.uniform(-2, loudest) * other, labels
    if rng.random() < 0.5:
        return waves, labels
    phases = np.maximum(labels[1:], other_labels[1:])
    phases /= np.maximum(phases.sum(axis=0), 1)
    both = np.concatenate([1 - phases.sum(axis=0, keepdims=True), phases])
    return waves + ratio * 10 ** rng.uniform(-0.4, 0.4) * other, both


def rotate(waves: Waves, angle: float) -> Waves:
    """Rotate the horizontals by an angle in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([waves[0], cosine * waves[1] - sine * waves[2], sine * waves[1] + cosine * waves[2]])


def drop(waves: Waves, rng: Generator, horizontals: float, one: float) -> Waves:
    """Silence both horizontals, or one, with the given probabilities."""
    chance = rng.random()
    if chance >= horizontals + one:
        return waves
    waves = waves.copy()
    if chance < horizontals:
        waves[1:] = 0
    else:
        waves[rng.integers(1, 3)] = 0
    return waves

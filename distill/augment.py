"""Augmentations, each with its probability in the configuration.

Two kinds. Those that change the ground motion or the sensor (superposition, stretch, band, rotation, gain, polarity) come
before the teacher, which labels the augmented scene. Those that only the student must tolerate (lost components, gaps, spikes,
clipping, noise of the digitiser, drift) come after.

In and out: waves ``(3, n)`` float64, Z N E, at 100 Hz.

>>> import numpy as np
>>> waves = np.ones((3, 4))
>>> drop(waves, np.random.default_rng(0), horizontals=1.0, one=0.0)[:, 0].tolist()
[1.0, 0.0, 0.0]
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, resample_poly, sosfilt

from distill.config import AugmentSection

QUIET = 0.1
"""Highest probability of P or S in a window that counts as noise."""
RATIOS = ((2, 3), (3, 4), (4, 5), (9, 10), (10, 9), (5, 4), (4, 3), (3, 2))
"""Stretches in time, new length to old."""
LOW_CORNERS_HZ = (0.05, 3.0)
HIGH_CORNERS_HZ = (8.0, 40.0)
"""Corners of random bands, drawn evenly in their logarithm."""
SLOPES = (-0.8, 0.8)
"""Coefficient of the filter that colours noise."""
CLIP_PART = (0.15, 0.9)
"""Level at which a digitiser clips, relative to the largest sample."""
SITE_SAMPLES = (10, 120)
"""Length of a site's response."""
SITE_LEVEL = (-1.3, -0.1)
"""Logarithm of the size of the waves after the direct wave."""
GAP_SAMPLES = (10, 300)
MAX_SPIKES = 4
SPIKE_DEVIATIONS = (5.0, 40.0)
RATE_HZ = 100.0

Waves = NDArray[np.float64]
Labels = NDArray[np.float32]


def augment_motion(waves: Waves, rng: Generator, config: AugmentSection) -> Waves:
    """Change ground motion and sensor, but not the time of an onset: polarity, gains, orientation."""
    if rng.random() < config.flip:
        waves = -waves
    if rng.random() < config.gain:
        waves = waves * np.exp(rng.normal(0, 0.5, (3, 1)))
    if rng.random() < config.swap:
        waves = waves[[0, 2, 1]]
    if rng.random() < config.rotate:
        waves = rotate(waves, rng.uniform(0, 2 * np.pi))
    return waves


def augment_record(waves: Waves, rng: Generator, config: AugmentSection) -> Waves:
    """Spoil the recording: lost components, noise, drift, clipping, spikes, gaps."""
    if rng.random() < config.clip:
        waves = clip(waves, rng)
    waves = drop(waves, rng, config.drop_horizontals, config.drop_one)
    deviation = waves.std(axis=1, keepdims=True)
    if rng.random() < config.white_noise:
        waves = waves + rng.normal(0, 1, waves.shape) * deviation * 10 ** rng.uniform(-2.5, -0.7)
    if rng.random() < config.coloured_noise:
        waves = waves + coloured(waves.shape, rng) * deviation * 10 ** rng.uniform(-2.5, -0.7)
    if rng.random() < config.drift:
        phase = 2 * np.pi * (np.arange(waves.shape[1]) / rng.uniform(600, 3000) + rng.uniform(0, 1, (3, 1)))
        waves = waves + deviation * rng.uniform(0, 3, (3, 1)) * np.sin(phase)
    if rng.random() < config.spikes:
        waves = add_spikes(waves, rng)
    if rng.random() < config.gap:
        waves = cut_gap(waves, rng)
    return waves


def superpose(
    waves: Waves, labels: Labels, other: Waves, other_labels: Labels, rng: Generator
) -> tuple[Waves, Labels]:
    """Add noise at a chosen signal-to-noise ratio, or a second event of comparable size.

    Args:
        waves: without mean.
        labels: ``(3, n)``, N P S.
        other: waves of another record, without mean.
        other_labels: its labels.
        rng: source of random numbers.

    Returns:
        The sum, and its labels, as far as they are known without running the teacher again.
    """
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


def stretch(waves: Waves, up: int, down: int) -> Waves:
    """Stretch in time by ``up / down``, as if the record had another sampling rate."""
    return np.asarray(resample_poly(waves, up, down, axis=1, padtype="line"))


def shape_band(waves: Waves, rng: Generator) -> Waves:
    """Filter causally, as sensors and paths do: high-pass, low-pass or both, first or second order."""
    which = rng.integers(3)
    if which != 1:
        corner = np.exp(rng.uniform(*np.log(LOW_CORNERS_HZ)))
        waves = sosfilt(butter(rng.integers(1, 3), corner, "highpass", fs=RATE_HZ, output="sos"), waves)
    if which != 0:
        corner = np.exp(rng.uniform(*np.log(HIGH_CORNERS_HZ)))
        waves = sosfilt(butter(rng.integers(1, 3), corner, "lowpass", fs=RATE_HZ, output="sos"), waves)
    return np.asarray(waves)


def reverberate(waves: Waves, rng: Generator) -> Waves:
    """Convolve with a synthetic site response: the direct wave, then decaying random waves."""
    length = int(rng.integers(*SITE_SAMPLES))
    decay = np.exp(-3 * np.arange(1, length + 1) / length)
    trains = rng.normal(0, 1, (len(waves), length)) * decay
    trains *= 10 ** rng.uniform(*SITE_LEVEL) / np.sqrt(np.square(trains).sum(axis=1, keepdims=True))
    return np.stack(
        [
            lfilter(np.concatenate([[1.0], train]), [1.0], wave)
            for wave, train in zip(waves, trains, strict=True)
        ]
    )


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


def clip(waves: Waves, rng: Generator) -> Waves:
    """Clip all components at one level, as a digitiser at the end of its range does."""
    level = np.abs(waves).max() * rng.uniform(*CLIP_PART)
    return np.clip(waves, -level, level)


def coloured(shape: tuple[int, ...], rng: Generator) -> Waves:
    """Noise of standard deviation 1 with more power at low or at high frequencies."""
    noise = lfilter([1.0], [1.0, rng.uniform(*SLOPES)], rng.normal(0, 1, shape))
    return np.asarray(noise / noise.std(axis=-1, keepdims=True))


def add_spikes(waves: Waves, rng: Generator) -> Waves:
    """Add single wrong samples to one component."""
    waves = waves.copy()
    row = rng.integers(3)
    count = rng.integers(1, MAX_SPIKES + 1)
    places = rng.integers(0, waves.shape[1], count)
    height = rng.uniform(*SPIKE_DEVIATIONS, count) * rng.choice((-1.0, 1.0), count)
    waves[row, places] += height * waves[row].std()
    return waves


def cut_gap(waves: Waves, rng: Generator) -> Waves:
    """Hold the last sample for a while on all components, as a buffer that bridges a short gap would."""
    waves = waves.copy()
    length = int(rng.integers(*GAP_SAMPLES))
    start = int(rng.integers(1, max(2, waves.shape[1] - length)))
    waves[:, start : start + length] = waves[:, start - 1 : start]
    return waves

"""Which windows the student sees: drawn by station, near onsets or anywhere, often ending soon after one.

The example of a step depends on nothing but the seed and the step, so a run that is resumed goes on as if it
had not stopped.

>>> import numpy as np
>>> from distill.corpus import Record
>>> waves, labels = np.ones((3, 2000), np.int32), np.zeros((3, 2000), np.float16)
>>> record = Record("a", "XX.A", "event", waves, labels, ((900, 1),), (900.0, None))
>>> examples = Examples((record,), TrainConfig(name="example", version="0.0.1"))
>>> waves, labels = examples.batch(step=0)
>>> waves.shape, waves.dtype.name
((64, 3, 1000), 'float32')
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from distill.augment import augment
from distill.config import ConfigError, TrainConfig
from distill.corpus import Record
from models.frontend import standardise
from models.spec import ModelSpec

RATE_HZ = ModelSpec.sampling_rate_hz


class Examples:
    """Batches of windows from records.

    Raises:
        ConfigError: when no record has an onset.
    """

    def __init__(self, records: tuple[Record, ...], config: TrainConfig, augmented: bool = True) -> None:
        window = config.sampling.window_samples
        records = tuple(record for record in records if record.waves.shape[1] >= window)
        self._records = records
        self._config = config
        self._augmented = augmented
        self._chance = _chances(records, config.data.label_boost)
        self._events = [index for index, record in enumerate(records) if record.onsets]
        if not self._events:
            raise ConfigError(
                f"none of {len(records)} records of at least {window} samples has an onset: "
                "more data are needed, or another data.validation_fraction"
            )
        chance = self._chance[self._events]
        self._event_chance = chance / chance.sum()

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw prepared waves and labels of a step, each ``(batch, 3, window)``."""
        rng = np.random.default_rng([self._config.seed, step])
        pairs = [self._example(rng) for _ in range(self._config.optimiser.batch)]
        waves = standardise(np.stack([waves for waves, _ in pairs]).astype(np.float32))
        return waves, np.stack([labels for _, labels in pairs]).astype(np.float32)

    def _example(self, rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        sampling = self._config.sampling
        window = sampling.window_samples
        chance = rng.random()
        if chance < sampling.ends_after_onset + sampling.holds_onset:
            record = self._records[rng.choice(self._events, p=self._event_chance)]
            onset = record.onsets[rng.integers(len(record.onsets))][0]
            if chance >= sampling.ends_after_onset:
                stop = onset + rng.integers(1, window)
            else:
                limits = sampling.soon_s if rng.random() < sampling.soon else sampling.ends_after_s
                stop = onset + round(rng.uniform(*limits) * RATE_HZ)
            example = _cut(record, int(stop) - window, window)
        else:
            example = self._anywhere(rng)
        if not self._augmented:
            return example
        return augment(*example, self._anywhere(rng), rng, self._config.augment)

    def _anywhere(self, rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        record = self._records[rng.choice(len(self._records), p=self._chance)]
        window = self._config.sampling.window_samples
        return _cut(record, int(rng.integers(0, record.waves.shape[1] - window + 1)), window)


def _cut(record: Record, start: int, window: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    start = min(max(start, 0), record.waves.shape[1] - window)
    piece = slice(start, start + window)
    return record.waves[:, piece].astype(np.float64), record.labels[:, piece].astype(np.float32)


def _chances(records: tuple[Record, ...], label_boost: float) -> NDArray[np.float64]:
    """Chance of each record: by the square root of its station's share, so that busy stations do not rule."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.station] = counts.get(record.station, 0) + 1
    weights = np.array(
        [counts[record.station] ** -0.5 * (label_boost if any(record.analyst) else 1.0) for record in records]
    )
    return np.asarray(weights / weights.sum())

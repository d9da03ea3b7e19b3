"""Scenes: pieces of records, augmented, and then labelled by the teacher.

A scene is a :class:`~distill.corpus.Record`. The scenes of a step depend on the seed and the step only.

>>> import numpy as np
>>> from distill.config import TrainConfig
>>> waves, labels = np.random.default_rng(0).normal(size=(3, 4000)), np.zeros((3, 4000), np.float16)
>>> record = Record("a", "XX.A", "event", waves, labels, ((900, 1),), (900.0, None))
>>> class Silent:
...     fingerprint, description = "", "silent"
...     def annotate(self, record):
...         return np.stack([np.ones(record.shape[1]), *np.zeros((2, record.shape[1]))]).astype(np.float32)
>>> scenes = Scenes((record,), TrainConfig(name="example", version="0.0.1"), Silent()).of(step=3)
>>> len(scenes), scenes[0].waves.shape, scenes[0].labels.shape
(7, (3, 3000), (3, 3000))
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from distill.augment import RATIOS, augment_motion, reverberate, shape_band, stretch
from distill.config import ConfigError, TrainConfig
from distill.corpus import Record, label_record
from distill.teachers import Teacher

STREAM = 1
"""Separates the random numbers of scenes from those of windows."""
KEPT_STEPS = 256
"""Number of steps whose scenes are kept in memory."""
NOISE_LEVEL = (-2.0, -0.1)
EVENT_LEVEL = (-1.2, 1.2)
"""Logarithm of the size of superposed noise or events, relative to the scene."""
MARGIN = 50
"""Samples beyond both ends that stretching needs."""
EDGE = 0.05
"""Fraction of a scene at each end where no onset is placed."""


class Scenes:
    """Labelled scenes of each step."""

    def __init__(self, records: tuple[Record, ...], config: TrainConfig, teacher: Teacher) -> None:
        """Take records; those shorter than a scene are left out.

        Raises:
            ConfigError: when none of the others has an onset.
        """
        self._records = tuple(record for record in records if record.waves.shape[1] >= config.scenes.samples)
        self._config = config
        self._teacher = teacher
        self._chance = chances(self._records, config.data.label_boost)
        self._events = [index for index, record in enumerate(self._records) if record.onsets]
        if not self._events:
            raise ConfigError(
                f"scenes.samples: none of {len(records)} records that has an onset is {config.scenes.samples} samples long"
            )
        chance = self._chance[self._events]
        self._event_chance = chance / chance.sum()
        self._kept: dict[int, list[Record]] = {}

    def of(self, step: int) -> Sequence[Record]:
        """Scenes for a step; steps before the first also have scenes."""
        if step not in self._kept:
            # A negative number cannot seed; no step is ever so late.
            rng = np.random.default_rng([self._config.seed, STREAM, step % 2**32])
            self._kept[step] = [self._scene(rng) for _ in range(self._config.scenes.per_step)]
            for old in [other for other in self._kept if other < step - KEPT_STEPS]:
                del self._kept[old]
        return self._kept[step]

    def _scene(self, rng: Generator) -> Record:
        config, samples = self._config, self._config.scenes.samples
        up, down = RATIOS[rng.integers(len(RATIOS))] if rng.random() < config.augment.stretch else (1, 1)
        wanted = samples if up == down else -(-samples * down // up) + MARGIN
        record, start = self._place(rng, wanted)
        if up != down and record.waves.shape[1] < wanted:
            up = down = 1
            wanted = samples
            start = min(start, record.waves.shape[1] - samples)
        waves = centred(record.waves[:, start : start + wanted].astype(np.float64))
        if up != down:
            waves = stretch(waves, up, down)[:, :samples]
        picks = [None if pick is None else (pick - start) * up / down for pick in record.analyst]
        waves = augment_motion(waves, rng, config.augment)
        band, site, both = rng.random(3) < (
            config.augment.band,
            config.augment.site,
            config.augment.superpose,
        )
        if band:
            waves = shape_band(waves, rng)
        if site:
            waves = reverberate(waves, rng)
        if both:
            waves = self._superpose(waves, rng)
        # An analyst's pick holds for what was seen: no filter, nothing added.
        kept = not (band or site or both)
        analyst = [pick if kept and pick is not None and 0 <= pick < samples else None for pick in picks]
        taught = self._teacher.annotate(waves).astype(np.float16)
        return label_record(
            record.name,
            record.station,
            record.kind,
            waves.astype(np.float32),
            taught,
            (analyst[0], analyst[1]),
            config.labels,
        )

    def _place(self, rng: Generator, wanted: int) -> tuple[Record, int]:
        """Choose a record and where the piece begins."""
        if rng.random() < self._config.scenes.event:
            record = self._records[rng.choice(self._events, p=self._event_chance)]
            onset = record.onsets[rng.integers(len(record.onsets))][0]
            start = int(onset - rng.uniform(EDGE, 1 - EDGE) * wanted)
        else:
            record = self._records[rng.choice(len(self._records), p=self._chance)]
            start = int(rng.integers(0, max(1, record.waves.shape[1] - wanted + 1)))
        return record, max(0, min(start, record.waves.shape[1] - wanted))

    def _superpose(self, waves: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        """Add noise of another record, or another event, at any signal-to-noise ratio."""
        other = self._records[rng.choice(len(self._records), p=self._chance)]
        start = int(rng.integers(0, other.waves.shape[1] - waves.shape[1] + 1))
        stop = start + waves.shape[1]
        added = centred(other.waves[:, start:stop].astype(np.float64))
        quiet = not any(start <= onset < stop for onset, _ in other.onsets)
        level = 10 ** rng.uniform(*(NOISE_LEVEL if quiet else EVENT_LEVEL))
        ratio = float((waves.std() + 1e-9) / (added.std() + 1e-9))
        return np.asarray(waves + level * ratio * added)


def centred(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the mean of each component."""
    return np.asarray(waves - waves.mean(axis=1, keepdims=True))


def chances(records: tuple[Record, ...], label_boost: float) -> NDArray[np.float64]:
    """Chance of each record: by the square root of its station's share, so that busy stations do not dominate."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.station] = counts.get(record.station, 0) + 1
    weights = np.array(
        [
            counts[record.station] ** -0.5 * record.weight * (label_boost if record.labelled else 1.0)
            for record in records
        ]
    )
    return np.asarray(weights / weights.sum())

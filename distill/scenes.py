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

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from distill.augment import RATIOS, augment_motion, drop, reverberate, shape_band, stretch
from distill.config import ConfigError, TrainConfig
from distill.corpus import Record, confirms, label_record
from distill.falsepicks import unseen
from distill.teachers import Teacher
from models.conventions import RATE_HZ

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
LATE = 0.5
"""Fraction of the scenes around an onset that have enough before it for the longest window."""

Chosen = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Indices of records, and the chance of each."""


class Scenes:
    """Labelled scenes of each step."""

    def __init__(self, records: tuple[Record, ...], config: TrainConfig, teacher: Teacher) -> None:
        """Take records; those shorter than the shortest window are left out. The scenes of short ones are as long as they are.

        Raises:
            ConfigError: when none of the others has an onset, or none is as long as the longest window.
        """
        shortest, longest = min(config.lengths), max(config.lengths)
        self._records = tuple(record for record in records if record.waves.shape[1] >= shortest)
        if all(record.waves.shape[1] < longest for record in self._records):
            raise ConfigError(f"sampling.lengths: none of {len(records)} records is {longest} samples long")
        self._config = config
        self._teacher = teacher
        self._longest = longest
        self._chance = chances(self._records, config.data.label_boost)
        self._samples = np.array([record.waves.shape[1] for record in self._records])
        self._three = np.array([bool(record.waves[1:].any(axis=1).all()) for record in self._records])
        """Whether each has all three components."""
        self._events = self._among([bool(record.onsets) for record in self._records])
        self._false_picks = self._among([bool(record.false_picks) for record in self._records])
        if not len(self._events[0]):
            raise ConfigError(
                f"none of {len(records)} records of at least {shortest} samples has an onset: "
                "more data are needed, or another data.validation_fraction"
            )
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

    def _among(self, which: Sequence[bool] | NDArray[np.bool_]) -> Chosen:
        """Some of the records, and the chance of each among them."""
        indices = np.flatnonzero(which)
        chance = self._chance[indices]
        return indices, chance / chance.sum() if len(indices) else chance

    def _scene(self, rng: Generator) -> Record:
        config = self._config
        record, wanted_at = self._choose(rng)
        available = record.waves.shape[1]
        samples = wanted = min(config.scenes.samples, available)
        up, down = RATIOS[rng.integers(len(RATIOS))] if rng.random() < config.augment.stretch else (1, 1)
        if up != down:
            wanted = -(-samples * down // up) + MARGIN
            if wanted > available:
                up, down, wanted = 1, 1, samples
        start = self._start(rng, record, wanted_at, wanted, up / down)
        waves = centred(record.waves[:, start : start + wanted].astype(np.float64))
        if up != down:
            waves = stretch(waves, up, down)[:, :samples]
        waves = augment_motion(waves, rng, config.augment)
        band, site, both, vertical = rng.random(4) < (
            config.augment.band,
            config.augment.site,
            config.augment.superpose,
            config.augment.drop_horizontals,
        )
        if band:
            waves = shape_band(waves, rng)
        if site:
            waves = reverberate(waves, rng)
        if both:
            waves = self._superpose(waves, rng)
        if vertical:
            waves = drop(waves, rng, horizontals=1.0, one=0.0)
        taught = self._teacher.annotate(waves)
        changed, threshold = band or site or both or vertical, config.labels.onset_threshold
        picks = [None if pick is None else (pick - start) * up / down for pick in record.analyst]
        p_pick, s_pick = (
            pick
            if pick is not None
            and 0 <= pick < samples
            and (not changed or confirms(taught[row], pick, threshold))
            else None
            for row, pick in zip((1, 2), picks, strict=True)
        )
        scene = label_record(
            record.name,
            record.station,
            record.kind,
            waves.astype(np.float32),
            taught,
            (p_pick, s_pick),
            config.labels,
        )
        places = [round((place - start) * up / down) for place in record.false_picks]
        kept = (place for place in places if 0 <= place < samples and unseen(scene.labels[1:], place))
        return replace(scene, false_picks=tuple(kept))

    def _choose(self, rng: Generator) -> tuple[Record, tuple[int, bool] | None]:
        """Choose a record and, unless the scene is cut anywhere, the sample that it holds and whether that is an onset."""
        chance, scenes = rng.random(), self._config.scenes
        if chance < scenes.event:
            record = self._draw(rng, self._events)
            return record, (record.onsets[rng.integers(len(record.onsets))][0], True)
        if chance < scenes.event + scenes.false_pick and len(self._false_picks[0]):
            record = self._draw(rng, self._false_picks)
            return record, (record.false_picks[rng.integers(len(record.false_picks))], False)
        return self._records[rng.choice(len(self._records), p=self._chance)], None

    def _draw(self, rng: Generator, among: Chosen) -> Record:
        indices, chance = among
        return self._records[int(rng.choice(indices, p=chance))]

    def _start(
        self, rng: Generator, record: Record, at: tuple[int, bool] | None, wanted: int, stretched: float
    ) -> int:
        """Where in the record a scene begins that takes so many of its samples."""
        available = record.waves.shape[1]
        latest = available - wanted
        if at is None:
            return int(rng.integers(0, latest + 1))
        sample, is_onset = at
        before = rng.uniform(EDGE, 1 - EDGE) * wanted
        if is_onset and rng.random() < LATE:
            # The longest window can then end soon after the onset.
            longest = min(self._longest, available)
            before = (longest - rng.uniform(*self._config.sampling.ends_after_s) * RATE_HZ) / stretched
        return int(max(0, min(sample - before, latest)))

    def _superpose(self, waves: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        """Add noise of another record, or another event, at any signal-to-noise ratio.

        Components that are missing stay so, and what is added has all that are there: no component holds another station's alone.
        """
        samples = waves.shape[1]
        there: NDArray[np.bool_] = np.abs(waves).max(axis=1) > 0
        long_enough = self._samples >= samples
        indices, chance = self._among(long_enough & self._three if there[1:].any() else long_enough)
        if not len(indices):
            return waves
        other = self._draw(rng, (indices, chance))
        start = int(rng.integers(0, other.waves.shape[1] - samples + 1))
        added = centred(other.waves[:, start : start + samples].astype(np.float64))
        added[~there] = 0
        quiet = not any(start <= onset < start + samples for onset, _ in other.onsets)
        level = 10 ** rng.uniform(*(NOISE_LEVEL if quiet else EVENT_LEVEL))
        ratio = float((waves[there].std() + 1e-9) / (added[there].std() + 1e-9)) if there.any() else 0.0
        return np.asarray(waves + level * ratio * added)


def centred(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the mean of each component."""
    return np.asarray(waves - waves.mean(axis=1, keepdims=True))


def chances(records: tuple[Record, ...], label_boost: float) -> NDArray[np.float64]:
    """Chance of each record: by the square roots of the shares of its station and of its event, so that none of them dominates."""
    stations = Counter(record.station for record in records)
    events = Counter(record.event for record in records if record.event)
    weights = np.array(
        [
            (stations[record.station] * events.get(record.event, 1)) ** -0.5
            * record.weight
            * (label_boost if record.labelled else 1.0)
            for record in records
        ]
    )
    return np.asarray(weights / weights.sum())

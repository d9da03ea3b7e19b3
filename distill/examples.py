"""The training windows: drawn by station, near onsets or anywhere, often ending soon after one.

Windows are cut from records that the teacher has labelled once, or from scenes: pieces of records that are augmented
and then labelled by the teacher (``scenes.relabel``). A scene is used for a few steps, with different windows in each.

The examples of a step depend on the seed and the step only, so a resumed run gives the same weights as one without a stop.

>>> import numpy as np
>>> from distill.corpus import Record
>>> waves, labels = np.ones((3, 2000), np.int32), np.zeros((3, 2000), np.float16)
>>> record = Record("a", "XX.A", "event", waves, labels, ((900, 1),), (900.0, None))
>>> examples = Examples((record,), TrainConfig(name="example", version="0.0.1"))
>>> waves, labels = examples.batch(step=0)
>>> waves.shape in ((64, 3, 1000), (32, 3, 2000)), waves.dtype.name
(True, 'float32')
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from distill.augment import augment_motion, augment_record, shape_band, superpose
from distill.config import AugmentSection, ConfigError, TrainConfig
from distill.corpus import Record
from distill.scenes import Scenes, centred, chances
from distill.teachers import Teacher
from models.conventions import RATE_HZ
from models.frontend import prepare

AGES = (0, 17, 53, 131, 251)
"""Ages of the scenes of a step, in steps. Their differences are distinct, so that two sets of scenes meet in one step only."""

Example = tuple[NDArray[np.float64], NDArray[np.float32]]


class Examples:
    """Batches of windows from records.

    Raises:
        ConfigError: when no record has an onset.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        config: TrainConfig,
        augmented: bool = True,
        teacher: Teacher | None = None,
    ) -> None:
        """Take records and, if scenes are labelled, the teacher; without a teacher, windows are cut from the records."""
        self._config = config
        self._augmented = augmented
        self._lengths = config.lengths if augmented else (config.service_samples,)
        longest = max(self._lengths)
        scenes = config.scenes.relabel and augmented and teacher is not None
        # What is lost before the teacher labels a scene is not lost again.
        self._augment: AugmentSection = (
            config.augment.model_copy(update={"drop_horizontals": 0.0}) if scenes else config.augment
        )
        self._scenes: Scenes | None = None
        if scenes and longest > config.scenes.samples:
            raise ConfigError(
                f"sampling.lengths: {longest} samples do not fit into scenes.samples: {config.scenes.samples}"
            )
        if config.scenes.uses > len(AGES):
            raise ConfigError(f"scenes.uses: {config.scenes.uses}: at most {len(AGES)}")
        if scenes and teacher is not None:
            self._scenes = Scenes(records, config, teacher)
            return
        records = tuple(record for record in records if record.waves.shape[1] >= longest)
        self._records = records
        self._chance = chances(records, config.data.label_boost)
        self._events = [index for index, record in enumerate(records) if record.onsets]
        if not self._events:
            raise ConfigError(
                f"none of {len(records)} records of at least {longest} samples has an onset: "
                "more data are needed, or another data.validation_fraction"
            )
        chance = self._chance[self._events]
        self._event_chance = chance / chance.sum()

    def batch(self, step: int, share: slice = slice(None)) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw prepared waves and labels of a step, each ``(batch, 3, length)``.

        Args:
            step: number of the step.
            share: the wanted examples of the step; each has its own random numbers.
        """
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        length = int(self._lengths[rng.integers(len(self._lengths))])
        scenes = self._scenes_of(step)
        if scenes and all(scene.waves.shape[1] < length for scene in scenes):
            length = min(self._lengths)  # no scene is shorter
        scenes = [scene for scene in scenes if scene.waves.shape[1] >= length]
        count = max(1, config.optimiser.batch * config.sampling.window_samples // length)
        seeds = rng.integers(0, 2**63, count)
        indices = range(count)[share]
        pairs = [
            self._example(np.random.default_rng(seeds[index]), length, scenes, index) for index in indices
        ]
        waves = prepare(config.sampling.front_end, np.stack([waves for waves, _ in pairs]).astype(np.float32))
        return waves, np.stack([labels for _, labels in pairs]).astype(np.float32)

    def _scenes_of(self, step: int) -> Sequence[Record]:
        if self._scenes is None:
            return ()
        ages = AGES[: self._config.scenes.uses]
        return [scene for age in ages for scene in self._scenes.of(step - age)]

    def _example(self, rng: Generator, length: int, scenes: Sequence[Record], index: int) -> Example:
        sampling = self._config.sampling
        chance = rng.random()
        scene = scenes[index % len(scenes)] if scenes else None
        record, stop = scene, None
        if chance < sampling.ends_after_onset:
            limits = sampling.soon_s if rng.random() < sampling.soon else sampling.ends_after_s
            record, stop = self._soon_after(rng, scenes, length, limits)
        elif chance < sampling.ends_after_onset + sampling.ends_after_false_pick:
            record, stop = self._soon_after(rng, scenes, length, sampling.soon_s, false_pick=True)
        elif chance < (
            sampling.ends_after_onset + sampling.ends_after_false_pick + sampling.holds_onset
        ) and (scene is None or scene.onsets):
            record = scene or self._records[rng.choice(self._events, p=self._event_chance)]
            stop = record.onsets[rng.integers(len(record.onsets))][0] + int(rng.integers(1, length))
        if record is not None and stop is not None:
            waves, labels = _cut(record, stop - length, length)
        else:
            waves, labels = self._anywhere(rng, length, record)
        if not self._augmented:
            return waves, labels
        waves = centred(waves)
        augment = self._augment
        if scene is None:
            if rng.random() < augment.superpose:
                other, other_labels = self._anywhere(rng, length, None)
                waves, labels = superpose(waves, labels, centred(other), other_labels, rng)
            waves = augment_motion(waves, rng, augment)
            if rng.random() < augment.band:
                waves = shape_band(waves, rng)
        return augment_record(waves, rng, augment), labels

    def _soon_after(
        self,
        rng: Generator,
        scenes: Sequence[Record],
        length: int,
        limits: tuple[float, float],
        false_pick: bool = False,
    ) -> tuple[Record, int | None]:
        """A record, and the sample at which a window ends soon after an onset, or after a false pick of a scene.

        None if no scene has so much before and after one.
        """
        earliest, latest = (round(limit * RATE_HZ) for limit in limits)
        if not scenes:
            record = self._records[rng.choice(self._events, p=self._event_chance)]
            return record, record.onsets[rng.integers(len(record.onsets))][0] + int(
                rng.integers(earliest, latest + 1)
            )
        ends: dict[int, list[tuple[int, int]]] = {}
        for number, scene in enumerate(scenes):
            places = scene.false_picks if false_pick else [onset for onset, _ in scene.onsets]
            for onset in places:
                first, last = max(onset + earliest, length), min(onset + latest, scene.waves.shape[1])
                if first <= last:
                    ends.setdefault(number, []).append((first, last))
        if not ends:
            return scenes[int(rng.integers(len(scenes)))], None
        number = list(ends)[int(rng.integers(len(ends)))]
        first, last = ends[number][int(rng.integers(len(ends[number])))]
        return scenes[number], int(rng.integers(first, last + 1))

    def _anywhere(self, rng: Generator, length: int, scene: Record | None) -> Example:
        record = scene or self._records[rng.choice(len(self._records), p=self._chance)]
        return _cut(record, int(rng.integers(0, record.waves.shape[1] - length + 1)), length)


def _cut(record: Record, start: int, length: int) -> Example:
    start = min(max(start, 0), record.waves.shape[1] - length)
    piece = slice(start, start + length)
    return record.waves[:, piece].astype(np.float64), record.labels[:, piece].astype(np.float32)

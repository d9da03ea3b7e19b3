"""Augmentation and scenes: labels follow what the teacher sees, and a step gives what it gave before."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import NDArray

from distill.augment import (
    add_spikes,
    augment_motion,
    augment_record,
    clip,
    coloured,
    cut_gap,
    drop,
    reverberate,
    rotate,
    shape_band,
    stretch,
    superpose,
)
from distill.config import (
    AugmentSection,
    ConfigError,
    LabelSection,
    OptimiserSection,
    SamplingSection,
    SceneSection,
    TrainConfig,
)
from distill.corpus import Record, label_record
from distill.examples import Examples
from distill.scenes import Scenes
from tests.conftest import Recording

ALWAYS = AugmentSection(**dict.fromkeys(AugmentSection.model_fields, 1.0))
NEVER = AugmentSection(**dict.fromkeys(AugmentSection.model_fields, 0.0))


class AmplitudeTeacher:
    """A teacher whose P follows what it hears, so that a test can see whether labels and waves belong together."""

    fingerprint, description = "", "loudest"

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        phases = np.zeros((3, record.shape[1]), np.float32)
        loudest = int(np.abs(record[0]).argmax())
        phases[1] = np.exp(-0.5 * ((np.arange(record.shape[1]) - loudest) / 10) ** 2)
        phases[0] = 1 - phases[1]
        return phases


def pulses(place: int, samples: int = 6000) -> Record:
    """A record with one strong pulse in noise, labelled there."""
    waves = np.random.default_rng(place).normal(0, 1, (3, samples))
    waves[:, place : place + 5] += 500
    taught = AmplitudeTeacher().annotate(waves).astype(np.float16)
    return label_record(
        "a", "XX.A", "event", waves.astype(np.float32), taught, (float(place), None), LabelSection()
    )


def config(augment: AugmentSection, **scenes: object) -> TrainConfig:
    return TrainConfig(
        name="scenes",
        version="0.0.1",
        augment=augment,
        scenes=SceneSection(relabel=True, per_step=4, uses=2, event=1.0, **scenes),  # type: ignore[arg-type]
        sampling=SamplingSection(lengths=(1000, 3000)),
        optimiser=OptimiserSection(batch=12),
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_augmentation_keeps_shape_and_input(seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = rng.normal(5, 3, (3, 1000))
    held = waves.copy()
    for change in (augment_motion, augment_record):
        changed = change(waves, rng, ALWAYS)
        assert changed.shape == (3, 1000)
        assert np.isfinite(changed).all()
        assert np.array_equal(waves, held)
        assert np.array_equal(change(waves, rng, NEVER), waves)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_superposed_labels_are_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    position = np.arange(1000)

    def window(place: float) -> tuple[np.ndarray, np.ndarray]:
        phases = np.stack([np.exp(-0.5 * ((position - place - gap) / 10) ** 2) for gap in (0, 150)])
        labels = np.concatenate([1 - phases.sum(axis=0, keepdims=True), phases]).astype(np.float32)
        return rng.normal(0, 3, (3, 1000)), labels

    first, other = window(rng.uniform(0, 800)), window(rng.uniform(0, 800))
    waves, labels = superpose(*first, *other, rng)
    assert waves.shape == labels.shape == (3, 1000)
    assert labels.min() > -1e-6
    assert np.abs(labels.sum(axis=0) - 1).max() < 1e-5


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda waves, rng: rotate(waves, rng.uniform(0, 6)), "horizontal energy stays"),
        (clip, "nothing is louder"),
        (add_spikes, "few samples differ"),
        (cut_gap, "a stretch is level"),
        (shape_band, "energy is lost"),
        (reverberate, "what comes before the onset stays"),
        (lambda waves, rng: drop(waves, rng, 1.0, 0.0), "the vertical stays"),
        (lambda waves, rng: drop(waves, rng, 0.0, 1.0), "one horizontal is lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_augmentation_does_what_its_name_says(
    change: Callable[[NDArray[np.float64], Generator], NDArray[np.float64]], what: str, rjob: Recording
) -> None:
    waves = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    waves -= waves.mean(axis=1, keepdims=True)
    for seed in range(10):
        after = change(waves, np.random.default_rng(seed))
        differs = after != waves
        claims = {
            "horizontal energy stays": np.isclose(np.square(after[1:]).sum(), np.square(waves[1:]).sum())
            and np.array_equal(after[0], waves[0]),
            "nothing is louder": np.abs(after).max() < np.abs(waves).max()
            and not differs[np.abs(waves) < 1].any(),
            "few samples differ": 1 <= differs.sum() <= 4,
            "a stretch is level": 9 <= (np.diff(after, axis=1) == 0).all(axis=0).sum() <= 300,
            "energy is lost": 0 < np.square(after).sum() < 1.05 * np.square(waves).sum() and differs.any(),
            "what comes before the onset stays": np.square(after[:, :400] - waves[:, :400]).sum()
            < np.square(after[:, 500:900] - waves[:, 500:900]).sum(),
            "one horizontal is lost": differs.any(axis=1).tolist()
            in ([False, True, False], [False, False, True])
            and after.any(axis=1).sum() == 2,
            "the vertical stays": np.array_equal(after[0], waves[0]) and not after[1:].any(),
        }
        assert claims[what]


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("flip", lambda before, after: np.array_equal(after, -before)),
        ("swap", lambda before, after: np.array_equal(after, before[[0, 2, 1]])),
        (
            "gain",
            lambda before, after: (
                (after * before >= 0).all()
                and np.ptp(after[:, before.all(axis=0)] / before[:, before.all(axis=0)], axis=1).max() < 1e-9
                and len(np.unique(np.round(np.abs(after).max(axis=1) / np.abs(before).max(axis=1), 9))) == 3
            ),
        ),
        (
            "rotate",
            lambda before, after: (
                np.array_equal(after[0], before[0])
                and not np.allclose(after[1:], before[1:])
                and np.allclose(np.hypot(*after[1:]), np.hypot(*before[1:]))
            ),
        ),
    ],
)
def test_each_change_of_motion_alone_is_what_its_key_says(
    name: str, claim: Callable[[NDArray[np.float64], NDArray[np.float64]], bool], rjob: Recording
) -> None:
    waves = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    alone = NEVER.model_copy(update={name: 1.0})
    for seed in range(5):
        assert claim(waves, augment_motion(waves, np.random.default_rng(seed), alone))


def test_a_stretch_moves_an_onset_in_proportion() -> None:
    waves = pulses(2000).waves.astype(np.float64)
    for up, down in ((2, 3), (5, 4)):
        assert abs(int(np.abs(stretch(waves, up, down)[0]).argmax()) - 2002 * up / down) < 6


def test_coloured_noise_has_its_deviation_and_its_colour() -> None:
    tilts = []
    for seed in range(20):
        noise = coloured((3, 4000), np.random.default_rng(seed))
        np.testing.assert_allclose(noise.std(axis=1), 1)
        power = np.square(np.abs(np.fft.rfft(noise, axis=1))).mean(axis=0)
        tilts.append(np.log(power[10:500].mean() / power[1500:].mean()))
    assert min(tilts) < -1
    assert max(tilts) > 1


def test_labels_follow_what_is_done_to_a_scene() -> None:
    """Every augmentation before the teacher at once: the label stands where the scene is loudest."""
    scenes = Scenes((pulses(2500),), config(ALWAYS), AmplitudeTeacher())
    for step in range(6):
        for scene in scenes.of(step):
            assert scene.waves.shape == scene.labels.shape == (3, 3000)
            assert abs(int(scene.labels[1].argmax()) - int(np.abs(scene.waves[0]).argmax())) <= 1
            assert scene.analyst == (None, None)


def test_an_analysts_pick_goes_with_a_stretch_and_not_with_a_filter() -> None:
    only_stretch = NEVER.model_copy(update={"stretch": 1.0, "flip": 0.5, "gain": 1.0})
    for scene in Scenes((pulses(2500),), config(only_stretch), AmplitudeTeacher()).of(0):
        assert scene.analyst[0] is not None
        assert abs(scene.analyst[0] - int(np.abs(scene.waves[0]).argmax())) < 8
    for name in ("band", "site", "superpose"):
        changed = NEVER.model_copy(update={name: 1.0})
        for scene in Scenes((pulses(2500),), config(changed), AmplitudeTeacher()).of(0):
            assert scene.analyst == (None, None)


def test_a_step_gives_the_same_whether_or_not_those_before_were_drawn() -> None:
    records = (pulses(2500), pulses(3100))
    running = Examples(records, config(ALWAYS), teacher=AmplitudeTeacher())
    for step in range(20):
        drawn = running.batch(step)
    resumed = Examples(records, config(ALWAYS), teacher=AmplitudeTeacher()).batch(19)
    assert all(np.array_equal(left, right) for left, right in zip(drawn, resumed, strict=True))


def test_shares_of_a_step_are_the_step() -> None:
    examples = Examples((pulses(2500),), config(ALWAYS), teacher=AmplitudeTeacher())
    for step in range(4):
        whole = examples.batch(step)
        count = len(whole[0])
        for rank in range(2):
            part = examples.batch(step, slice(rank, None, 2))
            assert all(
                np.array_equal(left[rank:count:2], right) for left, right in zip(whole, part, strict=True)
            )


def test_a_step_has_as_many_samples_whatever_the_length() -> None:
    examples = Examples((pulses(2500),), config(NEVER), teacher=AmplitudeTeacher())
    shapes = {examples.batch(step)[0].shape for step in range(12)}
    assert shapes == {(12, 3, 1000), (4, 3, 3000)}


def test_windows_longer_than_a_scene_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"3000 samples do not fit into scenes\.samples: 2000"):
        Examples((pulses(2500),), config(NEVER, samples=2000), teacher=AmplitudeTeacher())


def test_records_shorter_than_a_scene_are_named() -> None:
    short = pulses(1500, samples=2500)
    given_config = config(NEVER).model_copy(update={"sampling": SamplingSection(lengths=(1000,))})
    with pytest.raises(ConfigError, match=r"scenes\.samples: none of 1 records"):
        Examples((short,), given_config, teacher=AmplitudeTeacher())

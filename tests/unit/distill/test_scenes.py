"""Augmentation and scenes: labels follow what the teacher sees, and a step gives what it gave before."""

from collections.abc import Callable
from dataclasses import replace

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
from distill.corpus import Record, label_record, silenced
from distill.examples import Examples
from distill.falsepicks import with_false_picks
from distill.scenes import Scenes, chances
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


@settings(max_examples=60)
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


@settings(max_examples=60)
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
    teachers = config(ALWAYS).model_copy(update={"labels": LabelSection(analyst_weight=0.0)})
    scenes = Scenes((pulses(2500),), teachers, AmplitudeTeacher())
    for step in range(6):
        for scene in scenes.of(step):
            assert scene.waves.shape == scene.labels.shape == (3, 3000)
            assert abs(int(scene.labels[1].argmax()) - int(np.abs(scene.waves[0]).argmax())) <= 1


def test_an_analysts_pick_goes_with_a_stretch() -> None:
    only_stretch = NEVER.model_copy(update={"stretch": 1.0, "flip": 0.5, "gain": 1.0})
    for scene in Scenes((pulses(2500),), config(only_stretch), AmplitudeTeacher()).of(0):
        assert scene.analyst[0] is not None
        assert abs(scene.analyst[0] - int(np.abs(scene.waves[0]).argmax())) < 8


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


def test_records_without_the_longest_window_are_named() -> None:
    short = pulses(1500, samples=2500)
    with pytest.raises(ConfigError, match=r"sampling\.lengths: none of 1 records is 3000 samples long"):
        Examples((short,), config(NEVER), teacher=AmplitudeTeacher())


@pytest.mark.parametrize("name", ["band", "site", "superpose", "drop_horizontals"])
def test_an_analysts_pick_holds_in_a_changed_scene_where_the_teacher_sees_it_too(name: str) -> None:
    """The teacher hears the loudest alone: what is superposed can be louder, a filter leaves the pulse the loudest."""
    changed = NEVER.model_copy(update={name: 1.0})
    scenes = Scenes((pulses(2500), pulses(3300)), config(changed), AmplitudeTeacher())
    drawn = [scene for step in range(12) for scene in scenes.of(step)]
    for scene in drawn:
        if scene.analyst[0] is not None:
            assert abs(scene.analyst[0] - int(np.abs(scene.waves[0]).argmax())) <= 30
            assert round(scene.analyst[0]) in [onset for onset, _ in scene.onsets]
    kept = sum(scene.analyst[0] is not None for scene in drawn)
    assert 0 < kept < len(drawn) if name == "superpose" else kept == len(drawn)


def test_windows_end_soon_after_an_onset_where_they_are_nearly_as_long_as_scenes() -> None:
    sampling = SamplingSection(
        lengths=(2000, 3000), ends_after_onset=1.0, holds_onset=0.0, ends_after_s=(0.2, 4.0), soon=0.0
    )
    given_config = config(NEVER, samples=3500).model_copy(update={"sampling": sampling})
    examples = Examples((pulses(4000),), given_config, teacher=AmplitudeTeacher())
    soon = []
    for step in range(40):
        _, labels = examples.batch(step)
        after_s = (labels.shape[-1] - 1 - labels[:, 1].argmax(axis=-1)) / 100
        soon += list((after_s <= 4.01) & (labels[:, 1].max(axis=-1) > 0.5))
    assert np.mean(soon) > 0.95


def test_windows_end_soon_after_a_false_pick() -> None:
    noise = replace(pulses(4000), kind="noise", onsets=(), false_picks=(1500, 4000), analyst=(None, None))
    sampling = SamplingSection(
        lengths=(1000,), ends_after_onset=0.0, holds_onset=0.0, soon_s=(0.2, 1.2), ends_after_false_pick=1.0
    )
    scenes = SceneSection(relabel=True, per_step=8, event=0.0, false_pick=1.0, samples=4000)
    set_up = config(NEVER.model_copy(update={"stretch": 0.5})).model_copy(
        update={"sampling": sampling, "scenes": scenes}
    )
    marked = noise.waves.copy()
    marked[:, 1500] = 100
    quiet = replace(noise, waves=marked, labels=np.zeros((3, 6000), np.float16))
    examples = Examples((quiet, pulses(2500)), set_up, teacher=SilentTeacher())
    after_s = []
    for step in range(10):
        waves, _ = examples.batch(step)
        places = np.abs(waves[:, 0]).argmax(axis=-1)
        after_s += list((1000 - places) / 100)
    # The mark and the pulse that begins at 4000 are the loudest of what a window can hold.
    assert np.mean([0.1 <= one <= 1.3 for one in after_s]) > 0.95


def test_a_false_pick_in_which_the_teacher_sees_an_onset_is_none() -> None:
    noise = replace(pulses(4000), kind="noise", onsets=(), false_picks=(1500, 4000), analyst=(None, None))
    both = config(NEVER).model_copy(
        update={
            "scenes": SceneSection(relabel=True, per_step=20, event=0.0, false_pick=1.0, samples=6000),
            "sampling": SamplingSection(lengths=(1000,)),
        }
    )
    of_silent, of_loudest = (
        {
            scene.false_picks
            for scene in Scenes((noise, pulses(2500)), both, teacher).of(0)
            if scene.kind == "noise"
        }
        for teacher in (SilentTeacher(), AmplitudeTeacher())
    )
    assert of_silent == {(1500, 4000)}
    assert of_loudest == {(1500,)}


class SilentTeacher(AmplitudeTeacher):
    """Sees nothing."""

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        phases = np.zeros((3, record.shape[1]), np.float32)
        phases[0] = 1
        return phases


class HorizontalTeacher(AmplitudeTeacher):
    """Sees an S where the horizontals are loudest, and none without them."""

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        phases = np.zeros((3, record.shape[1]), np.float32)
        if record[1:].any():
            phases[2] = AmplitudeTeacher().annotate(record[1:])[1]
        phases[0] = 1 - phases[2]
        return phases


def test_without_horizontals_no_s_is_taught_that_only_they_show() -> None:
    lost = NEVER.model_copy(update={"drop_horizontals": 0.5})
    examples = Examples((pulses(2500),), config(lost), teacher=HorizontalTeacher())
    seen = set()
    for step in range(8):
        for waves, labels in zip(*examples.batch(step), strict=True):
            alone = not waves[1:].any()
            seen.add(alone)
            assert not alone or labels[2].max() == 0
    assert seen == {False, True}


def test_what_is_superposed_has_the_components_of_the_scene() -> None:
    three, alone = pulses(2500), silenced(pulses(3300))
    three, alone = replace(three, name="three"), replace(alone, name="alone", onsets=((3300, 1),))
    superposed = NEVER.model_copy(update={"superpose": 1.0})
    scenes = Scenes((three, alone), config(superposed), AmplitudeTeacher())
    plain = Scenes((three, alone), config(NEVER), AmplitudeTeacher())
    names = set()
    for step in range(12):
        for scene in scenes.of(step):
            names.add(scene.name)
            loud = np.abs(scene.waves).max(axis=1) > 0
            assert loud.tolist() == ([True] * 3 if scene.name == "three" else [True, False, False])
            if scene.name == "three":
                # Of a record without horizontals nothing is added: the vertical would have what the horizontals lack.
                components = scene.waves.std(axis=1)
                assert components.max() / components.min() < 1.5
    assert names == {"three", "alone"}
    assert {scene.name for step in range(12) for scene in plain.of(step)} == names


def test_short_records_are_learned_from_in_shorter_windows() -> None:
    short = replace(pulses(1500, samples=2200), name="short")
    long = replace(pulses(4000), name="long")
    scenes = Scenes((short, long), config(NEVER, samples=3500), AmplitudeTeacher())
    drawn = {(scene.name, scene.waves.shape[1]) for step in range(12) for scene in scenes.of(step)}
    assert drawn == {("short", 2200), ("long", 3500)}
    examples = Examples((short, long), config(NEVER, samples=3500), teacher=AmplitudeTeacher())
    assert {examples.batch(step)[0].shape[-1] for step in range(20)} == {1000, 3000}
    alone = config(NEVER, samples=3500).model_copy(update={"sampling": SamplingSection(lengths=(1000, 2000))})
    assert {
        Examples((short,), alone, teacher=AmplitudeTeacher()).batch(step)[0].shape[-1] for step in range(20)
    } == {
        1000,
        2000,
    }


def test_an_event_that_many_stations_recorded_does_not_dominate() -> None:
    one = pulses(2500)
    many = [replace(one, station=f"XX.{number}", event="large") for number in range(100)]
    few = [replace(one, station=f"YY.{number}", event=f"small {number}") for number in range(10)]
    quiet = [replace(one, station=f"ZZ.{number}", event="") for number in range(10)]
    chance = chances((*many, *few, *quiet), label_boost=1.0)
    assert chance.sum() == pytest.approx(1)
    assert chance[:100].sum() == pytest.approx(chance[100:110].sum())
    assert chance[110:].sum() == pytest.approx(chance[100:110].sum())


def test_a_network_that_notices_is_wrong_where_the_teacher_sees_neither_phase_and_all_is_calm() -> None:
    """Its curve has a step for each four samples, and its only row says neither P nor S."""
    labels = np.zeros((3, 12_000), np.float16)
    labels[2, 1450] = 0.9
    waves, onsets = np.zeros((3, 12_000), np.int32), ((1450, 2),)
    record = Record("a", "XX.A", "continuous", waves, labels, onsets, (None, None))

    def loud(windows: np.ndarray) -> np.ndarray:
        curves = np.zeros((len(windows), 2, 500), np.float32)
        curves[:, 1, 100] = 0.2
        return curves

    places = tuple(start + 400 for start in range(0, 10_001, 1000))
    [found] = with_false_picks([record], loud, 2000, picked=0.15)
    # One second on both sides of the S is no false pick.
    assert found.false_picks == tuple(place for place in places if place != 1400)
    [found] = with_false_picks([record], loud, 2000, picked=0.15, calm_s=60.0)
    assert found.false_picks == tuple(place for place in places if not 1400 <= place < 7450)
    [found] = with_false_picks([record], loud, 2000)
    assert not found.false_picks


def test_what_only_the_end_of_a_window_looks_like_is_a_false_pick() -> None:
    waves, labels = np.zeros((3, 6000), np.int32), np.zeros((3, 6000), np.float16)
    waves[:, 3000] = 1
    record = Record("a", "XX.A", "noise", waves, labels, (), (None, None))

    def loud_at_the_end(windows: np.ndarray) -> np.ndarray:
        curves = np.zeros(windows.shape, np.float32)
        curves[:, 1, -100:-1] = 0.9 * windows[:, 0, -100:-1]
        return curves

    [seldom] = with_false_picks([record], loud_at_the_end, 2000)
    [often] = with_false_picks([record], loud_at_the_end, 2000, hop=90)
    assert (seldom.false_picks, often.false_picks) == ((), (3000,))


def test_scenes_are_cut_around_false_picks() -> None:
    noise = replace(pulses(5400), kind="noise", onsets=(), false_picks=(5400,), analyst=(None, None))
    often = config(NEVER).model_copy(
        update={"scenes": SceneSection(relabel=True, per_step=40, event=0.0, false_pick=0.5)}
    )
    scenes = Scenes((noise, pulses(2500)), often, AmplitudeTeacher()).of(0)
    around = [np.abs(scene.waves).max() > 400 for scene in scenes if scene.kind == "noise"]
    assert sum(around) >= 15

"""Calibration: what was put into made-up picks is found again, and folding changes probabilities as it says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.annotators import Annotate
from distill.calibration import (
    Judged,
    calibration_error,
    coverage,
    fit_probability,
    fit_time,
    fit_times,
    fold,
    reliability,
)
from distill.config import LabelSection, TrainConfig
from distill.corpus import Corpus, Record, label_record, noise_of, without_horizontals
from distill.export import (
    chosen_thresholds,
    one_of_each,
    stage_thresholds,
    teacher_rates,
    vertical_alone,
    vertical_thresholds,
)
from distill.serving import (
    EARLY,
    FINAL,
    Computed,
    Serving,
    decisions,
    judged,
    sample_of,
    scores_of,
    service_counts,
    service_scores,
    windowed,
)
from models.calibration import LIMITS_S, Calibration
from models.small_phasenet import PRESETS, fresh_net
from tests.conftest import Recording
from xiaod.picking.picker import MORE_SHIFTS, SHIFTS, InstrumentPicker


def logit(probability: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(probability / (1 - probability)))


def made_up(count: int, seed: int = 0) -> tuple[list[Judged], np.ndarray]:
    """Picks whose scatter falls with probability and grows with width."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.3, 0.98, count)
    width = rng.uniform(0.05, 0.2, count)
    sigma = np.exp(-2.0 - 0.3 * logit(probability) + 0.5 * np.log(width))
    residual = rng.normal(0.02, sigma)
    picks = [
        Judged("P", float(sure), float(wide), float(off))
        for sure, wide, off in zip(probability, width, residual, strict=True)
    ]
    return picks, sigma


def test_scatter_is_found_again() -> None:
    picks, sigma = made_up(4000)
    calibration = Calibration({"P": fit_time(picks)})
    said = np.array([calibration.uncertainty_s("P", pick.probability, pick.width_s) for pick in picks])
    assert np.abs(np.log(said / sigma)).max() < 0.15
    fresh, _ = made_up(4000, seed=1)
    centred = [
        Judged(one.phase, one.probability, one.width_s, one.residual_s - 0.02)
        for one in fresh
        if one.residual_s
    ]
    found = coverage(centred, calibration, "P")
    assert found["within_1_sigma"] == pytest.approx(0.683, abs=0.03)
    assert found["within_2_sigma"] == pytest.approx(0.954, abs=0.02)


def test_few_wild_residuals_do_not_rule() -> None:
    picks, sigma = made_up(1000)
    wild = [Judged("P", 0.6, 0.1, 0.45)] * 30
    calibration = Calibration({"P": fit_time(picks + wild)})
    said = np.array([calibration.uncertainty_s("P", pick.probability, pick.width_s) for pick in picks])
    assert np.median(said / sigma) < 1.25


@pytest.mark.parametrize("residuals_s", [[0.02], [0.03] * 40, [0.0, 0.0, 0.0, 0.5]])
def test_few_picks_or_all_the_same_give_numbers(residuals_s: list[float]) -> None:
    """As a short training on few stations leaves them."""
    picks = [
        Judged("P", 0.3 + 0.1 * (number % 3), 0.1 + 0.01 * number, residual_s)
        for number, residual_s in enumerate(residuals_s)
    ]
    calibration = Calibration.from_spec(fit_times(picks).to_spec())
    assert LIMITS_S[0] <= calibration.uncertainty_s("P", 0.5, 0.1) <= LIMITS_S[1]


def test_without_picks_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no pick with a residual"):
        fit_time([Judged("P", 0.5, 0.1, None)])
    assert fit_times([Judged("P", 0.5, 0.1, None)]) == Calibration({})
    assert fit_probability(np.zeros(0), np.zeros(0, bool)) == (1.0, 0.0)


@settings(max_examples=30)
@given(slope=st.floats(0.4, 1.6), constant=st.floats(-1.0, 1.0), seed=st.integers(0, 2**16))
def test_slope_and_constant_are_found_again(slope: float, constant: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, 5000)
    right = rng.random(5000) < 1 / (1 + np.exp(-(slope * odds + constant)))
    found = fit_probability(1 / (1 + np.exp(-odds)), right)
    assert abs(found[0] - slope) < 0.25
    assert abs(found[1] - constant) < 0.25


def test_folding_is_the_map_that_was_fitted() -> None:
    """Where one phase is as good as absent the folded weights give a logit p + b of the other."""
    torch.set_num_threads(1)
    net = fresh_net(PRESETS["nano"], seed=0).eval()
    stride = net.config.stride(0)
    with torch.no_grad():
        net.head.bias[2 * stride :] = -40  # no S
        wave = torch.randn(2, 3, 640, generator=torch.Generator().manual_seed(0))
        before = net(wave)[:, 1].double()
        folded = fresh_net(PRESETS["nano"], seed=1).eval()
        folded.load_state_dict(fold(net.state_dict(), net.config, {"P": (0.7, 0.4), "S": (1.0, 0.0)}))
        after = folded(wave)[:, 1].double()
    wanted = torch.sigmoid(0.7 * torch.logit(before) + 0.4)
    assert torch.allclose(after, wanted, atol=1e-5)


def test_reliability_counts_and_its_error() -> None:
    picks = (
        [Judged("S", 0.75, 0.1, 0.0)] * 6
        + [Judged("S", 0.75, 0.1, None)] * 2
        + [Judged("P", 0.35, 0.1, None)]
    )
    assert reliability(picks) == [
        {"phase": "P", "from": 0.3, "to": 0.4, "picks": 1, "mean_probability": 0.35, "right": 0.0},
        {"phase": "S", "from": 0.7, "to": 0.8, "picks": 8, "mean_probability": 0.75, "right": 0.75},
    ]
    assert calibration_error(picks, "S") == 0.0
    assert calibration_error(picks, "P") == 0.35
    assert calibration_error([], "P") is None


@given(
    probability=st.floats(0, 1),
    width_s=st.floats(0, 10),
    values=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_an_uncertainty_is_always_a_sensible_number(
    probability: float, width_s: float, values: tuple[float, float, float]
) -> None:
    sigma = Calibration({"P": values}).uncertainty_s("P", probability, width_s)
    assert LIMITS_S[0] <= sigma <= LIMITS_S[1]
    assert math.isfinite(sigma)


@pytest.mark.parametrize("content", [{"time": 3}, {"time": {"P": [1, 2]}}, {"time": {"P": ["a", 1, 2]}}])
def test_a_damaged_calibration_is_named(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"calibration\.time"):
        Calibration.from_spec(content)


def test_picks_are_judged_by_the_onsets_of_their_phase(rjob: Recording) -> None:
    """With a made-up annotator that sees P at two samples; one of them is labelled, the other not."""
    waves = np.stack([np.arange(6000.0)] * 3).astype(np.float32)
    record = label_record(
        "a", "XX.A", "event", waves, np.zeros((3, 6000), np.float16), (3000.25, None), LabelSection()
    )

    def annotate(windows: np.ndarray) -> np.ndarray:
        position = windows[:, :1]
        curve = sum(0.9 * np.exp(-0.5 * ((position - place) / 10) ** 2) for place in (3003.25, 4700))
        return np.concatenate([1 - curve, curve, 0 * curve], axis=1).astype(np.float32)

    for serve in (windowed(annotate), windowed(annotate, 2000)):
        found = judged(serve, [record], 0.5)
        assert [one.phase for one in found] == ["P", "P"]
        assert found[0].residual_s == pytest.approx(0.03, abs=0.002)
        assert found[1].residual_s is None
        assert found[0].width_s == pytest.approx(0.1, abs=0.01)


def test_a_vertical_alone_is_never_easier_to_satisfy() -> None:
    """With a made-up annotator that sees a false P of .7 in the noise of three components, and none in that of one."""

    def record(name: str, kind: str, p_pick: float | None) -> Record:
        # Each sample holds its own index; noise has others, so that the annotator knows it.
        index = np.arange(6000.0) + (10_000.0 if kind == "noise" else 0.0)
        silent = np.zeros((3, 6000), np.float16)
        waves = np.tile(index, (3, 1)).astype(np.float32)
        return label_record(name, f"XX.{name}", kind, waves, silent, (p_pick, None), LabelSection())

    def annotate(windows: np.ndarray) -> np.ndarray:
        index, horizontals = windows[:, :1], windows[:, 1:2] != 0
        seen = 0.95 * np.exp(-0.5 * ((index - 3000) / 10) ** 2)
        false = 0.7 * horizontals * np.exp(-0.5 * ((index - 13_000) / 10) ** 2)
        curve = seen + false
        return np.concatenate([1 - curve, curve, 0 * curve], axis=1).astype(np.float32)

    config = TrainConfig(name="made-up", version="0.0.1")
    corpus = Corpus((record("A", "event", 3000.0), record("B", "noise", None)), (), "")
    serve = windowed(annotate)
    thresholds = chosen_thresholds(config, serve, corpus)
    silent = vertical_alone(config, corpus, IndexTeacher())
    alone = chosen_thresholds(config, serve, silent)
    assert alone["P"] < 0.7 < thresholds["P"]
    assert vertical_thresholds(config, serve, silent, thresholds)["P"] == thresholds["P"]
    # Where a vertical alone needs more, it gets more.
    assert vertical_thresholds(config, serve, silent, {"P": 0.2, "S": 0.2})["P"] == alone["P"]


class IndexTeacher:
    """Sees a P at sample 3000 in the vertical, and an S at 4000 in the horizontals."""

    fingerprint, description = "", "by the index of a sample"

    def annotate(self, record: np.ndarray) -> np.ndarray:
        p_curve = 0.9 * np.exp(-0.5 * ((record[0] - 3000) / 10) ** 2)
        s_curve = 0.9 * np.exp(-0.5 * ((record[1] - 4000) / 10) ** 2)
        return np.stack([1 - p_curve - s_curve, p_curve, s_curve]).astype(np.float32)


def test_a_vertical_alone_is_judged_by_what_the_teacher_sees_in_it() -> None:
    waves = np.tile(np.arange(6000.0), (3, 1)).astype(np.float32)
    taught = IndexTeacher().annotate(waves)
    whole = label_record("a", "XX.A", "event", waves, taught, (3004.0, 4004.0), LabelSection())
    assert whole.onsets == ((3004, 1), (4004, 2))
    alone = without_horizontals(replace(whole, origin="here"), IndexTeacher(), LabelSection())
    assert alone.onsets == ((3004, 1),)
    assert alone.analyst == (3004.0, None)
    assert alone.labels[2].max() < 0.01
    assert alone.origin == "here"
    assert not alone.waves[1:].any()


def record_with(name: str, p_pick: float | None, teacher: np.ndarray) -> Record:
    """Each sample of the waves holds its own index; the teacher sees a given curve of P."""
    waves = np.tile(np.arange(6000.0), (3, 1)).astype(np.float32)
    labels = np.stack([1 - teacher, teacher, 0 * teacher]).astype(np.float16)
    return label_record(name, f"XX.{name}", "event", waves, labels, (p_pick, None), LabelSection())


def bells(places: dict[float, float]) -> np.ndarray:
    """A curve of peaks: sample -> probability."""
    index = np.arange(6000.0)
    return np.asarray(
        sum(height * np.exp(-0.5 * ((index - at) / 10) ** 2) for at, height in places.items()) + 0 * index
    )


def seeing(curve: np.ndarray) -> Annotate:
    def annotate(windows: np.ndarray) -> np.ndarray:
        seen = curve[windows[:, :1].astype(int)]
        return np.concatenate([1 - seen, seen, 0 * seen], axis=1).astype(np.float32)

    return annotate


def test_a_pick_that_the_teacher_doubts_is_neither_right_nor_false() -> None:
    serve = windowed(seeing(bells({3000: 0.9, 4500: 0.5})))
    for doubt, score in ((0.0, 0.667), (0.2, 1.0)):
        record = record_with("A", 3000.0, bells({3000: 0.9, 4500: doubt}))
        assert service_scores(serve, [record], (0.3, 0.7))["P"] == {0.3: score, 0.7: 1.0}


def test_an_onset_without_the_data_of_its_stage_is_not_missed() -> None:
    serve = {stage: windowed(seeing(bells({3000: 0.9, 5800: 0.9})), 1000, stage) for stage in (FINAL, EARLY)}
    record = record_with("A", 3000.0, bells({3000: 0.9, 5800: 0.9}))
    for stage in (FINAL, EARLY):
        assert service_scores(serve[stage], [record], (0.3,), stage)["P"] == {0.3: 1.0}
        picked = [round(sample_of(pick)) for pick in serve[stage](record.waves, 0.3)]
        assert picked == ([3000] if stage is FINAL else [3000, 5800])


def test_each_threshold_picks_anew() -> None:
    """With a made-up annotator that is surer of an onset, and puts it elsewhere, when there are more data after it."""

    def annotate(windows: np.ndarray) -> np.ndarray:
        index, end = windows[:, :1], windows[:, :1, -1:]
        sure = np.where(end >= 3150, 0.8, np.where(end >= 3000, 0.35, 0.0))
        place = np.where(end >= 3150, 3008, 3000)
        seen = sure * np.exp(-0.5 * ((index - place) / 10) ** 2)
        return np.concatenate([1 - seen, seen, 0 * seen], axis=1).astype(np.float32)

    serve, record = windowed(annotate, 1000, EARLY), record_with("A", 3000.0, bells({3000: 0.9}))
    for threshold, sample, probability in ((0.3, 3000, 0.35), (0.7, 3008, 0.8)):
        [pick] = serve(record.waves, threshold)
        assert round(sample_of(pick)) == sample
        assert pick.probability == pytest.approx(probability, abs=0.01)
    assert service_scores(serve, [record], (0.3, 0.7), EARLY)["P"] == {0.3: 1.0, 0.7: 1.0}


def test_windows_that_show_nothing_change_no_pick() -> None:
    """With heights around what a picker notices, in windows of which most show nothing."""
    record = record_with("A", 3000.0, bells({3000: 0.9}))
    annotate = seeing(bells({1500: 0.9, 2600: 0.31, 3000: 0.29, 3500: 0.215, 4100: 0.2, 4700: 0.3}))
    for stage in (FINAL, EARLY):
        computed = Computed(annotate, record.waves, 1000, stage.hop, stage.stage)
        for threshold in (0.15, 0.3, 0.6):
            settings = stage.settings((threshold, threshold))
            picker = InstrumentPicker(settings)
            plain = [
                (result.window.stop, pick)
                for result in computed.probabilities
                for onset in computed.onsets(picker.notice(result))
                for pick in [picker.confirm(onset)]
                if pick is not None
            ]
            assert list(decisions(computed, settings)) == plain
            assert len(plain) == {0.15: 6, 0.3: 3, 0.6: 1}[threshold]


def test_the_scores_ask_for_two_tolerances() -> None:
    record = record_with("A", 3000.0, bells({3000: 0.9}))
    for places, score in (
        ((3000,), 1.0),
        ((3030,), 0.5),  # within 0.5 s alone
        ((3005, 3200), 2 / 3),
        ((2880, 3120), 0.0),
    ):
        serve = windowed(seeing(bells(dict.fromkeys(places, 0.9))))
        assert service_scores(serve, [record], (0.3,))["P"][0.3] == pytest.approx(score, abs=0.001)


def test_recall_counts_half_for_early_picks() -> None:
    """With a low threshold both onsets are picked and a false one between them; with a high one, a single onset alone."""
    teacher = bells({2000: 0.9, 4000: 0.9})
    corpus = Corpus((record_with("A", 2000.0, teacher),), (), "")
    annotate = seeing(bells({2000: 0.95, 3000: 0.6, 4000: 0.5}))
    config = TrainConfig(name="made-up", version="0.0.1")
    wanted = {FINAL: {0.3: 0.8, 0.7: 0.667}, EARLY: {0.3: 0.714, 0.7: 0.833}}
    chosen = {}
    for stage, scores in wanted.items():
        serve = windowed(annotate, 1000, stage)
        assert service_scores(serve, corpus.training, (0.3, 0.7), stage)["P"] == scores
        chosen[stage] = chosen_thresholds(config, serve, corpus, stage)["P"]
    assert chosen[FINAL] < 0.5
    assert chosen[EARLY] > 0.6


def test_a_false_pick_counts_at_a_station_without_onsets() -> None:
    """With a low threshold the only onset of B is picked too, and there is a false pick at C, which has none: it counts in both stages."""
    onsets = {"A": (1500.0, 2500.0, 3500.0), "B": (2500.0,), "C": ()}
    seen = {"A": dict.fromkeys(onsets["A"], 0.95), "B": {2500.0: 0.5}, "C": {2500.0: 0.6}}
    annotate = seeing(np.concatenate([bells(seen[name]) for name in onsets]))
    records = []
    for index, (name, places) in enumerate(onsets.items()):
        record = record_with(name, None, bells(dict.fromkeys(places, 0.9)))
        records.append(replace(record, waves=record.waves + 6000 * index))
    corpus = Corpus(tuple(records), (), "")
    config = TrainConfig(name="made-up", version="0.0.1")
    wanted = {FINAL: {0.3: 0.889, 0.7: 0.857}, EARLY: {0.3: 0.833, 0.7: 0.938}}
    chosen = {}
    for stage, scores in wanted.items():
        serve = windowed(annotate, 1000, stage)
        assert service_scores(serve, corpus.training, (0.3, 0.7), stage)["P"] == scores
        chosen[stage] = chosen_thresholds(config, serve, corpus, stage)["P"]
    assert chosen[FINAL] < 0.5
    assert chosen[EARLY] > 0.6


def test_a_busy_station_counts_by_the_root_of_its_records() -> None:
    """Four records of A are missed, the one of B is met: of three parts one is met, not one of five."""
    missed, met = bells({2500: 0.9}), bells({2500: 0.9})
    records = [record_with("A", 2500.0, missed) for _ in range(4)]
    records.append(replace(record_with("B", 2500.0, met), waves=records[0].waves + 6000))
    serve = windowed(seeing(np.concatenate([0 * missed, met])))
    assert service_scores(serve, records, (0.3,))["P"][0.3] == pytest.approx(2 / 4, abs=0.001)


def test_no_origin_decides_alone() -> None:
    """All together ask for a low threshold, and so do B and C without A; without B, or without C, a high one is better."""
    onsets = {"A": (1500.0, 2500.0, 3500.0, 4500.0), "B": (2000.0, 4000.0), "C": (2000.0, 4000.0)}
    records, curves = [], []
    for index, (name, places) in enumerate(onsets.items()):
        record = record_with(name, None, bells(dict.fromkeys(places, 0.9)))
        records.append(replace(record, waves=record.waves + 6000 * index, origin=name))
        false = dict.fromkeys((1750.0, 2000.0, 2250.0, 2750.0, 3000.0), 0.6) if name == "A" else {}
        curves.append(bells({**dict.fromkeys(places, 0.95 if name == "A" else 0.45), **false}))
    serve = windowed(seeing(np.concatenate(curves)))
    config, corpus = TrainConfig(name="made-up", version="0.0.1"), Corpus(tuple(records), (), "")
    scores = scores_of(service_counts(serve, records, (0.3, 0.7)), beta=1.0)["P"]
    assert scores[0.3] > scores[0.7]
    assert chosen_thresholds(config, serve, corpus)["P"] > 0.6


def test_false_picks_are_counted_where_nobody_trains() -> None:
    quiet = replace(record_with("N", None, bells({3000: 0.4})), kind="noise")
    trained, apart, held = (replace(quiet, station=f"XX.{name}") for name in "TAH")
    assert noise_of(Corpus((trained,), (held,), "")) == [trained, held]
    assert noise_of(Corpus((trained,), (held,), "", (apart, replace(apart, kind="continuous")))) == [
        apart,
        held,
    ]
    assert teacher_rates([apart, held]) == {"P": pytest.approx(60), "S": 0}


@pytest.mark.parametrize("stage", [FINAL, EARLY], ids=["final", "early"])
@pytest.mark.parametrize(("threshold", "close"), [(0.3, False), (0.85, True)])
def test_an_onset_is_judged_in_as_many_windows_as_the_daemon_confirms_it(
    stage: Serving, threshold: float, close: bool
) -> None:
    shifts = [SHIFTS, MORE_SHIFTS] if close else [SHIFTS]
    record = record_with("A", 2500.0, bells({2500: 0.9}))
    asked: list[int] = []
    seen = seeing(bells({2500: 0.9}))

    def annotate(windows: np.ndarray) -> np.ndarray:
        asked.append(len(windows))
        return seen(windows)

    assert len(windowed(annotate, 1000, stage)(record.waves, threshold)) == 1
    # The first call is that of all windows on the grid.
    assert asked[1:] == [len(one[stage.stage]) for one in shifts]


def test_a_record_of_each_station_that_an_analyst_picked_if_there_is_one() -> None:
    plain, picked = (record_with("A", pick, bells({2500: 0.9})) for pick in (None, 2500.0))
    records = [replace(plain, name="1"), replace(picked, name="2"), replace(picked, name="3")]
    records += [replace(plain, name="4", station="XX.B"), replace(plain, name="5", station="XX.B")]
    assert [record.name for record in one_of_each(records)] == ["2", "4"]


def test_the_thresholds_of_a_stage_can_be_chosen_alone() -> None:
    corpus = Corpus((record_with("A", 3000.0, bells({3000: 0.9})),), (), "")
    config = TrainConfig(name="made-up", version="0.0.1")
    for stage, other in ((FINAL, "early"), (EARLY, "final")):
        annotate = seeing(bells({3000: 0.9}))
        chosen = vars(stage_thresholds(config, annotate, corpus, IndexTeacher(), stages=(stage,)))
        assert all(set(chosen[f"{stage.stage}{kind}"]) == {"P", "S"} for kind in ("", "_vertical"))
        assert not chosen[other]
        assert not chosen[f"{other}_vertical"]

"""What a picker decides of an onset that it looks at again, and what it says of its time."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibration import Calibration
from models.weights import weights_path
from tests.conftest import Recording
from tests.streams import picks_in, picks_of
from xiaod.domain.types import Instrument, Pick, Probabilities, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.picking.diagnosis import OnsetOutcome
from xiaod.picking.picker import InstrumentPicker, PickerSettings, compute_again

LENGTH, SETTLE, SEPARATION = 1000, 50, 100
SETTINGS = PickerSettings(
    (0.3, 0.3), 50, "example-1.0.0", "0" * 64, lookahead=50, settle=SETTLE, separation=SEPARATION
)
Curve = NDArray[np.float32]


def curve_of(place: NDArray[np.float32], peaks: Sequence[int]) -> Curve:
    """Probabilities of P and S at samples that hold their own index: P has peaks there, S has none."""
    p = sum(0.9 * np.exp(-0.5 * ((place - peak) / 5) ** 2) for peak in peaks)
    return np.stack([p, 0 * place], axis=-2).astype(np.float32)


def seen_and_decided(seen: Sequence[int], decided: Sequence[int]) -> tuple[list[Pick], InstrumentPicker]:
    """Picks of a fresh window in which onsets are seen in one place, and in another when they are looked at again."""
    samples = np.tile(np.arange(LENGTH, dtype=np.float32), (3, 1))
    window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE", discontinuous=True)
    picker = InstrumentPicker(SETTINGS)

    def annotate(windows: NDArray[np.float32]) -> Curve:
        return curve_of(windows[:, 0], decided)

    candidates = picker.notice(Probabilities(window, curve_of(samples[0], seen)))
    assert [candidate.peak for candidate in candidates] == list(seen)
    made = [picker.confirm(onset) for onset in compute_again(candidates, annotate)]
    return [pick for pick in made if pick is not None], picker


def test_two_onsets_that_turn_out_to_be_one_are_one_pick() -> None:
    picks, picker = seen_and_decided([500, 500 + SEPARATION + 10], [520, 520 + SEPARATION - 20])
    assert [round(pick.time_ns / 1e7) for pick in picks] == [520]
    assert picker.views[0].decision is not None
    assert picker.views[0].decision.outcome is OnsetOutcome.REFRACTORY


def test_two_onsets_that_stay_apart_are_two_picks() -> None:
    picks, _ = seen_and_decided([500, 500 + SEPARATION + 10], [500, 500 + SEPARATION])
    assert [round(pick.time_ns / 1e7) for pick in picks] == [500, 500 + SEPARATION]


@pytest.mark.parametrize(
    ("threshold", "windows", "picked"), [(0.7, 4, True), (0.85, 8, True), (0.95, 8, False)]
)
def test_a_close_decision_is_made_in_more_windows(threshold: float, windows: int, picked: bool) -> None:
    """The onset has a probability of 0.9."""
    held = np.tile(np.arange(-500, LENGTH, dtype=np.float32), (3, 1))
    window = Window(
        Instrument("XX", "A", "", "HH"), 0, 0, held[:, 500:], "ZNE", discontinuous=True, history=held[:, :500]
    )
    starts: set[float] = set()

    def annotate(windows: NDArray[np.float32]) -> Curve:
        starts.update(windows[:, 0, 0].tolist())
        return curve_of(windows[:, 0], [500])

    picker = InstrumentPicker(replace(SETTINGS, thresholds=(threshold, threshold)))
    picks = picks_in(picker, Probabilities(window, curve_of(held[0, 500:], [500])), annotate)
    assert bool(picks) is picked
    assert len(starts) == windows


@pytest.mark.parametrize(("moved", "lasts"), [(2, [980]), (10, [980, 990])])
def test_windows_are_placed_anew_by_an_onset_that_has_moved(moved: int, lasts: list[int]) -> None:
    """The last of the windows that decide ends whole hops and what is looked ahead after the onset, wherever that is found to be."""
    held = np.tile(np.arange(-500, LENGTH, dtype=np.float32), (3, 1))
    window = Window(
        Instrument("XX", "A", "", "HH"), 0, 0, held[:, 500:], "ZNE", discontinuous=True, history=held[:, :500]
    )
    ends: list[int] = []

    def annotate(windows: NDArray[np.float32]) -> Curve:
        ends.append(round(float(windows[:, 0, -1].max())) + 1)
        return curve_of(windows[:, 0], [880 + moved])

    picker = InstrumentPicker(SETTINGS)
    [_] = picks_in(picker, Probabilities(window, curve_of(held[0, 500:], [880])), annotate)
    assert ends == lasts


@pytest.mark.parametrize(
    ("place", "outcome"), [(SETTLE - 1, OnsetOutcome.SETTLING), (SETTLE, OnsetOutcome.PICKED)]
)
def test_an_onset_that_turns_out_to_lie_where_data_still_settle_is_none(
    place: int, outcome: OnsetOutcome
) -> None:
    picks, picker = seen_and_decided([SETTLE + 10], [place])
    assert len(picks) == (outcome is OnsetOutcome.PICKED)
    assert picker.views[0].decision is not None
    assert picker.views[0].decision.outcome is outcome


def honest_s(coefficients: tuple[float, float, float], pick: Pick, width_s: float) -> float:
    """What the formula of :mod:`models.calibration` gives, written once more."""
    constant, by_odds, by_width = coefficients
    odds = pick.probability / (1 - pick.probability)
    return float(math.exp(constant + by_width * math.log(width_s)) * odds**by_odds)


def test_the_uncertainty_of_a_pick_is_what_the_model_was_calibrated_to(
    rjob: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine(weights_path("micro"))

    def picks() -> list[Pick]:
        found = picks_of([one for name in "ZNE" for one in rjob.segments(name, [])], engine)
        return [pick for pick in found if pick.probability < 0.99]

    coefficients = engine.spec.calibration["time"]
    calibrated = picks()
    # Without a calibration the uncertainty is the width of the peak.
    monkeypatch.setattr(Calibration, "from_spec", lambda _: Calibration())
    widths = picks()
    assert calibrated
    for pick, wide in zip(calibrated, widths, strict=True):
        expected_s = honest_s(coefficients[pick.phase], pick, wide.time_uncertainty_s)
        assert pick.time_uncertainty_s == pytest.approx(expected_s, rel=1e-6)
        assert pick.time_uncertainty_s != pytest.approx(wide.time_uncertainty_s, rel=0.05)

"""Why no pick came: each reason, from the pickers themselves and from the state of the data."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.streams import OneInstrument, picks_in
from tests.unit.storage.test_pick_store import EXAMPLE
from xiaod.domain.types import Channel, Instrument, Pick, Probabilities, Window
from xiaod.picking.diagnosis import Condition, OnsetOutcome, PhaseView, Reason, explain
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.waveform.instrument import BufferSettings

A = Instrument("XX", "A", "", "HH")


def settings(threshold: float = 0.3, separation: int = 100) -> PickerSettings:
    return PickerSettings(
        (threshold, threshold), 50, "example-1.0.0", "0" * 64, lookahead=50, separation=separation
    )


def bumps(places: NDArray[np.floating], *onsets: tuple[float, float]) -> NDArray[np.float32]:
    curve = 0 * places
    for onset, height in onsets:
        curve = curve + height * np.exp(-0.5 * ((places - onset) / 8) ** 2)
    return np.stack([curve, 0 * places]).astype(np.float32)


def picks_of(picker: InstrumentPicker, *onsets: tuple[float, float], stop: int = 1400) -> list[Pick]:
    """Run a picker over windows of a stream whose samples are their own index; gives the picks."""

    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        # An onset shows only once there are data after it.
        return np.stack([bumps(one[0], *(o for o in onsets if one[0, -1] > o[0] + 80)) for one in windows])

    made: list[Pick] = []
    for index in range(0, stop - 1000 + 1, 50):
        samples = np.tile(np.arange(index, index + 1000, dtype=np.float32), (3, 1))
        window = Window(A, index, 0, samples, "ZNE", discontinuous=index == 0)
        made += picks_in(picker, Probabilities(window, annotate(samples[None])[0]), annotate)
    return made


def look(picker: InstrumentPicker, *onsets: tuple[float, float], stop: int = 1400) -> int:
    """The same; gives the number of picks."""
    return len(picks_of(picker, *onsets, stop=stop))


@settings_of_hypothesis(max_examples=25)
@given(
    onsets=st.lists(
        st.tuples(st.integers(300, 9000), st.floats(0.05, 0.99), st.floats(0.05, 0.99)),
        min_size=1,
        max_size=6,
    ),
    known=st.booleans(),
)
@example(onsets=[(900, 0.99, 0.99), (2500, 0.55, 0.09)], known=False)
@example(onsets=[(900, 0.99, 0.09)], known=False)
@example(onsets=[(900, 0.99, 0.99)], known=True)
@example(onsets=[(900, 0.95, 0.95), (2900, 0.5, 0.5)], known=True)
def test_the_reason_never_contradicts_the_highest_probability(
    onsets: list[tuple[int, float, float]], known: bool
) -> None:
    """What is noticed on the grid may be something else when it is computed again, and may have been picked by an earlier run."""

    def curves(windows: NDArray[np.float32], again: bool) -> NDArray[np.float32]:
        told = [(onset, second if again else first) for onset, first, second in onsets]
        return np.stack([np.minimum(bumps(one[0], *told), 1) for one in windows])

    threshold = 0.7
    before = [
        replace(EXAMPLE, channel=Channel("XX", "A", "", "HHZ"), phase="P", time_ns=onsets[0][0] * 10**7)
    ]
    picker = InstrumentPicker(settings(threshold), before if known else [])
    for index in range(0, 12_000, 50):
        samples = np.tile(np.arange(index, index + 1000, dtype=np.float32), (3, 1))
        window = Window(A, index, 0, samples, "ZNE", discontinuous=index == 0)
        first = Probabilities(window, curves(samples[None], again=False)[0])
        picks_in(picker, first, lambda windows: curves(windows, again=True))
        view = picker.views[0]
        reason = explain(condition(), "P", view, window.stop)
        if reason.code == "below_threshold":
            *told, needed = map(float, re.findall(r"(?<![\d:.])[01]\.\d\d(?!\d)", reason.text))
            assert needed == threshold
            assert view.highest < threshold or (
                max(told) >= threshold and "when computed again" in reason.text
            )


def test_a_pick_of_the_last_minute_is_the_reason_though_something_weaker_came_after_it() -> None:
    view = PhaseView()
    view.saw(2000, 0.7, 0.99)
    view.decided(OnsetOutcome.PICKED, 1900, 0.99)
    view.decided(OnsetOutcome.BELOW, 1950, 0.09, noticed=0.5)
    assert explain(condition(), "P", view, 2000) == Reason(
        "picked", "picked at 1970-01-01T00:00:19.00Z, 0.99"
    )
    assert explain(condition(), "P", view, 7940).code == "below_threshold"


def condition(**changes: object) -> Condition:
    facts = Condition(
        arrived=True,
        silent_s=1.0,
        stale=False,
        down=False,
        refused="",
        filled_s=20.0,
        window_s=20.0,
        gap_s=None,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("onsets", "made", "outcome"),
    [
        (((900, 0.9),), 1, OnsetOutcome.PICKED),
        (((900, 0.27),), 0, OnsetOutcome.BELOW),
        (((900, 0.7), (960, 0.9)), 1, OnsetOutcome.REFRACTORY),
        (((20, 0.9),), 0, None),
        (((900, 0.1),), 0, None),
    ],
)
def test_a_picker_remembers_what_it_decided(
    onsets: tuple[tuple[float, float], ...], made: int, outcome: OnsetOutcome | None
) -> None:
    picker = InstrumentPicker(settings(separation=100))
    assert look(picker, *onsets) == made
    decision = picker.views[0].decision
    assert (None if decision is None else decision.outcome) is outcome
    if outcome is not None:
        assert decision is not None
        assert abs(decision.index - onsets[-1][0]) <= 2
        assert decision.probability == pytest.approx(onsets[-1][1], abs=0.05)
    assert picker.views[1].decision is None
    if onsets[0][0] == 900:
        assert picker.views[0].highest == pytest.approx(max(height for _, height in onsets), abs=0.05)


def test_the_reason_names_the_time_of_the_pick() -> None:
    view = PhaseView()
    view.saw(2000, 0.3, 0.9)
    view.decided(OnsetOutcome.PICKED, 1900, 0.99, time_ns=19_012_345_678)
    assert explain(condition(), "P", view, 2000).text == "picked at 1970-01-01T00:00:19.01Z, 0.99"
    picker = InstrumentPicker(settings(separation=100))
    [pick] = picks_of(picker, (900, 0.9))
    decision = picker.views[0].decision
    assert decision is not None
    assert decision.time_ns == pick.time_ns


def test_the_highest_probability_is_forgotten_after_a_minute() -> None:
    view = PhaseView()
    view.saw(1000, 0.3, 0.2)
    view.saw(3500, 0.3, 0.1)
    assert view.highest == 0.2
    view.saw(6500, 0.3, 0.05)
    assert view.highest == 0.1
    view.saw(60_000, 0.3, 0.01)
    assert view.highest == 0.01


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"arrived": False, "silent_s": 9.0, "filled_s": 0.0}, "waiting", "no data for 9 s"),
        ({"stale": True, "silent_s": 75.0}, "stale", "no new samples for 1 min"),
        ({"stale": True, "silent_s": 75.0, "down": True}, "stale", "no new samples for 1 min"),
        ({"down": True}, "down", "its source has no connection"),
        ({"down": True, "arrived": False, "filled_s": 0.0}, "down", "its source has no connection"),
        ({"stale": True, "refused": "future"}, "refused", "future"),
        ({"filled_s": 12.3}, "filling", "12.3 of 20 s"),
        ({"filled_s": 12.3, "gap_s": 4.0}, "gap", "gap of 4.0 s; since then 12.3 of 20 s"),
    ],
)
def test_the_state_of_the_data_comes_first(changes: dict[str, object], code: str, said: str) -> None:
    view = PhaseView()
    view.saw(1000, 0.3, 0.2)
    reason = explain(condition(**changes), "P", view, 1000)
    assert reason.code == code == condition(**changes).state
    assert said in reason.text


def test_what_was_decided_long_ago_is_no_reason_now() -> None:
    view = PhaseView()
    assert explain(condition(), "P", None, 0).code == "filling"
    view.saw(1000, 0.3, 0.9)
    view.decided(OnsetOutcome.PICKED, 1000, 0.9)
    assert explain(condition(), "P", view, 1500).code == "picked"
    assert explain(condition(), "P", view, 9000).code == "below_threshold"


def test_a_buffer_says_how_far_a_window_is_filled(rjob: Recording) -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50))
    assert buffer.channels.filled == 0
    filled = []
    for second, segment in enumerate(rjob.segments("Z", [400, 400, 400, 400])):
        buffer.insert(segment, 10**9 * second)
        buffer.cut(10**9 * (second + 100))
        filled.append(min(buffer.channels.filled, 1000))
    assert filled[0] <= 400
    assert filled == sorted(filled)
    assert filled[-1] == 1000

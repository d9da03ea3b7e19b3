"""The buffer of one instrument, live: slow components, revisions, limits, memory."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import Recording
from tests.streams import OneInstrument
from xiaod.config import Config
from xiaod.domain.resumption import not_final_s
from xiaod.domain.timegrid import GRID_NS, samples_from_s
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Channel, Segment, Window
from xiaod.pipeline.settings import buffer_settings
from xiaod.waveform.channel import RecordOutcome
from xiaod.waveform.instrument import BufferSettings

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def record(component: str, start_s: float, seconds: float = 1.0, rate: float = 100.0) -> Segment:
    samples = np.random.default_rng(round(abs(start_s) * 10)).normal(size=round(seconds * rate))
    return Segment(
        Channel("XX", "A", "", "HH" + component), NOW + round(start_s * 1e9), rate, samples, arrived_ns=NOW
    )


def live(buffer: OneInstrument, seconds: int, delays_s: dict[str, float]) -> list[tuple[float, Window]]:
    """One record a second of each component, each with its delay; what is cut, and when."""
    arrivals = sorted(
        (start + 1 + delay, component, start)
        for component, delay in delays_s.items()
        for start in range(seconds)
    )
    cut: list[tuple[float, Window]] = []

    def advance(until_s: float) -> None:
        while (deadline := buffer.deadline_ns) is not None and deadline <= NOW + until_s * SECOND:
            windows, _ = buffer.cut(deadline)
            cut.extend(((deadline - NOW) / SECOND, window) for window in windows)

    for at_s, component, start in arrivals:
        advance(at_s)
        assert buffer.insert(record(component, start), NOW + round(at_s * SECOND)) is RecordOutcome.GOOD
        windows, _ = buffer.cut(NOW + round(at_s * SECOND))
        cut.extend((at_s, window) for window in windows)
    return cut


def test_a_component_within_the_wait_is_waited_for() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=3 * SECOND))
    cut = live(buffer, 40, {"Z": 0.0, "N": 2.0, "E": 1.0})
    assert {window.components for _, window in cut} == {"ZNE"}
    assert all(window.revision == 0 for _, window in cut)
    assert len(cut) > 50


def test_a_slower_component_holds_nothing_up_and_is_looked_at_when_it_comes() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=3 * SECOND))
    cut = live(buffer, 40, {"Z": 0.0, "N": 8.0, "E": 0.5})
    leading = [(at_s, window) for at_s, window in cut if window.revision == 0]
    following = [window for _, window in cut if window.revision == 1]
    assert {window.components for _, window in leading[2:]} <= {"Z-E", "ZNE"}
    assert "Z-E" in {window.components for _, window in leading}
    assert {window.components for window in following} == {"ZNE"}
    # Nothing waits longer than the wait after the leading component, which brings a second of data at a time.
    for at_s, window in leading:
        end_s = window.stop / 100 - NOW / SECOND
        assert at_s - end_s <= 3.0 + 1.0 + 0.01
    twice = {window.index for _, window in leading if window.components != "ZNE"} & {
        w.index for w in following
    }
    assert len(twice) > 20


@pytest.mark.parametrize(
    "keys", [{}, {"buffer": {"max_component_wait_s": 0.5}}, {"windows": {"length_s": 30.0}}]
)
@pytest.mark.parametrize("late_s", [9.0, 29.0, 30.0])
def test_what_a_late_component_brings_is_nothing_that_counts_as_picked_for_good(
    late_s: float, keys: dict[str, Any]
) -> None:
    """A run that goes on makes no picks that are older than what counts so."""
    config = Config.model_validate({"sources": [{"server": "localhost"}], **keys})
    buffer = OneInstrument(buffer_settings(config))
    newest, late = 0, []
    for _, window in live(buffer, 150, {"Z": 0.0, "N": 0.0, "E": late_s}):
        if window.revision == 0:
            newest = max(newest, window.stop)
        else:
            late.append(newest - window.index)
    assert late
    assert max(late) <= samples_from_s(not_final_s(config.windows.length_s, config.buffer.max_lead_s))


def test_a_component_whose_first_records_wait_is_not_slow() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=5 * SECOND))
    found = []
    for number, component in enumerate("NZE"):
        for start in range(25):
            buffer.insert(record(component, start), number * SECOND // 20)
    for now_s in (5.0, 5.02, 5.06, 5.11):
        found += [window.components for window in buffer.cut(round(now_s * SECOND))[0]]
    assert set(found) == {"ZNE"}


def test_a_component_that_has_died_is_not_waited_for() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=3 * SECOND, max_lead=1000))
    live(buffer, 20, {"Z": 0.0, "N": 0.0, "E": 0.0})
    for start in range(20, 60):
        buffer.insert(record("Z", start), NOW + (start + 1) * SECOND)
        windows, _ = buffer.cut(NOW + (start + 1) * SECOND)
    assert [window.components for window in windows] == ["Z--", "Z--"]


def test_old_and_future_records_are_refused() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, limits=TimeLimits.from_s(100.0, 10.0)))
    assert buffer.insert(record("Z", -102), NOW) is RecordOutcome.EXPIRED
    assert buffer.insert(record("Z", 10), NOW) is RecordOutcome.FUTURE
    assert buffer.insert(record("Z", -100), NOW) is RecordOutcome.GOOD
    assert buffer.insert(record("Z", -102)._replace(arrived_ns=None), None) is not RecordOutcome.EXPIRED


def test_a_host_clock_that_is_set_back_does_not_stop_a_stream() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, limits=TimeLimits.from_s(None, 10.0)))
    assert buffer.insert(record("Z", 0), NOW) is RecordOutcome.GOOD
    assert buffer.insert(record("Z", 30), NOW) is RecordOutcome.FUTURE
    # An hour behind, each record lies an hour ahead, but where the last one ended.
    behind = [record("Z", start)._replace(arrived_ns=NOW - 3600 * SECOND) for start in range(1, 60)]
    assert {buffer.insert(segment, NOW) for segment in behind} == {RecordOutcome.GOOD}


def test_other_components_and_rates_are_refused() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50))
    assert buffer.insert(record("F", 0), NOW) is RecordOutcome.COMPONENT
    assert buffer.insert(record("Z", 0, rate=1.0, seconds=10), NOW) is RecordOutcome.RATE
    assert buffer.cut(NOW) == ([], [])


def test_a_clock_set_back_by_an_hour_blinds_for_seconds_only() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    for start in range(3600, 3630):
        buffer.insert(record("Z", start), NOW)
        buffer.cut(NOW)
    outcomes, windows = [], []
    for start in range(40):
        outcomes.append(buffer.insert(record("Z", start), NOW))
        windows += buffer.cut(NOW)[0]
    assert outcomes.count(RecordOutcome.CLOCK_STEP) == 1
    assert outcomes.index(RecordOutcome.CLOCK_STEP) <= 11
    assert windows[0].discontinuous
    assert len(windows) > 30


@pytest.mark.parametrize("times", [2, 12, 60])
def test_what_a_datalogger_had_kept_does_not_blind_for_what_is_new(times: int) -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    kept = list(range(600, 2400))
    windows, outcomes = [], []
    for start in (*range(600), *range(2400, 3600)):
        sent = [start, *kept[:times]] if start >= 2400 else [start]
        del kept[: len(sent) - 1]
        for second in sent:
            outcomes.append(buffer.insert(record("Z", second), NOW))
            windows += buffer.cut(NOW)[0]
    first = NOW // GRID_NS
    found = {window.index - first for window in windows}
    expected = set(range(240_000, 360_000 - 1000 + 1, 50))
    # It costs no more than the time to see that the clock has not been set back, and that of a window to fill.
    assert len(expected - found) <= 2 * (1000 + 100) // 50
    assert outcomes.count(RecordOutcome.CLOCK_STEP) <= 1
    # A clock that is set back, later, is seen as ever.
    outcomes = []
    for start in range(5000, 7000):
        buffer.insert(record("Z", start), NOW)
        buffer.cut(NOW)
    for start in range(6000, 6040):
        outcomes.append(buffer.insert(record("Z", start), NOW))
    assert outcomes.count(RecordOutcome.CLOCK_STEP) == 1


def test_a_sensor_with_other_components_takes_the_rows_of_the_one_before() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    found = []
    for start in range(0, 4000, 10):
        for component in "ZNE" if start < 100 else "Z12":
            buffer.insert(record(component, start, 10), NOW)
            found += [window.components for window in buffer.cut(NOW)[0]]
    # For an hour it is not certain that the components before are gone for good.
    assert found[len(found) // 2] == "Z--"
    assert found[-1] == "Z12"


def test_a_component_that_loses_its_row_ends_no_window() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    found = []
    # Once Z, N and E have filled a window, a record of one more component gives them all rows.
    for component, start, seconds in [("2", 0, 14.3), *((one, 5, 11) for one in "ZNE"), ("1", 5, 1)]:
        buffer.insert(record(component, start, seconds), NOW)
        found += [window.components for window in buffer.cut(NOW)[0]]
    assert found == [*["--2"] * 9, *["ZNE"] * 3]


@pytest.mark.parametrize(("letters", "odd"), [("Z12", "N"), ("Z23", "1"), ("ZNE", "1")])
def test_one_odd_record_of_another_component_takes_no_row(letters: str, odd: str) -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    found = []
    for start in range(0, 200, 2):
        for component in letters + odd if start == 60 else letters:
            buffer.insert(record(component, start, 2), NOW)
        found += [window.components for window in buffer.cut(NOW)[0]]
    assert set(found) == {letters}


def test_memory_is_bounded_whatever_comes() -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=3 * SECOND))
    most = 0
    for start in range(600):
        for component in "ZN" if start > 200 else "ZNE":
            buffer.insert(record(component, start), NOW + start * SECOND)
            buffer.cut(NOW + start * SECOND)
        most = max(most, buffer.rings.held_bytes)
    assert most <= 3 * 4 * buffer.channels.settings.ring


def test_memory_is_bounded_when_all_that_comes_is_torn() -> None:
    """Some seconds and a gap, again and again, of components that take turns: no window finds room."""
    buffer = OneInstrument(BufferSettings(length=2000, hop=50, wait_ns=3 * SECOND))
    most = 0
    for start in range(0, 4000, 5):
        buffer.insert(record("ZNE"[start % 3], start, 4.5), NOW + start * SECOND)
        assert buffer.cut(NOW + start * SECOND)[0] == []
        most = max(most, buffer.rings.held_bytes)
    assert most <= 3 * 4 * buffer.channels.settings.ring


@pytest.mark.parametrize("pieces", [[], [90] * 33], ids=["at once", "piece by piece"])
def test_windows_carry_the_samples_before_them(rjob: Recording, pieces: list[int]) -> None:
    settings = BufferSettings(length=1000, hop=50, max_lead=500)
    buffer = OneInstrument(settings)
    windows: list[Window] = []
    for records in zip(*(rjob.segments(component, pieces) for component in "ZNE"), strict=True):
        for cut in zip(*(segment.pieces() for segment in records), strict=True):
            for piece in cut:
                buffer.insert(piece, None)
            windows += buffer.cut(None)[0]
    windows += buffer.finish(None)
    assert windows[0].history is not None
    assert windows[0].history.shape == (3, 0)
    for before, window in zip(windows, windows[2:], strict=False):
        assert window.history is not None
        overlap = window.index - before.index
        np.testing.assert_array_equal(
            window.history[:, -min(overlap, 66) :], before.samples[:, overlap - min(overlap, 66) : overlap]
        )


def test_components_of_the_past_keep_the_rows_of_the_others() -> None:
    """Of a Z23 sensor whose 3 is dead the 2 stays in row N; alone, it would be taken for that of a Z12."""
    for letters, expected in (("", "Z-2"), ("Z23", "Z2-"), ("ZNE12", "Z-2")):
        buffer = OneInstrument(BufferSettings(length=1000, hop=50), letters)
        for letter in "Z2":
            buffer.insert(
                Segment(Channel("XX", "A", "", "HH" + letter), NOW, 100.0, np.ones(2000, np.int32)), None
            )
        windows = [*buffer.cut(None)[0], *buffer.finish(None)]
        assert {window.components for window in windows} == {expected}
        assert {str(window.instrument) for window in windows} == {"XX.A..HH"}


@pytest.mark.parametrize("now_ns", [None, NOW])
def test_a_component_that_begins_where_another_ends(now_ns: int | None) -> None:
    """Two windows that follow each other have not one component in common."""
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=0))
    windows: list[Window] = []
    for component, start_s in (("E", 0.0), ("N", 0.5), ("N", 10.5)):
        samples = np.ones(1000, np.int32)
        channel = Channel("XX", "A", "", "HH" + component)
        buffer.insert(Segment(channel, NOW + round(start_s * SECOND), 100.0, samples), now_ns)
        windows += buffer.cut(now_ns)[0]
    windows += buffer.finish(now_ns)
    assert [window.components for window in windows[:3]] == ["--E", "-N-", "-N-"]
    assert [window.index - NOW // 10_000_000 for window in windows[:3]] == [0, 50, 100]


@pytest.mark.parametrize("delivery_ns", [None, NOW])
def test_components_that_begin_again_after_a_gap_wait_for_each_other(delivery_ns: int | None) -> None:
    """The gap of the first one is declared while records of the others still wait for what is missing before them."""
    buffer = OneInstrument(BufferSettings(length=1000, hop=50, wait_ns=3600 * SECOND))
    windows: list[Window] = []
    for start in (*range(40), *range(45, 100)):
        for component in "ENZ":
            buffer.insert(record(component, start), delivery_ns)
            windows += buffer.cut(delivery_ns)[0]
    windows += buffer.finish(delivery_ns)
    assert {window.components for window in windows} == {"ZNE"}
    # One more is the last before the gap.
    assert len(windows) >= (40 - 10) * 2 + (55 - 10) * 2


def test_a_component_may_go_on_far_behind_another_that_jumped_ahead() -> None:
    buffer = OneInstrument(BufferSettings(wait_ns=2 * SECOND, max_lead=100))
    for now_s, component, start_s in [(0, "Z", 0), (1, "Z", 1), (2, "Z", 5000)]:
        assert buffer.insert(record(component, start_s), NOW + now_s * SECOND) is RecordOutcome.GOOD
        buffer.cut(NOW + now_s * SECOND)
    # The record that lies ahead is believed when nothing else has come for some time.
    buffer.cut(NOW + 9 * SECOND)
    assert buffer.channels.edge == NOW // GRID_NS + 500_100
    for start_s in range(4):
        assert buffer.insert(record("N", start_s), NOW + (9 + start_s) * SECOND) is RecordOutcome.GOOD

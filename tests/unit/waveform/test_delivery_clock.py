"""Waits are counted while a source delivers: a link that stalls changes no window, and a component that is gone is not waited for."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Segment, Window
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.delivery_clock import DeliveryClock
from xiaod.waveform.instrument import BufferSettings

NOW = 1_700_000_000 * NS_PER_S
SETTINGS = BufferSettings(length=1000, hop=50, wait_ns=5 * NS_PER_S)


def record(station: str, component: str, start_s: float, seconds: float, source: str = "server") -> Segment:
    samples = np.random.default_rng(round(10 * abs(start_s))).normal(size=round(100 * seconds))
    return Segment(
        Channel("XX", station, "", "HH" + component), NOW + round(start_s * 1e9), 100.0, samples, source
    )


def stream(
    delays_s: dict[str, float], stations: Sequence[str], length_s: float = 90.0
) -> list[tuple[float, Segment]]:
    """Records of some seconds and when they come: each component of a station in its own rhythm, with its delay."""
    records = []
    for number, station in enumerate(stations):
        for component, delay_s in delays_s.items():
            seconds = 2.0 + 0.4 * "ZNE".index(component)
            start_s = 0.3 * number
            while start_s < length_s:
                one = record(station, component, start_s, seconds)
                records.append((start_s + seconds + delay_s, one))
                start_s += seconds
    return sorted(records, key=lambda entry: entry[0])


def cut(records: list[tuple[float, Segment]]) -> list[tuple[float, Window]]:
    """Windows, and when they were cut."""
    station_table = StationTable(60 * NS_PER_S)
    assembler = Assembler(SETTINGS, Metrics(), station_table, lambda: NOW)
    windows: list[tuple[float, Window]] = []
    for at_s, segment in records:
        assembler.take(segment, round(at_s * 1e9))
        for _ in assembler.expire():
            pass
        batches = assembler.final.take(everything=True)
        windows += [(at_s, window) for batch in batches for window in batch.windows]
    return windows


def stalled(
    records: list[tuple[float, Segment]], stalls: Sequence[tuple[float, float]]
) -> list[tuple[float, Segment]]:
    """The same on a line that stands still from some times on, for some seconds, and then brings all at once."""
    moved = list(records)
    for begin_s, seconds in stalls:
        moved = [
            (begin_s + seconds if begin_s <= at_s < begin_s + seconds else at_s, segment)
            for at_s, segment in moved
        ]
    return sorted(moved, key=lambda entry: entry[0])


def facts(windows: list[tuple[float, Window]]) -> set[tuple[str, int, int, str]]:
    return {
        (window.instrument.station, window.index, window.revision, window.components) for _, window in windows
    }


@settings(max_examples=40)
@given(
    stalls=st.lists(st.tuples(st.floats(12, 90), st.floats(0.2, 70)), max_size=10),
    late_s=st.floats(0, 2.5),
    stations=st.sampled_from([["A"], ["A", "B", "C", "D"]]),
)
def test_a_line_that_stalls_changes_no_window(
    stalls: list[tuple[float, float]], late_s: float, stations: list[str]
) -> None:
    records = stream({"Z": 0.0, "N": late_s, "E": 0.0}, stations)
    expected = facts(cut(records))
    assert {components for *_, components in expected} <= {"ZNE", "-N-", "-NE"}
    assert {revision for _, _, revision, _ in expected} == {0}
    assert facts(cut(stalled(records, stalls))) == expected


@pytest.mark.parametrize("order", ["ZNE", "NEZ", "EZN"])
def test_components_that_come_one_after_the_other_are_waited_for(order: str) -> None:
    """As when a server sends what it holds: half a minute of one, then of the next, and then what is new."""
    held = [
        (100.0, record("A", component, start_s, 2.0)) for component in order for start_s in range(0, 26, 2)
    ]
    live = [
        (start_s + 76.0, record("A", component, start_s, 2.0))
        for start_s in range(26, 60, 2)
        for component in order
    ]
    windows = cut([*held, *live])
    assert {window.components for _, window in windows} == {"ZNE"}
    assert len(windows) > 2 * (60 - 26)


def test_windows_of_a_part_of_the_components_leave_to_fuller_ones_what_those_show() -> None:
    """As after a start: the first record of each component begins where it was about to."""
    begun_s = {"N": 0.0, "E": 2.7, "Z": 6.1}
    records = [
        (at_s, segment)
        for at_s, segment in stream(dict.fromkeys("ZNE", 0.0), ["A"], 60.0)
        if (segment.start_ns - NOW) / 1e9 >= begun_s[segment.channel.component]
    ]
    windows = [window for _, window in cut(records)]
    fuller = {
        letters: next(w.index for w in windows if w.components == letters) for letters in ("-NE", "ZNE")
    }
    expected = {"-N-": fuller["-NE"], "-NE": fuller["ZNE"], "ZNE": None}
    assert {(window.components, window.until) for window in windows} == set(expected.items())


def test_a_component_that_begins_and_goes_leaves_all_to_the_others() -> None:
    records = [
        (at_s, segment)
        for at_s, segment in stream(dict.fromkeys("ZNE", 0.0), ["A"], 60.0)
        if segment.channel.component == "N" or 5 <= (segment.start_ns - NOW) / 1e9 < 12
    ]
    timed = cut(records)
    assert {(window.components, window.until) for _, window in timed} == {("-N-", None)}
    # It is not certain at once that they are gone.
    assert max(waits_s(timed, "-N-")) < 5.0 + 7 + 2 * 2.8


def test_a_vertical_alone_is_not_waited_for_longer_than_is_said() -> None:
    waited_s = waits_s(cut(stream({"Z": 0.0}, ["A", "B"], 60.0)), "Z--")
    assert len(waited_s) > 100
    assert max(waited_s) < 2.0 + 0.01


def without_n(records: list[tuple[float, Segment]], from_s: float) -> list[tuple[float, Segment]]:
    """The same, but that one component has gone from some time on."""
    return [(at_s, segment) for at_s, segment in records if segment.channel.component != "N" or at_s < from_s]


def waits_s(windows: list[tuple[float, Window]], components: str) -> list[float]:
    """From the end of each window with these components to when it was cut."""
    return [
        at_s - (window.stop * 10**7 - NOW) / 1e9
        for at_s, window in windows
        if window.instrument.station != "BUSY" and window.components == components
    ]


@pytest.mark.parametrize("stations", [["A"], ["A", "B", "C", "D", "E", "F"]])
def test_a_component_that_has_gone_is_waited_for_as_long_as_is_said(stations: list[str]) -> None:
    records = stream({"Z": 0.0, "N": 0.0, "E": 0.0}, stations)
    waited_s = waits_s(cut(without_n(records, 30.0)), "Z-E")
    assert len(waited_s) > 50 * len(stations)
    # The wait, a record in which Z or E comes, and one by which the clock is told.
    assert 5.0 <= max(waited_s) < 5.0 + 2 * 2.8


def test_a_station_that_dies_while_a_component_is_on_its_way_is_picked_to_its_end() -> None:
    records = [
        (at_s, segment)
        for at_s, segment in stream({"Z": 0.0, "N": 3.0, "E": 0.0}, ["A", "B"])
        if segment.channel.station == "B" or at_s < 40
    ]
    windows = [(at_s, window) for at_s, window in cut(records) if window.instrument.station == "A"]
    assert (max(window.stop for _, window in windows) * 10**7 - NOW) / 1e9 > 38.0
    assert max(at_s for at_s, _ in windows) < 40 + 5.0 + 2.8


def test_a_station_that_two_servers_hold_is_waited_for_by_the_one_that_brings_it() -> None:
    """The clock of one of them has gone for long when it begins to."""
    records = without_n(stream({"Z": 0.0, "N": 0.0, "E": 0.0}, ["A"], 60.0), 30.0)
    records = [
        (500 + at_s, segment._replace(source="busy") if number % 8 > 3 else segment)
        for number, (at_s, segment) in enumerate(records)
    ]
    busy = [(at_s, record("BUSY", "Z", at_s - 500.5, 0.5, "busy")) for at_s in range(560)]
    waited_s = [
        wait_s - 500 for wait_s in waits_s(cut(sorted([*busy, *records], key=lambda entry: entry[0])), "Z-E")
    ]
    assert len(waited_s) > 20
    # Until it is far behind it is waited for, and as long as is said.
    assert sum(wait_s > 4.0 for wait_s in waited_s) > 10
    assert max(waited_s) < 5.0 + 4 * 2.8


def test_many_stations_whose_wait_is_over_are_cut_one_by_one() -> None:
    assembler = Assembler(SETTINGS, Metrics(), StationTable(60 * NS_PER_S), lambda: NOW)
    for number in range(100):
        assembler.take(record(f"S{number}", "Z", 0.0, 2.0), 0)
    for second in range(2, 10):
        assembler.take(record("OTHER", "Z", second, 1.0), second * NS_PER_S)
        pieces = list(assembler.expire())
        assert len(pieces) == (100 if second == 6 else 0)
    assert not any(assembler.finish())


def test_a_record_of_the_future_does_not_stop_the_clock_for_long() -> None:
    clock = DeliveryClock()
    for second in range(40):
        ahead = 3600 if second == 10 else 0
        clock.delivered(NOW + (second + ahead) * NS_PER_S, second * NS_PER_S)
    assert 25 * NS_PER_S <= clock.time_ns <= 30 * NS_PER_S

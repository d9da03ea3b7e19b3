"""A pick has all records around it, whatever came late, and what is held has a limit."""

import numpy as np
import pytest

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Pick, Segment, Window
from xiaod.snippets import gather
from xiaod.snippets.gather import WAIT_S, Gatherer, Snippet

RATE_HZ = 100
BEFORE_S, AFTER_S, REACH_S = 10.0, 20.0, 30.0
CHANNELS = {letter: Channel("XX", "A", "", f"HH{letter}") for letter in "ZNE"}


def record(letter: str, second: float, station: str = "A") -> Segment:
    """One second of data."""
    channel = Channel("XX", station, "", f"HH{letter}")
    return Segment(channel, round(second * NS_PER_S), RATE_HZ, np.full(RATE_HZ, second, np.int32))


def pick(second: float, station: str = "A", name: str = "") -> Pick:
    channel = Channel("XX", station, "", "HHZ")
    time_ns = round(second * NS_PER_S)
    return Pick(
        name or f"{second}",
        channel,
        "P",
        time_ns,
        0.1,
        0.9,
        5.0,
        1.0,
        "ZNE",
        "m-1",
        "0" * 64,
        snippet="there",
    )


def window(second: int, station: str = "A") -> Window:
    """A window that ends then."""
    instrument = Channel("XX", station, "", "HHZ").instrument
    return Window(instrument, (second - 20) * RATE_HZ, 0, np.zeros((3, 20 * RATE_HZ), np.float32), "ZNE")


def seconds_of(snippet: Snippet) -> dict[str, list[int]]:
    """The seconds of each component."""
    found: dict[str, list[int]] = {}
    for segment in snippet.segments:
        found.setdefault(segment.channel.component, []).append(segment.start_ns // NS_PER_S)
    return found


def test_a_pick_waits_for_the_slowest_component() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    found: list[Snippet] = []
    for second in range(100):
        for letter, late in (("Z", 0), ("N", 0), ("E", 9)):
            if second >= late:
                gatherer.take(record(letter, second - late))
        if second == 47:
            gatherer.picked(pick(40.5), 0)
        gatherer.followed(window(second - 9))
        found += gatherer.ready(0)
        assert bool(found) == (second >= 60 + 10)
    [snippet] = found
    assert seconds_of(snippet) == {letter: [*range(30, 61)] for letter in "ZNE"}
    assert gatherer.waiting == 0


def test_a_component_that_stops_is_waited_for_no_longer_than_that() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in range(50):
        for letter in "ZNE":
            gatherer.take(record(letter, second))
    gatherer.picked(pick(40), 7)
    for second in range(50, 70):
        gatherer.take(record("Z", second))
    due_ns = 7 + round((AFTER_S + WAIT_S) * NS_PER_S)
    assert not list(gatherer.ready(due_ns - 1))
    [snippet] = gatherer.ready(due_ns)
    assert seconds_of(snippet) == {"Z": [*range(30, 60)], "N": [*range(30, 50)], "E": [*range(30, 50)]}


def test_records_stay_until_the_picker_has_passed_them() -> None:
    """A run that catches up: the picker is an hour behind what has come."""
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in range(3600):
        gatherer.take(record("Z", second))
        if second < 100:
            gatherer.followed(window(second))
    gatherer.picked(pick(95), 0)
    assert not list(gatherer.ready(0))
    gatherer.picked(pick(98), 0)
    for second in range(100, 119):
        gatherer.followed(window(second))
    first, second_ = gatherer.ready(0)
    assert seconds_of(first) == {"Z": [*range(85, 115)]}
    assert seconds_of(second_) == {"Z": [*range(88, 118)]}
    # What was picked meanwhile belongs into the same picture.
    assert [one.id for one in first.picks] == ["95", "98"]
    # The picker catches up, and what it has passed is forgotten.
    gatherer.followed(window(3590))
    gatherer.take(record("Z", 3600))
    assert gatherer.held_bytes < (BEFORE_S + REACH_S + 20) * RATE_HZ * 4


def test_what_is_held_has_a_limit_and_the_least_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "SPARE_BYTES", 100_000)
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    stations = [f"S{number}" for number in range(10)]
    for second in range(2000):
        for station in stations:
            # Data of which no window is ever made.
            gatherer.take(record("Z", second, station))
    assert gatherer.held_bytes < 100_000 + 10 * 1200 * (BEFORE_S + AFTER_S + REACH_S) + 10 * RATE_HZ * 4
    gatherer.picked(pick(1975, "S3"), 0)
    [snippet] = gatherer.ready(0)
    assert seconds_of(snippet) == {"Z": [*range(1965, 1995)]}


def test_instruments_that_depart_leave_what_there_is_and_nothing_else() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in range(50):
        gatherer.take(record("Z", second))
        gatherer.take(record("Z", second, "B"))
    gatherer.picked(pick(45), 0)
    gatherer.depart([CHANNELS["Z"].instrument])
    [snippet] = gatherer.ready(0)
    assert seconds_of(snippet) == {"Z": [*range(35, 50)]}
    assert gatherer.held_bytes == 50 * RATE_HZ * 4
    gatherer.picked(pick(45, "B"), 0)
    gatherer.finish()
    [snippet] = gatherer.ready(0)
    assert (gatherer.held_bytes, gatherer.waiting) == (0, 0)
    # One of an instrument of which nothing is held.
    gatherer.picked(pick(45), 0)
    assert gatherer.waiting == 0


def test_picks_of_an_earlier_run_are_gathered_if_their_data_come_again() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in range(100, 120):
        gatherer.take(record("Z", second))
    gatherer.resumed([pick(95), pick(115)], 0)
    assert gatherer.waiting == 1
    for second in range(120, 140):
        gatherer.take(record("Z", second))
    [snippet] = gatherer.ready(0)
    assert seconds_of(snippet) == {"Z": [*range(105, 135)]}


def test_a_clock_that_is_set_back_ends_no_wait() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in [*range(5000, 5050), *range(100, 160)]:
        gatherer.take(record("Z", second))
        if second == 140:
            gatherer.picked(pick(130), 0)
        found = list(gatherer.ready(0))
        assert bool(found) == (second == 149)
        if found:
            assert seconds_of(found[0]) == {"Z": [*range(120, 150)]}


def test_too_many_picks_wait_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MOST_WAITING", 3)
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    gatherer.take(record("Z", 0))
    gatherer.take(record("Z", 0, "B"))
    for number in range(5):
        gatherer.picked(pick(0.1 * number, "AB"[number % 2], f"pick {number}"), number)
    assert [snippet.pick.id for snippet in gatherer.ready(0)] == ["pick 0", "pick 1"]
    assert gatherer.waiting == 3


def test_all_picks_of_the_instrument_are_shown_beside_each_other() -> None:
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    for second in range(60):
        gatherer.take(record("Z", second))
        if second in (20, 25, 58):
            gatherer.picked(pick(second - 5), 0)
    assert [[one.id for one in snippet.picks] for snippet in gatherer.ready(0)] == [
        ["15", "20"],
        ["15", "20"],
    ]


def test_a_part_of_a_large_array_does_not_hold_all_of_it() -> None:
    large = np.zeros(10_000_000, np.int32)
    gatherer = Gatherer(BEFORE_S, AFTER_S, REACH_S)
    gatherer.take(Segment(CHANNELS["Z"], 0, RATE_HZ, large[:100]))
    gatherer.picked(pick(0.5), 0)
    gatherer.finish()
    [snippet] = gatherer.ready(0)
    assert snippet.segments[0].samples.base is None

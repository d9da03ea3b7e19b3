"""Events are announced, settled and withdrawn; the settled ones follow from the final picks alone."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.test_pick_store import EXAMPLE
from xiaod.association import tracker as module
from xiaod.association.coincidence import Coincidence, CoincidenceSettings
from xiaod.association.tracker import EventTracker
from xiaod.domain.onsets import pick_id, settled, withdrawal
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Channel, Event, Pick, Stage

WAIT_S = 30.0
TWO = CoincidenceSettings(stations=2, window_s=10.0, max_s_minus_p_s=20.0)


def pick(station: str, phase: str, time_s: float, stage: Stage = "final") -> Pick:
    channel = Channel("XX", station, "", "HHZ")
    name = pick_id(ns_from_s(time_s), phase, channel.instrument, EXAMPLE.model, stage)
    return replace(EXAMPLE, id=name, channel=channel, phase=phase, time_ns=ns_from_s(time_s), stage=stage)


def tracker(stations: int = 2) -> EventTracker:
    return EventTracker(Coincidence(replace(TWO, stations=stations)), WAIT_S)


def run(one: EventTracker, picks: Iterable[Pick], until_s: float | None = None) -> list[Event]:
    made = []
    for each in picks:
        one.take(each)
        made += one.update()
    if until_s is not None:
        one.advance(ns_from_s(until_s))
        made += one.update()
    return made


def told(events: Iterable[Event]) -> list[tuple[str, int, int]]:
    return [(event.stage, event.version, event.stations) for event in events]


def test_early_picks_announce_and_final_ones_settle() -> None:
    early = [pick("A", "P", 100, "early"), pick("B", "P", 102, "early")]
    one = tracker()
    [announced] = run(one, early)
    assert told([announced]) == [("early", 1, 2)]
    assert announced.event_id.endswith("-E-XX.A..HH-early")
    final = [settled(pick("A", "P", 100.05), early[0]), settled(pick("B", "P", 102), early[1])]
    assert run(one, final, 152) == []
    [event] = run(one, [], 152.01)
    assert told([event]) == [("final", 1, 2)]
    assert event.early_id == announced.event_id
    assert event.event_id == announced.event_id.removesuffix("-early").replace(".00-E", ".05-E")
    assert run(one, [], 10_000) == []


def test_an_event_whose_picks_are_withdrawn_is_withdrawn() -> None:
    early = [pick("A", "P", 100, "early"), pick("B", "P", 102, "early"), pick("C", "P", 103, "early")]
    one = tracker()
    assert told(run(one, early)) == [("early", 1, 2), ("early", 2, 3)]
    assert told(run(one, [withdrawal(early[2])])) == [("early", 3, 2)]
    [event] = run(one, [withdrawal(early[0])])
    assert told([event]) == [("withdrawn", 4, 2)]
    assert event.early_id == event.event_id
    # It comes back with another pick: a final one, where the early one was withdrawn by mistake.
    [again] = run(one, [pick("D", "P", 101)])
    assert told([again]) == [("early", 1, 2)]


def test_final_picks_alone_announce_too() -> None:
    assert told(run(tracker(), [pick("A", "P", 100), pick("B", "P", 101)])) == [("early", 1, 2)]


def test_an_event_that_says_little_more_has_no_other_version() -> None:
    picks = [pick(f"S{number}", "P", 100 + number / 4) for number in range(9)]
    assert told(run(tracker(), picks)) == [("early", 1, 2), ("early", 2, 3), ("early", 3, 5), ("early", 4, 8)]
    one = tracker()
    run(one, picks)
    [nearest] = run(one, [pick("S3", "S", 105)])
    assert nearest.distances[0].station == "S3"


def test_a_pick_that_comes_too_late_changes_no_event_and_is_counted() -> None:
    one = tracker()
    run(one, [pick("A", "P", 100), pick("B", "P", 101)], 200)
    assert run(one, [pick("C", "P", 100.5)], 300) == []
    assert one.late == 1


def test_memory_is_bounded_by_the_number_of_picks_and_by_time() -> None:
    one = tracker()
    for number in range(3 * module.MAX_PICKS):
        one.take(pick("A", "S", number / 100))
        assert one.picks <= module.MAX_PICKS
    run(one, [], 10_000)
    run(one, [pick("A", "P", 10_100)], 10_500)
    assert one.picks == 0
    run(one, [pick("A", "S", 10_600)], 10_700)
    run(one, [], 12_000)
    assert one.picks == 0


def test_what_is_announced_is_remembered_whatever_else_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    first = [pick("A", "P", 1000, "early"), pick("B", "P", 1002, "early")]
    one = tracker()
    made = run(one, first)
    for number in range(5):
        others = [pick("A", "P", 100 * number, "early"), pick("B", "P", 100 * number + 1, "early")]
        made += run(one, [*others, *map(withdrawal, others)])
    made += run(one, [withdrawal(first[0])])
    assert told(made[-1:]) == [("withdrawn", 2, 2)]
    assert len({event.id for event in made}) == len(made) == 12


def test_where_data_stop_final_picks_settle_and_others_are_withdrawn() -> None:
    early = [pick(station, "P", 100, "early") for station in "ABC"]
    one = tracker()
    [announced, _] = run(one, early)
    assert run(one, [settled(pick("A", "P", 100), early[0]), settled(pick("B", "P", 100), early[1])]) == []
    [event] = one.conclude()
    assert told([event]) == [("final", 1, 2)]
    assert event.early_id == announced.event_id
    assert one.announced == 0
    # The data go on: what is settled is not told again, and what comes then is in other events.
    late = [settled(pick("C", "P", 100), early[2])]
    assert run(one, late, 200) == []
    assert one.late == 1
    assert told(run(one, [pick("A", "P", 220), pick("B", "P", 221)], 300)) == [
        ("early", 1, 2),
        ("final", 1, 2),
    ]


def test_where_data_stop_final_picks_that_make_no_event_wait_for_others() -> None:
    early = [pick("A", "P", 100, "early"), pick("B", "P", 101, "early")]
    one = tracker()
    run(one, [*early, settled(pick("A", "P", 100), early[0])])
    [gone] = one.conclude()
    assert told([gone]) == [("withdrawn", 2, 2)]
    assert run(one, []) == []
    made = run(one, [settled(pick("B", "P", 101), early[1])], 200)
    assert [event.stage for event in made] == ["early", "final"]
    assert_all_is_said([gone, *made])


def test_what_was_withdrawn_before_a_stop_is_not_announced_after_it() -> None:
    early = [pick(station, "P", 100 + number, "early") for number, station in enumerate("ABCDEFGHI")]
    one = tracker()
    made = run(one, early)
    made += one.conclude()
    assert made[-1].stage == "withdrawn"
    # The last ones are in no version.
    assert made[-1].stations < len(early)
    again = tracker()
    again.restore(early, made)
    assert again.update() == []
    final = [settled(pick(one.channel.station, "P", one.time_ns / 1e9), one) for one in early]
    assert run(again, final, 200)[-1].stage == "final"


def test_an_earthquake_soon_after_a_withdrawn_event_is_announced_after_a_stop() -> None:
    early = [pick("A", "P", 100, "early"), pick("B", "P", 102, "early")]
    gone = [withdrawal(one) for one in early]
    made = run(tracker(), [*early, *gone])
    assert made[-1].stage == "withdrawn"
    again = tracker()
    again.restore([*early, *gone, pick("C", "P", 130, "early")], made)
    assert told(run(again, [pick("D", "P", 132, "early")])) == [("early", 1, 2)]


def test_an_event_that_has_come_back_before_a_stop_is_withdrawn_after_it() -> None:
    early = [pick("A", "P", 100, "early"), pick("B", "P", 102, "early"), pick("C", "P", 103, "early")]
    one = tracker()
    made = run(one, [*early[:2], withdrawal(early[1]), early[2]])
    assert told(made) == [("early", 1, 2), ("withdrawn", 2, 2), ("early", 3, 2)]
    again = tracker()
    again.restore([*early, withdrawal(early[1])], made)
    assert again.update() == []
    [gone] = run(again, [withdrawal(early[2])])
    assert (gone.id, gone.stage) == (f"{made[0].event_id}-v4", "withdrawn")


def test_an_event_of_long_before_the_start_is_withdrawn_at_the_start() -> None:
    [announced] = run(tracker(), [pick("A", "P", 100), pick("B", "P", 101)])
    one = tracker()
    # Its picks are older than those of the last minutes.
    one.restore([pick("A", "P", 5000)], [announced])
    assert told(one.update()) == [("withdrawn", 2, 2)]
    assert one.update() == []


ONSETS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from("PPPS"),
        st.integers(0, 400),
        st.sampled_from(["final", "both", "withdrawn"]),
    ),
    max_size=30,
    unique_by=lambda row: row[:3],
)


def happenings(onsets: Sequence[tuple[int, str, int, str]]) -> list[list[tuple[float, Pick | None]]]:
    """What becomes of each station, in order of data time: picks, and the end of each window (None)."""
    found: list[list[tuple[float, Pick | None]]] = []
    for station in range(5):
        mine: list[tuple[float, Pick | None]] = []
        for number, phase, time_s, kind in onsets:
            if number != station:
                continue
            early, final = (pick(f"S{station}", phase, time_s, stage) for stage in ("early", "final"))
            if kind != "final":
                mine.append((time_s + 0.1, early))
            if kind == "withdrawn":
                mine.append((time_s + 5.0, withdrawal(early)))
            else:
                mine.append((time_s + 5.0, settled(final, early) if kind == "both" else final))
        # A window is told of after the picks that it has brought.
        mine += [(end_s + 9.5, None) for end_s in range(0, 420, 4)]
        found.append(sorted(mine, key=lambda row: row[0]))
    return found


def played(
    one: EventTracker, stations: list[list[tuple[float, Pick | None]]], lag_s: float, seed: int
) -> list[Event]:
    """Stations come in any order, and none lags by more than ``lag_s``."""
    random, made, left = Random(seed), [], [list(reversed(rows)) for rows in stations]
    while any(left):
        behind_s = min(rows[-1][0] for rows in left if rows)
        rows = random.choice([rows for rows in left if rows and rows[-1][0] <= behind_s + lag_s])
        time_s, item = rows.pop()
        if item is None:
            one.advance(ns_from_s(time_s - 8))
        else:
            one.take(item)
        made += one.update()
    return made + one.update(everything=True)


def finals(events: Iterable[Event]) -> dict[str, Event]:
    return {event.id: replace(event, early_id=None) for event in events if event.stage == "final"}


def assert_all_is_said(events: Sequence[Event]) -> None:
    """Each announced event is settled or withdrawn, once, and its versions are counted."""
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids)
    newest = {event.event_id: event for event in events}
    settled_ids = [
        event.early_id for event in events if event.stage == "final" and event.early_id is not None
    ]
    assert len(set(settled_ids)) == len(settled_ids)
    for name, event in newest.items():
        if event.stage != "final":
            assert (event.stage == "withdrawn") != (name in settled_ids)


@settings(max_examples=150)
@given(ONSETS, st.integers(1, 3), st.integers(0, 2**32), st.floats(0, WAIT_S - 8))
def test_final_events_do_not_depend_on_the_order_nor_on_early_picks(
    onsets: list[tuple[int, str, int, str]], stations: int, seed: int, lag_s: float
) -> None:
    one = tracker(stations)
    made = played(one, happenings(onsets), lag_s, seed)
    assert one.late == 0
    assert_all_is_said(made)
    without = [
        (station, phase, time_s, "final") for station, phase, time_s, kind in onsets if kind != "withdrawn"
    ]
    whole = tracker(stations)
    for station, phase, time_s, _ in without:
        whole.take(pick(f"S{station}", phase, time_s))
    assert finals(made) == finals(whole.update(everything=True))
    assert one.picks == 0


@settings(max_examples=100)
@given(ONSETS, st.integers(0, 2**32), st.integers(0, 900))
def test_a_run_that_is_killed_and_goes_on_makes_the_same_final_events_once(
    onsets: list[tuple[int, str, int, str]], seed: int, killed_after: int
) -> None:
    stations = happenings(onsets)
    order = sorted(
        (row for rows in stations for row in rows),
        key=lambda row: (row[0], "" if row[1] is None else row[1].id),
    )
    one = tracker()
    stored: list[Pick] = []
    made: dict[str, Event] = {}

    def keep(events: Iterable[Event]) -> None:
        for event in events:
            made.setdefault(event.id, event)

    for number, (time_s, item) in enumerate(order):
        if number == killed_after:
            # Its last events were not stored.
            for name in list(made)[len(made) - Random(seed).randrange(2) :]:
                del made[name]
            one = tracker()
            one.restore(sorted(stored, key=lambda each: each.time_ns), list(made.values()))
            keep(one.update())
        if item is None:
            one.advance(ns_from_s(time_s - 8))
        else:
            stored.append(item)
            one.take(item)
        keep(one.update())
    keep(one.update(everything=True))
    whole = tracker()
    for each in stored:
        whole.take(each)
    assert finals(made.values()) == finals(whole.update(everything=True))
    assert_all_is_said(list(made.values()))

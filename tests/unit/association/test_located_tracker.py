"""Located events are announced, keep their identifier as picks come, are settled, withdrawn, and go on after a restart."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.association.network import BEGIN_S, LAYERS, Source, noise, onsets, pick, sites, stations_of
from xiaod.association.located import Located, LocatedSettings
from xiaod.association.tracker import EventTracker
from xiaod.config import AgencyConfig
from xiaod.domain.event import event_document, event_from_document
from xiaod.domain.onsets import settled, withdrawal
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Event, GroundMotion, Pick

SETTINGS = LocatedSettings(LAYERS, "test", max_distance_km=120.0)
PLACES = sites(12, 1)
SOURCE = Source(46.05, 8.1, 9.0, 30.0)
WAIT_S = 30.0


def tracker() -> EventTracker:
    return EventTracker(Located(SETTINGS, stations_of(PLACES)), WAIT_S)


def advance(one: EventTracker, time_s: float) -> list[Event]:
    one.advance(ns_from_s(BEGIN_S + time_s))
    return one.update()


def picks_of(*sources: Source, seed: int = 5) -> list[Pick]:
    rng = Random(seed)
    found = [
        pick(*onset, wood_anderson_mm=0.5) for source in sources for onset in onsets(source, PLACES, rng)
    ]
    return sorted(found, key=lambda one: one.time_ns)


def early_of(picks: Sequence[Pick]) -> list[Pick]:
    return [pick(one.channel.station, one.phase, one.time_ns / 1e9 + 0.02, "early") for one in picks]


def test_it_keeps_its_identifier_from_the_first_early_picks_to_the_settled_event() -> None:
    finals = picks_of(SOURCE)
    early = early_of(finals)
    one, made = tracker(), []
    for each in early:
        one.take(each)
        made += one.update()
    assert {event.event_id for event in made} == {made[0].event_id}
    assert [event.version for event in made] == list(range(1, len(made) + 1))
    assert all(event.stage == "early" and event.origin is not None for event in made)
    # Few picks are enough to announce it, and not each one is another version.
    assert len(made[0].picks) == SETTINGS.min_picks
    assert len(made) < 8
    more: list[Event] = []
    for final, first in zip(finals, early, strict=True):
        one.take(settled(final, first))
        more += one.update()
    # Final picks bring amplitudes, and so a magnitude.
    assert {event.event_id for event in more} <= {made[0].event_id}
    assert more[-1].magnitude is not None
    assert advance(one, 60) == []
    [event] = advance(one, 300)
    assert (event.stage, event.version, event.early_id) == ("final", 1, made[0].event_id)
    assert event.origin is not None
    assert SOURCE.away_km(event.origin.latitude_deg, event.origin.longitude_deg) < 1.5
    assert event.stations == len(PLACES)
    assert advance(one, 1000) == []
    assert one.picks == 0


def test_it_is_withdrawn_with_its_picks() -> None:
    early = early_of(picks_of(SOURCE))[:9]
    one = tracker()
    for each in early:
        one.take(each)
    [announced] = one.update()
    for each in early[:4]:
        one.take(withdrawal(each))
    [withdrawn] = one.update()
    assert (withdrawn.stage, withdrawn.early_id) == ("withdrawn", announced.event_id)
    assert withdrawn.origin == announced.origin


def test_what_only_final_picks_do_not_make_is_withdrawn() -> None:
    one = tracker()
    for each in early_of(picks_of(SOURCE)):
        one.take(each)
    announced = one.update()
    made = advance(one, 300)
    assert [(event.stage, event.early_id) for event in made] == [("withdrawn", announced[0].event_id)]


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), cut=st.floats(0, 1))
def test_a_run_that_goes_on_says_each_event_once(seed: int, cut: float) -> None:
    rng = Random(seed)
    sources = [
        Source(46 + rng.uniform(-0.3, 0.3), 8 + rng.uniform(-0.4, 0.4), rng.uniform(2, 20), time_s)
        for time_s in (20, 55, 130)
    ]
    picks = [*picks_of(*sources, seed=seed), *noise(list(PLACES), 10, 180.0, rng)]
    picks.sort(key=lambda one: one.time_ns)

    def run(one: EventTracker, some: Sequence[Pick], until_s: float) -> list[Event]:
        made: list[Event] = []
        for each in some:
            one.take(each)
            one.advance(each.time_ns)
            made += one.update(announce=False)
        one.advance(ns_from_s(BEGIN_S + until_s))
        return made + one.update()

    whole = [event for event in run(tracker(), picks, 500) if event.stage == "final"]
    stop = round(cut * len(picks))
    before = run(tracker(), picks[:stop], 0)
    # As documents in the store have them.
    stored = [event_from_document(event_document(event, AgencyConfig())) for event in before]
    again = tracker()
    again.restore(picks[:stop], stored)
    after = run(again, picks[stop:], 500)
    finals = [event.id for event in (*before, *after) if event.stage == "final"]
    assert finals == [event.id for event in whole]
    documents = [
        [event_document(event, AgencyConfig())["origin"] for event in events if event.stage == "final"]
        for events in ((*before, *after), whole)
    ]
    assert documents[0] == documents[1]


@pytest.mark.parametrize("amplitude_mm", [-1.0, 0.0, 1e308, math.inf, math.nan])
def test_an_amplitude_that_is_none_counts_for_no_magnitude(amplitude_mm: float) -> None:
    picks = [
        replace(one, motion=GroundMotion(1e-6, amplitude_mm, -2.0, 3.0)) if one.phase == "S" else one
        for one in (pick(*onset) for onset in onsets(SOURCE, PLACES, Random(1)))
    ]
    one = tracker()
    for each in picks:
        one.take(each)
    [event] = [event for event in one.update(everything=True) if event.stage == "final"]
    assert event.origin is not None
    assert event.magnitude is None

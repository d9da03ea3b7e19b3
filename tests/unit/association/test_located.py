"""Picks of known sources are recovered, with place and time; the events follow from the set of picks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.association.network import (
    BEGIN_S,
    LAYERS,
    Source,
    kept,
    noise,
    onsets,
    pick,
    sites,
    stations_of,
)
from xiaod.association.cluster import Cluster
from xiaod.association.located import Located, LocatedSettings
from xiaod.association.location import Arrivals, Locator
from xiaod.association.magnitude import local_magnitude
from xiaod.association.velocity import TravelTimes
from xiaod.config.inventory import NO_STATIONS
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Channel, Event, EventOrigin, EventPick

SETTINGS = LocatedSettings(LAYERS, "test", max_distance_km=120.0)
PLACES = sites(14, 1)
STATIONS = stations_of(PLACES)
SOURCE = Source(46.05, 8.1, 9.0, 30.0)


def located() -> Located:
    return Located(SETTINGS, STATIONS)


def picks_of(*sources: Source, seed: int = 5, places: dict = PLACES) -> list[EventPick]:  # type: ignore[type-arg]
    rng = Random(seed)
    return [kept(pick(*onset)) for source in sources for onset in onsets(source, places, rng)]


def origin_of(cluster: Cluster) -> EventOrigin:
    assert cluster.origin is not None
    return cluster.origin


def check(cluster: Cluster, source: Source, km: float = 1.5, depth_km: float = 3.0, s: float = 0.3) -> None:
    origin = origin_of(cluster)
    assert source.away_km(origin.latitude_deg, origin.longitude_deg) < km
    assert origin.depth_km == pytest.approx(source.depth_km, abs=depth_km)
    assert origin.time_ns / NS_PER_S == pytest.approx(source.time_s, abs=s)


def settle(picks: Sequence[EventPick], complete_s: Sequence[float] = ()) -> list[Cluster]:
    """Events for good, while the data come."""
    method, found, decided_ns = located(), [], EARLIEST_NS
    decided: list[Event] = []
    for complete_ns in (*(ns_from_s(BEGIN_S + one) for one in complete_s), LATEST_NS):
        held = [one for one in picks if one.time_ns < complete_ns and one.time_ns > decided_ns]
        step = method.associate(held, complete_ns, decided_ns, decided)
        decided_ns = max(decided_ns, step.decided_ns)
        found += step.clusters
        decided += [event_of(one) for one in step.clusters]
    return found


def event_of(cluster: Cluster) -> Event:
    return Event(
        "e-v1", "e", 1, "final", "pyocto", cluster.picks[0].time_ns, cluster.picks, origin=cluster.origin
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_known_source_is_recovered_within_its_errors(seed: int) -> None:
    [cluster] = settle(picks_of(SOURCE, seed=seed))
    check(cluster, SOURCE)
    origin = origin_of(cluster)
    assert len(cluster.picks) == 2 * len(PLACES)
    away_km = SOURCE.away_km(origin.latitude_deg, origin.longitude_deg)
    assert away_km < 4 * origin.horizontal_uncertainty_km
    assert abs(origin.depth_km - SOURCE.depth_km) < 4 * origin.depth_uncertainty_km
    assert abs(origin.time_ns / NS_PER_S - SOURCE.time_s) < 4 * origin.time_uncertainty_s
    assert origin.rms_s < 0.2
    residuals = [one.arrival.residual_s for one in cluster.picks if one.arrival is not None]
    assert math.sqrt(sum(one**2 for one in residuals) / len(residuals)) == pytest.approx(origin.rms_s)
    for one in cluster.picks:
        site = PLACES[one.channel.station]
        assert one.arrival is not None
        assert one.arrival.distance_km == pytest.approx(
            SOURCE.away_km(site.latitude_deg, site.longitude_deg), abs=1.5
        )
    assert [one.phase for one in cluster.picks] == ["P"] * len(PLACES) + ["S"] * len(PLACES)


def test_a_source_at_which_all_picks_fit_at_once_is_located_all_the_same() -> None:
    few = {name: PLACES[name] for name in list(PLACES)[:4]}
    [cluster] = located().announce(picks_of(SOURCE, places=few), [])
    assert origin_of(cluster).rms_s < 0.2
    check(cluster, SOURCE, km=2.0, depth_km=5.0)


def test_without_s_the_depth_is_known_less_well() -> None:
    both = picks_of(SOURCE)
    [cluster], [alone] = settle(both), settle([one for one in both if one.phase == "P"])
    assert not origin_of(alone).depth_uncertainty_km < origin_of(cluster).depth_uncertainty_km
    check(alone, SOURCE, km=3.0, depth_km=15.0, s=1.5)


def test_sources_apart_in_place_or_time_are_told_apart() -> None:
    other, later = Source(45.8, 7.7, 5.0, 31.5), Source(46.05, 8.1, 9.0, 45.0)
    clusters = settle(picks_of(SOURCE, other, later))
    assert len(clusters) == 3
    for cluster, source in zip(
        sorted(clusters, key=lambda one: origin_of(one).time_ns), (SOURCE, other, later), strict=True
    ):
        check(cluster, source)


def test_noise_makes_no_event_and_does_not_move_one() -> None:
    rng = Random(3)
    noisy = [kept(one) for one in noise(list(PLACES), 40, 200.0, rng)]
    assert settle(noisy) == []
    [cluster] = settle(picks_of(SOURCE) + noisy)
    check(cluster, SOURCE)


def test_a_second_sensor_and_what_comes_late_make_no_second_event() -> None:
    first = picks_of(SOURCE)
    second = [
        kept(pick(one.channel.station, one.phase, one.time_ns / NS_PER_S + 0.15, location="10"))
        for one in first
    ]
    [cluster] = settle(first + second)
    assert len(cluster.picks) == len(first)
    method = located()
    assert method.announce(second, [event_of(cluster)]) == []
    assert len(method.announce(second, [])) == 1


def test_too_few_picks_or_stations_are_none() -> None:
    three = {name: PLACES[name] for name in list(PLACES)[:3]}
    assert settle(picks_of(SOURCE, places=three)) == []
    assert settle(picks_of(SOURCE)[:7]) == []


def test_what_nearer_stations_do_not_have_is_none() -> None:
    near, far = dict(list(PLACES.items())[:11]), sites(9, 2, latitude=46.7, longitude=8.9, half_km=12.0)
    far = {f"F{name}": site for name, site in far.items()}
    # All stations work, since they have picks of something else.
    working = [kept(pick(name, "P", BEGIN_S + 3 * number)) for number, name in enumerate(near)]
    heard = picks_of(SOURCE, places=far)
    method = Located(SETTINGS, stations_of({**near, **far}))
    assert method.announce([*working, *heard], []) == []
    whole = picks_of(SOURCE, places={**near, **far})
    [cluster] = method.announce([*working, *whole], [])
    check(cluster, SOURCE)


def test_a_station_without_coordinates_is_told_and_left_out() -> None:
    told: list[Channel] = []
    method = Located(SETTINGS, STATIONS, told.append)
    unknown = kept(pick("NOBODY", "P", SOURCE.time_s + 3))
    [cluster] = method.announce([*picks_of(SOURCE), unknown], [])
    assert [one.station for one in told] == ["NOBODY"]
    assert unknown not in cluster.picks
    assert Located(SETTINGS, NO_STATIONS).announce(picks_of(SOURCE), []) == []


@pytest.mark.parametrize("longitude", [-179.99, 180.0])
def test_it_works_across_the_date_line(longitude: float) -> None:
    places = sites(10, 4, latitude=-17.0, longitude=longitude)
    source = Source(-17.1, 179.9, 12.0, 30.0)
    [cluster] = Located(SETTINGS, stations_of(places)).announce(picks_of(source, places=places), [])
    check(cluster, source)


def test_of_many_stations_all_picks_that_fit_belong_to_it() -> None:
    places = sites(120, 7, half_km=60.0)
    method = Located(SETTINGS, stations_of(places))
    small = Source(46.2, 8.3, 4.0, 36.0)
    nearest = sorted(
        places, key=lambda name: small.away_km(places[name].latitude_deg, places[name].longitude_deg)
    )[:8]
    picks = picks_of(SOURCE, places=places) + picks_of(small, places={name: places[name] for name in nearest})
    clusters = sorted(method.announce(picks, []), key=lambda one: origin_of(one).time_ns)
    assert len(clusters[0].picks) == 240
    check(clusters[0], SOURCE)
    # Some of its picks fit the larger one, too.
    assert len(clusters[1].picks) >= 8
    assert {one.id for one in clusters[1].picks} <= {one.id for one in picks[240:]}
    check(clusters[1], small, depth_km=10.0)


def test_the_magnitude_is_the_median_of_stations_with_amplitudes() -> None:
    def measured(one: EventPick, value: float) -> EventPick:
        site = PLACES[one.channel.station]
        away_km = SOURCE.away_km(site.latitude_deg, site.longitude_deg)
        amplitude = 10 ** (value - local_magnitude(1.0, math.hypot(away_km, SOURCE.depth_km)))
        return replace(one, wood_anderson_mm=amplitude)

    picks = [measured(one, 2.0 if one.phase == "S" else 5.0) for one in picks_of(SOURCE)]
    s_picks = [number for number, one in enumerate(picks) if one.phase == "S"]
    picks[s_picks[0]] = measured(picks[s_picks[0]], 4.0)
    [cluster] = settle(picks)
    assert cluster.magnitude is not None
    assert cluster.magnitude.value == pytest.approx(2.0, abs=0.05)
    assert cluster.magnitude.stations == len(PLACES)
    assert all((one.wood_anderson_mm is None) == (one.phase == "P") for one in cluster.picks)
    [unmeasured] = settle([replace(one, wood_anderson_mm=None) for one in picks])
    assert unmeasured.magnitude is None
    [early] = located().announce([replace(one, stage="early") for one in picks], [])
    assert early.magnitude is None


@settings(max_examples=5)
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.floats(20, 220), max_size=6).map(sorted),
)
def test_settled_events_do_not_depend_on_the_order_nor_on_how_the_data_came(
    seed: int, steps: list[float]
) -> None:
    rng = Random(seed)
    sources = [
        Source(46 + rng.uniform(-0.3, 0.3), 8 + rng.uniform(-0.4, 0.4), rng.uniform(2, 20), time_s)
        for time_s in (15 + rng.uniform(0, 10), 40 + rng.uniform(0, 10), 90 + rng.uniform(0, 40))
    ]
    picks = [*picks_of(*sources, seed=seed), *(kept(one) for one in noise(list(PLACES), 15, 180.0, rng))]
    whole = settle(picks)
    assert len(whole) >= 2
    shuffled = list(picks)
    rng.shuffle(shuffled)
    assert settle(shuffled, steps) == whole


def test_an_announced_event_is_found_again_while_others_follow() -> None:
    later = Source(45.9, 8.0, 6.0, 120.0)
    method = located()
    [first] = method.announce(picks_of(SOURCE), [])
    picks = picks_of(SOURCE, later)
    for count in range(2 * len(PLACES) + 8, len(picks) + 1, 5):
        ordered = sorted(picks, key=lambda one: one.time_ns)[:count]
        assert first in method.announce(ordered, [])
    assert len(method.announce(picks, [])) == 2
    # What is settled is not announced again.
    assert len(method.announce(picks, [event_of(first)])) == 1
    # What has lost its picks is none.
    assert len(method.announce(picks[8:], [])) == 2
    assert len(method.announce(picks[2 * len(PLACES) :], [])) == 1


def test_nothing_is_placed_below_the_deepest_source() -> None:
    locator = Locator(TravelTimes(LAYERS, 120.0, 10.0), 10.0)
    x_km, y_km = np.array([10.0, -20.0, 5.0, 30.0]), np.array([5.0, 15.0, -25.0, -10.0])
    nothing, sigma_s = np.zeros(4), np.full(4, 0.05)
    arrivals = Arrivals(x_km, y_km, nothing, np.zeros(4, np.bool_), np.hypot(x_km, y_km) / 5.8, sigma_s)
    assert locator.placed(arrivals, (0.0, 0.0, 25.0)).depth_km == 10.0
    assert locator.locate(arrivals, (0.0, 0.0, 25.0)).depth_km <= 10.0
    # Where the table ends, no slope leads away from a depth below it.
    deep = sorted(picks_of(Source(46.05, 8.1, 13.0, 30.0)), key=lambda one: one.time_ns)
    for cluster in Located(replace(SETTINGS, max_depth_km=10.0), STATIONS).announce(deep, []):
        assert origin_of(cluster).depth_km <= 10.0

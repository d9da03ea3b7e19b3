"""Picks that come close together are one event, whatever the order in which they came."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.association.cluster import Association, Cluster
from xiaod.association.coincidence import (
    LONGEST_S,
    SAME_ONSET_S,
    CoincidenceSettings,
    associate,
)
from xiaod.domain.timegrid import NS_PER_S, ns_from_s
from xiaod.domain.types import Channel, EventPick

FOUR = CoincidenceSettings(stations=4, window_s=15.0)


def pick(station: str, phase: str, time_s: float, uncertainty_s: float = 0.1) -> EventPick:
    channel = Channel("XX", station, "", "HHZ" if phase == "P" else "HHN")
    return EventPick(
        f"{time_s:08.2f}-{phase}-{station}", channel, phase, ns_from_s(time_s), uncertainty_s, "final"
    )


def arrivals(times_s: Sequence[float], first: int = 0) -> list[EventPick]:
    return [pick(f"S{first + number}", "P", time_s) for number, time_s in enumerate(times_s)]


def names(found: Association) -> list[list[str]]:
    return [[one.id for one in cluster.picks] for cluster in found.clusters]


def test_so_many_stations_within_the_window_are_an_event_and_fewer_are_none() -> None:
    assert len(associate(arrivals([0, 5, 10, 15]), FOUR).clusters) == 1
    assert not associate(arrivals([0, 5, 10]), FOUR).clusters
    assert not associate(arrivals([0, 5, 10, 15.5]), FOUR).clusters
    assert not associate([pick("A", "P", time_s) for time_s in range(8)], FOUR).clusters


def test_a_pick_of_noise_before_an_event_does_not_hide_it() -> None:
    [cluster] = associate(arrivals([0, 14, 16, 18, 20]), FOUR).clusters
    assert [one.time_ns / NS_PER_S for one in cluster.picks] == [14, 16, 18, 20]


def test_the_wave_is_followed_across_the_network_and_no_further_than_it_takes() -> None:
    wave = arrivals([0, 4, 8, 12, 26, 40, 54])
    again = [pick("S0", "P", 20), pick("S1", "P", 70)]
    [cluster] = associate([*wave, *again], FOUR).clusters
    assert list(cluster.picks) == wave
    long = arrivals([10.0 * number for number in range(40)])
    first, *_ = associate(long, CoincidenceSettings(stations=2, window_s=10)).clusters
    assert (first.last_ns - first.picks[0].time_ns) / NS_PER_S == LONGEST_S


def test_two_earthquakes_are_two_events() -> None:
    both = arrivals([0, 3, 6, 9]) + arrivals([40, 43, 46, 49])
    assert [len(cluster.picks) for cluster in associate(both, FOUR).clusters] == [4, 4]


def test_one_station_makes_an_event_of_p_and_s_and_says_how_far_it_is() -> None:
    alone = CoincidenceSettings(stations=1)
    assert not associate([pick("A", "P", 0)], alone).clusters
    assert not associate([pick("A", "P", 0), pick("A", "S", 31)], alone).clusters
    assert not associate([pick("A", "P", 0), pick("B", "S", 5)], alone).clusters
    [cluster] = associate([pick("A", "P", 0), pick("A", "S", 10, 0.2)], alone).clusters
    [distance] = cluster.distances
    factor = 5.9 * 3.4 / 2.5
    assert distance.s_minus_p_s == 10
    assert distance.distance_km == pytest.approx(10 * factor)
    assert distance.uncertainty_km == pytest.approx(math.hypot(factor * math.hypot(0.1, 0.2), factor))


def test_an_s_belongs_to_the_last_p_of_its_sensor() -> None:
    alone = CoincidenceSettings(stations=1)
    picks = [pick("A", "P", 0), pick("A", "P", 18), pick("A", "S", 19)]
    [cluster] = associate(picks, alone).clusters
    assert [one.time_ns / NS_PER_S for one in cluster.picks] == [18, 19]
    second = replace(picks[1], channel=Channel("XX", "A", "", "HNZ"), time_ns=1)
    [cluster] = associate([picks[0], second, picks[2]], alone).clusters
    assert cluster.distances[0].s_minus_p_s == 19


def test_an_uncertainty_that_is_not_known_leaves_that_of_the_velocities() -> None:
    [cluster] = associate(
        [pick("A", "P", 0, math.nan), pick("A", "S", 10, math.nan)], CoincidenceSettings(stations=1)
    ).clusters
    assert cluster.distances[0].uncertainty_km == pytest.approx(0.1 * cluster.distances[0].distance_km)


def test_the_nearest_station_comes_first() -> None:
    seconds = [pick("S0", "S", 9), pick("S2", "S", 10)]
    [cluster] = associate(arrivals([0, 2, 4, 6]) + seconds, FOUR).clusters
    assert [one.station for one in cluster.distances] == ["S2", "S0"]
    assert [one.id for one in cluster.picks if one.phase == "S"] == [seconds[1].id, seconds[0].id]


def test_nothing_is_decided_before_all_picks_can_be_there() -> None:
    picks = arrivals([0, 5, 10, 14])
    for complete_s in (10, 14.5, 20, 44):
        assert not associate(picks, FOUR, ns_from_s(complete_s)).clusters
    found = associate(picks, FOUR, ns_from_s(44.01))
    assert names(found) == [[one.id for one in picks]]
    assert found.decided_ns == ns_from_s(14 + SAME_ONSET_S)


PICKS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from("PPPS"), st.integers(0, 600)), max_size=40, unique=True
).map(lambda rows: [pick(f"S{station}", phase, half_s / 2) for station, phase, half_s in rows])


def stepwise(picks: Sequence[EventPick], ends_s: Sequence[float], how: CoincidenceSettings) -> list[Cluster]:
    """As the picks come, and those that are decided go."""
    found, held = [], list(picks)
    for end_s in (*sorted(ends_s), 1e6):
        step = associate(held, how, ns_from_s(end_s))
        found += step.clusters
        held = [one for one in held if one.time_ns > step.decided_ns]
    return found


@settings(max_examples=300)
@given(PICKS, st.lists(st.integers(0, 400), max_size=6), st.integers(1, 4), st.randoms())
def test_the_steps_and_the_order_change_nothing(
    picks: list[EventPick], ends_s: list[int], stations: int, random: object
) -> None:
    how = CoincidenceSettings(stations=stations, window_s=10, max_s_minus_p_s=20)
    whole = associate(picks, how).clusters
    shuffled = list(picks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert associate(shuffled, how).clusters == whole
    assert stepwise(shuffled, ends_s, how) == whole
    for cluster in whole:
        arrived = [one for one in cluster.picks if one.phase == "P"]
        assert len({one.channel.station for one in arrived}) == len(arrived) >= stations

"""The hash that shares the stations: each on one shard, few moves, even parts."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from xiaod.domain.sharding import Shard, shard_of

CODES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), min_size=1, max_size=5)
STATIONS = st.tuples(CODES, CODES)
MANY = [("XX", f"S{number:04d}") for number in range(2000)]


@given(station=STATIONS, count=st.integers(1, 40))
def test_every_station_is_on_exactly_one_shard(station: tuple[str, str], count: int) -> None:
    holding = [index for index in range(count) if Shard(index, count).holds(*station)]
    assert holding == [shard_of(*station, count)]


@given(station=STATIONS, count=st.integers(1, 40))
def test_one_shard_more_takes_stations_and_moves_no_others(station: tuple[str, str], count: int) -> None:
    before, after = shard_of(*station, count), shard_of(*station, count + 1)
    assert after in {before, count}


@given(count=st.integers(1, 12))
def test_as_many_move_as_the_new_shard_needs(count: int) -> None:
    moved = sum(shard_of(*one, count) != shard_of(*one, count + 1) for one in MANY)
    fair = len(MANY) / (count + 1)
    # Six standard deviations of a fair draw.
    assert abs(moved - fair) < 6 * fair**0.5


@given(count=st.integers(2, 12))
def test_parts_are_even(count: int) -> None:
    counts = Counter(shard_of(*one, count) for one in MANY)
    fair = len(MANY) / count
    assert all(abs(counts[index] - fair) < 6 * fair**0.5 for index in range(count))


def test_the_hash_is_the_same_for_ever() -> None:
    # A station that changed its shard with a new version would be picked twice, or not at all, while both run.
    stations = [
        ("BW", "RJOB"),
        ("BW", "WETR"),
        ("BW", "ROTZ"),
        ("GE", "APE"),
        ("AM", "R0E05"),
        ("IU", "ANMO"),
    ]
    assert [shard_of(*station, 4) for station in stations] == [0, 3, 1, 1, 0, 1]

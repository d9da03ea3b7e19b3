"""Stream patterns, and what is asked of a server for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.records import Channel
from xiaod.sources.patterns import MAX_SELECTORS, Subscription, matches, needs_listing, plan

RJOB = Channel("BW", "RJOB", "", "EHZ")
ANMO = Channel("IU", "ANMO", "00", "BHZ")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.*.*.*", [RJOB, ANMO]), ("BW.RJOB..EHZ", [RJOB]), ("BW.RJOB.--.EHZ", [RJOB]), ("BW.RJOB.00.EHZ", []),
        ("??.*O*.*.?H[ZNE]", [RJOB, ANMO]), ("IU.*.0?.BH[!N]", [ANMO]), ("iu.*.*.*", []),
    ],
)  # fmt: skip
def test_patterns_match(pattern: str, expected: list[Channel]) -> None:
    assert [channel for channel in (RJOB, ANMO) if matches(channel, [pattern])] == expected


def test_listed_streams_are_asked_for_one_by_one_and_named_ones_always() -> None:
    asked = plan(["IU.*.*.BH?", "AM.R0E05.00.EH?"], [RJOB, ANMO])
    assert asked == (Subscription("AM", "R0E05", ("00EH?.D",)), Subscription("IU", "ANMO", ("00BHZ.D",)))


@pytest.mark.parametrize(
    ("pattern", "selector"),
    [("A.B..HHZ", "HHZ.D"), ("A.B.--.HHZ", "HHZ.D"), ("A.B.*.HH[ZN]", "HH?.D"), ("A.B.0?.*", "0????.D"), ("A.B.10.H*", "10???.D")],
)  # fmt: skip
def test_selectors_take_at_least_what_the_pattern_does(pattern: str, selector: str) -> None:
    [subscription] = plan([pattern], [])
    assert subscription.selectors == (selector,)


def test_only_wildcards_in_network_or_station_need_the_list() -> None:
    assert not needs_listing(["AM.R0E05.*.*"])
    assert needs_listing(["AM.R0E05.*.*", "AM.R*.00.EHZ"])
    assert plan(["AM.R*.00.EHZ"], []) == ()


def test_very_many_channels_are_asked_for_at_once() -> None:
    channels = [Channel("XX", "BIG", f"{number:02d}", "HHZ") for number in range(MAX_SELECTORS + 1)]
    assert plan(["XX.*.*.*"], channels) == (Subscription("XX", "BIG", ("???.D",)),)


codes = st.text("AB1", min_size=1, max_size=3)


@given(network=codes, station=codes, location=st.sampled_from(["", "00", "A1"]), channel=codes)
def test_a_channel_matches_its_own_name(network: str, station: str, location: str, channel: str) -> None:
    named = Channel(network, station, location, channel)
    assert matches(named, [str(named)])
    assert matches(named, ["ZZ.ZZ..ZZZ", f"{network}.*.*.{channel}"])
    assert plan([str(named)], [named])[0].station == station

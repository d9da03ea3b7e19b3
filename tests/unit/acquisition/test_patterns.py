"""Which channels a pattern means, and whether what is asked of a server brings all of them."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.acquisition.patterns import MAX_SELECTORS, Subscription, matcher, matches, needs_listing, plan
from xiaod.domain.types import Channel

CHANNEL = Channel("BW", "RJOB", "", "EHZ")
ALPHABET = "ABZ01"
"""Few characters, so that patterns and channels often meet."""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("BW.RJOB..EHZ", True), ("BW.RJOB.--.EHZ", True), ("BW.RJOB.*.EHZ", True), ("*.*.*.*", True),
        ("BW.RJOB.??.EHZ", False), ("BW.RJOB.00.EHZ", False), ("BW.RJOB..EH?", True), ("BW.RJOB..E*", True),
        ("B?.R*B..EH[ZNE]", True), ("BW.RJOB..EH[A-E]", False), ("BW.RJOB..EH[!Z]", False), ("BW.RJOB..EH[!N]", True),
        ("BW.RJO..EHZ", False), ("BW.RJOB..HZ", False), ("bw.rjob..ehz", False), ("BW.?..EHZ", False),
    ],
)  # fmt: skip
def test_matches(pattern: str, expected: bool) -> None:
    assert matches(CHANNEL, [pattern]) is expected
    assert matches(CHANNEL, ["XX.NONE..BHZ", pattern]) is expected


def test_location_codes_are_told_apart() -> None:
    channel = Channel("IU", "ANMO", "10", "BHZ")
    assert matches(channel, ["IU.ANMO.10.BH?"])
    assert matches(channel, ["IU.ANMO.?0.BH?"])
    assert not matches(channel, ["IU.ANMO.--.BH?"])
    assert not matches(channel, ["IU.ANMO..BH?"])
    assert not matches(channel, [])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("BW.RJOB..EHZ", False), ("BW.RJOB.*.*", False), ("BW.RJOB..EH[ZNE]", False),
        ("*.RJOB..EHZ", True), ("BW.R?OB..EHZ", True), ("B[WX].RJOB..EHZ", True),
    ],
)  # fmt: skip
def test_only_wildcards_of_network_and_station_need_a_listing(pattern: str, expected: bool) -> None:
    assert needs_listing([pattern]) is expected
    assert needs_listing(["XX.NONE.*.*", pattern]) is expected
    # Without a listing such a pattern cannot be asked for; any other can.
    assert bool(plan([pattern], [])) is not expected


def test_nothing_is_asked_for_nothing() -> None:
    assert not needs_listing([])
    assert plan([], [CHANNEL]) == ()
    assert plan(["XX.*.*.*"], [CHANNEL]) == ()


@pytest.mark.parametrize(
    ("pattern", "selector"),
    [
        ("BW.RJOB..EHZ", "EHZ.D"), ("BW.RJOB.--.EHZ", "EHZ.D"), ("BW.RJOB.*.EH?", "EH?.D"),
        ("BW.RJOB.00.EH[ZNE]", "00EH?.D"), ("BW.RJOB.0?.*", "0????.D"), ("BW.RJOB.[01]0.E*", "?0E??.D"),
        ("BW.RJOB.0*.EHZ", "EHZ.D"), ("BW.RJOB..*Z", "??Z.D"), ("BW.RJOB..EHZ*", "EHZ.D"), ("BW.RJOB..*E*", "???.D"),
    ],
)  # fmt: skip
def test_selectors_of_a_named_station(pattern: str, selector: str) -> None:
    assert plan([pattern], []) == (Subscription("BW", "RJOB", (selector,)),)


def test_listing_gives_stations_and_patterns_what_is_asked_of_them() -> None:
    offered = [
        Channel("GR", "FUR", "", "HHZ"), Channel("BW", "RJOB", "", "EHN"), CHANNEL, Channel("BW", "RJOB", "", "LOG"),
        Channel("IU", "ANMO", "10", "BHZ"), Channel("XX", "NONE", "", "EHZ"),
    ]  # fmt: skip
    assert plan(["BW.*.*.EH?", "[GI]?.*.*.?HZ"], offered) == (
        Subscription("BW", "RJOB", ("EH?.D",)),
        Subscription("GR", "FUR", ("?HZ.D",)),
        Subscription("IU", "ANMO", ("?HZ.D",)),
    )


def test_named_station_is_asked_for_even_when_it_is_not_listed() -> None:
    assert plan(["BW.RJOB..EH?", "*.FUR.*.*"], [Channel("GR", "FUR", "", "HHZ")]) == (
        Subscription("BW", "RJOB", ("EH?.D",)),
        Subscription("GR", "FUR", ("???.D",)),
    )


def test_a_station_that_is_known_is_asked_for_though_it_is_not_listed() -> None:
    known = [("GR", "FUR"), ("XX", "NONE")]
    assert plan(["GR.*.*.HH?", "*.FUR..B*"], [], known) == (Subscription("GR", "FUR", ("B??.D", "HH?.D")),)


def test_very_many_selectors_become_one_that_takes_everything() -> None:
    codes = [f"E{letter}{digit}" for letter in "ABCDE" for digit in range(10)]
    few = plan([f"*.*.*.{code}" for code in codes[:MAX_SELECTORS]], [], [("BW", "RJOB")])
    many = plan([f"*.*.*.{code}" for code in codes[: MAX_SELECTORS + 1]], [], [("BW", "RJOB")])
    assert len(few[0].selectors) == MAX_SELECTORS
    assert many == (Subscription("BW", "RJOB", ("???.D",)),)


codes = st.text(ALPHABET, min_size=1, max_size=3)
channels = st.builds(
    Channel, codes, codes, st.sampled_from(["", "00", "10", "0A"]), st.text(ALPHABET, min_size=3, max_size=3)
)


@st.composite
def pattern_of(draw: st.DrawFn, code: str, free: bool) -> str:
    """A glob that means a code, or fails to by little. When it is not free it keeps the number of characters, or has ``*``."""
    parts = []
    for character in code:
        others = "".join(draw(st.lists(st.sampled_from(ALPHABET), max_size=2)))
        forms = [character] * 3 + ["?", "?", f"[{character}{others}]", f"[!{others or 'A'}]", f"[{others}0]"]
        parts.append(draw(st.sampled_from(forms)))
    glob = "".join(parts)
    kept = draw(st.integers(0, len(parts)))
    forms = [glob, glob, "".join(parts[:kept]) + "*", "*" + "".join(parts[kept:]), "*"]
    return draw(st.sampled_from([*forms, "A", glob + "?"] if free else forms))


@st.composite
def wanted_of(draw: st.DrawFn, channel: Channel) -> str:
    """A pattern near a channel."""
    place = (
        st.sampled_from(["", "--", "*"]) if not channel.location else pattern_of(channel.location, free=False)
    )
    return ".".join(
        [
            draw(pattern_of(channel.network, free=True)),
            draw(pattern_of(channel.station, free=True)),
            draw(place | st.sampled_from(["", "*", "??"])),
            draw(pattern_of(channel.channel, free=False)),
        ]
    )


def translated(glob: str) -> str:
    """A glob as a regular expression, written independently of the standard library's."""
    return glob.replace("*", ".*").replace("?", ".").replace("[!", "[^")


def naive(channel: Channel, pattern: str) -> bool:
    location = channel.location or "--"
    parts = pattern.split(".")
    own = (channel.network, channel.station, location, channel.channel)
    if not channel.location and parts[2] not in {"", "--", "*"}:
        return False
    parts[2] = parts[2] or "--"
    return all(re.fullmatch(translated(part), code) for part, code in zip(parts, own, strict=True))


def takes(selector: str, channel: Channel) -> bool:
    """What a SeedLink 3 server does with ``[LL]CCC.D``, where ``?`` is any one character."""
    code = selector.removesuffix(".D")
    assert len(code) in {3, 5}
    assert re.fullmatch(r"[A-Z0-9?]+", code)
    wanted = code.replace("?", ".")
    own = channel.channel if len(code) == 3 else f"{channel.location:2}{channel.channel}"
    return re.fullmatch(wanted, own) is not None


def delivered(subscriptions: tuple[Subscription, ...], channel: Channel) -> bool:
    return any(
        (one.network, one.station) == (channel.network, channel.station)
        and any(takes(selector, channel) for selector in one.selectors)
        for one in subscriptions
    )


@given(st.data(), channels)
def test_matches_as_a_naive_model_does(data: st.DataObject, channel: Channel) -> None:
    pattern = data.draw(wanted_of(channel))
    assert matches(channel, [pattern]) == naive(channel, pattern)
    other = data.draw(channels)
    assert matches(other, [pattern]) == naive(other, pattern)
    both = [pattern, data.draw(wanted_of(other))]
    assert all(matcher(both)(one) == matches(one, both) for one in (channel, other))


class Counted(tuple[str, ...]):
    """Patterns that know how often they have been gone through."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


def test_many_patterns_are_not_gone_through_for_each_channel() -> None:
    stations = [f"S{number:03}" for number in range(200)]
    offered = [Channel("XX", station, "", "HH" + component) for station in stations for component in "ZNE"]
    patterns = Counted(f"XX.{station}.*.HH?" for station in stations)
    assert [one.station for one in plan(patterns, offered)] == stations
    assert patterns.times <= 2


@given(st.data(), st.lists(channels, min_size=1, max_size=8))
def test_every_offered_channel_that_is_wanted_is_delivered(
    data: st.DataObject, offered: list[Channel]
) -> None:
    wanted = [data.draw(wanted_of(channel)) for channel in offered[:3]]
    subscriptions = plan(wanted, offered)
    for channel in offered:
        if matches(channel, wanted):
            assert delivered(subscriptions, channel)
    stations = [(one.network, one.station) for one in subscriptions]
    assert stations == sorted(set(stations))
    for place in stations:
        named = any(pattern.split(".")[:2] == list(place) for pattern in wanted)
        assert named or any((one.network, one.station) == place and matches(one, wanted) for one in offered)


@given(st.data(), channels)
def test_named_station_delivers_what_the_pattern_means_without_a_listing(
    data: st.DataObject, channel: Channel
) -> None:
    location, code = data.draw(wanted_of(channel)).split(".")[2:]
    pattern = f"{channel.network}.{channel.station}.{location}.{code}"
    if matches(channel, [pattern]):
        assert delivered(plan([pattern], []), channel)

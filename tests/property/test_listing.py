"""The list of streams of a server: read in any pieces, bounded, and what is damaged costs one station."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.acquisition.seedlink import listing
from xiaod.acquisition.seedlink.listing import Listing, ListingError, ServerInfo

HEAD = (
    b'<?xml version="1.0"?>\n<seedlink software="SeedLink v3.1" organization="Z\xc3\xbcrich" started="2026">'
)


def station(name: bytes, description: bytes = b"x", streams: Sequence[bytes] = (b"EHZ",)) -> bytes:
    """A station as SeisComP and ringserver write it."""
    inner = b"".join(
        b'<stream location="00" seedname="%s" type="D" begin_time="2026/01/02 03:04:05.0000" end_time="2026/01/02 04:04:05.0000"/>'
        % one
        for one in streams
    )
    begin = (
        b'<station name="%s" network="BW" description="%s" begin_seq="000001" end_seq="00FFFF" stream_check="enabled"'
        % (name, description)
    )
    return begin + (b">" + inner + b"</station>" if inner else b"/>")


def document(*stations: bytes) -> bytes:
    return HEAD + b"\n".join(stations) + b"</seedlink>\n"


def read(text: bytes, cuts: Sequence[int] = ()) -> ServerInfo:
    found = Listing()
    edges = sorted({0, len(text), *(at % (len(text) + 1) for at in cuts)})
    for begin, stop in pairwise(edges):
        found.feed(text[begin:stop])
    return found.close()


def names(info: ServerInfo) -> list[str]:
    return [str(item.channel) for item in info.streams]


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 3)), max_size=8, unique_by=lambda one: one[0]),
    st.lists(st.integers(0, 5000), max_size=10),
)
def test_any_list_in_any_pieces_is_read_as_one_document(
    stations: list[tuple[int, int]], cuts: list[int]
) -> None:
    channels = (b"EHZ", b"EHN", b"EHE")
    text = document(*(station(b"A%03d" % number, streams=channels[:count]) for number, count in stations))
    info = read(text, cuts)
    root = ElementTree.fromstring(text)  # noqa: S314  our own
    expected = [
        f"BW.{one.get('name')}.00.{stream.get('seedname')}"
        for one in root.iter("station")
        for stream in one.iter("stream")
    ]
    assert names(info) == sorted(expected)
    assert [name for _, name in info.stations] == sorted(
        f"A{number:03}" for number, count in stations if not count
    )
    assert (info.software, info.organization, info.remarks) == ("SeedLink v3.1", "Zürich", ())


@pytest.mark.parametrize(
    "description",
    [
        b"M\xfcnchen",
        b"a \x00 b",
        b"\x1b[1m",
        b"Smith & Sons",
        b"x &eacute; y",
        b'the "old" one',
        b"a < b > c",
        b"\xed\xa0\x80",
        b"&#0;",
    ],
)
def test_an_odd_description_costs_nothing(description: bytes) -> None:
    info = read(document(station(b"AAA"), station(b"ODD", description), station(b"ZZZ")))
    assert names(info) == ["BW.AAA.00.EHZ", "BW.ODD.00.EHZ", "BW.ZZZ.00.EHZ"]
    assert info.remarks == ()


@pytest.mark.parametrize(
    "damage",
    [
        b'<station name="ODD" network="BW"><stream',
        b"<station>&#0;</station>",
        b'<station name=ODD network="BW"/>',
    ],
)
def test_damage_costs_one_station_and_is_told(damage: bytes) -> None:
    info = read(document(station(b"AAA"), damage, station(b"ZZZ")))
    assert names(info) == ["BW.AAA.00.EHZ", "BW.ZZZ.00.EHZ"]
    [remark] = info.remarks
    assert remark.startswith("stations of the list that cannot be read: 1 (")


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.integers(0, 4000),
    st.integers(0, 600),
)
def test_any_damage_costs_no_station_that_it_does_not_touch(
    flips: list[tuple[int, int]], gap: int, missing: int
) -> None:
    untouched = [station(b"S%02d" % number) for number in range(3)]
    damaged = bytearray(b"".join(station(b"D%02d" % number) for number in range(10)))
    for at, value in flips:
        damaged[at % len(damaged)] = value
    del damaged[gap % len(damaged) : gap % len(damaged) + missing]
    info = read(document(untouched[0], untouched[1], bytes(damaged), untouched[2]))
    assert {"BW.S00.00.EHZ", "BW.S01.00.EHZ", "BW.S02.00.EHZ"} <= set(names(info))


@pytest.mark.parametrize(
    "text",
    [b"", b"<a", b"<!DOCTYPE x [<!ENTITY a 'b'>]><seedlink/>", b"\xff" * 9, b'<?xml version="1.0" encoding="utf-7"?><a/>',
     b"<!DOCTYPE x [<!ENTITY a 'b'>]><seedlink>" + station(b"AAA") + b"</seedlink>", "<seedlink/>".encode("utf-16")],
)  # fmt: skip
def test_what_is_no_list_is_refused(text: bytes) -> None:
    with pytest.raises(ListingError):
        read(text)


def test_a_station_without_end_is_refused() -> None:
    found = Listing()
    found.feed(HEAD + b'<station name="A" network="BW">')

    def feed() -> None:
        for _ in range(10_000):
            found.feed(b"<stream/>" * 100)

    with pytest.raises(ListingError, match="of one station"):
        feed()


def test_streams_are_kept_up_to_a_limit_and_only_those_that_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "MAX_STREAMS", 20)
    text = document(*(station(b"A%03d" % number, streams=(b"EHZ", b"LOG")) for number in range(30)))
    info = read(text)
    assert len(info.streams) == 20
    assert info.remarks == ("streams beyond 20 that are left out of the list: 40; name networks or stations",)
    found = Listing(lambda channel: channel.component == "Z" and channel.station < "A015")
    found.feed(text)
    info = found.close()
    assert len(info.streams) == 15
    assert not info.remarks
    # What is listed with streams that nobody wants has streams.
    assert not info.stations

"""Packets out of a stream of bytes: records of any length, however it is cut into reads, and whatever is missing in between."""

from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.test_miniseed import real_records
from tests.unit.acquisition.test_miniseed import RAMP, written
from xiaod.acquisition.miniseed import record_length
from xiaod.acquisition.seedlink.framing import EndOfDataError, Frame, Framing, LinkError

RECORDS = [
    *(record for record in real_records() if record_length(record[:512]) == len(record)),
    written(RAMP.astype("int32"), "STEIM2", length=1024),
]


def test_the_records_are_of_many_lengths() -> None:
    assert {256, 512, 1024, 4096} <= {len(record) for record in RECORDS}
    assert any(record.startswith(b"MS\x03") for record in RECORDS)


def packets(records: list[bytes]) -> list[bytes]:
    return [b"SL%06X" % (number % (1 << 24)) + record for number, record in enumerate(records, 0xFFFFF0)]


def cut(pieces: list[bytes]) -> Iterator[Frame]:
    received = bytearray()
    framing = Framing(received)
    for piece in pieces:
        received += piece
        yield from framing.cut()


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(content), *(at % (len(content) + 1) for at in cuts)})
    return [content[begin:stop] for begin, stop in pairwise(edges)]


chosen = st.lists(st.integers(0, len(RECORDS) - 1), min_size=1, max_size=12)
places = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(chosen, places)
def test_every_record_comes_whole_however_it_is_read(numbers: list[int], cuts: list[int]) -> None:
    records = [RECORDS[number] for number in numbers]
    frames = list(cut(pieces_of(b"".join(packets(records)), cuts)))
    assert [frame.record for frame in frames] == records
    assert [frame.sequence for frame in frames] == list(range(0xFFFFF0, 0xFFFFF0 + len(records)))
    assert not any(frame.skipped for frame in frames)


@given(chosen, chosen, places, st.integers(0, 1 << 16), st.integers(1, 1 << 13))
@example(before=[2], behind=[0], cuts=[264], at=63, missing=1)
def test_missing_bytes_cost_only_the_packets_they_are_missing_from(
    before: list[int], behind: list[int], cuts: list[int], at: int, missing: int
) -> None:
    sent = packets([RECORDS[number] for number in [*before, *behind]])
    content = b"".join(sent)
    head = len(b"".join(sent[: len(before)]))
    # Some bytes of the first part are missing; the second part is there.
    first = at % head
    stop = min(first + missing, head)
    frames = list(cut(pieces_of(content[:first] + content[stop:], cuts)))
    edges = [0, *accumulate(map(len, sent))]
    whole = [
        packet
        for packet, (begin, end) in zip(sent, pairwise(edges), strict=True)
        if end <= first or begin >= stop
    ]
    came = [frame.header + frame.record for frame in frames]
    ours = [packet for packet in came if packet in sent]
    assert [packet for packet in ours if packet in whole] == whole
    assert ours == [packet for packet in sent if packet in ours]
    assert len(came) - len(ours) <= 1
    # What is neither in a packet nor told is nowhere.
    told = sum(map(len, came)) + sum(frame.skipped for frame in frames)
    assert told == len(content) - (stop - first)


@pytest.mark.parametrize("record", [b"\xaa" * 512, bytes(512)])
def test_what_is_no_record_has_512_bytes(record: bytes) -> None:
    good = RECORDS[0]
    frames = list(cut([*packets([good, record, good])]))
    assert [frame.record for frame in frames] == [good, record, good]


@pytest.mark.parametrize(("claimed", "sent"), [(512, 264), (512, 1024), (4096, 512)])
def test_lengths_that_are_not_those_of_the_headers_end_it(claimed: int, sent: int) -> None:
    [record, *_] = [one for one in RECORDS if len(one) == claimed and not one.startswith(b"MS")]
    packet = b"SL000001" + record.ljust(sent, b"\0")[:sent]
    with pytest.raises(LinkError, match="records of another length than their headers say"):
        list(cut([packet] * 1000))


def test_a_few_bytes_behind_each_packet_do_not() -> None:
    record = next(one for one in RECORDS if len(one) == 512)
    frames = list(cut([b"SL000001" + record + b"\r\n"] * 1000))
    assert len(frames) == 1000
    assert {frame.skipped for frame in frames[1:]} == {2}


@pytest.mark.parametrize(("word", "kind"), [(b"END", EndOfDataError), (b"ERROR\r\n", LinkError)])
def test_words_in_place_of_a_packet(word: bytes, kind: type[LinkError]) -> None:
    with pytest.raises(kind, match=word[:3].decode()):
        list(cut([*packets(RECORDS[:2]), word]))

"""Any bytes from a client: cut anywhere, never an exception, never an answer that is no answer."""

import string
from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from xiaod.domain.timegrid import NS_PER_S, iso_from_ns
from xiaod.replay.protocol import (
    MAX_LINE_BYTES,
    LineSplitter,
    LineTooLongError,
    ProtocolError,
    parse_command,
    parse_sequence,
    parse_time,
)
from xiaod.replay.selection import SelectorError, parse_selector, selects
from xiaod.replay.session import Action, Session

VERBS = [
    "HELLO",
    "station",
    "SELECT",
    "DATA",
    "FETCH",
    "TIME",
    "END",
    "BATCH",
    "INFO",
    "CAT",
    "CAPABILITIES",
    "BYE",
]
WORDS = st.one_of(
    st.sampled_from(
        ["RJOB", "BW", "*", "EH?", "!EHZ", "0x1F", "00000A", "2009,08,24,00,20,03", "EXTREPLY", "ID", "D"]
    ),
    st.text(string.printable, max_size=12),
)
LINES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda verb, words: " ".join([verb, *words]).encode(),
        st.sampled_from(VERBS),
        st.lists(WORDS, max_size=4),
    ),
)


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=8))
def test_lines_do_not_depend_on_how_bytes_arrive(received: bytes, cuts: list[int]) -> None:
    def lines(parts: list[bytes]) -> list[bytes] | None:
        splitter = LineSplitter()
        try:
            return [line for part in parts for line in splitter.feed(part)]
        except LineTooLongError:
            return None

    places = [0, *sorted(cuts), len(received)]
    pieces = [received[a:b] for a, b in pairwise(places)]
    together = lines([received])
    assert lines(pieces) == together
    naive = received.replace(b"\r", b"\n").split(b"\n")
    longest = max(map(len, naive))
    complete = [line for line in naive[:-1] if line.strip()]  # what follows the last ending may go on
    assert together == (complete if longest <= MAX_LINE_BYTES else None)


@given(st.lists(LINES, max_size=12))
def test_a_session_answers_anything_and_goes_on(lines: list[bytes]) -> None:
    hello = b"SeedLink v3.1\r\nhere\r\n"
    session = Session(hello)
    streams = 0
    for line in lines:
        was_streaming = session.streaming
        outcome = session.handle(line)
        streams += outcome.action is Action.STREAM
        reply = outcome.reply
        assert reply in (b"", b"OK\r\n", hello) or (reply[:5] == b"ERROR" and reply[-2:] == b"\r\n")
        assert reply.isascii()
        if was_streaming:
            assert reply == b""
    assert streams <= 1
    request = session.request()
    assert request.match("BW", "RJOB", "", "EHZ", "D") in (None, *range(len(request.stations)))


@given(st.binary(max_size=100))
def test_words_are_what_stands_between_blanks(line: bytes) -> None:
    command = parse_command(line)
    assert command.verb == command.verb.upper()
    assert all(word and not any(letter in word for letter in " \t\r\n") for word in command.words)


@given(st.integers(0, 2**24 - 1), st.booleans(), st.booleans())
def test_numbers_are_read_as_written(number: int, prefixed: bool, small: bool) -> None:
    text = f"{number:06X}"
    text = text.lower() if small else text
    assert parse_sequence("0x" + text if prefixed else text) == number


@given(st.integers(0, 4_102_444_800))
def test_times_are_read_as_written(seconds: int) -> None:
    iso = iso_from_ns(seconds * NS_PER_S)
    commas = iso[:19].replace("-", ",").replace("T", ",").replace(":", ",")
    assert parse_time(commas) == parse_time(iso) == seconds * NS_PER_S
    assert parse_time(commas + ".25") == seconds * NS_PER_S + 250_000_000


@given(st.text(max_size=20))
def test_what_is_no_number_time_or_selector_is_refused_in_one_way(text: str) -> None:
    for parse, kind in (
        (parse_sequence, ProtocolError),
        (parse_time, ProtocolError),
        (parse_selector, SelectorError),
    ):
        with suppress(kind):
            parse(text)


CODE = st.text("ABC019", min_size=3, max_size=3)


@given(st.text("0A", min_size=2, max_size=2), CODE, st.lists(st.booleans(), min_size=5, max_size=5))
def test_a_selector_with_question_marks_takes_what_it_was_made_from(
    location: str, channel: str, masked: list[bool]
) -> None:
    pattern = "".join(
        "?" if mask else letter for mask, letter in zip(masked, location + channel, strict=True)
    )
    assert selects([parse_selector(pattern)], location, channel, "D")
    assert selects([parse_selector(pattern + ".D")], location, channel, "D")
    assert not selects([parse_selector(pattern + ".L")], location, channel, "D")
    assert not selects([parse_selector("!" + pattern)], location, channel, "D")
    other = channel[:2] + ("X" if not masked[4] else channel[2])
    assert selects([parse_selector(pattern)], location, other, "D") is masked[4]

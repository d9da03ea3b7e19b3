r"""Bytes from a client into commands; times and numbers as SeedLink v3 writes them.

A command ends with CR, LF or both; words are separated by blanks. The length of a line is limited. Anything else
becomes an unknown command, which is answered with ERROR.

>>> splitter = LineSplitter()
>>> splitter.feed(b"STATION  RJOB BW\rSELECT BH?\r\nEN") + splitter.feed(b"D\n")
[b'STATION  RJOB BW', b'SELECT BH?', b'END']
>>> parse_command(b"data 0x1A 2009,8,24,0,20,3")
Command(verb='DATA', words=('0x1A', '2009,8,24,0,20,3'))
>>> parse_sequence("0x1A"), parse_time("2009,8,24,0,20,3")
(26, 1251073203000000000)
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from xiaod.domain.seedlink import SEQUENCE_MODULUS
from xiaod.domain.timegrid import NS_PER_S, ns_from_iso

MAX_LINE_BYTES = 4096
"""Longest command accepted: SeedLink says 255, but tokens are longer."""

NUMBERS_4 = 1 << 64
"""SeedLink 4 has so many sequence numbers."""

_TERMINATOR = re.compile(rb"[\r\n]")
_SEQUENCE = re.compile(r"(?:0[xX])?[0-9A-Fa-f]{1,8}")
_TIME = re.compile(r"(\d{4})((?:,\d{1,2}){2,5})(?:\.(\d{1,9}))?")


class ProtocolError(ValueError):
    """A command has a wrong word."""


class LineTooLongError(ProtocolError):
    """No terminator within `MAX_LINE_BYTES`: not a SeedLink client."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        verb: first word in capitals, empty for a blank line.
        words: the others as they came.
    """

    verb: str
    words: tuple[str, ...]


class LineSplitter:
    """Cuts a byte stream into lines, however it is cut into reads."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        """Take bytes, give the lines they complete, blank ones left out.

        Raises:
            LineTooLongError: if a line exceeds `MAX_LINE_BYTES`.
        """
        *lines, self._rest = _TERMINATOR.split(self._rest + received)
        longest = max(map(len, lines), default=0)
        if max(longest, len(self._rest)) > MAX_LINE_BYTES:
            raise LineTooLongError(f"a command is longer than {MAX_LINE_BYTES} bytes")
        return [line for line in lines if line.strip()]


def parse_command(line: bytes) -> Command:
    """Divide a line into verb and words; any bytes are accepted."""
    words = line.decode("latin-1").split()
    return Command(words[0].upper(), tuple(words[1:])) if words else Command("", ())


def parse_sequence(text: str) -> int:
    """Read a hexadecimal sequence number with or without ``0x``; only its lowest 24 bits count.

    Raises:
        ProtocolError: if it is none.
    """
    if _SEQUENCE.fullmatch(text) is None:
        raise ProtocolError(f"{text!r} is no hexadecimal sequence number")
    return int(text, 16) % SEQUENCE_MODULUS


def parse_decimal(text: str) -> int:
    """Read a sequence number of SeedLink 4: decimal, below 2**64.

    Raises:
        ProtocolError: if it is none.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) >= NUMBERS_4:
        raise ProtocolError(f"{text[:30]!r} is no sequence number")
    return int(text)


def parse_time(text: str) -> int:
    """Read ``year,month,day,hour,minute,second[.fraction]`` or ISO 8601 as ns UTC.

    Hour, minute and second may be missing.

    Raises:
        ProtocolError: if it is neither.
    """
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            return ns_from_iso(text)
        year, rest, fraction = found.groups()
        month, day, *clock = (int(part) for part in rest[1:].split(","))
        hour, minute, second = (*clock, 0, 0, 0)[:3]
        moment = datetime(int(year), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no time such as 2009,08,24,00,20,03 ({error})") from None
    return round(moment.timestamp()) * NS_PER_S + int((fraction or "0").ljust(9, "0"))

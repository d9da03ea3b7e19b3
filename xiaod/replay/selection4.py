"""Stream patterns of SeedLink 4: which streams of a station a client has asked for.

Source: SeedLink 4.0, "Pattern matching" and SELECT. A pattern is ``[!]LOC_B_S_SS[.FS]``: location, band, source and subsource of the
FDSN source identifier, then format and subformat of the packet, of which the beginning is enough; ``?`` stands for one character, ``*`` for
any number, ``!`` excludes. The only filter is ``:native``: records are sent as they are.

>>> wanted = [parse_pattern("*_E_H_?.2D"), parse_pattern("!_E_H_E")]
>>> [all(one.takes("", channel, "2D") is not one.negative for one in wanted) for channel in ("EHZ", "EHE", "BHZ")]
[True, False, False]
>>> parse_pattern("E_H_Z:3")
Traceback (most recent call last):
...
xiaod.replay.selection.SelectorError: filter '3' is not supported; :native is
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xiaod.replay.selection import SelectorError

MAX_PATTERN_CHARACTERS = 64
"""Longer patterns are refused."""

_PATTERN = re.compile(r"(!?)([A-Z0-9?*_-]+)(?:\.([A-Z0-9?*]{1,3}))?(?::([A-Za-z0-9]+))?")
_STATION = re.compile(r"[A-Z0-9?*_-]{1,21}")


@dataclass(frozen=True)
class Pattern:
    """One parsed pattern.

    Attributes:
        stream: pattern of the stream ID, ``LOC_B_S_SS``.
        kind: pattern with which format and subformat begin.
        negative: whether it excludes.
    """

    stream: str
    kind: str
    negative: bool

    def takes(self, location: str, channel: str, kind: str) -> bool:
        """Tell whether a stream fits, exclusion left aside; ``kind`` is its format and subformat."""
        return fnmatchcase(stream_id(location, channel), self.stream) and fnmatchcase(kind, f"{self.kind}*")


def stream_id(location: str, channel: str) -> str:
    """Stream ID of a channel with a code of three letters.

    >>> stream_id("", "EHZ"), stream_id("00", "BHZ")
    ('_E_H_Z', '00_B_H_Z')
    """
    return f"{location}_{channel[:1]}_{channel[1:2]}_{channel[2:]}"


def parse_pattern(text: str) -> Pattern:
    """Parse a word of SELECT.

    Raises:
        SelectorError: naming the pattern and what is wrong with it.
    """
    found = _PATTERN.fullmatch(text)
    if found is None or len(text) > MAX_PATTERN_CHARACTERS:
        raise SelectorError(f"pattern {text[:80]!a} is not [!]LOC_B_S_SS[.FS][:FILTER]")
    sign, stream, kind, converted = found.groups()
    if converted is not None and (sign or converted != "native"):
        raise SelectorError(f"filter {converted!r} is not supported; :native is")
    return Pattern(stream, kind or "", sign == "!")


def parse_station(text: str) -> str:
    """Check a station ID, ``NET_STA``, with wildcards.

    Raises:
        SelectorError: if it has other characters, or too many.
    """
    if _STATION.fullmatch(text) is None:
        raise SelectorError(f"station ID {text[:80]!a} is not 1 to 21 letters, digits, ? * - _")
    return text

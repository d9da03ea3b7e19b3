"""Selectors and wildcards: which streams a client has asked for.

Source: SeedLink v3 as spoken by SeisComP and ringserver. A selector is ``[!]LLCCC.T``: location, channel,
type; location, channel or type may stand alone (``00``, ``BHZ``, ``D``); ``?`` stands for one character,
``*`` for any number, ``-`` for a blank; ``!`` excludes. A stream is wanted if one selector takes it (or none
that takes is given) and none excludes it.

>>> wanted = [parse_selector("BH?.D"), parse_selector("!--BHE")]
>>> [selects(wanted, "", channel, "D") for channel in ("BHZ", "BHE", "HHZ")]
[True, False, False]
>>> parse_selector("B[HZ]")
Traceback (most recent call last):
...
xiaod.replay.selection.SelectorError: selector 'B[HZ]' has characters other than letters, digits, ? * - . !
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

MAX_SELECTOR_CHARACTERS = 16
"""Longer selectors are refused; the longest sensible one, ``!00BHZ.D``, has eight."""

_SELECTOR = re.compile(r"(!?)([A-Z0-9?*-]*)(?:\.([A-Z?*]))?")
_CODE = re.compile(r"[A-Z0-9?*_-]{1,9}")
_TYPES = "DECOTL"


class SelectorError(ValueError):
    """A selector or code that is not valid."""


@dataclass(frozen=True)
class Selector:
    """One parsed selector.

    Attributes:
        location, channel, kind: patterns with ``?`` and ``*``; blanks are written ``-``.
        negative: whether it excludes.
    """

    location: str
    channel: str
    kind: str
    negative: bool

    def takes(self, location: str, channel: str, kind: str) -> bool:
        """Tell whether a stream fits, exclusion left aside."""
        return (
            fnmatchcase(location.ljust(2, "-"), self.location)
            and fnmatchcase(channel.ljust(3, "-"), self.channel)
            and fnmatchcase(kind, self.kind)
        )


def parse_selector(text: str) -> Selector:
    """Parse ``[!]LLCCC.T`` or one of its short forms.

    Raises:
        SelectorError: naming the selector and what is wrong with it.
    """
    found = _SELECTOR.fullmatch(text.upper())
    if found is None or len(text) > MAX_SELECTOR_CHARACTERS:
        raise SelectorError(f"selector {text!r} has characters other than letters, digits, ? * - . !")
    sign, body, kind = found.groups()
    location, channel = "*", "*"
    if len(body) == 5:
        location, channel = body[:2], body[2:]
    elif len(body) == 3:
        channel = body
    elif len(body) == 2 and "*" not in body:
        location = body
    elif len(body) == 1 and body in _TYPES and kind is None:
        kind = body
    elif "*" in body:
        channel = body  # a pattern of no fixed length is one of channels
    elif body or kind is None:
        raise SelectorError(f"selector {text!r} is none of LLCCC.T, LLCCC, CCC, LL, T")
    return Selector(location, channel, kind or "*", sign == "!")


def parse_code(text: str) -> str:
    """Check a network or station code with wildcards.

    Raises:
        SelectorError: if it has other characters, or too many.
    """
    code = text.upper()
    if _CODE.fullmatch(code) is None:
        raise SelectorError(f"code {text!r} is not 1 to 9 letters, digits, ? * - _")
    return code


class Taker(Protocol):
    """A selector of either version."""

    @property
    def negative(self) -> bool:
        """Whether it excludes."""
        ...

    def takes(self, location: str, channel: str, kind: str) -> bool:
        """Tell whether a stream fits, exclusion left aside."""
        ...


def selects(selectors: Iterable[Taker], location: str, channel: str, kind: str) -> bool:
    """Tell whether a list of selectors wants a stream."""
    taken, positive = False, False
    for selector in selectors:
        takes = selector.takes(location, channel, kind)
        if selector.negative:
            if takes:
                return False
        else:
            positive = True
            taken = taken or takes
    return taken or not positive

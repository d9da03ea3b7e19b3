"""Stream patterns ``NET.STA.LOC.CHA`` with ``*``, ``?`` and ``[..]``: what they match, and which subscriptions they become.

>>> from xiaod.domain.types import Channel
>>> matches(Channel("BW", "RJOB", "", "EHZ"), ["BW.*.--.EH[ZNE]"])
True
>>> plan(["BW.RJOB..EH?"], offered=[])
(Subscription(network='BW', station='RJOB', selectors=('EH?.D',)),)
"""

import re
import string
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.types import Channel, Instrument, Station

CODE_LENGTH = 3
"""Characters of a channel code in SeedLink 3."""
DATA_TYPE = ".D"
"""Type of data records in SeedLink, as opposed to logs and detections (SeedLink 3, SELECT)."""
MAX_SELECTORS = 32
"""If one station needs more, one selector takes everything instead, and unwanted records are dropped on arrival."""

COMPONENTS = string.ascii_uppercase + string.digits
"""Letters that a channel can end with."""

_WILDCARD = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What to ask a server for: a station, or several where its codes hold wildcards (:func:`is_wild`), and selectors."""

    network: str
    station: str
    selectors: tuple[str, ...]

    @property
    def station_codes(self) -> Station:
        """Network and station."""
        return self.network, self.station

    @property
    def name(self) -> str:
        """``NET.STA``."""
        return f"{self.network}.{self.station}"


def matches(channel: Channel, patterns: Iterable[str]) -> bool:
    """Whether any pattern matches; an empty location is matched by ``*``, ``--`` and nothing."""
    return any(_matches(channel, pattern) for pattern in patterns)


def matcher(patterns: Iterable[str]) -> Callable[[Channel], bool]:
    """:func:`matches`, prepared for many channels: patterns that name their station are looked up, however many there are."""
    named: dict[tuple[str, str], list[str]] = {}
    others: list[str] = []
    for pattern in patterns:
        network, station, _, _ = pattern.split(".")
        if _WILDCARD.search(network + station):
            others.append(pattern)
        else:
            named.setdefault((network, station), []).append(pattern)

    def wanted(channel: Channel) -> bool:
        return matches(channel, named.get((channel.network, channel.station), ())) or matches(channel, others)

    return wanted


def may_match(instrument: Instrument, patterns: Collection[str]) -> bool:
    """Whether any pattern matches a channel that an instrument could have."""
    codes = instrument.network, instrument.station, instrument.location
    return any(matches(Channel(*codes, instrument.band + letter), patterns) for letter in COMPONENTS)


def plan(
    patterns: Collection[str],
    offered: Collection[Channel],
    known: Collection[Station] = (),
    with_wildcards: bool = False,
) -> tuple[Subscription, ...]:
    """The subscriptions for patterns.

    Their selectors follow from the patterns, not from the list of the server: a server that has just started lists the streams that have
    come, and other components follow later.

    Args:
        patterns: of the configuration.
        offered: channels that the server lists; empty when it lists none. Then only patterns that name network and station give
            subscriptions, and known stations.
        known: stations that have sent wanted data before, or are listed without streams.
        with_wildcards: whether to subscribe wildcards as well, for a server that lists nothing: ringserver and newer SeisComP accept them
            in STATION. They come first, because later subscriptions by name override them.

    >>> [(one.network, one.station) for one in plan(["B[WX].R*.*.EHZ"], [], known=[("BW", "RJOB")], with_wildcards=True)]
    [('B?', 'R*'), ('BW', 'RJOB')]
    """
    wanted: dict[tuple[str, str], set[str]] = {}
    for pattern in patterns:
        network, station, location, channel_code = pattern.split(".")
        if not _WILDCARD.search(network + station):
            # Subscribed even when it is not listed: it may appear later.
            stations = {(network, station)}
        else:
            stations = {(one.network, one.station) for one in offered if _matches(one, pattern)}
            stations |= {
                one for one in known if fnmatchcase(one[0], network) and fnmatchcase(one[1], station)
            }
            if with_wildcards:
                stations.add((_CLASS.sub("?", network), _CLASS.sub("?", station)))
        for codes in stations:
            wanted.setdefault(codes, set()).add(_selector(location, channel_code))
    return tuple(
        Subscription(
            network,
            station,
            tuple(sorted(selectors)) if len(selectors) <= MAX_SELECTORS else (f"???{DATA_TYPE}",),
        )
        for (network, station), selectors in sorted(wanted.items(), key=_wildcards_first)
    )


def is_wild(subscription: Subscription) -> bool:
    """Whether a subscription may be for more than one station."""
    return _WILDCARD.search(subscription.network + subscription.station) is not None


def selector_of(pattern: str) -> str:
    """The selector for the channels of a pattern.

    >>> selector_of("BW.RJOB.00.EH[ZNE]")
    '00EH?.D'
    """
    _, _, location, channel_code = pattern.split(".")
    return _selector(location, channel_code)


def serves(subscription: Subscription, pattern: str) -> bool:
    """Whether a subscription serves a pattern."""
    network, station, *_ = pattern.split(".")
    own = _CLASS.sub("?", network), _CLASS.sub("?", station)
    return subscription.station_codes == own or (
        fnmatchcase(subscription.network, network) and fnmatchcase(subscription.station, station)
    )


def needs_listing(patterns: Iterable[str]) -> bool:
    """Whether the list of streams of the server is needed to expand patterns."""
    return any(_WILDCARD.search("".join(pattern.split(".")[:2])) for pattern in patterns)


def _wildcards_first(item: tuple[Station, set[str]]) -> tuple[bool, Station]:
    station, _ = item
    return _WILDCARD.search("".join(station)) is None, station


def _matches(channel: Channel, pattern: str) -> bool:
    network, station, location, channel_code = pattern.split(".")
    return (
        fnmatchcase(channel.network, network)
        and fnmatchcase(channel.station, station)
        and (fnmatchcase(channel.location, location) or (not channel.location and location == EMPTY_LOCATION))
        and fnmatchcase(channel.channel, channel_code)
    )


def _selector(location: str, channel_code: str) -> str:
    """A SeedLink selector that takes at least what the pattern does: ``[LL]CCC.D`` with ``?`` only."""
    code = _CLASS.sub("?", channel_code)
    if code.count("*") == 1:
        code = code.replace("*", "?" * (CODE_LENGTH + 1 - len(code)))
    elif "*" in code:
        code = "?" * CODE_LENGTH
    where = _CLASS.sub("?", location)
    # A selector without a location takes every location; unwanted records are dropped on arrival.
    where = "" if "*" in where or where in {"", EMPTY_LOCATION} else where
    return f"{where}{code}{DATA_TYPE}"

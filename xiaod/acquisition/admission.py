"""Limits the stations of a source: which are subscribed, and whose packets are accepted.

Station codes come from the network, and each station costs memory. A server that lists or sends ever new codes must not exhaust it. So at
most ``most`` stations are subscribed, and packets of all others are refused.

>>> asked = (Subscription("BW", "RJOB", ("EH?.D",)), Subscription("XX", "R*", ("EH?.D",)))
>>> admission = Admission(asked, most=2, holds=lambda network, station: True)
>>> [admission.refusal(station) for station in (("BW", "RJOB"), ("BW", "WETR"), ("XX", "RA"), ("XX", "RB"), ("XX", "RA"))]
['', 'unasked', '', 'over_limit', '']
"""

from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase

from xiaod.acquisition.patterns import Subscription, is_wild
from xiaod.domain.types import Station

UNASKED, OVER_LIMIT, ELSEWHERE = "unasked", "over_limit", "elsewhere"


def within_limit(
    subscriptions: Sequence[Subscription],
    most: int,
    patterns: Collection[str],
    known: Collection[Station],
) -> tuple[tuple[Subscription, ...], tuple[str, ...]]:
    """At most ``most`` stations: first those that a pattern names, then known ones, then in the order of their codes.

    Returns:
        the subscriptions to make, in the order given, always with wildcards; and the stations that are left out, ``NET.STA``.

    >>> plans = [Subscription("BW", name, ("EHZ.D",)) for name in ("A", "B", "C", "ZZZ")]
    >>> asked, left_out = within_limit(plans, 2, ["BW.*.*.EHZ", "BW.ZZZ.*.EHZ"], {("BW", "B")})
    >>> [one.station for one in asked], left_out
    (['B', 'ZZZ'], ('BW.A', 'BW.C'))
    """
    named = {tuple(pattern.split(".")[:2]) for pattern in patterns}

    def order(station: Station) -> tuple[bool, bool, Station]:
        return station not in named, station not in known, station

    stations = sorted({one.station_codes for one in subscriptions if not is_wild(one)}, key=order)
    left_out = set(stations[most:])
    asked = tuple(one for one in subscriptions if one.station_codes not in left_out)
    return asked, tuple(f"{network}.{station}" for network, station in stations[most:])


class Admission:
    """Whose packets are accepted on one connection."""

    def __init__(self, asked: Collection[Subscription], most: int, holds: Callable[[str, str], bool]) -> None:
        """Set up.

        Args:
            asked: the subscriptions of the connection.
            most: limit of stations, those of wildcards included.
            holds: whether this process picks a station, by network and code.
        """
        self._stations = {one.station_codes for one in asked if not is_wild(one)}
        self._wild = [one for one in asked if is_wild(one)]
        self._most = most
        self._holds = holds

    def __contains__(self, station: Station) -> bool:
        return station in self._stations or not self._judged(station)

    @property
    def stations(self) -> frozenset[Station]:
        """Stations that are subscribed by their codes, or have come by a wildcard."""
        return frozenset(self._stations)

    def refusal(self, station: Station) -> str:
        """Why the packets of a station are refused; empty when they are accepted, and the station counts from now on."""
        if station in self._stations:
            return ""
        if not (reason := self._judged(station)):
            self._stations.add(station)
        return reason

    def _judged(self, station: Station) -> str:
        network, code = station
        if not any(
            fnmatchcase(network, one.network) and fnmatchcase(code, one.station) for one in self._wild
        ):
            return UNASKED
        if not self._holds(network, code):
            return ELSEWHERE
        return OVER_LIMIT if len(self._stations) >= self._most else ""

"""P picks of several stations that come close together are one event; no coordinates are needed.

P picks are gone through in order of time. An event begins with a pick in whose next ``window_s`` at least ``stations`` stations have a P
pick. It goes on as long as a station that it does not have yet follows within ``window_s`` of the last one, at most :data:`LONGEST_S`.
Later P picks of its stations up to its last one belong to it too and are left out. The next event begins after its last pick. With
``stations: 1``, a station alone makes an event only of a P and an S. An S belongs to the last P before it.

So the events follow from the set of picks, whatever the order in which they came: see :func:`associate`.

>>> from xiaod.domain.types import Channel
>>> def pick(station, phase, time_s):
...     return EventPick(f"{phase}-{station}", Channel("XX", station, "", "HHZ"), phase, round(time_s * 1e9), 0.1, "final")
>>> settings = CoincidenceSettings(stations=2)
>>> found = associate([pick("A", "P", 1), pick("B", "P", 3), pick("A", "S", 6), pick("C", "P", 90)], settings)
>>> [[one.id for one in cluster.picks] for cluster in found.clusters]
[['P-A', 'P-B', 'S-A']]
>>> [(one.station, round(one.distance_km)) for one in found.clusters[0].distances]
[('A', 40)]
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xiaod.association.cluster import Association, Cluster
from xiaod.association.distance import distance_km, km_per_second
from xiaod.config.inventory import Stations
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Event, EventPick, StationDistance

SAME_ONSET_S = 2.0
"""Two sensors of a station, or a picker that hesitates, pick one P within this time."""
LONGEST_S = 180.0
"""From the first to the last P of an event, at most: the first wave of an earthquake crosses a network of 1000 km in less."""
GROWTH = 1.5
"""With so many times the stations, an announced event has another version."""


@dataclass(frozen=True, slots=True)
class CoincidenceSettings:
    """What makes a coincidence, and how S−P becomes a distance."""

    stations: int = 4
    window_s: float = 15.0
    max_s_minus_p_s: float = 30.0
    """Longer ones are not taken for those of one earthquake."""
    p_velocity_km_s: float = 5.9
    s_velocity_km_s: float = 3.4
    velocity_uncertainty: float = 0.1
    """Relative, of the factor from time to distance."""

    @property
    def same_ns(self) -> int:
        """So long after the last P of an event, its stations may pick it again, with other sensors: these picks belong to it."""
        return ns_from_s(min(SAME_ONSET_S, self.window_s))

    @property
    def reach_ns(self) -> int:
        """So long after the last P of an event, its last picks come: another station's P, or an S."""
        return ns_from_s(max(self.window_s, self.max_s_minus_p_s))


def associate(
    picks: Sequence[EventPick], settings: CoincidenceSettings, complete_ns: int = LATEST_NS
) -> Association:
    """Find events.

    Args:
        picks: P and S, in any order; those that an earlier call has decided are left out by the caller.
        settings: what makes an event.
        complete_ns: until this time all picks are there; events that may still change are not decided.
    """
    ordered = sorted(picks, key=lambda pick: (pick.time_ns, pick.id))
    arrivals = [pick for pick in ordered if pick.phase == "P"]
    followers: dict[tuple[str, str], list[EventPick]] = {}
    for pick in ordered:
        followers.setdefault(pick.channel.station_codes, []).append(pick)
    window_ns, longest_ns = ns_from_s(settings.window_s), ns_from_s(LONGEST_S)
    # Of a station alone an S decides.
    least_ns = window_ns if settings.stations > 1 else max(window_ns, ns_from_s(settings.max_s_minus_p_s))
    clusters: list[Cluster] = []
    decided_ns, due_ns = EARLIEST_NS, LATEST_NS
    near: Counter[tuple[str, str]] = Counter()
    begin = stop = 0
    while begin < len(arrivals):
        first = arrivals[begin]
        due_ns = first.time_ns + least_ns
        if due_ns >= complete_ns:
            break
        while stop < len(arrivals) and arrivals[stop].time_ns <= first.time_ns + window_ns:
            near[arrivals[stop].channel.station_codes] += 1
            stop += 1
        made = None
        if len(near) >= settings.stations:
            made = _cluster(_members(arrivals, begin, window_ns, longest_ns), followers, settings)
        if made is None:
            near[first.channel.station_codes] -= 1
            if not near[first.channel.station_codes]:
                del near[first.channel.station_codes]
            decided_ns = first.time_ns
            begin += 1
            continue
        due_ns = made.last_ns + settings.reach_ns
        if due_ns >= complete_ns:
            break
        clusters.append(made)
        decided_ns = made.last_ns + settings.same_ns
        while begin < len(arrivals) and arrivals[begin].time_ns <= decided_ns:
            begin += 1
        stop = begin
        near.clear()
    return Association(clusters, decided_ns, due_ns if begin < len(arrivals) else LATEST_NS)


def _members(arrivals: Sequence[EventPick], begin: int, window_ns: int, longest_ns: int) -> list[EventPick]:
    """First P of each station of the event that begins there."""
    found: dict[tuple[str, str], EventPick] = {}
    first_ns = last_ns = arrivals[begin].time_ns
    for number in range(begin, len(arrivals)):
        pick = arrivals[number]
        if pick.time_ns > min(last_ns + window_ns, first_ns + longest_ns):
            break
        if pick.channel.station_codes not in found:
            found[pick.channel.station_codes] = pick
            last_ns = pick.time_ns
    return list(found.values())


def _cluster(
    members: Sequence[EventPick],
    followers: dict[tuple[str, str], list[EventPick]],
    settings: CoincidenceSettings,
) -> Cluster | None:
    """With the S of each station; None: a station alone without an S."""
    factor = km_per_second(settings.p_velocity_km_s, settings.s_velocity_km_s)
    most_ns = ns_from_s(settings.max_s_minus_p_s)
    measured: list[tuple[StationDistance, EventPick]] = []
    for member in members:
        own = (
            pick
            for pick in followers[member.channel.station_codes]
            # Soon after it, a second sensor picks the same P; any other P has the S to itself.
            if pick.time_ns > member.time_ns + (settings.same_ns if pick.phase == "P" else 0)
        )
        second = next(own, None)
        if second is None or second.phase == "P" or second.time_ns - member.time_ns > most_ns:
            continue
        s_minus_p_s = (second.time_ns - member.time_ns) / NS_PER_S
        both_s = member.time_uncertainty_s, second.time_uncertainty_s
        away_km, sigma_km = distance_km(s_minus_p_s, both_s, factor, settings.velocity_uncertainty)
        distance = StationDistance(*member.channel.station_codes, s_minus_p_s, away_km, sigma_km)
        measured.append((distance, second))
    if len(members) == 1 and not measured:
        return None
    measured.sort(key=lambda one: (one[0].distance_km, one[0].network, one[0].station))
    return Cluster(
        (*members, *(second for _, second in measured)),
        tuple(distance for distance, _ in measured),
        members[-1].time_ns,
    )


class Coincidence:
    """The method with its settings: an :class:`~xiaod.association.cluster.Associator`."""

    method = "coincidence"
    measures = False

    def __init__(self, settings: CoincidenceSettings) -> None:
        self._settings = settings
        self.least_ns = ns_from_s(settings.window_s)
        self.forget_ns = ns_from_s(LONGEST_S) + settings.reach_ns

    def associate(
        self, picks: Sequence[EventPick], complete_ns: int, decided_ns: int, decided: Sequence[Event]
    ) -> Association:
        """Find events for good."""
        del decided_ns, decided
        return associate(picks, self._settings, complete_ns)

    def announce(self, picks: Sequence[EventPick], decided: Sequence[Event]) -> list[Cluster]:
        """Find events among the picks that there are by now."""
        del decided
        return associate(picks, self._settings).clusters

    def locate_by(self, stations: Stations) -> None:
        """It needs none."""

    def decided_by(self, event: Event) -> int:
        """Its last P, and the time in which its stations may pick it again."""
        return max(pick.time_ns for pick in event.picks if pick.phase == "P") + self._settings.same_ns

    def says_more(self, cluster: Cluster, event: Event) -> bool:
        """Half as many stations again, fewer than before, or another nearest station with a distance."""
        nearest = [[(one.network, one.station) for one in of.distances[:1]] for of in (cluster, event)]
        return grown(cluster, event) or nearest[0] != nearest[1]


def grown(cluster: Cluster, event: Event) -> bool:
    """Whether an announced event has half as many stations again, or fewer than before."""
    stations = sum(pick.phase == "P" for pick in cluster.picks)
    return not event.stations <= stations < GROWTH * event.stations

"""Picks whose times fit one place and time of origin in a layered crust are one event; coordinates of the stations are needed.

PyOcto (Münchmeyer 2024, Seismica 3, 1) finds which picks belong together: it searches space and time for places that many picks fit. Each
event is then located by all picks that fit it (:mod:`xiaod.association.location`), and these are taken out. Its cost grows with the square
of the picks of an event, so in a dense network it looks at :data:`MOST_STATIONS` of them first, spread over the area; what is left when the
picks of all stations that fit have been taken is looked at whole.

Settled events are found span by span of :data:`SPAN_S`: those whose origin is in it, once all picks are there that a wave can make within
``max_distance_km``. Picks that fit a settled event are in no other one.

So the events follow from the set of picks, whatever the order in which they came.

>>> from xiaod.config.inventory import NO_STATIONS
>>> settings = LocatedSettings((Layer(0.0, 6.0, 3.5),), "halfspace")
>>> Located(settings, NO_STATIONS).announce([], [])
[]
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from pyocto import backend
from pyproj import Geod, Proj

from xiaod.association.cluster import Association, Cluster
from xiaod.association.coincidence import grown
from xiaod.association.location import (
    MANY,
    Arrivals,
    Hypocentre,
    Locator,
    azimuthal_gap_deg,
    longest_axis_km,
)
from xiaod.association.magnitude import FARTHEST_KM, local_magnitude, network_magnitude
from xiaod.association.velocity import Floats, Layer, TravelTimes
from xiaod.config.inventory import Site, Stations
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Channel, Event, EventArrival, EventOrigin, EventPick, Station

SPAN_S = 10.0
MARGIN_S = 5.0
"""The time of an origin may change by so much with later picks."""
MOST_STATIONS = 50
"""Stations that PyOcto looks at first; what it then looks at whole are events that so few stations have."""
LEAST_PART = 0.4
"""Of the stations with any pick that are nearer than half of those of an event, so many have it: if they do not, it is none."""
PASSES = 4
"""Searches at most: what is left after an event may make another one."""
TRIAL_KM = (8.0, 25.0)
"""Depths, besides that which PyOcto gives, from which an event is located; of many picks the first of these is enough."""
ROUNDS = 6
"""Locations at most until the picks that fit are those that it was located by."""
NODE_KM, LOCATION_NODE_KM = 10.0, 2.0
"""Sizes of the cells at which PyOcto stops: of its search, and of its location, with which ours begins."""
SAME_PART = 1.05
"""Picks that fit a settled event, with what rounding may change."""
MOVED_KM = 5.0
CHANGED_MAGNITUDE = 0.3
"""An announced event that moves so far, or whose magnitude changes so much, has another version."""
MIN_SIGMA_S = 0.02
UNKNOWN_SIGMA_S = 0.3
"""Uncertainty of a pick that says none."""
ELLIPSOID = Geod(ellps="WGS84")
KM = 1000.0


@dataclass(frozen=True, slots=True)
class LocatedSettings:
    """What makes an event, and the crust it is located in."""

    layers: tuple[Layer, ...]
    model: str
    """Name of these layers."""
    stations: int = 4
    """With a P, at least."""
    min_picks: int = 8
    """P and S, at least."""
    tolerance_s: float = 1.5
    """By which a pick may differ from what the layers give."""
    max_distance_km: float = 200.0
    """From the epicentre to a station that counts."""
    max_depth_km: float = 60.0
    margin_km: float = 50.0
    """By which epicentres may lie outside of the rectangle of the stations that have picks."""


@dataclass(frozen=True, slots=True)
class _Picks:
    """Picks with coordinates."""

    picks: list[EventPick]
    sites: list[Site]
    arrivals: Arrivals
    """In seconds since ``base_ns``, and km from the centre of ``plane``."""
    station: NDArray[np.intp]
    """Number of the station of each pick."""
    base_ns: int
    plane: Proj


_Seed = tuple[NDArray[np.intp], tuple[float, float, float]]
"""Picks, and the place (x, y, depth) from which their location begins."""


@dataclass(frozen=True, slots=True)
class _Solution:
    """A source, and what fits it."""

    members: NDArray[np.intp]
    source: Hypocentre
    score: float
    """Number of its picks, each of which counts less the worse it fits: picks of two earthquakes make no good third one."""


class Located:
    """The method with its settings: an :class:`~xiaod.association.cluster.Associator`."""

    method = "pyocto"
    measures = True

    def __init__(
        self,
        settings: LocatedSettings,
        stations: Stations,
        unknown: Callable[[Channel], None] = lambda channel: None,
    ) -> None:
        """Begin.

        Args:
            settings: what makes an event.
            stations: with their coordinates.
            unknown: called with the channel of a pick whose station has none; it is in no event.
        """
        self._stations = stations
        self._complete: list[Cluster] = []
        """Events among the picks that were there last, which no wave adds anything to any more."""
        self._settings = settings
        self._unknown = unknown
        times = TravelTimes(settings.layers, settings.max_distance_km, settings.max_depth_km)
        self._locator = Locator(times, settings.max_depth_km)
        farthest = np.array([settings.max_distance_km])
        self._longest_s = float(times.at("S", farthest, 0.0)[0]) + settings.tolerance_s
        self._model = _octo_model(times, settings)
        self._reach_ns = ns_from_s(self._longest_s + MARGIN_S)
        self._span_ns, self._margin_ns = ns_from_s(SPAN_S), ns_from_s(MARGIN_S)
        self.least_ns = self._margin_ns
        self.forget_ns = self._reach_ns + self._span_ns + self._margin_ns

    def associate(
        self, picks: Sequence[EventPick], complete_ns: int, decided_ns: int, decided: Sequence[Event]
    ) -> Association:
        """Find events for good, span by span."""
        ordered = sorted(picks, key=lambda pick: (pick.time_ns, pick.id))
        times = [pick.time_ns for pick in ordered]
        span, margin, reach = self._span_ns, self._margin_ns, self._reach_ns
        clusters: list[Cluster] = []
        origins = _origins_of(decided)
        until_ns, due_ns = EARLIEST_NS, LATEST_NS
        begin = (decided_ns + margin) // span * span
        while times:
            # An empty span needs no look: the next one that has picks.
            number = bisect_left(times, begin - margin)
            if number == len(times):
                break
            begin = max(begin, (times[number] - reach) // span * span)
            due_ns = begin + span + reach
            if due_ns >= complete_ns:
                break
            stop = bisect_right(times, due_ns)
            for cluster in self._clusters(ordered[number:stop], origins):
                origin = cluster.origin
                if origin is not None and begin - margin <= origin.time_ns < begin + span:
                    clusters.append(cluster)
                    origins.append(origin)
            begin += span
            until_ns, due_ns = begin - margin, LATEST_NS
        return Association(clusters, until_ns, due_ns)

    def announce(self, picks: Sequence[EventPick], decided: Sequence[Event]) -> list[Cluster]:
        """Find events among the picks that there are by now."""
        ordered = sorted(picks, key=lambda pick: (pick.time_ns, pick.id))
        free = {pick.id for pick in ordered} - {pick.id for event in decided for pick in event.picks}
        kept = [one for one in self._complete if all(pick.id in free for pick in one.picks)]
        known = [one.origin for one in kept if one.origin is not None]
        found = kept + self._clusters(ordered, _origins_of(decided) + known)
        newest_ns = ordered[-1].time_ns if ordered else EARLIEST_NS
        self._complete = [
            one for one in found if one.origin is not None and one.origin.time_ns + self._reach_ns < newest_ns
        ]
        return found

    def locate_by(self, stations: Stations) -> None:
        """Use other coordinates from now on."""
        self._stations = stations

    def decided_by(self, event: Event) -> int:
        """The end of its span, less what later origins may change by."""
        time_ns = event.time_ns if event.origin is None else event.origin.time_ns
        return (time_ns // self._span_ns + 1) * self._span_ns - self._margin_ns

    def says_more(self, cluster: Cluster, event: Event) -> bool:
        """Half as many stations again, or fewer; another place, by more than its uncertainty; another magnitude."""
        new, old = cluster.origin, event.origin
        if new is None or old is None or grown(cluster, event):
            return True
        _, _, moved_m = ELLIPSOID.inv(
            old.longitude_deg, old.latitude_deg, new.longitude_deg, new.latitude_deg
        )
        if moved_m / KM > max(MOVED_KM, old.horizontal_uncertainty_km):
            return True
        if cluster.magnitude is None or event.magnitude is None:
            return cluster.magnitude is not None
        return abs(cluster.magnitude.value - event.magnitude.value) >= CHANGED_MAGNITUDE

    def _clusters(self, ordered: Sequence[EventPick], decided: Sequence[EventOrigin]) -> list[Cluster]:
        """Events among picks in order of time, apart from those that fit settled ones."""
        placed = self._placed(ordered)
        if placed is None:
            return []
        free = np.ones(len(placed.picks), np.bool_)
        for origin in decided:
            x_km, y_km = placed.plane(origin.longitude_deg, origin.latitude_deg)
            time_s = (origin.time_ns - placed.base_ns) / NS_PER_S
            residuals = self._residuals(placed.arrivals, (x_km, y_km, origin.depth_km), time_s)
            free &= np.abs(residuals) > SAME_PART * self._settings.tolerance_s
        found: list[Cluster] = []
        for number in range(PASSES):
            whole = number > 0 or len(np.unique(placed.station[free])) <= MOST_STATIONS
            made = self._of_seeds(placed, free, self._seeds(placed, free, whole))
            found += made
            if not made and whole:
                break
        return found

    def _of_seeds(self, placed: _Picks, free: NDArray[np.bool_], seeds: Sequence[_Seed]) -> list[Cluster]:
        """Events, that which picks fit best first: its picks are free no longer."""
        solved = [self._solved(placed, free, seed) for seed in seeds]
        made = []
        while found := [one for one in solved if one is not None]:
            best = max(found, key=lambda one: one.score)
            residuals = self._residuals(placed.arrivals, best.source.at, best.source.time_s)
            taken = free & (np.abs(residuals) <= self._settings.tolerance_s)
            made.append(self._cluster(placed, best.source, best.members, residuals))
            free &= ~taken
            # Of what is left, only what has lost picks changes.
            solved = [
                self._solved(placed, free, seed) if one is best or (one and taken[one.members].any()) else one
                for one, seed in zip(solved, seeds, strict=True)
            ]
        return made

    def _placed(self, ordered: Sequence[EventPick]) -> _Picks | None:
        """Picks with coordinates; None when these are too few for an event."""
        if len(ordered) < self._settings.min_picks:
            return None
        sites: dict[Station, Site | None] = {}
        for pick in ordered:
            if pick.channel.station_codes not in sites:
                site = sites[pick.channel.station_codes] = self._stations.find(pick.channel, pick.time_ns)
                if site is None:
                    self._unknown(pick.channel)
        known = {codes: site for codes, site in sites.items() if site is not None}
        picks = [pick for pick in ordered if pick.channel.station_codes in known]
        if len(picks) < self._settings.min_picks or len(known) < self._settings.stations:
            return None
        number = {codes: place for place, codes in enumerate(known)}
        plane = _plane(list(known.values()))
        own = [known[pick.channel.station_codes] for pick in picks]
        x_km, y_km = plane([site.longitude_deg for site in own], [site.latitude_deg for site in own])
        base_ns = picks[0].time_ns
        arrivals = Arrivals(
            np.array(x_km),
            np.array(y_km),
            np.array([site.elevation_m / KM for site in own]),
            np.array([pick.phase == "S" for pick in picks]),
            np.array([(pick.time_ns - base_ns) / NS_PER_S for pick in picks]),
            np.array([_sigma_s(pick) for pick in picks]),
        )
        stations = np.array([number[pick.channel.station_codes] for pick in picks])
        return _Picks(picks, own, arrivals, stations, base_ns, plane)

    def _seeds(self, placed: _Picks, free: NDArray[np.bool_], whole: bool) -> list[_Seed]:
        """What PyOcto finds, in order of time."""
        chosen = np.flatnonzero(free)
        if not whole:
            chosen = chosen[np.isin(placed.station[chosen], _spread(placed, chosen))]
        # It takes the first pick within its tolerance, and what it leaves there it would try again and again.
        chosen = _apart(placed, chosen, 2 * self._settings.tolerance_s)
        if not self._suffice(placed, chosen):
            return []
        arrivals, settings = placed.arrivals, self._settings
        for index in chosen[np.unique(placed.station[chosen], return_index=True)[1]]:
            self._model.add_station(
                backend.Station(
                    str(placed.station[index]),
                    float(arrivals.x_km[index]),
                    float(arrivals.y_km[index]),
                    -float(arrivals.height_km[index]),
                    0.0,
                    0.0,
                )
            )
        x_km, y_km, time_s = arrivals.x_km[chosen], arrivals.y_km[chosen], arrivals.time_s[chosen]
        config = backend.OctoTreeConfig()
        config.xlim = float(x_km.min()) - settings.margin_km, float(x_km.max()) + settings.margin_km
        config.ylim = float(y_km.min()) - settings.margin_km, float(y_km.max()) + settings.margin_km
        config.zlim = 0.0, settings.max_depth_km
        config.time_before = self._longest_s
        # All picks in one slice.
        config.time_slicing = float(time_s[-1] - time_s[0]) + self._longest_s + 1.0
        config.n_threads = 1
        config.n_picks, config.n_p_picks = settings.min_picks, settings.stations
        config.n_s_picks = config.n_p_and_s_picks = 0
        config.pick_match_tolerance = settings.tolerance_s
        config.min_node_size, config.min_node_size_location = NODE_KM, LOCATION_NODE_KM
        config.location_split_depth, config.location_split_return = 4, 2
        config.refinement_iterations = 2
        config.velocity_model_association = config.velocity_model_location = self._model
        given = [
            backend.Pick(
                int(index),
                float(arrivals.time_s[index]),
                str(placed.station[index]),
                "S" if arrivals.is_s[index] else "P",
            )
            for index in chosen
        ]
        self._model.association_cutoff_distance = (
            settings.max_distance_km
            if len(np.unique(placed.station)) <= MOST_STATIONS or not whole
            else min(settings.max_distance_km, _neighbourhood_km(placed))
        )
        # It lets other threads run meanwhile.
        found = backend.OctoAssociator(config).associate(given)
        return [
            (np.array(sorted(pick.idx for pick in one.picks), np.intp), (one.x, one.y, one.z))
            for one in found
        ]

    def _solved(self, placed: _Picks, free: NDArray[np.bool_], seed: _Seed) -> _Solution | None:
        """The event that a seed leads to; None when what is free of it does not make one."""
        members, at = seed
        members = members[free[members]]
        if not self._suffice(placed, members):
            return None
        # Picks that fit a source that is too deep, at too early a time, need not lead to the true one, which more picks fit.
        trials = (at[2], *TRIAL_KM) if len(members) < MANY else TRIAL_KM[:1]
        found = [
            one
            for depth_km in trials
            if (one := self._converged(placed, free, members, (at[0], at[1], depth_km))) is not None
        ]
        best = max(found, key=lambda one: one.score, default=None)
        return best if best is not None and self._is_heard_near(placed, best.members, best.source) else None

    def _converged(
        self,
        placed: _Picks,
        free: NDArray[np.bool_],
        members: NDArray[np.intp],
        at: tuple[float, float, float],
    ) -> _Solution | None:
        """The picks that fit a source which is located by them, from a place on; None when they are too few."""
        source = self._locator.placed(placed.arrivals[members], at)
        for number in range(ROUNDS):
            fitting = self._fitting(placed, free, source)
            if not self._suffice(placed, fitting):
                return None
            if number and np.array_equal(fitting, members):
                break
            members = fitting
            source = self._locator.locate(placed.arrivals[members], source.at)
        members = self._fitting(placed, free, source)
        if not self._suffice(placed, members):
            return None
        residuals = self._residuals(placed.arrivals[members], source.at, source.time_s)
        score = float(np.sum(1 - (residuals / self._settings.tolerance_s) ** 2))
        return _Solution(members, source, score)

    def _fitting(self, placed: _Picks, free: NDArray[np.bool_], source: Hypocentre) -> NDArray[np.intp]:
        """Of each station the P and the S that fit best, if they fit."""
        size = np.abs(self._residuals(placed.arrivals, source.at, source.time_s))
        near = np.flatnonzero(free & (size <= self._settings.tolerance_s))
        near = near[np.argsort(size[near], kind="stable")]
        onset = 2 * placed.station[near] + placed.arrivals.is_s[near]
        fitting: NDArray[np.intp] = np.sort(near[np.unique(onset, return_index=True)[1]])
        return fitting

    def _residuals(self, arrivals: Arrivals, at: tuple[float, float, float], time_s: float) -> Floats:
        """Residuals, s; infinite beyond the largest distance."""
        times, _ = self._locator.predicted(at, arrivals)
        away = np.hypot(arrivals.x_km - at[0], arrivals.y_km - at[1])
        residuals: Floats = np.where(
            away <= self._settings.max_distance_km, arrivals.time_s - time_s - times, np.inf
        )
        return residuals

    def _suffice(self, placed: _Picks, members: NDArray[np.intp]) -> bool:
        """Whether picks are enough for an event."""
        p_stations = np.unique(placed.station[members[~placed.arrivals.is_s[members]]])
        return len(members) >= self._settings.min_picks and len(p_stations) >= self._settings.stations

    def _is_heard_near(self, placed: _Picks, members: NDArray[np.intp], source: Hypocentre) -> bool:
        """Whether enough of the nearer stations have it."""
        numbers, first = np.unique(placed.station, return_index=True)
        away = np.hypot(placed.arrivals.x_km[first] - source.x_km, placed.arrivals.y_km[first] - source.y_km)
        heard = np.isin(numbers, placed.station[members])
        near = away <= np.median(away[heard])
        return bool(heard[near].mean() >= LEAST_PART)

    def _cluster(
        self, placed: _Picks, source: Hypocentre, members: NDArray[np.intp], residuals: Floats
    ) -> Cluster:
        longitude, latitude = placed.plane(source.x_km, source.y_km, inverse=True)
        sites, described = [placed.sites[index] for index in members], []
        azimuths, _, away_m = ELLIPSOID.inv(
            np.full(len(sites), longitude),
            np.full(len(sites), latitude),
            np.array([site.longitude_deg for site in sites]),
            np.array([site.latitude_deg for site in sites]),
        )
        for index, azimuth, metres in zip(members, azimuths % 360, away_m, strict=True):
            arrival = EventArrival(float(metres) / KM, float(azimuth), float(residuals[index]))
            described.append(_described(placed.picks[index], arrival, source.depth_km))
        first = [pick for pick in described if pick.phase == "P"]
        second = sorted(
            (pick for pick in described if pick.phase == "S"), key=lambda one: (_away_km(one), one.id)
        )
        depth_sigma_km = math.sqrt(float(source.covariance[2, 2]))
        origin = EventOrigin(
            placed.base_ns + round(source.time_s * NS_PER_S),
            latitude,
            longitude,
            source.depth_km,
            math.sqrt(float(source.covariance[3, 3])),
            longest_axis_km(source.covariance),
            depth_sigma_km if depth_sigma_km < self._settings.max_depth_km else math.nan,
            math.sqrt(float(np.mean(residuals[members] ** 2))),
            azimuthal_gap_deg([one.arrival.azimuth_deg for one in described if one.arrival is not None]),
            min(map(_away_km, described)),
            self._settings.model,
        )
        magnitudes = [pick.magnitude for pick in second if pick.magnitude is not None]
        return Cluster((*first, *second), (), first[-1].time_ns, origin, network_magnitude(magnitudes))


def _described(pick: EventPick, arrival: EventArrival, depth_km: float) -> EventPick:
    """With how it fits, and the magnitude of its station, if its amplitude counts: that of an S on a horizontal."""
    distance_km = math.hypot(arrival.distance_km, depth_km)
    amplitude = pick.wood_anderson_mm
    counts = (
        bool(amplitude)
        and pick.phase == "S"
        and pick.stage == "final"
        and pick.channel.component != "Z"
        and distance_km <= FARTHEST_KM
    )
    if amplitude is None or not counts:
        return replace(pick, arrival=arrival, wood_anderson_mm=None)
    return replace(pick, arrival=arrival, magnitude=local_magnitude(amplitude, distance_km))


def _away_km(pick: EventPick) -> float:
    return math.inf if pick.arrival is None else pick.arrival.distance_km


def _sigma_s(pick: EventPick) -> float:
    sigma_s = pick.time_uncertainty_s
    return max(MIN_SIGMA_S, sigma_s) if math.isfinite(sigma_s) else UNKNOWN_SIGMA_S


def _origins_of(events: Sequence[Event]) -> list[EventOrigin]:
    return [event.origin for event in events if event.origin is not None]


def _plane(sites: Sequence[Site]) -> Proj:
    """A plane in km around the centre of stations, at their distances and directions from it, across the date line too."""
    angles = np.radians([(site.latitude_deg, site.longitude_deg) for site in sites])
    north, east = angles[:, 0], angles[:, 1]
    x, y, z = (
        float(part.mean())
        for part in (np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north))
    )
    return Proj(
        proj="aeqd",
        lat_0=math.degrees(math.atan2(z, math.hypot(x, y))),
        lon_0=math.degrees(math.atan2(y, x)),
        ellps="WGS84",
        units="km",
    )


def _spread(placed: _Picks, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """Stations that lie as far from each other as possible: each next one is the farthest from those before."""
    numbers, first = np.unique(placed.station[chosen], return_index=True)
    x_km, y_km = placed.arrivals.x_km[chosen[first]], placed.arrivals.y_km[chosen[first]]
    away = np.hypot(x_km - x_km.mean(), y_km - y_km.mean())
    spread = [int(np.argmin(away))]
    away = np.full(len(numbers), np.inf)
    while len(spread) < MOST_STATIONS:
        away = np.minimum(away, np.hypot(x_km - x_km[spread[-1]], y_km - y_km[spread[-1]]))
        spread.append(int(np.argmax(away)))
    chosen_numbers: NDArray[np.intp] = numbers[spread]
    return chosen_numbers


def _apart(placed: _Picks, chosen: NDArray[np.intp], least_s: float) -> NDArray[np.intp]:
    """Picks, in order of time, without those of a phase that come too soon after one of the same station."""
    last_s: dict[int, float] = {}
    kept = []
    onset = 2 * placed.station + placed.arrivals.is_s
    for index in chosen:
        time_s = float(placed.arrivals.time_s[index])
        if time_s - last_s.get(int(onset[index]), -math.inf) >= least_s:
            last_s[int(onset[index])] = time_s
            kept.append(index)
    return np.array(kept, np.intp)


def _neighbourhood_km(placed: _Picks) -> float:
    """Distance within which half of the stations have :data:`MOST_STATIONS` of those with picks."""
    _, first = np.unique(placed.station, return_index=True)
    x_km, y_km = placed.arrivals.x_km[first], placed.arrivals.y_km[first]
    away = np.hypot(x_km[:, None] - x_km, y_km[:, None] - y_km)
    return float(np.median(np.partition(away, MOST_STATIONS, axis=1)[:, MOST_STATIONS]))


def _octo_model(times: TravelTimes, settings: LocatedSettings) -> "backend.VelocityModel1D":
    """The same travel times for PyOcto, which reads them from a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "times"
        times.write(path)
        model = backend.VelocityModel1D(str(path))
    model.tolerance = settings.tolerance_s
    model.surface_p_velocity = times.surface_km_s["P"]
    model.surface_s_velocity = times.surface_km_s["S"]
    model.association_cutoff_distance = model.location_cutoff_distance = settings.max_distance_km
    return model

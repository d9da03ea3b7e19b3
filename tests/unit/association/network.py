"""A made-up network around a known source, whose picks follow from the layers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import numpy as np
from pyproj import Geod

from tests.unit.storage.test_pick_store import EXAMPLE
from xiaod.association.velocity import Layer, TravelTimes
from xiaod.config.inventory import Epoch, Site, Stations
from xiaod.domain.onsets import pick_id
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Channel, EventPick, GroundMotion, Pick, Stage

LAYERS = (Layer(0.0, 5.8, 3.36), Layer(20.0, 6.5, 3.75), Layer(35.0, 8.04, 4.47))
TIMES = TravelTimes(LAYERS, 300.0, 60.0)
EARTH = Geod(ellps="WGS84")
BEGIN_S = 1_700_000_000.0
SIGMA_S = {"P": 0.05, "S": 0.1}


class Source:
    def __init__(self, latitude: float, longitude: float, depth_km: float, time_s: float) -> None:
        self.latitude, self.longitude, self.depth_km = latitude, longitude, depth_km
        self.time_s = BEGIN_S + time_s
        """Since 1970; given since ``BEGIN_S``."""

    def away_km(self, latitude: float, longitude: float) -> float:
        return float(EARTH.inv(self.longitude, self.latitude, longitude, latitude)[2]) / 1000


def sites(
    number: int, seed: int, latitude: float = 46.0, longitude: float = 8.0, half_km: float = 40.0
) -> dict[str, Site]:
    rng = Random(seed)
    found = {}
    for one in range(number):
        azimuth, away_m = rng.uniform(0, 360), 1000 * half_km * rng.uniform(0.05, 1) ** 0.5
        east, north, _ = EARTH.fwd(longitude, latitude, azimuth, away_m)
        found[f"S{one:03d}"] = Site(float(north), float(east), rng.uniform(0, 1500))
    return found


def stations_of(places: dict[str, Site]) -> Stations:
    return Stations((("XX", name, None), Epoch(site)) for name, site in places.items())


def onsets(
    source: Source, places: dict[str, Site], rng: Random, phases: str = "PS", scatter: float = 1.0
) -> Iterator[tuple[str, str, float]]:
    """Station, phase and time since 1970 of each arrival."""
    for name, site in places.items():
        away_km = source.away_km(site.latitude_deg, site.longitude_deg)
        for phase in phases:
            seconds = float(TIMES.at(phase, np.array([away_km]), source.depth_km)[0])
            seconds += site.elevation_m / 1000 / TIMES.surface_km_s[phase]
            yield name, phase, source.time_s + seconds + scatter * rng.gauss(0, SIGMA_S[phase])


def pick(
    station: str,
    phase: str,
    time_s: float,
    stage: Stage = "final",
    wood_anderson_mm: float | None = None,
    location: str = "",
) -> Pick:
    channel = Channel("XX", station, location, "HHZ" if phase == "P" else "HHN")
    time_ns = ns_from_s(time_s)
    return replace(
        EXAMPLE,
        id=pick_id(time_ns, phase, channel.instrument, EXAMPLE.model, stage),
        channel=channel,
        phase=phase,
        time_ns=time_ns,
        time_uncertainty_s=SIGMA_S[phase],
        stage=stage,
        motion=None if wood_anderson_mm is None else GroundMotion(1e-6, wood_anderson_mm, 1e-6, 3.0),
    )


def kept(one: Pick) -> EventPick:
    """As the tracker has it."""
    amplitude = None if one.motion is None else one.motion.wood_anderson_mm
    return EventPick(
        one.id,
        one.channel,
        one.phase,
        one.time_ns,
        one.time_uncertainty_s,
        one.stage,
        wood_anderson_mm=amplitude,
    )


def noise(places: Sequence[str], number: int, length_s: float, rng: Random) -> list[Pick]:
    return [
        pick(rng.choice(places), rng.choice("PPPS"), BEGIN_S + rng.uniform(0, length_s))
        for _ in range(number)
    ]

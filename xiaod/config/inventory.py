r"""Coordinates of stations, from a CSV file, the text format of FDSN station services, or StationXML.

A table has a header with ``network``, ``station``, ``latitude``, ``longitude`` (degrees), ``elevation`` (metres) and perhaps ``location``,
``starttime`` and ``endtime``, in any order, separated by commas or, as FDSN services do (FDSN Web Services 1.2, format=text), by ``|``.

Stations are moved, so each has epochs: a pick gets the coordinates that are valid at its time, or none.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "stations.csv"
...     _ = path.write_text("network,station,latitude,longitude,elevation\nBW,RJOB,47.7372,12.7957,860\n")
...     stations = read_stations(path)
>>> stations.find(Channel("BW", "RJOB", "", "EHZ"), time_ns=0)
Coordinates(latitude_deg=47.7372, longitude_deg=12.7957, elevation_m=860.0)
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.timegrid import EARLIEST_NS, YEARS, ns_from_iso
from xiaod.domain.types import Channel

NEEDED = ("network", "station", "latitude", "longitude", "elevation")
TIMES = ("starttime", "endtime")
YEAR_DIGITS = 4
LIMITS = {"latitude": 90.0, "longitude": 180.0, "elevation": 12_000.0}
"""Largest absolute values, in degrees and metres; the deepest sea lies 11 km down."""

Place = tuple[str, str, str | None]
"""Network, station, location; None for all locations."""


class StationsError(ValueError):
    """A file of stations cannot be used; the message names file, line and problem."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Coordinates of a sensor."""

    latitude_deg: float
    longitude_deg: float
    elevation_m: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """Coordinates of a sensor during some time."""

    coordinates: Coordinates
    start_ns: int = EARLIEST_NS
    end_ns: int | None = None
    """Last valid time; None: without an end."""

    def holds(self, time_ns: int) -> bool:
        """Whether a time lies in it."""
        return self.start_ns <= time_ns and (self.end_ns is None or time_ns <= self.end_ns)


class Stations:
    """Coordinates by network, station, location and time."""

    def __init__(self, epochs: Iterable[tuple[Place, Epoch]] = ()) -> None:
        self._places: dict[Place, list[Epoch]] = {}
        for place, epoch in epochs:
            known = self._places.setdefault(place, [])
            # Most channels of one location have the same epochs.
            if epoch not in known:
                known.append(epoch)

    def __len__(self) -> int:
        return len(self._places)

    def find(self, channel: Channel, time_ns: int) -> Coordinates | None:
        """Coordinates of the channel's location at a time, or else of its station; None when unknown."""
        for location in (channel.location, None):
            epochs = self._places.get((channel.network, channel.station, location), ())
            valid = [epoch for epoch in epochs if epoch.holds(time_ns)]
            if valid:
                return max(valid, key=lambda epoch: epoch.start_ns).coordinates
        return None


def read_stations(path: Path) -> Stations:
    """Read a file of stations.

    Raises:
        StationsError: when it cannot be read, or contains no station.
    """
    try:
        content = path.read_bytes()
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            stations = Stations(_from_xml(content, path))
        else:
            stations = Stations(_from_table(content.decode("utf-8-sig"), path))
    except OSError as error:
        raise StationsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise StationsError(f"{path}: neither StationXML nor UTF-8 text") from error
    if not len(stations):
        raise StationsError(f"{path}: holds no station")
    return stations


def _from_xml(content: bytes, path: Path) -> Iterator[tuple[Place, Epoch]]:
    from obspy import read_inventory

    try:
        inventory = read_inventory(io.BytesIO(content), format="STATIONXML")
    except Exception as error:
        raise StationsError(f"{path}: not StationXML: {error}") from error
    for network in inventory:
        for station in network:
            for item, location in [
                (station, None),
                *((channel, channel.location_code) for channel in station),
            ]:
                coordinates = Coordinates(float(item.latitude), float(item.longitude), float(item.elevation))
                start, end = item.start_date, item.end_date
                epoch = Epoch(
                    coordinates,
                    EARLIEST_NS if start is None else int(start.ns),
                    None if end is None else int(end.ns),
                )
                yield (network.code, station.code, location), epoch


def _from_table(text: str, path: Path) -> Iterator[tuple[Place, Epoch]]:
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter="|" if "|" in first else ",")
    names = [name.strip(" #").lower() for name in next(reader, [])]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise StationsError(f"{path}:1: no column {missing[0]!r}; needed are {', '.join(NEEDED)}")
    for fields in reader:
        if not any(fields):
            continue
        where = f"{path}:{reader.line_num}"
        if len(fields) < len(names):
            raise StationsError(f"{where}: {len(fields)} fields, where the header has {len(names)}")
        row = dict(zip(names, map(str.strip, fields), strict=False))
        location = row["location"].replace(EMPTY_LOCATION, "") if "location" in row else None
        numbers = [_number(row[name], name, where) for name in LIMITS]
        start_ns, end_ns = (_time(row.get(name, ""), name, where) for name in TIMES)
        epoch = Epoch(Coordinates(*numbers), EARLIEST_NS if start_ns is None else start_ns, end_ns)
        yield (row["network"], row["station"], location), epoch


def _time(text: str, name: str, where: str) -> int | None:
    """A time of a table; None for an empty field, and for a year that means for ever."""
    try:
        moment = (
            datetime.fromisoformat(f"{text}-01-01" if len(text) == YEAR_DIGITS else text) if text else None
        )
    except ValueError:
        raise StationsError(
            f"{where}: {name}: must be a time such as 2026-01-31T12:00:00; got {text!r}"
        ) from None
    return None if moment is None or moment.year not in YEARS else ns_from_iso(moment.isoformat())


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LIMITS[name]:
        raise StationsError(f"{where}: {name}: must be a number within +-{LIMITS[name]:g}; got {text!r}")
    return value

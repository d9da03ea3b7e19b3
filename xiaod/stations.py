r"""Where stations stand: read from a CSV file, from the text format of FDSN station services, or from StationXML.

A table has a header with ``network``, ``station``, ``latitude``, ``longitude`` (degrees), ``elevation`` (metres) and perhaps ``location``,
in any order, separated by commas or, as FDSN services do (FDSN Web Services 1.2, station, format=text), by ``|``.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "stations.csv"
...     _ = path.write_text("network,station,latitude,longitude,elevation\nBW,RJOB,47.7372,12.7957,860\n")
...     stations = read_stations(path)
>>> stations.find(Channel("BW", "RJOB", "", "EHZ"))
Coordinates(latitude_deg=47.7372, longitude_deg=12.7957, elevation_m=860.0)
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xiaod.records import Channel

NEEDED = ("network", "station", "latitude", "longitude", "elevation")
LIMITS = {"latitude": 90.0, "longitude": 180.0, "elevation": 12_000.0}
"""Largest absolute values, in degrees and metres; the deepest sea lies 11 km down."""

Place = tuple[str, str, str | None]
"""Network, station, location; None for all locations."""


class StationsError(ValueError):
    """A file of stations cannot be used; the message names file, line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where a sensor stands."""

    latitude_deg: float
    longitude_deg: float
    elevation_m: float


class Stations:
    """Coordinates by network, station and location."""

    def __init__(self, places: Mapping[Place, Coordinates] | None = None) -> None:
        self._places = dict(places or {})

    def __len__(self) -> int:
        return len(self._places)

    def find(self, channel: Channel) -> Coordinates | None:
        """Those of the channel's location, or else of its station; None when the station is not known."""
        of_location = self._places.get((channel.network, channel.station, channel.location))
        return of_location or self._places.get((channel.network, channel.station, None))


def read_stations(path: Path) -> Stations:
    """Read a file of stations.

    Raises:
        StationsError: when it cannot be read, or has none.
    """
    try:
        content = path.read_bytes()
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            places = dict(_from_xml(content, path))
        else:
            places = dict(_from_table(content.decode("utf-8-sig"), path))
    except OSError as error:
        raise StationsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise StationsError(f"{path}: neither StationXML nor UTF-8 text") from error
    if not places:
        raise StationsError(f"{path}: holds no station")
    return Stations(places)


def _from_xml(content: bytes, path: Path) -> Iterator[tuple[Place, Coordinates]]:
    from obspy import read_inventory

    try:
        inventory = read_inventory(io.BytesIO(content), format="STATIONXML")
    except Exception as error:
        raise StationsError(f"{path}: not StationXML: {error}") from error
    for network in inventory:
        # The newest epoch stands last.
        for station in network:
            for item, location in [
                (station, None),
                *((channel, channel.location_code) for channel in station),
            ]:
                numbers = (float(item.latitude), float(item.longitude), float(item.elevation))
                yield (network.code, station.code, location), Coordinates(*numbers)


def _from_table(text: str, path: Path) -> Iterator[tuple[Place, Coordinates]]:
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
        location = row["location"].replace("--", "") if "location" in row else None
        numbers = [_number(row[name], name, where) for name in LIMITS]
        yield (row["network"], row["station"], location), Coordinates(*numbers)


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LIMITS[name]:
        raise StationsError(f"{where}: {name}: must be a number within +-{LIMITS[name]:g}; got {text!r}")
    return value

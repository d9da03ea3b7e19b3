r"""Names and coordinates of stations, from a CSV file, the text format of FDSN station services, or StationXML.

A table has a header with ``network``, ``station``, ``latitude``, ``longitude`` (degrees), ``elevation`` (metres) and perhaps
``location``, ``name`` or ``sitename``, ``starttime`` and ``endtime``, in any order. Fields are separated by commas or, as FDSN services
do (FDSN Web Services 1.2, format=text), by ``|``, without quotes then. StationXML is read by ObsPy. Its reader of text does not say
which line is wrong, so tables are read here.

Stations are moved, so each has epochs: a pick gets what is valid at its time, or nothing.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "stations.csv"
...     _ = path.write_text("network,station,latitude,longitude,elevation\nBW,RJOB,47.7372,12.7957,860\n")
...     stations = read_stations(path)
>>> stations.find(Channel("BW", "RJOB", "", "EHZ"), time_ns=0)
Site(latitude_deg=47.7372, longitude_deg=12.7957, elevation_m=860.0, name='')
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.timegrid import EARLIEST_NS, YEARS, ns_from_iso
from xiaod.domain.types import Channel, Instrument

NEEDED = ("network", "station", "latitude", "longitude", "elevation")
TIMES = ("starttime", "endtime")
NAMES = ("sitename", "name")
"""What people call the column of names."""
YEAR_DIGITS = 4
LIMITS = {"latitude": 90.0, "longitude": 180.0, "elevation": 12_000.0}
"""Largest absolute values, in degrees and metres; the deepest sea lies 11 km down."""

Place = tuple[str, str, str | None]
"""Network, station, location; None for all locations."""


class StationsError(ValueError):
    """A file of stations cannot be used; the message names file, line and problem."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a sensor is."""

    latitude_deg: float
    longitude_deg: float
    elevation_m: float
    name: str = ""
    """For people; empty: none is given."""

    @property
    def text(self) -> str:
        """Name and coordinates on one line.

        >>> Site(-47.7372, 12.7957, 860.0, "Jochberg").text
        'Jochberg, 47.737° S 12.796° E, 860 m'
        """
        return ", ".join(
            part
            for part in (
                self.name,
                f"{_angle(self.latitude_deg, 'NS')} {_angle(self.longitude_deg, 'EW')}",
                f"{self.elevation_m:.0f} m",
            )
            if part
        )


@dataclass(frozen=True, slots=True)
class Epoch:
    """The site of a sensor during some time."""

    site: Site
    start_ns: int = EARLIEST_NS
    end_ns: int | None = None
    """Last valid time; None: without an end."""

    def holds(self, time_ns: int) -> bool:
        """Whether a time lies in it."""
        return self.start_ns <= time_ns and (self.end_ns is None or time_ns <= self.end_ns)


class Stations:
    """Sites by network, station, location and time."""

    def __init__(self, epochs: Iterable[tuple[Place, Epoch]] = ()) -> None:
        self._places: dict[Place, list[Epoch]] = {}
        for place, epoch in epochs:
            known = self._places.setdefault(place, [])
            # Most channels of one location have the same epochs.
            if epoch not in known:
                known.append(epoch)

    def __len__(self) -> int:
        return len(self._places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stations) and self._places == other._places

    def find(self, sensor: Channel | Instrument, time_ns: int) -> Site | None:
        """Site of a sensor's location at a time, or else of its station; None when unknown."""
        for location in (sensor.location, None):
            epochs = self._places.get((sensor.network, sensor.station, location), ())
            valid = [epoch for epoch in epochs if epoch.holds(time_ns)]
            if valid:
                return max(valid, key=lambda epoch: epoch.start_ns).site
        return None


NO_STATIONS = Stations()


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
        raise StationsError(
            f"{path}: cannot be read: {error.strerror or error}; name a file of StationXML, FDSN text or CSV"
        ) from error
    except UnicodeDecodeError as error:
        raise StationsError(f"{path}: neither StationXML nor UTF-8 text; save it as UTF-8") from error
    if not len(stations):
        raise StationsError(f"{path}: holds no station; name a file with the stations of the sources")
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
                coordinates = float(item.latitude), float(item.longitude), float(item.elevation)
                start, end = item.start_date, item.end_date
                epoch = Epoch(
                    Site(*coordinates, station.site.name or ""),
                    EARLIEST_NS if start is None else int(start.ns),
                    None if end is None else int(end.ns),
                )
                yield (network.code, station.code, location), epoch


def _from_table(text: str, path: Path) -> Iterator[tuple[Place, Epoch]]:
    first = text.split("\n", 1)[0]
    # Names in FDSN text may hold quotes.
    style: dict[str, Any] = (
        {"delimiter": "|", "quoting": csv.QUOTE_NONE} if "|" in first else {"delimiter": ","}
    )
    reader = csv.reader(io.StringIO(text), **style)
    try:
        names = [_column(name) for name in next(reader, [])]
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise StationsError(
                f"{path}:1: no column {missing[0]!r}; needed are {', '.join(NEEDED)}, named in the first line"
            )
        for fields in reader:
            if any(fields):
                yield _from_row(names, fields, f"{path}:{reader.line_num}")
    except csv.Error as error:
        raise StationsError(f"{path}:{reader.line_num}: {error}; correct this line") from error


def _column(name: str) -> str:
    """Name of a column as it is written in any of the formats."""
    name = name.strip(" #").lower()
    return "sitename" if name in NAMES else name


def _from_row(names: Sequence[str], fields: Sequence[str], where: str) -> tuple[Place, Epoch]:
    if len(fields) < len(names):
        raise StationsError(
            f"{where}: {len(fields)} fields, where the header has {len(names)}; write every one, empty if need be"
        )
    row = dict(zip(names, map(str.strip, fields), strict=False))
    for name in ("network", "station"):
        if not row[name]:
            raise StationsError(f"{where}: {name}: is empty; write its code")
    location = row["location"].replace(EMPTY_LOCATION, "") if "location" in row else None
    latitude_deg, longitude_deg, elevation_m = (_number(row[name], name, where) for name in LIMITS)
    start_ns, end_ns = (_time(row.get(name, ""), name, where) for name in TIMES)
    site = Site(latitude_deg, longitude_deg, elevation_m, row.get("sitename", ""))
    return (row["network"], row["station"], location), Epoch(
        site, EARLIEST_NS if start_ns is None else start_ns, end_ns
    )


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


def _angle(degrees: float, letters: str) -> str:
    return f"{abs(degrees):.3f}° {letters[degrees < 0]}"


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LIMITS[name]:
        raise StationsError(f"{where}: {name}: must be a number within +-{LIMITS[name]:g}; got {text!r}")
    return value

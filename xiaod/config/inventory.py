r"""Names, coordinates and responses of stations, from a CSV file, the text format of FDSN station services, or StationXML.

A table has a header with ``network``, ``station``, ``latitude``, ``longitude`` (degrees), ``elevation`` (metres) and perhaps
``location``, ``name`` or ``sitename``, ``starttime`` and ``endtime``, in any order. Fields are separated by commas or, as FDSN services
do (FDSN Web Services 1.2, format=text), by ``|``, without quotes then. StationXML is read by ObsPy. Its reader of text does not say
which line is wrong, so tables are read here.

Stations are moved, so each has epochs: a pick gets what is valid at its time, or nothing. Responses are those of channels in StationXML
with all stages; an overall sensitivity alone is no response.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "stations.csv"
...     _ = path.write_text("network,station,latitude,longitude,elevation\nBW,RJOB,47.7372,12.7957,860\n")
...     stations = read_stations(path)
>>> stations.find(Channel("BW", "RJOB", "", "EHZ"), time_ns=0)
Site(latitude_deg=47.7372, longitude_deg=12.7957, elevation_m=860.0, name='')
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.response import Response, Stage
from xiaod.domain.timegrid import EARLIEST_NS, YEARS, ns_from_iso
from xiaod.domain.types import Channel, Instrument

if TYPE_CHECKING:
    from obspy import Inventory

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


@dataclass(frozen=True, slots=True)
class ResponseEpoch:
    """The response of a channel during some time."""

    response: Response | str
    """Or why it cannot be used."""
    start_ns: int = EARLIEST_NS
    end_ns: int | None = None


class Stations:
    """Sites by network, station, location and time; responses by channel and time."""

    def __init__(
        self,
        epochs: Iterable[tuple[Place, Epoch]] = (),
        responses: Iterable[tuple[Channel, ResponseEpoch]] = (),
    ) -> None:
        self._responses: dict[Channel, list[ResponseEpoch]] = {}
        for channel, response in responses:
            self._responses.setdefault(channel, []).append(response)
        self._places: dict[Place, list[Epoch]] = {}
        for place, epoch in epochs:
            known = self._places.setdefault(place, [])
            # Most channels of one location have the same epochs.
            if epoch not in known:
                known.append(epoch)

    def __len__(self) -> int:
        return len(self._places)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Stations)
            and self._places == other._places
            and self._responses == other._responses
        )

    @property
    def have_responses(self) -> bool:
        """Whether any channel has one."""
        return bool(self._responses)

    @property
    def responses_sha256(self) -> str:
        """Changes when any response does; empty without one."""
        if not self._responses:
            return ""
        return hashlib.sha256(repr(sorted(self._responses.items())).encode()).hexdigest()

    def response(self, channel: Channel, time_ns: int) -> Response | str | None:
        """Response of a channel at a time, or why it cannot be used; None when there is none."""
        valid = [one for one in self._responses.get(channel, ()) if _holds(one, time_ns)]
        return max(valid, key=lambda one: one.start_ns).response if valid else None

    def find(self, sensor: Channel | Instrument, time_ns: int) -> Site | None:
        """Site of a sensor's location at a time, or else of its station; None when unknown."""
        for location in (sensor.location, None):
            epochs = self._places.get((sensor.network, sensor.station, location), ())
            valid = [epoch for epoch in epochs if _holds(epoch, time_ns)]
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
            stations = stations_of(_inventory(content, path))
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


def stations_of(inventory: "Inventory") -> Stations:
    """The stations of an ObsPy inventory."""
    return Stations(_epochs_of(inventory), _responses_of(inventory))


def _inventory(content: bytes, path: Path) -> "Inventory":
    from obspy import read_inventory

    try:
        return read_inventory(io.BytesIO(content), format="STATIONXML")
    except Exception as error:
        raise StationsError(
            f"{path}: not StationXML (ObsPy says: {error}); take what a station service gives with format=xml or"
            " format=text, or write CSV"
        ) from error


def _epochs_of(inventory: "Inventory") -> Iterator[tuple[Place, Epoch]]:
    for network in inventory:
        for station in network:
            for item, location in [
                (station, None),
                *((channel, channel.location_code) for channel in station),
            ]:
                coordinates = float(item.latitude), float(item.longitude), float(item.elevation)
                epoch = Epoch(Site(*coordinates, station.site.name or ""), *_times_of(item))
                yield (network.code, station.code, location), epoch


def _responses_of(inventory: "Inventory") -> Iterator[tuple[Channel, ResponseEpoch]]:
    # Digitizers of one kind have the same filters, of hundreds of numbers.
    known: dict[Stage, Stage] = {}
    for network in inventory:
        for station in network:
            for one in station:
                if one.response is None or not one.response.response_stages:
                    continue
                channel = Channel(network.code, station.code, one.location_code, one.code)
                try:
                    response: Response | str = _response_of(one.response, known)
                except ValueError as error:
                    response = str(error)
                yield channel, ResponseEpoch(response, *_times_of(one))


def _response_of(given: Any, known: dict[Stage, Stage]) -> Response:
    """Of ObsPy's object.

    Raises:
        ValueError: when a stage cannot be used.
    """
    stages = sorted(given.response_stages, key=lambda one: one.stage_sequence_number)
    whole = given.instrument_sensitivity
    unit = stages[0].input_units or getattr(whole, "input_units", None) or ""
    made = [_stage_of(stage, getattr(whole, "frequency", None)) for stage in stages]
    return Response(unit, tuple(known.setdefault(stage, stage) for stage in made))


def _stage_of(stage: Any, sensitivity_hz: float | None) -> Stage:
    from obspy.core.inventory import response as obspy

    number = f"stage {stage.stage_sequence_number}"
    if isinstance(stage, obspy.PolynomialResponseStage):
        raise ValueError(f"{number}: is a polynomial, which is no response to motion")
    if stage.stage_gain is None:
        raise ValueError(f"{number}: has no gain")
    rate_hz = float(stage.decimation_input_sample_rate or 0)
    common: dict[str, Any] = {
        "gain": float(stage.stage_gain),
        "gain_hz": float(stage.stage_gain_frequency or 0),
        "interval_s": 1 / rate_hz if rate_hz else 0.0,
        "corrected_s": float(stage.decimation_correction or 0),
    }
    if isinstance(stage, obspy.PolesZerosResponseStage):
        kind = stage.pz_transfer_function_type
        # Poles and zeros in hertz are the same filter as those in radians a second, but for the factor.
        unit = math.tau if kind == "LAPLACE (HERTZ)" else 1.0
        # As evalresp has it (norm_resp): the factor that is given counts where all gains are given at its frequency.
        hz = float(stage.normalization_frequency or 0)
        given = hz == common["gain_hz"] and sensitivity_hz in (None, hz)
        factor = float(stage.normalization_factor) * unit ** (len(stage.poles) - len(stage.zeros))
        made = Stage(
            "digital" if kind.startswith("DIGITAL") else "laplace",
            factor=factor if given else None,
            zeros=tuple(complex(zero) * unit for zero in stage.zeros),
            poles=tuple(complex(pole) * unit for pole in stage.poles),
            **common,
        )
    elif isinstance(stage, obspy.CoefficientsTypeResponseStage):
        if stage.cf_transfer_function_type != "DIGITAL" and (len(stage.numerator) > 1 or stage.denominator):
            raise ValueError(f"{number}: has coefficients of an analogue filter, which are not supported")
        made = Stage(
            "coefficients",
            numerator=tuple(map(float, stage.numerator)),
            denominator=tuple(map(float, stage.denominator)),
            **common,
        )
    elif isinstance(stage, obspy.FIRResponseStage):
        half = tuple(map(float, stage.coefficients))
        # Of a symmetric filter half of the coefficients are listed; that in the middle of an odd number once.
        rest = {"NONE": (), "ODD": half[-2::-1], "EVEN": half[::-1]}[stage.symmetry]
        made = Stage("coefficients", numerator=half + rest, **common)
    elif isinstance(stage, obspy.ResponseListResponseStage):
        elements = sorted(stage.response_list_elements, key=lambda one: one.frequency)
        made = Stage(
            "list",
            frequencies_hz=tuple(float(one.frequency) for one in elements),
            numerator=tuple(float(one.amplitude) for one in elements),
            denominator=tuple(float(one.phase) for one in elements),
            **common,
        )
    else:
        made = Stage("gain", **common)
    if made.kind in ("digital", "coefficients") and not rate_hz and len(made.numerator) + len(made.poles) > 1:
        raise ValueError(f"{number}: a digital filter without the rate of its samples")
    return made


def _times_of(item: Any) -> tuple[int, int | None]:
    start, end = item.start_date, item.end_date
    return EARLIEST_NS if start is None else int(start.ns), None if end is None else int(end.ns)


def _holds(one: Epoch | ResponseEpoch, time_ns: int) -> bool:
    """Whether a time lies in an epoch."""
    return one.start_ns <= time_ns and (one.end_ns is None or time_ns <= one.end_ns)


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

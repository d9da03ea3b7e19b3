"""Picks in the JSON of the ANSS, one a line, appended (:mod:`xiaod.sinks.file.appended`).

The format is that of USGS's library ``anss-formats`` 0.1: a GeoJSON feature for the channel, with coordinates if the file of stations
has them; the probability is a prediction. Times have six decimals (the library requires a fraction and keeps milliseconds); amplitudes
are in counts, in the band of the ratio, which is at most 10^9, the library's limit. Numbers that are not finite are omitted, and so is
the polarity where it was not measured.

The format knows neither stages nor picks that are withdrawn (its ``Retraction`` is that of a detection). ``analyticsInfo.extensions`` has
the stage, and for a final pick the identifier of the early one, its outcome and the shift in seconds; what withdraws an early pick is left
out.

>>> from xiaod.domain.types import Channel
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> document = anss_document(pick, AgencyConfig(), Stations())
>>> document["time"], document["analyticsInfo"]["predictions"][0]["probability"]
('2009-08-24T00:20:07.731250Z', 0.9)
"""

import json
import math
from typing import Any

from xiaod.config import AgencyConfig
from xiaod.config.inventory import NO_STATIONS, Stations, StationsError, read_stations
from xiaod.config.sinks.file import AnssConfig
from xiaod.domain.document import amplitude_number
from xiaod.domain.onsets import BAND_HZ
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Pick, Polarity
from xiaod.sinks import SinkError
from xiaod.sinks.file.appended import AppendingSink
from xiaod.sinks.file.jsonl import json_identity

MAX_SNR = 1e9
POLARITY: dict[Polarity, str] = {"up": "up", "down": "down", "undecidable": "no-result"}
AMPLITUDE_METHOD = f"peak after the onset in {BAND_HZ[0]:g} to {BAND_HZ[1]:g} Hz"


def anss_document(pick: Pick, agency: AgencyConfig, stations: Stations) -> dict[str, Any]:
    """A pick as an ANSS document."""
    channel = pick.channel
    feature: dict[str, Any] = {
        "type": "Feature",
        "properties": {
            "station": channel.station,
            "channel": channel.channel,
            "network": channel.network,
            "location": channel.location,
        },
    }
    if (place := stations.find(channel, pick.time_ns)) is not None:
        coordinates = [place.longitude_deg, place.latitude_deg, place.elevation_m]
        feature["geometry"] = {"type": "Point", "coordinates": coordinates}
    name, _, version = pick.model.rpartition("-")
    prediction = {
        "label": "phase",
        "value": pick.phase,
        **_finite(probability=pick.probability),
        "modelID": name or pick.model,
        "modelVersion": version,
        "metrics": _finite(timeUncertainty=pick.time_uncertainty_s),
    }
    return {
        "type": "Pick",
        "id": pick.id,
        "channel": feature,
        "source": {"agencyID": agency.agency_id, "author": agency.author},
        "time": iso_from_ns(pick.time_ns),
        "phase": pick.phase,
        **({} if pick.polarity is None else {"polarity": POLARITY[pick.polarity]}),
        "method": f"xiaod:{pick.model}",
        "amplitudeInfo": {
            **({} if (amplitude := amplitude_number(pick.amplitude)) is None else {"amplitude": amplitude}),
            **_finite(snr=min(pick.snr, MAX_SNR)),
            "units": "counts",
            "method": AMPLITUDE_METHOD,
        },
        "analyticsInfo": {
            "predictions": [prediction],
            "extensions": {
                "components": pick.components,
                "modelSHA256": pick.model_sha256,
                "stage": pick.stage,
                **({} if pick.early_id is None else {"earlyID": pick.early_id, "outcome": pick.outcome}),
                **({} if pick.moved_s is None else _finite(moved=pick.moved_s)),
            },
        },
    }


class AnssLines:
    """Lines of ANSS documents; implements :class:`xiaod.sinks.file.tail.LineFormat`."""

    header = b""
    closed = True

    def __init__(self, agency: AgencyConfig, stations: Stations) -> None:
        self._agency = agency
        self._stations = stations

    def line(self, pick: Pick) -> bytes:
        """A pick as one line, newline included; nothing for what withdraws one."""
        if pick.stage == "withdrawn":
            return b""
        document = anss_document(pick, self._agency, self._stations)
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    def identity(self, line: bytes) -> str:
        """The pick's ``id``.

        Raises:
            ValueError: when it is not a whole line.
        """
        return json_identity(line)


class AnssSink(AppendingSink):
    """Appends to a file; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: AnssConfig, agency: AgencyConfig, stations: Stations = NO_STATIONS) -> None:
        """Read a file of stations of its own, or take the stations of all; the output is opened when there is something to write.

        Raises:
            SinkError: when the file of stations cannot be used.
        """
        try:
            stations = stations if config.stations_file is None else read_stations(config.stations_file)
        except StationsError as error:
            raise SinkError(f"stations_file: {error}") from error
        super().__init__(config, AnssLines(agency, stations))


def _finite(**numbers: float) -> dict[str, float]:
    return {key: round(number, 6) for key, number in numbers.items() if math.isfinite(number)}

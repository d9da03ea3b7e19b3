"""A mean of the amplitude (RSAM) as a JSON document.

It has the version of its schema, ``rsam.schema.json`` beside this file, and a ``type``, as documents of events have.

>>> from types import SimpleNamespace
>>> from xiaod.domain.types import Channel
>>> value = RsamValue(Channel("BW", "RJOB", "", "EHZ"), 10, 0, 1.0, 20.0, 123.45678, 0.98765)
>>> document = rsam_document(value, SimpleNamespace(agency_id="XX", author="xiaod"))
>>> document["id"], document["time"], document["value"], document["unit"], document["share"]
('19700101.0000-rsam10-BW.RJOB..EHZ', '1970-01-01T00:00:00.000000Z', 123.457, 'counts', 0.9877)
"""

import math
from importlib.resources import files
from json import loads
from typing import Any

from xiaod.domain.document import Agency
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import RsamValue

SCHEMA_VERSION = "1.0.0"
TYPE = "rsam"
UNIT = "counts"


def rsam_document(value: RsamValue, agency: Agency) -> dict[str, Any]:
    """The canonical document of a mean."""
    return {
        "schema_version": SCHEMA_VERSION,
        "type": TYPE,
        "id": value.id,
        "network": value.channel.network,
        "station": value.channel.station,
        "location": value.channel.location,
        "channel": value.channel.channel,
        "time": iso_from_ns(value.time_ns),
        "minutes": value.minutes,
        "low_hz": value.low_hz,
        "high_hz": value.high_hz,
        # Six digits: more are noise of the arithmetic.
        "value": float(f"{value.counts:.6g}") if math.isfinite(value.counts) else None,
        "unit": UNIT,
        "share": round(value.share, 4),
        "agency_id": agency.agency_id,
        "author": agency.author,
    }


def rsam_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    content: dict[str, Any] = loads(
        files("xiaod.domain").joinpath("rsam.schema.json").read_text(encoding="utf-8")
    )
    return content

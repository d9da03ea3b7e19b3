"""An event as a JSON document: the canonical form, as :mod:`xiaod.domain.document` is that of a pick.

It has the version of its schema, ``event.schema.json`` beside this file, and a ``type``, which documents of picks do not have.

>>> from types import SimpleNamespace
>>> pick = EventPick("a", Channel("BW", "RJOB", "", "EHZ"), "P", 1_251_073_207_731_250_000, 0.1, "final")
>>> event = Event("e-v1", "e", 1, "final", "coincidence", pick.time_ns, (pick,))
>>> document = event_document(event, SimpleNamespace(agency_id="XX", author="xiaod"))
>>> document["type"], document["stations"], document["first_pick_time"]
('event', 1, '2009-08-24T00:20:07.731250Z')
>>> event_from_document(document) == event
True
"""

from collections.abc import Mapping
from importlib.resources import files
from json import dumps, loads
from typing import Any, get_args

from xiaod.domain.document import (
    Agency,
    amplitude_number,
    finite,
    pick_document,
    pick_from_document,
    value_of,
)
from xiaod.domain.rsam import rsam_document
from xiaod.domain.timegrid import iso_from_ns, ns_from_iso
from xiaod.domain.types import (
    Channel,
    Delivered,
    DocumentStage,
    Event,
    EventArrival,
    EventMagnitude,
    EventOrigin,
    EventPick,
    PickOrEvent,
    RsamValue,
    StationDistance,
)

SCHEMA_VERSION = "1.1.0"
TYPE = "event"
NOTICE = "automatic, unreviewed, not located, not for early warning"
LOCATED_NOTICE = "automatic, unreviewed, not for early warning"
DEGREES = 5
"""Decimals of coordinates: a metre."""


def document_of(item: Delivered, agency: Agency) -> dict[str, Any]:
    """The canonical document of a pick, an event or a mean of the amplitude."""
    if isinstance(item, RsamValue):
        return rsam_document(item, agency)
    return event_document(item, agency) if isinstance(item, Event) else pick_document(item, agency)


def json_of(item: Delivered, agency: Agency) -> str:
    """The document as one line of JSON, without a line end."""
    return dumps(document_of(item, agency), separators=(",", ":"), allow_nan=False)


def event_document(event: Event, agency: Agency) -> dict[str, Any]:
    """The canonical document of an event: ``created`` for a live one only, ``early_id`` where it applies."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "type": TYPE,
        "id": event.id,
        "event_id": event.event_id,
        "version": event.version,
        "stage": event.stage,
        "method": event.method,
        "first_pick_time": iso_from_ns(event.time_ns),
        "stations": event.stations,
        "picks": [
            {
                "id": pick.id,
                "network": pick.channel.network,
                "station": pick.channel.station,
                "location": pick.channel.location,
                "channel": pick.channel.channel,
                "phase": pick.phase,
                "stage": pick.stage,
                "time": iso_from_ns(pick.time_ns),
                "time_uncertainty_s": finite(pick.time_uncertainty_s),
                **_arrival_document(pick),
            }
            for pick in event.picks
        ],
        "distances": [
            {
                "network": one.network,
                "station": one.station,
                "s_minus_p_s": finite(one.s_minus_p_s),
                "distance_km": finite(one.distance_km, 2),
                "uncertainty_km": finite(one.uncertainty_km, 2),
            }
            for one in event.distances
        ],
        **_origin_document(event.origin),
        **_magnitude_document(event.magnitude),
        "notice": notice_of(event),
        "agency_id": agency.agency_id,
        "author": agency.author,
    }
    if event.early_id is not None:
        document["early_id"] = event.early_id
    if event.created_ns is not None:
        document["created"] = iso_from_ns(event.created_ns)
    return document


def item_from_document(document: Mapping[str, Any]) -> PickOrEvent:
    """The pick or the event of a document.

    Raises:
        KeyError, ValueError: as :func:`event_from_document` and :func:`~xiaod.domain.document.pick_from_document`.
    """
    return event_from_document(document) if document.get("type") == TYPE else pick_from_document(document)


def event_from_document(document: Mapping[str, Any]) -> Event:
    """The event of a document, with the digits that the document has.

    Raises:
        KeyError, ValueError: when it is not a document of a version that can be read.
    """
    if document["type"] != TYPE or document["schema_version"].split(".")[0] != "1":
        raise ValueError(f"no event of schema_version 1: {document['schema_version']}")
    if document["stage"] not in get_args(DocumentStage):
        raise ValueError(f"no event has stage {document['stage']!r}")
    return Event(
        id=document["id"],
        event_id=document["event_id"],
        version=document["version"],
        stage=document["stage"],
        method=document["method"],
        time_ns=ns_from_iso(document["first_pick_time"]),
        picks=tuple(
            EventPick(
                one["id"],
                Channel(one["network"], one["station"], one["location"], one["channel"]),
                one["phase"],
                ns_from_iso(one["time"]),
                value_of(one["time_uncertainty_s"]),
                one["stage"],
                _arrival(one),
                one.get("wood_anderson_mm"),
                one.get("magnitude"),
            )
            for one in document["picks"]
        ),
        distances=tuple(
            StationDistance(
                one["network"],
                one["station"],
                value_of(one["s_minus_p_s"]),
                value_of(one["distance_km"]),
                value_of(one["uncertainty_km"]),
            )
            for one in document["distances"]
        ),
        early_id=document.get("early_id"),
        created_ns=ns_from_iso(document["created"]) if "created" in document else None,
        origin=_origin(document.get("origin")),
        magnitude=_magnitude(document.get("magnitude")),
    )


def _arrival_document(pick: EventPick) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    if pick.arrival is not None:
        found = {
            "distance_km": finite(pick.arrival.distance_km, 2),
            "azimuth_deg": finite(pick.arrival.azimuth_deg, 1),
            "residual_s": finite(pick.arrival.residual_s, 3),
        }
    if pick.wood_anderson_mm is not None and pick.magnitude is not None:
        found |= {
            "wood_anderson_mm": amplitude_number(pick.wood_anderson_mm),
            "magnitude": finite(pick.magnitude, 2),
        }
    return found


def _arrival(document: Mapping[str, Any]) -> EventArrival | None:
    if "residual_s" not in document:
        return None
    return EventArrival(*(value_of(document[key]) for key in ("distance_km", "azimuth_deg", "residual_s")))


def _origin_document(origin: EventOrigin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    return {
        "origin": {
            "time": iso_from_ns(origin.time_ns),
            "time_uncertainty_s": finite(origin.time_uncertainty_s, 3),
            "latitude": finite(origin.latitude_deg, DEGREES),
            "longitude": finite(origin.longitude_deg, DEGREES),
            "horizontal_uncertainty_km": finite(origin.horizontal_uncertainty_km, 2),
            "depth_km": finite(origin.depth_km, 2),
            "depth_uncertainty_km": finite(origin.depth_uncertainty_km, 2),
            "rms_s": finite(origin.rms_s, 3),
            "azimuthal_gap_deg": finite(origin.azimuthal_gap_deg, 1),
            "nearest_km": finite(origin.nearest_km, 2),
            "velocity_model": origin.velocity_model,
        }
    }


def _origin(document: Mapping[str, Any] | None) -> EventOrigin | None:
    if document is None:
        return None
    return EventOrigin(
        time_ns=ns_from_iso(document["time"]),
        latitude_deg=value_of(document["latitude"]),
        longitude_deg=value_of(document["longitude"]),
        depth_km=value_of(document["depth_km"]),
        time_uncertainty_s=value_of(document["time_uncertainty_s"]),
        horizontal_uncertainty_km=value_of(document["horizontal_uncertainty_km"]),
        depth_uncertainty_km=value_of(document["depth_uncertainty_km"]),
        rms_s=value_of(document["rms_s"]),
        azimuthal_gap_deg=value_of(document["azimuthal_gap_deg"]),
        nearest_km=value_of(document["nearest_km"]),
        velocity_model=document["velocity_model"],
    )


def _magnitude_document(magnitude: EventMagnitude | None) -> dict[str, Any]:
    if magnitude is None:
        return {}
    return {
        "magnitude": {
            "value": finite(magnitude.value, 2),
            "type": magnitude.kind,
            "uncertainty": finite(magnitude.uncertainty, 2),
            "stations": magnitude.stations,
        }
    }


def _magnitude(document: Mapping[str, Any] | None) -> EventMagnitude | None:
    if document is None:
        return None
    return EventMagnitude(
        value_of(document["value"]), value_of(document["uncertainty"]), document["stations"], document["type"]
    )


def notice_of(event: Event) -> str:
    """What each event says of itself."""
    return NOTICE if event.origin is None else LOCATED_NOTICE


def place_text(origin: EventOrigin) -> str:
    """Where it was, for people, in ASCII.

    >>> place_text(EventOrigin(0, 35.6989, -126.7222, 10.2, 0.1, 1.0, 2.0, 0.3, 90.0, 5.0, "iasp91"))
    '35.699 N 126.722 W, 10 km deep'
    """
    north = f"{abs(origin.latitude_deg):.3f} {'NS'[origin.latitude_deg < 0]}"
    east = f"{abs(origin.longitude_deg):.3f} {'EW'[origin.longitude_deg < 0]}"
    return f"{north} {east}, {origin.depth_km:.0f} km deep"


def about(event: Event) -> str:
    """What is known of an event, in words.

    >>> about(Event("e-v1", "e", 1, "final", "coincidence", 0, (), (StationDistance("BW", "RJOB", 2.5, 20.06, 2.21),)))
    '0 stations; about 20 km (+-2) from BW.RJOB'
    """
    number = f"{event.stations} station{'' if event.stations == 1 else 's'}"
    if event.origin is not None:
        size = "" if event.magnitude is None else f"{event.magnitude.kind} {event.magnitude.value:.1f}, "
        return (
            f"{size}{place_text(event.origin)} (+-{event.origin.horizontal_uncertainty_km:.1f} km); {number}"
        )
    if not event.distances:
        return number
    near = event.distances[0]
    return f"{number}; about {near.distance_km:.0f} km (+-{near.uncertainty_km:.0f}) from {near.network}.{near.station}"


def event_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    content: dict[str, Any] = loads(
        files("xiaod.domain").joinpath("event.schema.json").read_text(encoding="utf-8")
    )
    return content

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

from xiaod.domain.document import Agency, finite, pick_document, pick_from_document, value_of
from xiaod.domain.timegrid import iso_from_ns, ns_from_iso
from xiaod.domain.types import Channel, DocumentStage, Event, EventPick, PickOrEvent, StationDistance

SCHEMA_VERSION = "1.0.0"
TYPE = "event"
NOTICE = "automatic, unreviewed, not located, not for early warning"


def document_of(item: PickOrEvent, agency: Agency) -> dict[str, Any]:
    """The canonical document of a pick or an event."""
    return event_document(item, agency) if isinstance(item, Event) else pick_document(item, agency)


def json_of(item: PickOrEvent, agency: Agency) -> str:
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
        "notice": NOTICE,
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
    )


def about(event: Event) -> str:
    """What is known of an event, in words.

    >>> about(Event("e-v1", "e", 1, "final", "coincidence", 0, (), (StationDistance("BW", "RJOB", 2.5, 20.06, 2.21),)))
    '0 stations; about 20 km (+-2) from BW.RJOB'
    """
    number = f"{event.stations} station{'' if event.stations == 1 else 's'}"
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

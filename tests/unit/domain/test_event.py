"""The document of an event fits its schema, comes back, and cannot be taken for that of a pick."""

import json
import math
from dataclasses import replace

import jsonschema
import pytest

from tests.unit.domain.test_document import AGENCY, early_at
from xiaod.domain.document import schema
from xiaod.domain.event import (
    about,
    event_document,
    event_from_document,
    event_schema,
    item_from_document,
    json_of,
)
from xiaod.domain.types import Event, EventPick, StationDistance

PICK = early_at(125_107_320_773)
EVENT = Event(
    "e-v1",
    "e",
    1,
    "early",
    "coincidence",
    PICK.time_ns,
    (
        EventPick(PICK.id, PICK.channel, "P", PICK.time_ns, 0.05, "early"),
        EventPick("b", PICK.channel, "S", PICK.time_ns + 10**9, math.inf, "final"),
    ),
    (StationDistance("BW", "RJOB", 1.0, 8.02, 0.9),),
    created_ns=PICK.time_ns + 2 * 10**9,
)


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        replace(EVENT, stage="final", early_id="e-early", created_ns=None),
        replace(EVENT, stage="withdrawn", early_id="e", distances=()),
    ],
)
def test_an_event_fits_the_schema_and_comes_back(event: Event) -> None:
    document = json.loads(json_of(event, AGENCY))
    jsonschema.validate(document, event_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())
    again = item_from_document(document)
    assert isinstance(again, Event)
    assert event_document(again, AGENCY) == document
    first, *_ = again.picks
    assert replace(again, picks=()) == replace(event, picks=())
    assert first == event.picks[0]
    assert math.isnan(again.picks[1].time_uncertainty_s)


def test_a_distance_of_a_pick_without_an_uncertainty_fits_the_schema() -> None:
    event = replace(EVENT, distances=(StationDistance("BW", "RJOB", 1.0, 8.02, math.nan),))
    document = json.loads(json_of(event, AGENCY))
    jsonschema.validate(document, event_schema())
    assert document["distances"][0]["uncertainty_km"] is None


def test_an_event_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="2\\.0\\.0"):
        event_from_document({**event_document(EVENT, AGENCY), "schema_version": "2.0.0"})
    with pytest.raises(ValueError, match="stage"):
        event_from_document({**event_document(EVENT, AGENCY), "stage": "located"})


def test_it_is_said_in_words_how_far_it_is() -> None:
    assert about(EVENT) == "1 station; about 8 km (+-1) from BW.RJOB"
    assert about(replace(EVENT, distances=())) == "1 station"

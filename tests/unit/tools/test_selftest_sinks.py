"""The picks of a self-test, as sinks of each stage get them, and their event."""

import json
from pathlib import Path

import jsonschema
import pytest

from tests.contract.test_sinks import NOW_NS, final, pick
from xiaod.config import Config
from xiaod.domain.document import schema
from xiaod.domain.event import event_schema
from xiaod.tools.selftest.sinks import event_of, marked, try_sinks


@pytest.mark.parametrize(("stage", "expected"), [("final", "final"), ("all", "final"), ("early", "early")])
def test_a_sink_gets_the_trial_picks_as_its_reader_expects_them(
    tmp_path: Path, stage: str, expected: str
) -> None:
    path = tmp_path / "picks.jsonl"
    sink = {"kind": "jsonl", "path": str(path), "stage": stage}
    config = Config.model_validate({"sources": [{"server": "localhost"}], "sinks": [sink]})
    # In a configuration with early picks a final one names its early one, which is not delivered.
    [step] = try_sinks(config, config.sinks, marked([final(1, 0.03), pick(2, phase="S")], NOW_NS), 60.0)
    assert step.result == "delivered"
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    for document in documents:
        jsonschema.validate(document, schema())
    assert [document["stage"] for document in documents] == [expected] * 2
    assert not any(document.keys() & {"early_id", "outcome", "moved_s"} for document in documents)


@pytest.mark.parametrize("stage", ["final", "early"])
@pytest.mark.parametrize(("of", "types"), [("events", ["event"]), ("all", [None, None, "event"])])
def test_a_sink_of_events_gets_one(tmp_path: Path, of: str, types: list[str | None], stage: str) -> None:
    path = tmp_path / "events.jsonl"
    sink = {"kind": "jsonl", "path": str(path), "of": of, "stage": stage}
    config = Config.model_validate(
        {"sources": [{"server": "localhost"}], "events": {"enabled": True}, "sinks": [sink]}
    )
    trial = marked([pick(1), pick(90, phase="S", id=f"{pick(90).id}-S")], NOW_NS)
    [step] = try_sinks(config, config.sinks, trial, 60.0)
    assert step.result == "delivered"
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    assert [document.get("type") for document in documents] == types
    jsonschema.validate(documents[-1], event_schema())
    assert {document["stage"] for document in documents} == {stage}
    [near] = documents[-1]["distances"]
    assert (near["station"], near["s_minus_p_s"]) == ("RJOB", 0.89)


def test_the_event_of_picks_that_make_none_has_no_distance() -> None:
    event = event_of(marked([pick(1, phase="S"), pick(2)], NOW_NS))
    assert ([one.phase for one in event.picks], event.distances) == (["S", "P"], ())

"""The picks of a self-test, as sinks of each stage get them."""

import json
from pathlib import Path

import jsonschema
import pytest

from tests.contract.test_sinks import NOW_NS, final, pick
from xiaod.config import Config
from xiaod.domain.document import schema
from xiaod.tools.selftest.sinks import marked, try_sinks


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

"""The JSON Schema of the configuration is current, and refuses what the program refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.unit.config.test_loader import models_of
from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.config.schema import schema_text
from xiaod.tools.init.commented_yaml import WIDTH
from xiaod.tools.init.text import reference

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "xiaod" / "config" / "config.schema.json"


def test_the_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), (
        "run 'make generated' and commit what it writes"
    )


def test_the_reference_is_what_the_models_give() -> None:
    assert (ROOT / "config.yaml").read_text(encoding="utf-8") == reference(), (
        "change the models in xiaod/config, run 'make generated' and commit what it writes"
    )
    assert max(map(len, reference().splitlines())) <= WIDTH


@pytest.mark.parametrize("model", models_of(Config), ids=lambda model: model.__name__)
def test_every_key_is_described(model: Any) -> None:
    for key, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{key}: write a docstring under it; editors show it"


def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_reference_is_valid_by_the_schema_that_it_names() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=xiaod/config/config.schema.json\n")
    document = yaml.safe_load(text)
    assert list(validator().iter_errors(document)) == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"sources": []},
        {"sources": [{"server": "a", "serverr": "b"}]},
        {"sources": [{"server": "a", "streams": ["BW.RJOB"]}]},
        {"sources": [{"server": "a"}], "windows": {"early_hop_s": 0.01}},
        {"sources": [{"server": "a"}], "early": "never"},
        {"sources": [{"server": "a"}], "config_version": 1},
        {"sources": [{"server": "a"}], "sinks": [{"kind": "jsonl"}]},
        {"sources": [{"server": "a"}], "sinks": [{"kind": "pigeon"}]},
        {"sources": [{"server": "a"}], "picker": {"stations": {"RJOB": {}}}},
        {"sources": [{"server": "a"}], "logs": {"level": "loud"}},
    ],
)
def test_what_the_program_refuses_the_schema_refuses(document: Any) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        Config.model_validate(document)
    assert list(validator().iter_errors(document))


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == SCHEMA.read_text(encoding="utf-8")

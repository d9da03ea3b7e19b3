"""What ``xiaod show`` prints is the whole configuration, is one again, and holds no secret."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from xiaod.cli.main import main
from xiaod.config import Config, Model
from xiaod.config.loader import load_config, parse_config, yaml_text
from xiaod.config.redact import MASK, mask
from xiaod.config.sinks import SINKS

HUSH = b64encode(b"hunter2" * 4).decode()
REFERENCE = Path(__file__).parents[3] / "config.yaml"


def test_the_reference_comes_back_whole(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(REFERENCE)
    assert main(["show", "--config", str(REFERENCE)]) == 0
    assert parse_config(capsys.readouterr().out, "shown") == config
    assert main(["show", "--config", str(REFERENCE), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Config.model_validate(shown) == config
    assert shown["windows"] == {"length_s": 20.0, "final_hop_s": 4.0, "early_hop_s": 0.5}


def test_what_a_short_file_leaves_out_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(
        "sources:\n  - server: no\n    begin: 2026-01-31T12:00:00Z\nagency: {author: 'null'}\n", "utf-8"
    )
    assert main(["show", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "grace_s: 20.0" in shown
    assert parse_config(shown, "shown") == load_config(path)


@given(author=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=40))
def test_any_text_survives(author: str) -> None:
    config = Config.model_validate({"sources": [{"server": "a"}], "agency": {"author": author}})
    assert parse_config(yaml_text(config.model_dump(mode="json")), "shown") == config


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("password", "hunter2", MASK),
        ("sasl_password", "hunter2", MASK),
        ("API_TOKEN", "hunter2", MASK),
        ("key", "hunter2", MASK),
        ("password", None, None),
        ("password", "", ""),
        ("password_file", "/run/secrets/p", "/run/secrets/p"),
        ("token_env", "TOKEN", "TOKEN"),
        ("keep_days", 30.0, 30.0),
        ("url", "https://me:hunter2@example.org/a@b", f"https://{MASK}@example.org/a@b"),
        ("urls", ["amqp://hunter2@h", "amqp://h"], [f"amqp://{MASK}@h", "amqp://h"]),
        ("monkey", "see", "see"),
    ],
)
def test_secrets_are_masked(key: str, value: Any, expected: Any) -> None:
    assert mask({"sinks": [{key: value}]}) == {"sinks": [{key: expected}]}


def test_declared_secrets_are_masked() -> None:
    class Part(Model):
        login: SecretStr

    assert mask(Part(login=SecretStr("hunter2")).model_dump()) == {"login": MASK}


def test_secrets_of_every_sink_are_masked_and_the_rest_is_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hunter2"  # noqa: S105  the one that must not be seen
    content: dict[str, list[dict[str, Any]]] = {
        "sources": [{"server": "a"}],
        "sinks": [
            {"kind": "webhook", "url": f"https://me:{secret}@example.org:8443/{secret}?key={secret}", "headers": {"Authorization": secret}},
            {"kind": "webhook", "name": "variable", "url": "${WEBHOOK}"},
            {"kind": "mqtt", "server": "broker", "username": "me", "password": secret},
            {"kind": "webhook", "name": "signed", "url": "https://example.org", "secret": f"whsec_{HUSH}"},
            {"kind": "nats", "servers": ["nats://a"], "token": secret},
            {"kind": "kafka", "brokers": ["a"], "username": "me", "password": secret},
            {"kind": "nats", "name": "user", "servers": ["nats://a"], "username": "me", "password": secret},
            {"kind": "datalink", "token": secret},
            {"kind": "datalink", "name": "ring", "username": "me", "password": secret},
            {"kind": "notify", "of": "picks", "url": f"tgram://{secret}/{secret}"},
        ],
    }  # fmt: skip
    given = {(sink["kind"], key) for sink in content["sinks"] for key in sink}
    for model in SINKS:
        kind = model.kind_name()
        if (kind, "kind") not in given:
            content["sinks"].append({"kind": kind, **model.EXAMPLE})
        for key, field in model.model_fields.items():
            assert "SecretStr" not in repr(field.annotation) or (kind, key) in given
    path = tmp_path / "config.yaml"
    path.write_text(yaml_text(content), encoding="utf-8")
    for style in ("yaml", "json"):
        assert main(["show", "--config", str(path), "--format", style]) == 0
        shown = capsys.readouterr().out
        assert secret not in shown
        assert HUSH not in shown
        assert f"https://example.org:8443/{MASK}" in shown
        assert "${WEBHOOK}" in shown
        config = parse_config(shown, "shown")
        assert [sink.name for sink in config.sinks] == [
            sink.get("name", sink["kind"]) for sink in content["sinks"]
        ]

"""What cannot be made of a configuration is told with its file and line, and with what helps."""

from pathlib import Path

import pytest

from models.weights import stateful_path, weights_path
from xiaod.cli.main import main
from xiaod.config.loader import parse_config
from xiaod.inference.errors import ModelError
from xiaod.pipeline.factory import open_engine, open_scout, open_sinks
from xiaod.pipeline.offline import offline_config
from xiaod.sinks import SinkError

SOURCES = "sources:\n  - server: localhost\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engine:\n  model: none.onnx\n", "f:4: engine.model: none.onnx: neither a shipped model"),
        ("engine:\n  model: scout\n",
         "f:4: engine.model: scout: a model that streams notices onsets and does not pick; engine.scout takes it"),
        (f"engine:\n  threads: 1\n  model: {stateful_path('scout')}\n", "notices onsets and does not pick; engine.scout takes it"),
        ("windows:\n  early_hop_s: 0.5\n  length_s: 60.0\n",
         "f:5: windows.length_s: 60 s; model micro takes windows of 10 to 30 s, as it was trained: windows: {length_s: 30.0} uses it"),
        ("windows:\n  length_s: 8.0\n  final_hop_s: 1.0\npicker: {final_lookahead_s: 3}\n",
         "f:4: windows.length_s: 8 s; model micro takes windows of 10 to 30 s"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model_has_its_line(text: str, said: str) -> None:
    with pytest.raises(ModelError) as told:
        open_engine(parse_config(SOURCES + text, "f"))
    assert str(told.value).startswith("f:")
    assert said in str(told.value)


def scout(model: str) -> str:
    return SOURCES + f"early: scout\nengine:\n  scout: {model}\n"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("micro", "micro: a model that picks; those that stream and notice onsets: scout"),
        ("none", "none: neither a shipped model ("),
        (str(weights_path("micro")), "of the form for windows, which picks; a model that streams has a file NAME.stateful.onnx"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_scout_has_its_line(model: str, said: str) -> None:
    with pytest.raises(ModelError) as told:
        open_scout(parse_config(scout(model), "f"))
    assert str(told.value).startswith("f:5: engine.scout: ")
    assert said in str(told.value)
    # Where it is not used, it is not looked at.
    assert open_scout(parse_config(scout(model).replace("early: scout", "early: windows"), "f")) is None


@pytest.mark.parametrize("model", ["scout", str(stateful_path("scout"))])
def test_a_scout_is_named_or_a_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = open_scout(parse_config(scout(model), "f"))
    assert found is not None
    assert found.spec.form == "stateful"
    path = tmp_path / "config.yaml"
    path.write_text(scout(model), "utf-8")
    assert main(["check", "--config", str(path)]) == 0
    assert f", scout {found.spec.label}\n" in capsys.readouterr().out
    path.write_text(scout("none"), "utf-8")
    assert main(["check", "--config", str(path)]) == 2
    assert f"{path}:5: engine.scout: none: neither" in capsys.readouterr().err


def test_a_file_that_is_no_model_has_the_line_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(b"none")
    with pytest.raises(
        ModelError, match=rf"\Af:4: engine\.model: {path}: not a model that ONNX Runtime can load"
    ):
        open_engine(parse_config(SOURCES + f"engine:\n  model: {path}\n", "f"))


def test_a_model_of_the_command_line_is_told_by_its_option(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCES + "engine:\n  model: micro\n")
    for config_path in (path, None):
        with pytest.raises(ModelError, match=r"\A--model: none: neither a shipped model"):
            open_engine(offline_config(config_path, "none"))
        with pytest.raises(ModelError, match=r"\A--model: scout: a model that streams notices"):
            open_engine(offline_config(config_path, "scout"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  - kind: mqtt\n    server: a\n    username: b\n    password_file: /none\n", "f:7: sinks[0].password_file: /none: cannot"),
        ("  - kind: mqtt\n    server: a\n    tls:\n      ca_file: /none\n", "f:7: sinks[0].tls.ca_file: /none: cannot"),
        ("  - kind: anss\n    path: a\n    stations_file: /none\n", "f:6: sinks[0].stations_file: /none"),
        ("  - kind: webhook\n    url: https://a\n    headers: {A: '${NONE}'}\n", "f:6: sinks[0].headers"),
        ("  - {kind: mqtt, server: a, username: b, password: '${NONE}'}\n", "password: the environment variable NONE is not set"),
        ("  - {kind: mqtt, server: a, username: b, password_file: /dev/null}\n", "password_file: /dev/null: the first line is empty"),
        ("  - {kind: mqtt, server: a, tls: {ca_file: /dev/null}}\n", "tls.ca_file: /dev/null: cannot be used: "),
        ("  - {kind: nats, username: b, password: '${NONE}'}\n", "password: the environment variable NONE is not set"),
        ("  - {kind: nats, token_file: /none}\n", "token_file: /none: cannot be read: No such file"),
        ("  - {kind: nats, nkey_file: /none}\n", "nkey_file: /none: cannot be read: No such file"),
        ("  - {kind: nats, credentials_file: /none}\n", "credentials_file: /none: cannot be read: No such file"),
        ("  - {kind: nats, tls: {ca_file: /none}}\n", "tls.ca_file: /none: cannot be used: No such file"),
        ("  - {kind: kafka, username: b, password_file: /none}\n", "password_file: /none: cannot be read: No such file"),
        ("  - {kind: kafka, tls: {ca_file: /none}}\n", "tls.ca_file: /none: cannot be used: No such file"),
        ("  - {kind: datalink, username: b, password: '${NONE}'}\n", "password: the environment variable NONE is not set"),
        ("  - {kind: datalink, token_file: /none}\n", "token_file: /none: cannot be read: No such file"),
        ("  - {kind: datalink, tls: {ca_file: /none}}\n", "tls.ca_file: /none: cannot be used: No such file"),
        ("  - {kind: webhook, url: 'https://a', secret: '${NONE}'}\n", "secret: the environment variable NONE is not set"),
        ("  - {kind: webhook, url: 'https://a', secret: hush}\n", "secret: must be whsec_ and 24 to 64 bytes in base64"),
        ("  - {kind: webhook, url: 'https://a', secret: whsec_aGVsbG8=}\n", "secret: must be whsec_"),
        ("  - {kind: webhook, url: 'https://a', secret_file: /none}\n", "secret_file: /none: cannot be read: No such file"),
        ("  - {kind: webhook, url: 'https://a', headers: {X-Key: hush\u00e9}}\n", "headers.X-Key: must be printable ASCII"),
        ("  - {kind: webhook, url: 'https://a', tls: {ca_file: /none}}\n", "tls.ca_file: /none: cannot be used: No such file"),
        ("  - {kind: webhook, url: 'https://me:hush@a', headers: {authorization: hush}}\n",
         "url: holds a user name, and headers an Authorization; give one of them"),
        ("  - {kind: webhook, url: 'https://a\\b/hush?key=hush'}\n", "url: HOST has characters that none can have"),
        ("  - {kind: notify, of: picks, url_file: /none}\n", "url_file: /none: cannot be read: No such file"),
        ("  - {kind: notify, of: picks, url: 'nothing://hush'}\n", "url: Apprise does not take this nothing:// address"),
        ("  - {kind: notify, of: picks, url: 'tgram://hush'}\n",
         "url: Apprise does not take this tgram:// address (Unparseable Telegram URL tgram://********); its forms: https"),
        ("  - {kind: notify, of: picks, url: 'http://hush/'}\n", "url: Apprise does not take this http:// address"),
        ("  - {kind: notify, of: picks, url: 'mqtt://hush/topic', attach: [picture]}\nsnippets: {enabled: true}\n",
         "attach: mqtt takes no pictures; write attach: []"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_sink_has_its_line(text: str, said: str) -> None:
    with pytest.raises(SinkError) as told:
        open_sinks(parse_config(SOURCES + "sinks:\n" + text, "f"))
    assert str(told.value).startswith(said if said.startswith("f:") else f"f:4: sinks[0].{said}")
    assert "hush" not in str(told.value)

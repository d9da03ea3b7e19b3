"""What is made from the program is current, and is what it claims to be."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.unit.test_configfile import models_of
from xiaod.cli import main
from xiaod.commands.completion import SHELLS
from xiaod.config import Config
from xiaod.generated import COMMAND, ROOT, TEXTS, write_all

SCHEMA = ROOT / "xiaod" / "config.schema.json"


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_generated_files_are_current(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == TEXTS[path](), (
        f"{path} is not current: run '{COMMAND}' (python -m xiaod.generated) and commit what it writes"
    )


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    assert write_all(tmp_path) == list(TEXTS)
    changed = tmp_path / "deploy" / "xiaod.1"
    changed.write_text("old", encoding="utf-8")
    assert write_all(tmp_path) == [Path("deploy/xiaod.1")]
    assert changed.read_text(encoding="utf-8") == (ROOT / "deploy" / "xiaod.1").read_text(encoding="utf-8")


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
    assert text.startswith("# yaml-language-server: $schema=xiaod/config.schema.json\n")
    document = yaml.safe_load(text)
    assert list(validator().iter_errors(document)) == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"sources": []},
        {"sources": [{"server": "a", "serverr": "b"}]},
        {"sources": [{"server": "a", "streams": ["BW.RJOB"]}]},
        {"sources": [{"server": "a"}], "windows": {"hop_s": 0.01}},
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


def test_schema_and_completions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == SCHEMA.read_text(encoding="utf-8")
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == TEXTS[Path(f"xiaod/completions/xiaod.{shell}")]()


def completed(line: str) -> list[str]:
    """What bash offers behind a line."""
    script = ROOT / "xiaod" / "completions" / "xiaod.bash"
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source '{script}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p xiaod | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices() -> None:
    assert completed("xiaod sta") == ["stations", "status"]
    assert completed("xiaod pick --form") == ["--format"]
    assert completed("xiaod pick --format qu") == ["quakeml", "quakeflow"]
    assert "config.yaml" in completed("xiaod check --config conf")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh (apt install zsh)")
def test_zsh_knows_the_command() -> None:
    code = (
        "autoload -Uz compinit; compinit -D -u; "
        'eval "$(cat xiaod/completions/xiaod.zsh)"; print -r -- "${_comps[xiaod]}"'
    )
    done = subprocess.run(
        ["zsh", "-fc", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert (done.stdout.strip(), done.stderr) == ("_shtab_xiaod", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish (apt install fish)")
def test_fish_completes_commands_options_and_choices() -> None:
    lines = ("xiaod sta", "xiaod pick --form", "xiaod pick --format quakem", "xiaod check --config conf")
    code = "source xiaod/completions/xiaod.fish; " + "; ".join(f"complete -C '{line}'" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert {"stations", "--format", "quakeml", "config.yaml"} <= offered


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc (apt install mandoc)")
def test_the_manual_page_is_clean() -> None:
    page = str(ROOT / "deploy" / "xiaod.1")
    done = subprocess.run(["mandoc", "-Tlint", page], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    shown = subprocess.run(
        ["mandoc", "-Tascii", page], capture_output=True, text=True, timeout=60, check=True
    )
    text = shown.stdout
    while "\b" in text:  # bold is a letter over itself
        at = text.index("\b")
        text = text[: at - 1] + text[at + 1 :]
    for expected in ("xiaod stations [--config FILE]", "EXIT STATUS", "took longer than grace_s"):
        assert expected in text

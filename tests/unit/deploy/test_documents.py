"""The commands that the documents show exist, with the arguments that they are shown with; their configurations are accepted."""

import argparse
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

import distill.cli
import xiaod.cli.main
from xiaod.config.loader import parse_config, yaml_text

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("*/*.md"))
        if path.parts[-2] in {"deploy", "systemd", "docs"}
    ),
]
PARSERS = {"xiaod": xiaod.cli.main.build_parser, "xiao-distill": distill.cli.build_parser}
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTINGS = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OF_HOME_ASSISTANT = "triggers"
"""The first key of an automation."""
NOT_OURS = {"journalctl", "systemctl", "docker", "ln", "apt"}
"""Programs whose argument may be the name of ours."""
OF_OPTIONS = {"-u", "-g"}
"""Options before our name when it is that of the user or group."""


def commands_of(document: str, program: str) -> list[list[str]]:
    """Arguments of every call of one of our programs in the shell blocks of a document."""
    found = []
    for block in BLOCK.findall((ROOT / document).read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if not set(word) <= set(lexer.punctuation_chars):
                    words.append(word)
                    continue
                if (arguments := _ours(words, program)) is not None:
                    found.append(arguments)
                words = []
    return found


def _ours(words: list[str], program: str) -> list[str] | None:
    """What stands behind our name in one simple command."""
    for place, word in enumerate(words):
        before = words[:place]
        called = (word == program or word.endswith(f"bin/{program}")) and not NOT_OURS & set(before)
        if called and not (before and before[-1] in OF_OPTIONS):
            return words[place + 1 :]
    return None


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("program", PARSERS)
def test_commands_in_documents_are_accepted(program: str, document: str) -> None:
    for arguments in commands_of(document, program):
        try:
            options = PARSERS[program]().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{document}: {program} {shlex.join(arguments)}: is not accepted")
        assert isinstance(options, argparse.Namespace)
        assert options.command or options.config, arguments


def test_the_documents_show_the_commands() -> None:
    assert ["check", "--config", "my.yaml"] in commands_of("README.md", "xiaod")
    assert len(commands_of("deploy/RASPBERRY_SHAKE.md", "xiaod")) >= 5
    assert {arguments[0] for arguments in commands_of("docs/training.md", "xiao-distill")} >= {
        "init",
        "train",
        "export",
    }


def configurations_of(document: str) -> list[dict[str, Any]]:
    """The configurations in a document: what is not shown of a sink, and what a sink of events or a place of them needs, is added."""
    around = {"sources": [{"server": "localhost"}], "stations_file": "s.xml", "events": {"enabled": True}}
    found = []
    for block in SETTINGS.findall((ROOT / document).read_text(encoding="utf-8")):
        shown = yaml.safe_load(textwrap.dedent(block))
        if OF_HOME_ASSISTANT in shown:
            continue
        if "texts" in shown:
            shown = [{"kind": "notify", "url": "json://localhost", **shown}]
        if isinstance(shown, list):
            shown = {"sinks": shown}
        found.append({**around, **shown})
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_configurations_in_documents_are_accepted(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XIAOD_TOKEN", "from the environment")
    for number, shown in enumerate(configurations_of(document), 1):
        parse_config(yaml_text(shown), f"{document}, configuration {number}")


def test_the_documents_show_configurations() -> None:
    assert len(configurations_of("docs/sinks.md")) >= 9
    assert len(configurations_of("docs/events.md")) >= 4

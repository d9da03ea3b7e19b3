"""The commands that the documents show exist, with the arguments that they are shown with."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from xiaod.cli import build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    *(
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("*/*.md"))
        if path.parts[-2] in {"deploy", "systemd"}
    ),
]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_OURS = {"journalctl", "systemctl", "docker", "ln"}
"""Programs whose argument may be the name of ours."""
OF_OPTIONS = {"-u", "-g"}
"""Options before our name when it is that of the user or group."""


def commands_of(document: str) -> list[list[str]]:
    """Arguments of every call of ``xiaod`` in the shell blocks of a document."""
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
                if (arguments := _ours(words)) is not None:
                    found.append(arguments)
                words = []
    return found


def _ours(words: list[str]) -> list[str] | None:
    """What stands behind our name in one simple command."""
    for place, word in enumerate(words):
        before = words[:place]
        called = (word == "xiaod" or word.endswith("bin/xiaod")) and not NOT_OURS & set(before)
        if called and not (before and before[-1] in OF_OPTIONS):
            return words[place + 1 :]
    return None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_are_accepted(document: str) -> None:
    for arguments in commands_of(document):
        try:
            options = build_parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{document}: xiaod {shlex.join(arguments)}: is not accepted")
        assert isinstance(options, argparse.Namespace)
        assert options.command or options.config, arguments


def test_the_readme_shows_the_commands() -> None:
    assert ["check", "--config", "config.yaml"] in commands_of("README.md")
    assert len(commands_of("deploy/RASPBERRY_SHAKE.md")) >= 5

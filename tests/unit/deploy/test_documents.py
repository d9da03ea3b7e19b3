"""The commands that the documents show exist, with the arguments that they are shown with."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

import distill.cli
import xiaod.cli.main

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

r"""The manual page xiaod(1), from the parser of arguments: ``python -m xiaod.cli.manual > xiaod.1``.

>>> text = manual()
>>> text.splitlines()[0].startswith('.TH XIAOD 1 "" "xiaod ')
True
>>> "\n.SS xiaod check\n" in text
True
>>> _escaped("'a' --b \\ c")
"\\&'a' \\-\\-b \\e c"
"""

import argparse
import os
import sys
from collections.abc import Iterator

from xiaod import __version__
from xiaod.cli.main import build_parser
from xiaod.process.exit_status import ExitCode


def manual() -> str:
    """The page as roff with the macros of man(7)."""
    parser = build_parser()
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    description = parser.description or ""
    lines = [
        f'.TH XIAOD 1 "" "xiaod {__version__}" "User Commands"',
        ".SH NAME",
        _escaped(f"xiaod - {description.partition(':')[0].lower()}"),
        ".SH SYNOPSIS",
        *_usage(parser),
        ".SH DESCRIPTION",
        _escaped(description),
        ".SH OPTIONS",
        *_options(parser),
        ".SH COMMANDS",
    ]
    for name, command in commands.choices.items():
        lines += [f".SS xiaod {_escaped(name)}", _escaped(helps[name]), ".PP", *_usage(command)]
        lines += _options(command)
    lines.append(".SH EXIT STATUS")
    for code in ExitCode:
        lines += [".TP", f".B {code.value}", _escaped(code.meaning)]
    return "\n".join(lines) + "\n"


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".nf"
    first = "usage: "
    for line in parser.format_usage().splitlines():
        yield _escaped(line[len(first) :])
    yield ".fi"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        yield ".TP"
        yield f".B {_escaped(formatter._format_action_invocation(action))}"
        yield _escaped(formatter._expand_help(action) if action.help else "")


def _escaped(text: str) -> str:
    """Text in which roff sees no request, no escape and no hyphen that it may change."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    sys.stdout.write(manual())

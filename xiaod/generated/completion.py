"""Shell completion, made from the parser by shtab.

>>> "shift-to-now" in completion("fish")
True
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from xiaod.cli import build_parser


def completion(shell: str) -> str:
    """The script of a shell: ``bash``, ``zsh`` or ``fish``."""
    import shtab

    parser = build_parser()
    for action in actions(parser):
        if action.type is Path or action.metavar == "PATH":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    # Lines that end in a blank are noise in a repository.
    return "\n".join(line.rstrip() for line in script.splitlines()) + "\n"


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from actions(command)
        else:
            yield action

r"""The manual page ``xiaod(1)``, made from the parser and the exit statuses, in the language mdoc.

>>> print(manual().splitlines()[3])
.Sh NAME
"""

import argparse
import textwrap
from collections.abc import Iterator

from xiaod.cli import build_parser
from xiaod.exitcode import ExitCode

DATE = "November 25, 2026"
"""Of the text below; what is made from the parser carries no date."""
WIDTH = 78

NAME = "real-time seismic phase picker"
DESCRIPTION = """\
subscribes to SeedLink streams, runs a small neural network over overlapping windows on the CPU, and writes P and S picks to the
configured sinks. With
.Fl \\-config
and no command it runs the daemon in the foreground: the first SIGTERM or SIGINT stops it in order, a second one at once; SIGHUP rereads
the configuration.
.Pp
Picks are automatic and unreviewed."""
FILES = (
    ("config.yaml", "the configuration that commands read unless another is given; the project's own is the complete reference"),
    ("var/state/picks.sqlite", "the store: every pick, and how far each stream has been picked"),
)  # fmt: skip
ENVIRONMENT = (("XIAOD_SHARD", "INDEX[/COUNT], as --shard gives it, where it is not given"),)
EXAMPLES = (
    ("Write a first configuration from what a Raspberry Shake has, try it with a real event, and run the daemon:",
     ("xiaod init rs.local:18000", "xiaod selftest", "xiaod --config config.yaml")),
    ("Pick a day of data:", ("xiaod pick day.mseed --format quakeml --output picks.xml",)),
)  # fmt: skip


def manual() -> str:
    """The text of the page."""
    parser = build_parser()
    return "\n".join(_page(parser)) + "\n"


def _page(parser: argparse.ArgumentParser) -> Iterator[str]:
    commands = _commands(parser)
    yield from (f".Dd {DATE}", ".Dt XIAOD 1", ".Os", ".Sh NAME", ".Nm xiaod", f".Nd {_escaped(NAME)}")
    yield ".Sh SYNOPSIS"
    yield from _synopsis(".Nm", parser)
    for name, command in commands.items():
        yield from _synopsis(f".Nm xiaod {_escaped(name)}", command)
    yield from (".Sh DESCRIPTION", ".Nm")
    yield from _text(DESCRIPTION)
    yield from (".Pp", "Options without a command:")
    yield from _options(parser)
    yield ".Sh COMMANDS"
    helps = {action.dest: action.help or "" for action in _subparsers(parser)._choices_actions}
    for name, command in commands.items():
        yield f".Ss xiaod {_escaped(name)}"
        yield from _text(_sentence(helps[name]))
        yield from _options(command)
    yield from (".Sh ENVIRONMENT", ".Bl -tag -width Ds")
    for variable, what in ENVIRONMENT:
        yield f".It Ev {_escaped(variable)}"
        yield from _text(_sentence(what))
    yield from (".El", ".Sh FILES", ".Bl -tag -width Ds")
    for path, what in FILES:
        yield f".It Pa {_escaped(path)}"
        yield from _text(_sentence(what))
    yield from (".El", ".Sh EXIT STATUS", ".Bl -tag -width Ds")
    for code in ExitCode:
        yield f".It {code.value}"
        yield from _text(_sentence(code.meaning))
    yield from (".El", ".Sh EXAMPLES")
    for index, (what, lines) in enumerate(EXAMPLES):
        if index:
            yield ".Pp"
        yield from _text(what)
        yield from (".Bd -literal -offset indent", *map(_escaped, lines), ".Ed")


def _synopsis(head: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield head
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        if action.option_strings:
            flag = f"Fl {_flag(action)}"
            value = f" Ar {_value(action)}" if action.nargs != 0 else ""
            yield f".{flag}{value}" if action.required else f".Op {flag}{value}"
        else:
            more = " ..." if action.nargs in {"+", "*"} else ""
            optional = action.nargs in {"?", "*"}
            yield f".{'Op ' if optional else ''}Ar {_value(action)}{more}"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if not shown:
        return
    yield ".Bl -tag -width Ds"
    for action in shown:
        if not action.option_strings:
            yield f".It Ar {_value(action)}"
        elif action.nargs == 0:
            yield f".It Fl {_flag(action)}"
        else:
            yield f".It Fl {_flag(action)} Ar {_value(action)}"
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        if action.choices is not None:
            text = "; ".join(filter(None, [text, "one of " + ", ".join(map(str, action.choices))]))
        if action.choices is not None and action.default is not None and "default" not in text:
            text += f" (default: {action.default})"
        yield from _text(_sentence(text))
    yield ".El"


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return dict(_subparsers(parser).choices)


def _subparsers(parser: argparse.ArgumentParser) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _flag(action: argparse.Action) -> str:
    return _escaped(action.option_strings[-1][1:])


def _value(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    if metavar is None and action.choices is not None:
        return "|".join(map(str, action.choices))
    return _escaped(metavar or action.dest.upper())


def _sentence(text: str) -> str:
    # Names such as miniSEED keep their first letter.
    first = text.split(maxsplit=1)[0] if text else ""
    begun = text[:1].upper() + text[1:] if first.islower() else text
    return begun.rstrip(".") + "."


def _text(text: str) -> Iterator[str]:
    """Running text in lines that are not too long, each sentence on a line of its own; lines that begin with a dot are macros."""
    for line in _joined(text):
        if line.startswith("."):
            yield line
            continue
        for sentence in line.replace(". ", ".\n").split("\n"):
            for part in textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False):
                escaped = _escaped(part)
                yield rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _joined(text: str) -> Iterator[str]:
    held: list[str] = []
    for line in text.splitlines():
        if line.startswith("."):
            if held:
                yield " ".join(held)
            held = []
            yield line
        else:
            held.append(line)
    if held:
        yield " ".join(held)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")

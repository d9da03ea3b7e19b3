"""The command line: ``xiaod --config FILE`` runs the daemon; the other commands are in :mod:`xiaod.cli.commands`."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from xiaod import __version__
from xiaod.cli.commands import COMMANDS
from xiaod.process.exit_status import ExitCode, summary
from xiaod.process.stdout import flush, is_full, leave_quietly, unread


class _Parser(argparse.ArgumentParser):
    """Names the option for a configuration that was given without it."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and end with the status of wrong arguments."""
        named = re.search(r"^unrecognized arguments:.*?(\S+\.ya?ml)\b", message)
        super().error(f"{message}; a configuration is given as --config {named[1]}" if named else message)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="xiaod",
        description="Real-time seismic phase picker: SeedLink in, P and S picks out. xiaod --config FILE runs the daemon.",
        epilog=summary(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, default=None, metavar="FILE", help="run the daemon with this configuration"
    )
    parser.add_argument(
        "--shard",
        metavar="INDEX[/COUNT]",
        help="run it for this part of the stations only (0/4: the first of four)",
    )
    parser.add_argument("--version", action="version", version=f"xiaod {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"xiaod.cli.commands.{name}")
        command = commands.add_parser(name, help=module.HELP)
        module.arguments(command)
        command.set_defaults(run=module.run, parser=parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    # Before NumPy is loaded: a second thread of its products spins longer than it computes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        status = _run(arguments)
        flush()
    except KeyboardInterrupt:
        return ExitCode.SECOND_SIGNAL
    except BrokenPipeError:
        if not unread():
            raise
        status = ExitCode.OK
    except OSError as error:
        if not is_full(error):
            raise
        print(f"standard output: {error.strerror}", file=sys.stderr)  # noqa: T201  nobody else can say it
        status = ExitCode.FAILURE
        leave_quietly()
    if unread():
        leave_quietly()
    return status


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as ended:
        # Help has been printed, or what is wrong.
        return ended.code if isinstance(ended.code, int) else ExitCode.OK
    if options.command is not None:
        status: int = options.run(options)
        return status
    if options.config is None:
        print(  # noqa: T201  as argparse does
            "xiaod: give a command, or --config FILE, which runs the daemon; --help lists them",
            file=sys.stderr,
        )
        return ExitCode.CONFIGURATION
    from xiaod.cli.commands.run import run

    return run(options)

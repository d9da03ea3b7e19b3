"""The command line: ``xiaod --config FILE`` runs the daemon; what else there is, is in :mod:`xiaod.commands`.

>>> build_parser().parse_args(["pick", "day.mseed", "--format", "csv"]).format
'csv'
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from xiaod import __version__
from xiaod.commands import COMMANDS
from xiaod.exitcode import ExitCode, summary
from xiaod.standardoutput import leave_quietly, unread


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="xiaod",
        description="Real-time seismic phase picker: SeedLink in, P and S picks out. Without a command it runs the daemon.",
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
        module = import_module(f"xiaod.commands.{name}")
        command = commands.add_parser(name, help=module.HELP)
        module.arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is not None:
        try:
            status: int = options.run(options)
        except KeyboardInterrupt:
            return ExitCode.SECOND_SIGNAL
        except BrokenPipeError:
            if not unread():
                raise
            status = ExitCode.OK
        if unread():
            leave_quietly()
        return status
    if options.config is None:
        parser.print_help()
        return ExitCode.CONFIGURATION
    from xiaod.commands.run import run

    return run(options)

"""``xiaod init``: write a first configuration from the streams of a server."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from xiaod.cli.commands.options import DEFAULT_CONFIG, above_zero, add_link, called, link_of, refuse

HELP = "write a first configuration from the streams of a server"
MAX_STATIONS = 100
"""More are subscribed to only when somebody says so."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument(
        "server", metavar="SERVER", help="HOST, HOST:PORT, or replay:PATH, as in the configuration"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="file to write (default: %(default)s)",
    )
    parser.add_argument(
        "--streams",
        nargs="+",
        metavar="PATTERN",
        help="NET.STA.LOC.CHA with wildcards (default: of each station the instrument that is best for picking)",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"take all stations of a server that has more than {MAX_STATIONS}"
    )
    add_link(parser)
    parser.add_argument("--force", action="store_true", help="overwrite the file when it exists")
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=30.0,
        metavar="SECONDS",
        help="for the server's answer (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Query the server, choose instruments, write the file."""
    from pydantic import ValidationError

    from xiaod.acquisition.patterns import matches
    from xiaod.acquisition.seedlink.info import DiscoveryError
    from xiaod.config import SeedLinkConfig
    from xiaod.process.exit_status import ExitCode
    from xiaod.process.plugins import MissingExtraError
    from xiaod.replay import ReplayError
    from xiaod.tools.init.draft import draft
    from xiaod.tools.init.instruments import choose_instruments, largest_network
    from xiaod.tools.list_streams import ask

    try:
        _require_place(options.output, options.force)
        link = link_of(options)
        given = {**link, **({"streams": options.streams} if options.streams else {})}
        source = SeedLinkConfig.model_validate(given)
        info = ask(source, options.timeout)
    except ValidationError as error:
        problems = [
            f"{_named(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()
        ]
        return refuse(
            ValueError("\n".join(problem for problem in problems if "at least 1 item" not in problem))
        )
    except (ReplayError, MissingExtraError, OSError) as error:
        return refuse(error)
    except DiscoveryError as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILURE
    offered = [item.channel for item in info.streams if matches(item.channel, source.streams)]
    choices = choose_instruments(offered)
    notes = {choice.pattern: " ".join(choice.components) for choice in choices}
    if not choices:
        what = ", ".join(str(item.channel) for item in info.streams[:10]) or "nothing"
        print(
            f"{source.server}: no channel that can be picked among {', '.join(source.streams)}; it has {what}",
            file=sys.stderr,
        )
        return ExitCode.FAILURE
    if options.streams is None and not options.all and len(choices) > MAX_STATIONS:
        network, count, patterns = largest_network(choices)
        print(
            f"{source.server}: has {len(choices)} stations; --all takes all of them, --streams some, for example the {count} of network "
            f"{network}: --streams {shlex.join(patterns)}",
            file=sys.stderr,
        )
        return ExitCode.CONFIGURATION
    patterns = options.streams or list(notes)
    text = draft({**link, "server": source.server}, patterns, notes, Path("var") / options.output.stem)
    try:
        with open(options.output, "w" if options.force else "x", encoding="utf-8", opener=_private) as file:
            file.write(text)
    except OSError as error:
        return refuse(error)
    print(
        f"{options.output}: {len(choices)} station(s) of {source.server} ({info.software.partition(' ::')[0] or 'unknown software'})"
    )
    named = f"--config {shlex.quote(str(options.output))}"
    print(f"next: {called()} check {named}; {called()} selftest {named}; {called()} {named}")
    return ExitCode.OK


def _require_place(path: Path, overwrites: bool) -> None:
    """Check before the server is asked that a file can be written.

    Raises:
        OSError: when it cannot; the message says what helps.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file, such as --output {path / 'my.yaml'}")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"{path}: there is no folder {path.parent}; make it first")
    if path.exists() and not overwrites:
        raise FileExistsError(
            f"{path}: exists; --output my.yaml writes another file (--force overwrites this one)"
        )


def _named(place: tuple[int | str, ...]) -> str:
    """The argument; a check of several keys is one of TLS."""
    return {"server": "SERVER", "streams": "--streams"}.get(str(place[0]), "--ca-file") if place else "--tls"


def _private(path: str, flags: int) -> int:
    """Open a file that others may not read if it is made here: people write passwords into it."""
    return os.open(path, flags, 0o640)

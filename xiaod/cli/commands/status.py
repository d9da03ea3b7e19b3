"""``xiaod status``: ask the running daemon for the state of its stations, and why there was no pick."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence

from xiaod.cli.commands.options import DEFAULT_CONFIG, above_zero, add_config, add_shard, refuse
from xiaod.process.exit_status import ExitCode

STATES = ("refused", "stale", "down", "waiting", "gap", "filling", "live")
SORTS = ("station", "state", "delay", "gaps", "picks")
CLEAR = "\x1b[H\x1b[2J"
"""Puts the cursor at the top left and clears the screen (ECMA-48, CUP and ED)."""
HELP = "ask the running daemon for the state of its stations, and why there was no pick"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)
    parser.add_argument(
        "--url", metavar="URL", help="where the daemon listens (default: http.host and http.port of the configuration)"
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=above_zero, default=10.0, metavar="SECONDS", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--format", choices=["text", "json"], default="text", help="json: the answer of /api/stations, a line"
    )

    parser.add_argument(
        "--state", nargs="+", choices=STATES, default=[], help="only stations in these states (default: all)"
    )
    parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help="(default: %(default)s)")
    parser.add_argument(
        "--watch",
        type=above_zero,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="ask again after so many seconds, on a screen that is cleared, until Ctrl-C (default: %(const)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Print what the daemon says of its stations; with several shards and none named, what each of them says."""
    try:
        urls = [options.url] if options.url is not None else _configured(options)
        while True:
            status = _print(urls, options)
            if options.watch is None:
                return status
            time.sleep(options.watch)
    except ValueError as error:
        return refuse(error)
    except KeyboardInterrupt:
        return ExitCode.OK


def _configured(options: argparse.Namespace) -> list[str]:
    """Where the daemon of a configuration listens. The models of the configuration are what takes longest to load: not for ``--url``.

    Raises:
        ValueError: when the configuration is wrong, or does not say where.
    """
    from xiaod.config.loader import ConfigError
    from xiaod.config.per_shard import load_named
    from xiaod.tools.status_client import urls_of

    try:
        return urls_of(load_named(options.config or DEFAULT_CONFIG, options.shard))
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _print(urls: Sequence[str], options: argparse.Namespace) -> ExitCode:
    """Ask each daemon once."""
    import json

    from xiaod.tools.status_client import StatusError, ask, fitted, report

    status, texts = ExitCode.OK, []
    for url in urls:
        try:
            answer = ask(url, options.timeout)
        except StatusError as error:
            print(error, file=sys.stderr)
            status = ExitCode.FAILURE
            continue
        json_wanted = options.format == "json"
        texts.append(json.dumps(answer) if json_wanted else report(answer, options.state, options.sort))
    # In one piece, so that a screen does not flicker.
    shown = "".join(f"{text}\n" for text in texts)
    if options.watch is not None:
        # A terminal would scroll, and only the end of a long table be seen.
        cut = sys.stdout.isatty() and options.format == "text"
        shown = CLEAR + (f"{fitted(shown, *shutil.get_terminal_size())}\n" if cut else shown)
    sys.stdout.write(shown)
    sys.stdout.flush()
    return status

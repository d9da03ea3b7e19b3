"""``xiaod status``: ask the running daemon for the state of its stations, and why there was no pick."""

import argparse
import sys

from xiaod.cli.commands.options import DEFAULT_CONFIG, above_zero, add_config, add_shard, refuse
from xiaod.process.exit_status import ExitCode

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


def run(options: argparse.Namespace) -> int:
    """Print what the daemon says of its stations; with several shards and none named, what each of them says."""
    import json

    from xiaod.config.loader import ConfigError
    from xiaod.config.per_shard import load_named
    from xiaod.tools.status_client import StatusError, ask, report, urls_of

    status = ExitCode.OK
    try:
        urls = (
            [options.url]
            if options.url is not None
            else urls_of(load_named(options.config or DEFAULT_CONFIG, options.shard))
        )
        for url in urls:
            try:
                answer = ask(url, options.timeout)
            except StatusError as error:
                print(error, file=sys.stderr)
                status = ExitCode.FAILURE
                continue
            print(json.dumps(answer) if options.format == "json" else report(answer))
    except (ConfigError, ValueError) as error:
        return refuse(error)
    return status

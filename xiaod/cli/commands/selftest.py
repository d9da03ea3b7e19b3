"""``xiaod selftest``: send a real event through source, engine and every configured sink."""

import argparse
import os
import sys

from xiaod.cli.commands.options import DEFAULT_CONFIG, above_zero, add_config, add_shard, refuse

HELP = "send a real event through source, engine and every configured sink, and report what arrived where"
DEFAULT_TIMEOUT_S = 30.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)
    parser.add_argument(
        "--sink", action="append", metavar="NAME", help="only this sink; may be given again (default: all)"
    )
    parser.add_argument(
        "--no-deliver", action="store_true", help="only source and engine; nothing goes to a sink"
    )
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="after which picking, and then each sink, is given up (default: %(default)s)",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(options: argparse.Namespace) -> int:
    """Test; 0 when P and S arrived at every sink."""
    import json

    from xiaod.config.events_process import with_sinks_of_events
    from xiaod.config.loader import ConfigError
    from xiaod.config.per_shard import load_placed
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.events import AssociationError
    from xiaod.pipeline.factory import check_events, check_snippets, open_engine
    from xiaod.process.exit_status import ExitCode
    from xiaod.process.logs import configure_logs
    from xiaod.process.plugins import MissingExtraError
    from xiaod.tools.selftest.run import chosen_sinks, selftest

    try:
        path = options.config or DEFAULT_CONFIG
        config = with_sinks_of_events(load_placed(path, options.shard), path)
        sinks = chosen_sinks(config, [] if options.no_deliver else options.sink)
        engine = open_engine(config)
        check_snippets(config)
        check_events(config)
    except (ConfigError, ModelError, MissingExtraError, AssociationError, ValueError) as error:
        return refuse(error)
    configure_logs("error", config.logs.format)
    report = selftest(config, engine, sinks, options.timeout)
    print(json.dumps(report.document(), indent=2) if options.format == "json" else report.text(), flush=True)
    status = ExitCode.OK if report.ok else ExitCode.FAILURE
    if any(step.result == "hung" for step in report.steps):
        # A hanging sink may have threads that would keep the program from ending.
        sys.stderr.flush()
        os._exit(status)
    return status

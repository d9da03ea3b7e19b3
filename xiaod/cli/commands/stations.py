"""``xiaod stations``: list the streams of the servers, and which of them the configuration selects."""

import argparse
import sys

from xiaod.cli.commands.options import DEFAULT_CONFIG, above_zero, add_config, add_shard, one_or_more, refuse

HELP = "list the streams of the servers, and which of them the configuration selects"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)
    parser.add_argument(
        "--shards",
        type=one_or_more,
        nargs="?",
        const=0,
        metavar="COUNT",
        help="show which shard has which station, and how many each has (default: the configuration's shard.count)",
    )
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=30.0,
        metavar="SECONDS",
        help="for each server (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """List what the servers have."""
    from xiaod.config.loader import ConfigError, load_config
    from xiaod.config.per_shard import chosen_shard, is_named
    from xiaod.config.shard import MAX_SHARDS
    from xiaod.domain.sharding import ALONE
    from xiaod.tools.list_streams import print_offers

    path = options.config or DEFAULT_CONFIG
    try:
        config = load_config(path)
        shards = config.shard.count if options.shards is None else options.shards or config.shard.count
        if shards > MAX_SHARDS:
            raise ValueError(f"--shards: {shards}: must be at most {MAX_SHARDS}")
        shard = ALONE
        if options.shards is None and is_named(config, options.shard):
            shard, shards = chosen_shard(config, options.shard), 1
    except (ConfigError, ValueError) as error:
        return refuse(error)
    if options.shards is not None and shards == 1:
        print(
            "--shards: one shard has all stations; --shards 4 shows how four would share them",
            file=sys.stderr,
        )
    return print_offers(config, options.timeout, sys.stdout, shard, shards)

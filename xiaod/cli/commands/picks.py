"""``xiaod picks``: print the picks that the daemon has stored."""

import argparse
import sys

from xiaod.cli.commands.options import DEFAULT_CONFIG, add_config, add_format, add_shard, moment, refuse

HELP = "print the picks that the daemon has stored"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)
    parser.add_argument(
        "--since", metavar="TIME", help="UTC, such as 2026-01-31T12:00:00Z (default: the oldest)"
    )
    parser.add_argument("--until", metavar="TIME", help="UTC (default: the newest)")
    parser.add_argument(
        "--stage",
        choices=("final", "early", "all"),
        default="final",
        help="final picks, so that each onset comes once; early ones; or all, withdrawals too (default: final)",
    )
    add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Print what the store holds, or the stores of all shards when none is named."""
    from xiaod.config.loader import ConfigError, load_config
    from xiaod.config.per_shard import state_folders
    from xiaod.pipeline.offline import StreamSink, stations_for
    from xiaod.storage.pick_query import stored_picks
    from xiaod.storage.pick_store import STORE

    path = options.config or DEFAULT_CONFIG
    try:
        config = load_config(path)
        folders = state_folders(config, options.shard)
        stores = [folder / STORE for folder in folders if (folder / STORE).is_file()]
        if not stores:
            raise FileNotFoundError(f"{folders[0] / STORE}: no picks have been stored there")
        stations = stations_for(options.format, config, options.stations_file)
        since_ns, until_ns = moment("--since", options.since), moment("--until", options.until)
        # A station that has changed its shard has some of its picks in both.
        found = {}
        for one in stores:
            found.update(
                {pick.id: pick for pick in stored_picks(one, since_ns, until_ns, stages=options.stage)}
            )
    except (ConfigError, OSError, ValueError) as error:
        return refuse(error)
    if not found:
        kind = "" if options.stage == "all" else f"{options.stage} "
        print(f"0 {kind}picks in {', '.join(str(one.parent) for one in stores)}", file=sys.stderr)
    sink = StreamSink(options.format, None, config.agency, stations)
    sink.deliver(sorted(found.values(), key=lambda pick: pick.time_ns), 0)
    sink.close()
    return 0

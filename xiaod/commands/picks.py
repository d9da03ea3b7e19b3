"""``xiaod picks``: print the picks that the daemon has stored.

>>> parser = argparse.ArgumentParser()
>>> arguments(parser)
>>> options = parser.parse_args(['--since', '2026-01-31T12:00:00Z'])
>>> options.format
'jsonl'
"""

import argparse

from xiaod.commands.options import DEFAULT_CONFIG, add_config, moment, refuse

HELP = "print the picks that the daemon has stored"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    parser.add_argument(
        "--since", metavar="TIME", help="UTC, such as 2026-01-31T12:00:00Z (default: the oldest)"
    )
    parser.add_argument("--until", metavar="TIME", help="UTC (default: the newest)")
    parser.add_argument("--format", choices=["jsonl", "quakeml", "csv"], default="jsonl")


def run(options: argparse.Namespace) -> int:
    """Print what the store holds."""
    from xiaod.configfile import ConfigError, load_config
    from xiaod.offline import StreamSink
    from xiaod.service import STORE
    from xiaod.store import PickStore

    try:
        config = load_config(options.config or DEFAULT_CONFIG)
        path = config.state.folder / STORE
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no picks have been stored there")
        since_ns, until_ns = moment("--since", options.since), moment("--until", options.until)
        store = PickStore(path)
    except (ConfigError, OSError, ValueError) as error:
        return refuse(error)
    sink = StreamSink(options.format, None, config.agency)
    sink.deliver(store.between(since_ns, until_ns), 0)
    sink.close()
    store.close()
    return 0

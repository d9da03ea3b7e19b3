"""``xiaod stations``: ask the servers what they have and say what the configuration selects.

>>> parser = argparse.ArgumentParser()
>>> arguments(parser)
>>> options = parser.parse_args(['--timeout', '5'])
>>> options.timeout
5.0
"""

import argparse
import sys

from xiaod.commands.options import DEFAULT_CONFIG, above_zero, add_config, refuse

HELP = "ask the servers what they have and say what the configuration selects"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=30.0,
        metavar="SECONDS",
        help="for each server (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """List what the servers have."""
    from xiaod.configfile import ConfigError, load_config
    from xiaod.offers import print_offers

    try:
        config = load_config(options.config or DEFAULT_CONFIG)
    except ConfigError as error:
        return refuse(error)
    return print_offers(config, options.timeout, sys.stdout)

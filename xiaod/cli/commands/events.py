"""``xiaod events``: one process that makes the events of all daemons, from the picks that they bring to a bus."""

import argparse

from xiaod.cli.commands.options import DEFAULT_CONFIG, add_config, refuse
from xiaod.cli.commands.serving import run_service

HELP = "make the events of several daemons or shards, from the picks that they bring to a bus"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Run in the foreground until a signal comes."""
    import asyncio

    from xiaod.config.events_process import load_events
    from xiaod.config.loader import ConfigError, with_stations
    from xiaod.config.paths import path_problems
    from xiaod.daemon.events_service import EventsService
    from xiaod.process.logs import configure_logs

    path = options.config or DEFAULT_CONFIG
    try:
        config, bus = load_events(path)
        if problems := path_problems(config):
            raise ConfigError("\n".join(problems))
        config = with_stations(config)
    except ConfigError as error:
        return refuse(error)
    configure_logs(config.logs.level, config.logs.format)
    return run_service(lambda: asyncio.run(EventsService(config, bus, path).run()), config.logs)

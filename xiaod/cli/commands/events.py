"""``xiaod events``: one process that makes the events of all daemons, from the picks that they bring to a bus."""

import argparse

from xiaod.cli.commands.options import DEFAULT_CONFIG, add_config, refuse

HELP = "make the events of several daemons or shards, from the picks that they bring to a bus"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Run in the foreground until a signal comes."""
    import asyncio

    from xiaod.cli.commands.run import end_in_spite_of_threads
    from xiaod.config.events_process import load_events
    from xiaod.config.loader import ConfigError, with_stations
    from xiaod.config.paths import path_problems
    from xiaod.daemon.events_service import EventsService
    from xiaod.process.exit_status import ExitCode, StartError
    from xiaod.process.logs import configure_logs, get_logger

    path = options.config or DEFAULT_CONFIG
    try:
        config, bus = load_events(path)
        if problems := path_problems(config):
            raise ConfigError("\n".join(problems))
        config = with_stations(config)
    except ConfigError as error:
        return refuse(error)
    configure_logs(config.logs.level, config.logs.format)
    try:
        code = asyncio.run(EventsService(config, bus, path).run())
    except StartError as error:
        if config.logs.format == "json":
            get_logger("service").error("service.cannot_start", error=str(error))
        else:
            refuse(error)
        return error.code
    except Exception:  # noqa: BLE001  whatever failed is logged, and the service manager told
        get_logger("service").exception("service.failed")
        code = ExitCode.FAILURE
    end_in_spite_of_threads(code)
    return code

"""``xiaod check``: validate a configuration: exit status 0, or 2 with every problem."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.cli.commands.options import DEFAULT_CONFIG, add_config, add_shard, refuse

if TYPE_CHECKING:
    from xiaod.config import Config

HELP = "validate a configuration: exit status 0, or 2 with every problem"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)


def run(options: argparse.Namespace) -> int:
    """Validate a configuration, the models it names, and what its sources and sinks need."""
    from xiaod.config.exposed_secrets import exposed_files
    from xiaod.config.loader import ConfigError, with_stations
    from xiaod.config.paths import path_problems
    from xiaod.config.per_shard import load_named
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.factory import open_engine, open_scout, open_sink
    from xiaod.sinks import SinkError

    try:
        config = load_named(options.config or DEFAULT_CONFIG, options.shard)
    except ConfigError as error:
        return refuse(error)
    problems = path_problems(config)
    try:
        config = with_stations(config)
    except ConfigError as error:
        problems.append(str(error))
    try:
        engine = open_engine(config)
    except ModelError as error:
        problems.append(str(error))
    try:
        scout = open_scout(config)
    except ModelError as error:
        problems.append(str(error))
    problems += _of_sources(config)
    of_events, elsewhere = _of_events(options.config or DEFAULT_CONFIG)
    problems += of_events
    for sink in config.sinks:
        try:
            open_sink(config, sink)
        except SinkError as error:
            problems.append(str(error))
    problems += _of_snippets_and_events(config)
    if problems:
        return refuse(ConfigError("\n".join(problems)))
    for text in elsewhere:
        print(f"{text} (only where xiaod events runs, which has never run here)", file=sys.stderr)
    for one in exposed_files(config):
        print(one, file=sys.stderr)
    print(
        f"{options.config or DEFAULT_CONFIG}: valid; {len(config.sources)} source(s), {len(config.sinks)} sink(s), "
        f"model {engine.spec.label}{'' if scout is None else f', scout {scout.spec.label}'}"
    )
    return 0


def _of_events(path: Path) -> tuple[list[str], list[str]]:
    """What is wrong for ``xiaod events``, which has sinks of its own; and what is missing for it where it has never run.

    The daemons of other machines may have the same file, and need neither its packages nor its logins.
    """
    from xiaod.config.events_process import load_events
    from xiaod.config.loader import ConfigError, load_config, with_stations
    from xiaod.config.paths import path_problems
    from xiaod.pipeline.events import AssociationError, open_associator
    from xiaod.pipeline.factory import open_sink
    from xiaod.sinks import SinkError

    try:
        if load_config(path).events.bus is None:
            return [], []
        config, _ = load_events(path)
    except ConfigError as error:
        return [str(error)], []
    found = path_problems(config)
    try:
        config = with_stations(config)
        open_associator(config)
    except (ConfigError, AssociationError) as error:
        found.append(str(error))
    for sink in config.sinks:
        try:
            open_sink(config, sink)
        except SinkError as error:
            found.append(str(error))
    return (found, []) if config.state.folder.exists() else ([], found)


def _of_snippets_and_events(config: "Config") -> list[str]:
    """What is missing that pictures and events need."""
    from xiaod.pipeline.events import AssociationError
    from xiaod.pipeline.factory import check_events, check_snippets
    from xiaod.process.plugins import MissingExtraError

    problems = []
    for check in (check_snippets, check_events):
        try:
            check(config)
        except (MissingExtraError, AssociationError) as error:
            problems.append(str(error))
    return problems


def _of_sources(config: "Config") -> list[str]:
    """What is missing that sources need."""
    from xiaod.acquisition.seedlink.links import check
    from xiaod.process.plugins import MissingExtraError

    problems = []
    for number, source in enumerate(config.sources):
        try:
            check(source)
        except (MissingExtraError, OSError) as error:
            problems.append(f"{config.origin.where('sources', number)}: {error}")
    return problems

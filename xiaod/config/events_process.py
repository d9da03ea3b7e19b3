"""The configuration as ``xiaod events`` uses it: one process that makes the events of all daemons, from the picks that they bring to a bus.

It is the file of the daemons. Of it are used

- ``events``, whose ``bus`` names the sink that brings picks to the bus: the process reads them there, with the same address and login;
- the sinks that take events, each with ``events`` for ``{shard}``; those of ``of: all`` get events alone from this process;
- ``state``, in the folder ``events`` below that of the daemons, and ``http``, whose port is raised by the number of shards;
- ``stations_file``, ``agency``, ``logs`` and ``grace_s``.

Everything else is for the daemons.

>>> written = {"kind": "jsonl", "path": "var/{shard}.jsonl", "of": "all"}
>>> config = Config.model_validate({"sources": [{"server": "a"}], "shard": {"count": 4}, "events": {"enabled": True, "bus": "nats"},
...     "rsam": {"enabled": True}, "sinks": [{"kind": "nats"}, written, {"kind": "table", "path": "{shard}.csv", "of": "rsam"}]})
>>> placed, bus = place_events(config)
>>> [(sink.name, sink.of, str(sink.path)) for sink in placed.sinks], str(placed.state.folder), placed.http.port, bus.kind
([('jsonl', 'events', 'var/events.jsonl')], 'var/state/events', 9812, 'nats')
"""

from pathlib import Path
from typing import Any

from xiaod.config import Config, ShardConfig
from xiaod.config.loader import ConfigError, load_config
from xiaod.config.model import MAX_PORT
from xiaod.config.per_shard import filled
from xiaod.config.sinks.kind import SinkModel

EVENTS = "events"
"""What stands for ``{shard}``, and the name of the state folder."""


def load_events(path: Path) -> tuple[Config, SinkModel]:
    """Read a configuration as ``xiaod events`` uses it.

    Raises:
        ConfigError: when the file is wrong, or names no bus.
    """
    return place_events(load_config(path))


def with_sinks_of_events(config: Config, path: Path) -> Config:
    """The configuration of a daemon, with the sinks and the events that ``xiaod events`` has as well: for a trial of all.

    Args:
        config: as the daemon uses it.
        path: the file.

    Raises:
        ConfigError: as :func:`load_events`.
    """
    if config.events.bus is None:
        return config
    placed, _ = load_events(path)
    known, taking = ({sink.name for sink in sinks} for sinks in (config.sinks, placed.sinks))
    own = [sink.model_copy(update={"of": "all"}) if sink.name in taking else sink for sink in config.sinks]
    more = [sink for sink in placed.sinks if sink.name not in known]
    return config.model_copy(update={"sinks": (*own, *more), "events": placed.events})


def place_events(config: Config) -> tuple[Config, SinkModel]:
    """The configuration of the process that makes events, and the sink whose bus it reads.

    Raises:
        ConfigError: when the configuration names no bus.
    """
    where = config.origin.where
    bus = next((sink for sink in config.sinks if sink.name == config.events.bus), None)
    if bus is None:
        raise ConfigError(
            f"{where('events', 'bus')}: is missing: name the sink of kind nats, mqtt or kafka that brings picks to the bus, for example "
            "events: {enabled: true, bus: nats}"
        )
    port = config.http.port + config.shard.count
    if config.http.enabled and config.http.port and port > MAX_PORT:
        raise ConfigError(
            f"{where('http', 'port')}: {config.http.port} + {config.shard.count} (the number of shards) is above {MAX_PORT}"
        )
    taking = [number for number, sink in enumerate(config.sinks) if sink.wanted in ("events", "all")]
    updates: dict[str, Any] = {
        "sinks": tuple(
            filled(config.sinks[number], EVENTS).model_copy(update={"of": "events"}) for number in taking
        ),
        "state": config.state.model_copy(update={"folder": config.state.folder / EVENTS}),
        "http": config.http.model_copy(update={"port": port if config.http.port else 0}),
        "shard": ShardConfig(),
    }
    # The lines of the bus come after those of the sinks: see with_bus.
    kept = (
        taking if bus in (config.sinks[number] for number in taking) else [*taking, config.sinks.index(bus)]
    )
    return config.model_copy(update=updates).read_from(config.origin.kept("sinks", kept)), bus


def with_bus(config: Config, bus: SinkModel) -> Config:
    """What this process uses of the configuration, with the bus, which need not be a sink of its own.

    Args:
        config: as :func:`place_events` gives it.
        bus: likewise.
    """
    known = any(sink.name == bus.name for sink in config.sinks)
    return config if known else config.model_copy(update={"sinks": (*config.sinks, bus)})

"""The files and the port of one of several processes: a configuration as its shard uses it.

``--shard INDEX/COUNT``, the environment (``XIAOD_SHARD``) and ``shard`` in the file name the shard, in this order: the index is taken from
the first that gives one, and so is the count. With more than one shard

- state is kept in ``STATE_FOLDER/shard-INDEX``, and snippets in a folder of this name below theirs;
- ``{shard}`` in a path of a sink, a topic, a subject or a client id becomes the index; paths that picks are written to must contain it,
  because two processes that append to one file would destroy it;
- HTTP listens on ``http.port`` plus the index.

With ``events.bus`` another process makes the events (:mod:`xiaod.config.events_process`): sinks that take them alone are left out here.

>>> from xiaod.config import Config
>>> written = {"kind": "jsonl", "path": "picks-{shard}.jsonl"}
>>> config = Config.model_validate({"sources": [{"server": "a"}], "shard": {"count": 4}, "sinks": [written]})
>>> placed = place(config, chosen_shard(config, "2", {}))
>>> str(placed.sinks[0].path), str(placed.state.folder), placed.http.port
('picks-2.jsonl', 'var/state/shard-2', 9810)
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xiaod.config import Config, Model, ShardConfig
from xiaod.config.loader import ConfigError, load_config
from xiaod.config.model import MAX_PORT
from xiaod.config.shard import MAX_SHARDS
from xiaod.config.sinks.kind import SHARD, SinkModel
from xiaod.domain.sharding import ALONE, Shard

OPTION = "--shard"
VARIABLE = "XIAOD_SHARD"
PLACEHOLDER = f"{{{SHARD}}}"
FOLDER = "shard-"
"""Name of a shard's state folder, before the index."""

_GIVEN = re.compile(r"(\d{1,6})(?:/(\d{1,6}))?")


def load_placed(
    path: Path, option: str | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """Read a configuration as the process of one shard uses it.

    Args:
        path: the file.
        option: value of ``--shard``; None: not given.
        environment: variables, ``XIAOD_SHARD`` among them; None: those of this process.

    Raises:
        ConfigError: when the file is wrong, no index is given, or two shards would write to one path.
    """
    config = load_config(path)
    return place(config, chosen_shard(config, option, environment))


def load_named(path: Path, option: str | None = None) -> Config:
    """Read a configuration as the given shard uses it; where none is given, as the file has it, after a check that it suits every shard.

    Raises:
        ConfigError: as :func:`load_placed`.
    """
    config = load_config(path)
    count = config.shard.count
    if is_named(config, option) or count == 1:
        return place(config, chosen_shard(config, option))
    place(config, Shard(count - 1, count))
    return config


def load_placed_anew(path: Path, shard: Shard, option: str | None = None) -> Config:
    """Read the configuration of a running process anew: files stay those of its shard, ``shard`` is what a restart would make it.

    Raises:
        ConfigError: as :func:`load_placed`.
    """
    config = load_config(path)
    chosen = chosen_shard(config, option)
    placed = place(config, shard)
    return placed.model_copy(update={"shard": ShardConfig(index=chosen.index, count=chosen.count)})


def chosen_shard(
    config: Config, option: str | None = None, environment: Mapping[str, str] | None = None
) -> Shard:
    """Which shard this process is.

    Raises:
        ConfigError: when no index is given, or it is not below the count.
    """
    variable = (os.environ if environment is None else environment).get(VARIABLE)
    givers = [
        *((OPTION, *_parts(OPTION, text)) for text in (option,) if text is not None),
        # An empty variable counts as unset.
        *((VARIABLE, *_parts(VARIABLE, text)) for text in (variable,) if text),
        (config.origin.where("shard"), config.shard.index, config.shard.count),
    ]
    count_from, count = next((giver, count) for giver, _, count in givers if count is not None)
    index_from, index = next(((giver, index) for giver, index, _ in givers if index is not None), ("", None))
    if index is None:
        if count == 1:
            return ALONE
        raise ConfigError(
            f"{config.origin.where('shard', 'index')}: is missing: which of the {count} shards is this? "
            f"Give it with {OPTION} INDEX, {VARIABLE}=INDEX or shard.index, 0 to {count - 1}"
        )
    if index >= count:
        said = (
            f"{index_from}: {index}"
            if index_from == count_from
            else f"{index_from}: {index} of {count} ({count_from})"
        )
        raise ConfigError(f"{said}: the index must be 0 to {count - 1}, since there are {count} shards")
    return Shard(index, count)


def _parts(giver: str, text: str) -> tuple[int, int | None]:
    found = _GIVEN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"{giver}: {text!r}: must be INDEX or INDEX/COUNT, for example 0/4 for the first of four"
        )
    index, count = int(found[1]), None if found[2] is None else int(found[2])
    if count is not None and not 1 <= count <= MAX_SHARDS:
        raise ConfigError(f"{giver}: {text!r}: COUNT must be 1 to {MAX_SHARDS}")
    return index, count


def place(config: Config, shard: Shard) -> Config:
    """The configuration with the files and the port of one shard.

    Raises:
        ConfigError: when two shards would write to one path.
    """
    if config.events.bus is not None:
        config = _without_events(config)
    updates: dict[str, Any] = {
        "sinks": tuple(filled(sink, str(shard.index)) for sink in config.sinks),
        "shard": ShardConfig(index=shard.index, count=shard.count),
    }
    if shard.count > 1:
        _refuse_what_is_shared(config, shard)
        updates["state"] = config.state.model_copy(
            update={"folder": state_folder(config.state.folder, shard)}
        )
        updates["snippets"] = config.snippets.model_copy(
            update={"folder": state_folder(config.snippets.folder, shard)}
        )
        if config.http.port:
            updates["http"] = config.http.model_copy(update={"port": config.http.port + shard.index})
    return config.model_copy(update=updates)


def _without_events(config: Config) -> Config:
    """The configuration of a daemon where another process makes the events: its sinks take picks alone."""
    kept = [number for number, sink in enumerate(config.sinks) if sink.wanted != "events"]
    picks = [config.sinks[number] for number in kept]
    return config.model_copy(
        update={
            "sinks": tuple(
                sink.model_copy(update={"of": "picks"}) if sink.wanted == "all" else sink for sink in picks
            ),
            "events": config.events.model_copy(update={"enabled": False}),
        }
    ).read_from(config.origin.kept("sinks", kept))


def _refuse_what_is_shared(config: Config, shard: Shard) -> None:
    where = config.origin.where
    problems = [
        f"{where('sinks', number, sink.DESTINATION)}: {value} would be written by each of the {shard.count} shards; "
        f"put {PLACEHOLDER} into it, "
        f"for example {_example(value)}"
        for number, sink in enumerate(config.sinks)
        if (value := sink.written_to) is not None and PLACEHOLDER not in str(value)
    ]
    if config.http.enabled and config.http.port + shard.index > MAX_PORT:
        problems.append(
            f"{where('http', 'port')}: {config.http.port} + {shard.index} (the shard) is above {MAX_PORT}"
        )
    if problems:
        raise ConfigError("\n".join(problems))


def is_named(config: Config, option: str | None) -> bool:
    """Whether option, environment or file give an index."""
    return option is not None or bool(os.environ.get(VARIABLE)) or config.shard.index is not None


def state_folders(config: Config, option: str | None = None) -> list[Path]:
    """State folder of the given shard; where none is given, those of all shards that have run.

    Raises:
        ConfigError: when the index is not below the count.
    """
    base = config.state.folder
    if is_named(config, option):
        return [state_folder(base, chosen_shard(config, option))]
    return [base, *shard_folders(base)]


def shard_folders(base: Path) -> list[Path]:
    """Existing state folders of shards, ordered by index."""
    found = {
        int(path.name.removeprefix(FOLDER)): path
        for path in base.glob(FOLDER + "[0-9]*")
        if path.name[len(FOLDER) :].isdigit()
    }
    return [found[index] for index in sorted(found)]


def state_folder(base: Path, shard: Shard) -> Path:
    """Where a shard keeps its state, or its snippets, below the folder that the configuration names."""
    return base if shard.count == 1 else base / f"{FOLDER}{shard.index}"


def base_folder(folder: Path, shard: Shard) -> Path:
    """The folder that the configuration names, from where a shard keeps its state."""
    return folder if shard.count == 1 else folder.parent


def filled(model: Model, shard: str) -> Model:
    """The same part with the index, or another name, for every ``{shard}`` of a path or a template."""
    changed: dict[str, Any] = {}
    templates = model.TEMPLATES if isinstance(model, SinkModel) else ()
    for key, value in model:
        if isinstance(value, Model):
            changed[key] = filled(value, shard)
        elif isinstance(value, Path) or (key in templates and isinstance(value, str)):
            changed[key] = type(value)(str(value).replace(PLACEHOLDER, shard))
    return model.model_copy(update=changed) if changed else model


def _example(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{PLACEHOLDER}{path.suffix}")

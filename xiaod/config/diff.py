"""What a changed configuration means for a daemon that runs: which sources and sinks begin, end or are replaced, and what has to wait.

In: the configuration in use and the one that was read. Out: a :class:`Reload`. Sources and sinks that are the same in both are not
touched. What the buffers, the engine and the listeners are built from cannot change while they run: it stays as it is, and is named.

>>> from xiaod.config import Config
>>> old = Config.model_validate({"sources": [{"server": "a"}, {"server": "b"}]})
>>> new = Config.model_validate({"sources": [{"server": "a"}, {"server": "c"}], "windows": {"hop_s": 1.0}})
>>> plan = plan_reload(old, new)
>>> plan.sources, plan.needs_restart, plan.config.windows.hop_s
(Difference(begun=('c:18000',), ended=('b:18000',), replaced=()), ('windows.hop_s',), 0.5)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xiaod.config import Config

RESTART = (
    "config_version",
    "buffer",
    "windows",
    "engine",
    "http.enabled",
    "http.host",
    "http.port",
    "http.page",
    "http.traces",
    "http.max_clients",
    "state.folder",
    "shard",
)
"""Keys, or whole parts, that only a restart changes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Names that are new, gone, or the same with other settings."""

    begun: tuple[str, ...]
    ended: tuple[str, ...]
    replaced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload does."""

    config: Config
    """The new configuration, with the old values where only a restart changes them."""
    sources: Difference
    sinks: Difference
    needs_restart: tuple[str, ...]
    """Keys whose new values wait for a restart."""


def plan_reload(old: Config, new: Config) -> Reload:
    """Compare two configurations."""
    before, after = old.model_dump(), new.model_dump()
    waiting = tuple(
        key
        for key in _different(before, after)
        if any(key == part or key.startswith(part + ".") for part in RESTART)
    )
    config = new.model_copy(
        update={
            "buffer": old.buffer,
            "windows": old.windows,
            "engine": old.engine,
            "http": old.http.model_copy(update={"stale_after_s": new.http.stale_after_s}),
            "shard": old.shard,
            "state": new.state.model_copy(update={"folder": old.state.folder}),
        }
    )
    # Every sink signs with the agency.
    agencies = old.agency, new.agency
    return Reload(
        config,
        _difference({item.label: item for item in old.sources}, {item.label: item for item in new.sources}),
        _difference(
            {item.name: (item, agencies[0]) for item in old.sinks},
            {item.name: (item, agencies[1]) for item in new.sinks},
        ),
        waiting,
    )


def _difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    return Difference(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and old[name] != new[name]),
    )


def _different(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for key in new:
        if (
            isinstance(old[key], Mapping)
            and isinstance(new[key], Mapping)
            and old[key].keys() == new[key].keys()
        ):
            yield from _different(old[key], new[key], f"{place}{key}.")
        elif old[key] != new[key]:
            yield f"{place}{key}"

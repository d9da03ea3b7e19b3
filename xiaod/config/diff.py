"""What a reload changes: the keys that may change while the daemon runs, and the plan of one reload.

In: the configuration in use and the one that was read. Out: a :class:`ReloadPlan`. Sources and sinks that are the same in both are not
touched. A key that is not in :data:`RELOADED` keeps its value until the next start, and the plan names it.

>>> old = Config.model_validate({"sources": [{"server": "a"}, {"server": "b"}]})
>>> new = Config.model_validate({"sources": [{"server": "a"}, {"server": "c"}], "windows": {"early_hop_s": 1.0}})
>>> plan = plan_reload(old, new)
>>> plan.sources, plan.needs_restart, plan.config.windows.early_hop_s
(Changes(added=('c:18000',), removed=('b:18000',), changed=()), ('windows.early_hop_s',), 0.5)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import ValidationError

from xiaod.config import Config, Model
from xiaod.config.loader import ConfigError

RELOADED: Mapping[str, str] = MappingProxyType(
    {
        "sources": "those that are new, changed or gone start and stop; the others go on",
        "stations_file": "is read again, also where only its content has changed, and holds at once; sinks of kind anss open again then",
        "picker": "holds from the next window on",
        "sinks": "those that are new, changed or gone open and close; the others go on",
        "http.stale_after_s": "holds at once",
        "state.save_interval_s": "holds at once",
        "state.keep_days": "holds from the next save on",
        "logs": "holds at once",
        "agency": "closes all sinks and opens them again, since each signs with it",
        "grace_s": "holds for the next stop",
    }
)
"""Every key, or whole section, that a reload changes, and how. ``docs/commands.md`` shows this table; all other keys need a restart."""


class Reconfigurable(Protocol):
    """A part with settings that a reload changes.

    There is one way for a part to learn of its configuration: it is built from it, and whoever has built it calls :meth:`reconfigure`
    with the next one. No part asks for it. Sources and sinks do not have this method: they are replaced.
    """

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from now on; only keys in :data:`RELOADED` differ from the last one."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of sources or sinks that differ between two configurations."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """The same name with other settings."""

    @property
    def started(self) -> tuple[str, ...]:
        """What a reload starts."""
        return self.added + self.changed

    @property
    def stopped(self) -> tuple[str, ...]:
        """What a reload stops."""
        return self.removed + self.changed


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """All that one reload does."""

    config: Config
    """The new configuration, with the old values of keys that need a restart."""
    sources: Changes
    sinks: Changes
    continued: tuple[str, ...]
    """Changed sources whose server is the same: each goes on after the last packet of its predecessor."""
    needs_restart: tuple[str, ...]
    """Keys whose new values wait for a restart."""


def plan_reload(old: Config, new: Config) -> ReloadPlan:
    """Compare two configurations.

    Raises:
        ConfigError: when new values do not fit old ones that only a restart changes.
    """
    config = old.model_copy(update=_reloaded(old, new)).read_from(new.origin).located(new.stations)
    needs_restart = tuple(_differing(config.model_dump(), new.model_dump()))
    try:
        # What belongs together may be valid in each file and not in what a reload takes of both.
        Config.model_validate(dict(config))
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{new.origin.beginning()}{problem}; restart to use this file, "
            f"since {', '.join(needs_restart)} keeps its value until then"
        ) from error
    before, after = ({source.label: source for source in one.sources} for one in (old, new))
    sources = _changes(before, after)
    return ReloadPlan(
        config,
        sources,
        _changes(_sinks(old), _sinks(new)),
        tuple(name for name in sources.changed if before[name].server == after[name].server),
        needs_restart,
    )


def _reloaded(old: Model, new: Model, section: str = "") -> dict[str, Any]:
    """Values of the new configuration for :data:`RELOADED`, as an update of the old one."""
    found: dict[str, Any] = {}
    for key in type(new).model_fields:
        before, after = getattr(old, key), getattr(new, key)
        if section + key in RELOADED:
            found[key] = after
        elif isinstance(after, Model):
            found[key] = before.model_copy(update=_reloaded(before, after, f"{section}{key}."))
    return found


def _sinks(config: Config) -> dict[str, object]:
    """All that each sink is made of: every one signs with the agency."""
    return {
        sink.name: (sink, config.agency, config.stations if sink.LOCATED else None) for sink in config.sinks
    }


def _changes(old: Mapping[str, object], new: Mapping[str, object]) -> Changes:
    return Changes(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and old[name] != new[name]),
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """Keys with other values, by their place in the file."""
    for key, after in new.items():
        before = old[key]
        if isinstance(before, Mapping) and isinstance(after, Mapping) and before.keys() == after.keys():
            yield from _differing(before, after, f"{section}{key}.")
        elif before != after:
            yield section + key

"""The catalogue: the wanted streams that a server lists, requested from time to time and kept across connections.

A list may have megabytes and take a minute, so it is not requested at every connection. If the server gives none, the known stations are
subscribed, and the patterns with their wildcards, which some servers accept.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from xiaod.acquisition.patterns import Subscription, plan
from xiaod.acquisition.seedlink.info import DiscoveryError, UnreachableError, discover
from xiaod.acquisition.seedlink.links import connector
from xiaod.config import SeedLinkConfig
from xiaod.domain.types import Channel, Station

FIRST_LOOK_S = 60.0
"""Wildcards are expanded again after so long, then after twice as long, up to ``discover_s``."""
LOOK_SHARE = 60.0
"""... but at least after so many times the time that the list took, during which data wait in the socket."""

QUICK_S = 1.0
"""A request that is answered sooner costs nothing."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The wanted streams of a server."""

    channels: tuple[Channel, ...] = ()
    stations: tuple[Station, ...] = ()
    """Stations that it lists without streams."""
    told: bool = True
    """Whether it gives a list."""
    remark: str = ""
    """What could not be used of its answer."""
    asked_ns: int = 0
    """Host time of the request."""

    def plan(self, patterns: Collection[str], known: Collection[Station]) -> tuple[Subscription, ...]:
        """Subscriptions: of listed streams, of known stations, and, without a list, of the patterns with their wildcards."""
        return plan(patterns, self.channels, {*known, *self.stations}, with_wildcards=not self.told)


class CatalogueReader:
    """Requests the catalogue of one server, and keeps the last one."""

    def __init__(
        self, config: SeedLinkConfig, is_wanted: Callable[[Channel], bool], stop: threading.Event
    ) -> None:
        """Set up; nothing is requested yet."""
        self._config = config
        self._is_wanted = is_wanted
        self._stop = stop
        self._connect = connector(config)
        self._last: Catalogue | None = None
        self._asked_s = 0.0
        self._took_s = 0.0
        self._next_look_s = 0.0
        self._look_s = 0.0

    def at_connection(self, known: Collection[Station]) -> Catalogue:
        """The catalogue for a new connection: the last one while it is new and gives subscriptions, or another one.

        A server that gave no list is asked again, unless that took long.

        Raises:
            UnreachableError: when no server answers.
        """
        last = self._last
        if (
            last is None
            or time.monotonic() - self._asked_s > self._shortest_s()
            or not last.plan(self._config.streams, known)
            or not (last.told or self._took_s > QUICK_S)
        ):
            last = self.ask()
        self._look_s = self._shortest_s()
        self._next_look_s = time.monotonic() + self._look_s
        return last

    def is_due(self) -> bool:
        """Whether to request the catalogue now, during a connection; if so, the next time is later."""
        now_s = time.monotonic()
        if not self._config.discover_s or now_s < self._next_look_s:
            return False
        self._look_s = min(2 * self._look_s, self._config.discover_s)
        self._next_look_s = now_s + self._look_s
        return True

    def ask(self) -> Catalogue:
        """Request the catalogue now.

        Raises:
            UnreachableError: when no server answers.
        """
        config = self._config
        begun_s, begun_ns = time.monotonic(), time.time_ns()
        try:
            info = discover(
                config.server, config.connect_timeout_s, self._stop, self._is_wanted, self._connect
            )
        except UnreachableError:
            raise
        except DiscoveryError as error:
            catalogue = Catalogue(told=False, remark=f"streams not listed: {error}", asked_ns=begun_ns)
        else:
            channels = tuple(item.channel for item in info.streams)
            catalogue = Catalogue(channels, info.stations, remark="; ".join(info.remarks), asked_ns=begun_ns)
        self._asked_s = time.monotonic()
        self._took_s = self._asked_s - begun_s
        self._last = catalogue
        return catalogue

    def _shortest_s(self) -> float:
        """Shortest time between two requests."""
        shortest_s = max(FIRST_LOOK_S, LOOK_SHARE * self._took_s)
        return min(shortest_s, self._config.discover_s) if self._config.discover_s else shortest_s

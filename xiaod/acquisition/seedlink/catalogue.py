"""What a server has of what is wanted, as far as it tells: asked for when that is due, and remembered from one connection to the next.

A list may have megabytes and take a minute, so it is not asked for again at every connection. Where nothing is told there are the
stations that are known, and the patterns themselves, which some servers take.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from xiaod.acquisition.patterns import Subscription, plan
from xiaod.acquisition.seedlink.info import DiscoveryError, UnreachableError, discover
from xiaod.config import SeedLinkConfig
from xiaod.domain.types import Channel, Station

FIRST_LOOK_S = 60.0
"""After so long wildcards are expanded again for the first time, then after twice as long, until it is ``discover_s``."""
LOOK_SHARE = 60.0
"""... but not before so many times as long as the list took to come: meanwhile data wait in the socket."""

QUICK_S = 1.0
"""A question that is answered sooner costs nothing."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a server has of what is wanted."""

    channels: tuple[Channel, ...] = ()
    stations: tuple[Station, ...] = ()
    """Those that it lists without streams."""
    told: bool = True
    """Whether it tells anything."""
    remark: str = ""
    """What of its answer could not be used."""
    asked_ns: int = 0
    """Host time when it was asked."""

    def plan(self, patterns: Collection[str], known: Collection[Station]) -> tuple[Subscription, ...]:
        """What to ask for: of what is listed, of what has sent something before, and where nothing is told by the patterns as they are."""
        return plan(patterns, self.channels, {*known, *self.stations}, as_they_are=not self.told)


class CatalogueReader:
    """Asks one server, and remembers its last answer."""

    def __init__(
        self, config: SeedLinkConfig, is_wanted: Callable[[Channel], bool], stop: threading.Event
    ) -> None:
        """Set up; nothing is asked yet."""
        self._config = config
        self._is_wanted = is_wanted
        self._stop = stop
        self._last: Catalogue | None = None
        self._asked_s = 0.0
        self._took_s = 0.0
        self._next_look_s = 0.0
        self._look_s = 0.0

    def at_connection(self, known: Collection[Station]) -> Catalogue:
        """What to begin a connection with: the last answer while it is new and brings something, or another one.

        Where nothing was told that is asked again as well, unless it took long.

        Raises:
            UnreachableError: when nobody answers.
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
        """Whether to look for more on a connection, now; then the next time is later."""
        now_s = time.monotonic()
        if not self._config.discover_s or now_s < self._next_look_s:
            return False
        self._look_s = min(2 * self._look_s, self._config.discover_s)
        self._next_look_s = now_s + self._look_s
        return True

    def ask(self) -> Catalogue:
        """Ask now.

        Raises:
            UnreachableError: when nobody answers.
        """
        config = self._config
        begun_s, begun_ns = time.monotonic(), time.time_ns()
        try:
            info = discover(config.server, config.connect_timeout_s, self._stop, self._is_wanted)
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
        """Time between two questions at least."""
        shortest_s = max(FIRST_LOOK_S, LOOK_SHARE * self._took_s)
        return min(shortest_s, self._config.discover_s) if self._config.discover_s else shortest_s

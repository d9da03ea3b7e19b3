"""Lines about stations: those of one kind that come together are one line, which says how many and names a few.

A server that comes back leaves a gap in every channel of hundreds of stations within seconds; a hostile one names stations without
end. So a line waits until nothing of its kind has come for :data:`QUIET_S`, at most :data:`LONGEST_S`. What came meanwhile is said fact by
fact where it is little, and else in one line: the first of the facts, with ``together`` (how many they are), ``stations``, and ``some`` of
the names. A kind has :data:`BURST` turns, then one each :data:`REFILL_S`: what comes meanwhile is told with the next. Of one subject only
so many facts are told within a time (:class:`~xiaod.process.log_limit.Quota`).

>>> from xiaod.process.logs import configure_logs, get_logger
>>> configure_logs("info", "json")
>>> grouped = GroupedLog(get_logger("example"), most=30, period_s=3600.0)
>>> grouped.tell("debug", "not.shown", "BW.RJOB..EH", stream="BW.RJOB..EHZ")
>>> grouped.flush(everything=True)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from xiaod.process.log_limit import Quota
from xiaod.process.logs import Logger

QUIET_S = 2.0
LONGEST_S = 10.0
FEW = 5
"""So many facts are still said one by one; of more, so many are named."""
BURST = 10
REFILL_S = 60.0
MOST_STATIONS = 10_000
"""Stations that are told apart in one line."""


@dataclass(slots=True)
class _Kind:
    """What waits to be said of one kind, and how often it may still be said."""

    turns: float
    """How often: whole ones count."""
    turned_s: float
    """When that was reckoned."""
    level: str = "info"
    since_s: float = 0.0
    last_s: float = 0.0
    first: list[dict[str, object]] = field(default_factory=list)
    """The first facts that came."""
    together: int = 0
    unlogged: int = 0
    stations: set[str] = field(default_factory=set)


class GroupedLog:
    """A log for facts that many stations may bring at the same time."""

    def __init__(
        self, log: Logger, most: int, period_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up.

        Args:
            log: where lines go.
            most: facts of one kind that one subject may bring within ``period_s``; more are counted, and told with the next (``unlogged``).
            period_s: see there.
            clock_s: a steady clock.
        """
        self._log = log
        self._clock_s = clock_s
        self._quota = Quota(most, period_s, clock_s)
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._waiting = False

    def tell(
        self,
        level: Literal["debug", "info", "warning"],
        event: str,
        subject: str,
        group: str = "",
        **facts: object,
    ) -> None:
        """Say a fact, soon.

        Args:
            level: of the line.
            event: its name.
            subject: what the quota is for, ``NET.STA`` and what follows; empty where that is not known.
            group: facts of one event that are said apart, such as those of different sources.
            facts: of the line; ``stream`` or ``instrument`` is what ``some`` names.
        """
        self.flush()
        unlogged = self._quota.admit((event, group, subject))
        if unlogged is None:
            return
        now_s = self._clock_s()
        # Events and groups come from the program and its configuration: they are few.
        kind = self._kinds.setdefault((event, group), _Kind(BURST, now_s))
        if not kind.together:
            kind.level, kind.since_s = level, now_s
        kind.last_s = now_s
        kind.together += 1
        kind.unlogged += unlogged
        if len(kind.first) < FEW:
            kind.first.append({**facts, "unlogged": unlogged} if unlogged else facts)
        if len(kind.stations) < MOST_STATIONS:
            kind.stations.add(".".join(subject.split(".")[:2]))
        self._waiting = True

    def flush(self, everything: bool = False) -> None:
        """Write the lines that have waited long enough, or all; call it often, it costs nothing while nothing waits."""
        if not self._waiting:
            return
        now_s = self._clock_s()
        for (event, _), kind in self._kinds.items():
            if kind.together and (everything or _is_due(kind, now_s)):
                self._say(event, kind)
        self._waiting = any(kind.together for kind in self._kinds.values())

    def _say(self, event: str, kind: _Kind) -> None:
        say = getattr(self._log, kind.level)
        if kind.together <= FEW:
            for facts in kind.first:
                say(event, **facts)
        else:
            some = [facts.get("stream") or facts.get("instrument") or "" for facts in kind.first]
            told = {**kind.first[0], "together": kind.together, "stations": len(kind.stations), "some": some}
            say(event, **(told | ({"unlogged": kind.unlogged} if kind.unlogged else {})))
        kind.turns -= 1
        kind.together = kind.unlogged = 0
        kind.first = []
        kind.stations.clear()


def _is_due(kind: _Kind, now_s: float) -> bool:
    kind.turns = min(BURST, kind.turns + (now_s - kind.turned_s) / REFILL_S)
    kind.turned_s = now_s
    return kind.turns >= 1 and (now_s - kind.last_s >= QUIET_S or now_s - kind.since_s >= LONGEST_S)

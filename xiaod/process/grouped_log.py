"""Log lines about stations, grouped: facts of one kind that occur close together become one line, with their number and a few names.

A server that reconnects leaves a gap in every channel of hundreds of stations within seconds, and a hostile one names stations without
end. So a fact waits until no other of its kind has come for :data:`QUIET_S`, at most :data:`LONGEST_S`. Up to :data:`FEW` facts are then
a line each. More are one line: the first fact, ``together`` (their number), ``stations`` (how many), and ``some`` of the names. Each kind
is written :data:`BURST` times without delay, then once each :data:`REFILL_S`; the next line covers the facts in between. One subject
may bring only so many facts within a period (:class:`~xiaod.process.log_rate_limit.LogRateLimit`).

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

from xiaod.process.log_rate_limit import LogRateLimit
from xiaod.process.logs import Logger

QUIET_S = 2.0
LONGEST_S = 10.0
FEW = 5
"""Up to this number of facts, each has a line; of more, this number is named."""
BURST = 10
REFILL_S = 60.0
MOST_STATIONS = 10_000
"""Stations that one line counts at most."""


@dataclass(slots=True)
class _Kind:
    """Facts of one kind that wait, and a token bucket for their lines."""

    tokens: float
    """Lines that may be written now: whole ones count."""
    filled_s: float
    """When the tokens were counted last."""
    level: str = "info"
    since_s: float = 0.0
    last_s: float = 0.0
    first: list[dict[str, object]] = field(default_factory=list)
    """The first facts that came."""
    together: int = 0
    unlogged: int = 0
    stations: set[str] = field(default_factory=set)


class GroupedLog:
    """A log for facts about many stations at the same time."""

    def __init__(
        self, log: Logger, most: int, period_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up.

        Args:
            log: where lines go.
            most: facts of one kind about one subject that are logged within ``period_s``; the next line counts the rest (``unlogged``).
            period_s: of ``most``.
            clock_s: a monotonic clock.
        """
        self._log = log
        self._clock_s = clock_s
        self._rate_limit = LogRateLimit(most, period_s, clock_s)
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
        """Take a fact; it is written with others of its kind.

        Args:
            level: of the line.
            event: its name.
            subject: what the rate limit is for, ``NET.STA`` and what follows; empty where that is not known.
            group: keeps facts of one event apart, such as those of different sources.
            facts: of the line; ``stream`` or ``instrument`` is what ``some`` names.
        """
        self.flush()
        unlogged = self._rate_limit.admit((event, group, subject))
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
        """Write the facts that have waited long enough, or all; cheap while none waits."""
        if not self._waiting:
            return
        now_s = self._clock_s()
        for (event, _), kind in self._kinds.items():
            if kind.together and (everything or _is_due(kind, now_s)):
                self._write(event, kind)
        self._waiting = any(kind.together for kind in self._kinds.values())

    def _write(self, event: str, kind: _Kind) -> None:
        write = getattr(self._log, kind.level)
        if kind.together <= FEW:
            for facts in kind.first:
                write(event, **facts)
        else:
            some = [facts.get("stream") or facts.get("instrument") or "" for facts in kind.first]
            line = {**kind.first[0], "together": kind.together, "stations": len(kind.stations), "some": some}
            write(event, **(line | ({"unlogged": kind.unlogged} if kind.unlogged else {})))
        kind.tokens -= 1
        kind.together = kind.unlogged = 0
        kind.first = []
        kind.stations.clear()


def _is_due(kind: _Kind, now_s: float) -> bool:
    kind.tokens = min(BURST, kind.tokens + (now_s - kind.filled_s) / REFILL_S)
    kind.filled_s = now_s
    return kind.tokens >= 1 and (now_s - kind.last_s >= QUIET_S or now_s - kind.since_s >= LONGEST_S)

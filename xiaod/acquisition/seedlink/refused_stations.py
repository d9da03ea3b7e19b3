"""Stations that a server has refused, and when to try them again: a server may later accept a station it refuses now.

While data flow, nothing can be subscribed. So the station is tried on another connection, without data; the source connects anew only if it
is accepted there. A server may accept it there and refuse it again, because it limits all stations together; it is tried less and less
often.

>>> refusals = RefusedStations(first_s=0.0, longest_s=3600.0)
>>> refusals.note(asked=["BW.RJOB", "BW.ROTZ"], refused=["BW.ROTZ"])
>>> refusals.due()
['BW.ROTZ']
>>> refusals.note(asked=["BW.RJOB", "BW.ROTZ"], refused=[])
>>> refusals.due()
[]
"""

import time
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(slots=True)
class _Refusal:
    wait_s: float
    next_s: float


class RefusedStations:
    """Stations, by their names ``NET.STA``."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        """Try again after ``first_s``, then after twice as long, up to ``longest_s``."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._refused: dict[str, _Refusal] = {}

    def note(self, asked: Collection[str], refused: Collection[str]) -> None:
        """Take the result of a subscription: all other stations were accepted, or are not subscribed any more."""
        kept = {name: self._refused[name] for name in refused if name in asked and name in self._refused}
        self._refused = kept
        self._postpone(refused)

    def due(self) -> list[str]:
        """Stations to try now; their next try is later."""
        now_s = time.monotonic()
        names = [name for name, refusal in self._refused.items() if refusal.next_s <= now_s]
        self._postpone(names)
        return names

    def _postpone(self, names: Collection[str]) -> None:
        now_s = time.monotonic()
        for name in names:
            former = self._refused.get(name)
            wait_s = self._first_s if former is None else min(2 * former.wait_s, self._longest_s)
            self._refused[name] = _Refusal(wait_s, now_s + wait_s)

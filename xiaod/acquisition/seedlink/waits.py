"""Since when each station is waited for of which nothing has come: from there on it is asked for, not from now.

A station that is new in the list of a server has sent everything that is there of it since the list was looked at before. One that is
asked for, and sends nothing before the connection breaks, may send while there is none.

>>> waits = Waits()
>>> waits.look([("BW", "RJOB")], at_ns=1_000_000_000_000)
>>> waits.begins(limit_ns=None)
{}
>>> waits.asked(at_ns=1_000_500_000_000)
>>> waits.look([("BW", "RJOB"), ("BW", "NEW")], at_ns=2_000_000_000_000)
>>> waits.begins(limit_ns=None)
{('BW', 'RJOB'): (None, 1000500000000), ('BW', 'NEW'): (None, 940000000000)}
"""

from collections.abc import Collection

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Station

LATENESS_NS = 60 * NS_PER_S
"""Data may be so much older than a list that they are not in."""


class Waits:
    """Stations of one server."""

    def __init__(self) -> None:
        """Nothing has been looked at."""
        self._since_ns: dict[Station, int | None] = {}
        self._looked_ns: int | None = None

    def look(self, silent: Collection[Station], at_ns: int) -> None:
        """The list was looked at.

        Args:
            silent: stations that are wanted, as far as is known now, and have sent nothing.
            at_ns: host time of that look.
        """
        begin_ns = None if self._looked_ns is None else self._looked_ns - LATENESS_NS
        self._since_ns = {station: self._since_ns.get(station, begin_ns) for station in silent}
        self._looked_ns = at_ns

    def asked(self, at_ns: int) -> None:
        """All of them have been asked for; those of which nothing was known before, from now on."""
        self._since_ns = {
            station: at_ns if since_ns is None else since_ns for station, since_ns in self._since_ns.items()
        }

    def begins(self, limit_ns: int | None) -> dict[Station, tuple[None, int]]:
        """Times to ask from, as positions without a number; nothing is asked for that is older than a limit."""
        return {
            station: (None, since_ns if limit_ns is None else max(since_ns, limit_ns))
            for station, since_ns in self._since_ns.items()
            if since_ns is not None
        }

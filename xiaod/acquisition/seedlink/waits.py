"""For each station that has sent no data yet, the time from which its data are requested, instead of from now.

A station that is new in the list of a server began to send after the list before. A station that is subscribed, and sends nothing before
the connection breaks, may send while there is no connection.

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
"""How much older than a list data may be that it does not show yet."""


class Waits:
    """The stations of one server that have sent no data yet."""

    def __init__(self) -> None:
        """Begin without a list."""
        self._since_ns: dict[Station, int | None] = {}
        self._looked_ns: int | None = None

    def look(self, silent: Collection[Station], at_ns: int) -> None:
        """A list has come.

        Args:
            silent: wanted stations that have sent nothing.
            at_ns: host time of the request.
        """
        begin_ns = None if self._looked_ns is None else self._looked_ns - LATENESS_NS
        self._since_ns = {station: self._since_ns.get(station, begin_ns) for station in silent}
        self._looked_ns = at_ns

    def asked(self, at_ns: int) -> None:
        """All of them have been subscribed; those without an earlier time, from now on."""
        self._since_ns = {
            station: at_ns if since_ns is None else since_ns for station, since_ns in self._since_ns.items()
        }

    def begins(self, limit_ns: int | None) -> dict[Station, tuple[None, int]]:
        """Times to request data from, as positions without a number; none is before the limit."""
        return {
            station: (None, since_ns if limit_ns is None else max(since_ns, limit_ns))
            for station, since_ns in self._since_ns.items()
            if since_ns is not None
        }

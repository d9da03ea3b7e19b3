"""The clock that waits are counted by: it goes while a source delivers, and stands while that is silent.

What has not come from a server that is silent may still come: were its silence counted, a link that stalls would change picks. So the clock
goes on by the host's time that has passed, but by no more than what has come is newer, and only when something newer has come. However a
stream of records is held up on its way, it is never waited for longer than its own data are long; one that catches up makes nobody
wait less.

>>> clock = DeliveryClock()
>>> for now_s, end_s in [(1000, 1), (1001, 2), (1001, 2), (1010, 3), (1010, 6), (1012, 9)]:
...     clock.delivered(end_s * NS_PER_S, now_s * NS_PER_S)
>>> clock.time_ns / NS_PER_S
4.0
"""

from xiaod.domain.timegrid import NS_PER_S

STANDSTILL_NS = 10 * NS_PER_S
"""What has come is compared with what came before only within this time: one record of the future does not stop the clock for longer."""


class DeliveryClock:
    """Time during which one source has delivered, in nanoseconds since it began to."""

    def __init__(self) -> None:
        self.time_ns = 0
        self._newest_ns: int | None = None
        """Time just after the newest sample, since the clock stood still for long."""
        self._since_ns = 0
        """Time of the steady clock when that came."""

    def delivered(self, end_ns: int, now_ns: int) -> None:
        """A record whose samples end at a time has come, at a time of the steady clock."""
        passed_ns = now_ns - self._since_ns
        if self._newest_ns is None or passed_ns > STANDSTILL_NS:
            newer_ns = 0
        elif end_ns <= self._newest_ns:
            return
        else:
            newer_ns = end_ns - self._newest_ns
        self.time_ns += min(passed_ns, newer_ns)
        self._newest_ns, self._since_ns = end_ns, now_ns

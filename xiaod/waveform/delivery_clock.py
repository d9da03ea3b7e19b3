"""The delivery clock, by which all waits for data are counted: it runs while a source delivers, and stops while the source is silent.

Data that a silent server has not sent may still come. If its silence counted, a link that stalls would change picks. So the clock
advances only when newer data come: by the monotonic time that has passed, but by no more than the data are newer. However long the data
of a channel are held up, no wait for them is longer than they are; and a channel that catches up shortens no wait. What the clock shows
is called *delivery time* everywhere, in arguments ``delivery_ns``.

>>> clock = DeliveryClock()
>>> for now_s, end_s in [(1000, 1), (1001, 2), (1001, 2), (1010, 3), (1010, 6), (1012, 9)]:
...     clock.delivered(end_s * NS_PER_S, now_s * NS_PER_S)
>>> clock.time_ns / NS_PER_S
4.0
"""

from xiaod.domain.timegrid import NS_PER_S

STANDSTILL_NS = 10 * NS_PER_S
"""Data are compared with those that came within this time: a record with a time in the future stops the clock for no longer."""


class DeliveryClock:
    """The delivery time of one source: nanoseconds for which it has delivered."""

    def __init__(self) -> None:
        self.time_ns = 0
        self._newest_ns: int | None = None
        """Time just after the newest sample since the clock stood still for :data:`STANDSTILL_NS`."""
        self._since_ns = 0
        """Time of the monotonic clock when that came."""

    def delivered(self, end_ns: int, now_ns: int) -> None:
        """A record whose samples end at a time has come, at a time of the monotonic clock."""
        passed_ns = now_ns - self._since_ns
        if self._newest_ns is None or passed_ns > STANDSTILL_NS:
            newer_ns = 0
        elif end_ns <= self._newest_ns:
            return
        else:
            newer_ns = end_ns - self._newest_ns
        self.time_ns += min(passed_ns, newer_ns)
        self._newest_ns, self._since_ns = end_ns, now_ns

"""The used packets of one station, oldest first, until they have been picked or abandoned.

Some hundred wait at each station. They are numbers in arrays: objects would take eight times the memory.

>>> passed = PassedPackets(most=2)
>>> for number in (7, 8, 9):
...     passed.append(Passed((number, 10 * number), 10 * number + 5, Moment(1.0, 2.0, 90)))
>>> len(passed), passed.popleft().position, passed[-1].next_ns
(2, (8, 80), 95)
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from xiaod.acquisition.seedlink.moments import Moment
from xiaod.domain.timegrid import LATEST_NS
from xiaod.domain.types import Position

INTEGERS, FLOATS = 4, 2
"""Numbers of a packet, of each kind."""
SPENT = 64
"""So many packets that have left may stay in the arrays, besides half of them."""


class Passed(NamedTuple):
    """Used packets of a station that came together."""

    position: Position
    """The last of them."""
    next_ns: int
    """Time of the sample after their last one."""
    moment: Moment
    """When the first came."""


class PassedPackets:
    """A queue of at most ``most`` entries; when it is full, the oldest one leaves."""

    __slots__ = ("_first", "_floats", "_integers", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._first = 0
        """Entries at the beginning of the arrays that have left."""
        self._integers = array("q")
        self._floats = array("d")

    def __len__(self) -> int:
        return len(self._floats) // FLOATS - self._first

    def __getitem__(self, number: int) -> Passed:
        count = len(self)
        if not -count <= number < count:
            raise IndexError(number)
        at = self._first + number % count
        sequence, start_ns, next_ns, edge_ns = self._integers[at * INTEGERS : (at + 1) * INTEGERS]
        came_s, streamed_s = self._floats[at * FLOATS : (at + 1) * FLOATS]
        return Passed((sequence, start_ns), next_ns, Moment(came_s, streamed_s, edge_ns))

    def __iter__(self) -> Iterator[Passed]:
        return (self[number] for number in range(len(self)))

    def append(self, passed: Passed) -> None:
        """Add the newest entry."""
        if len(self) >= self._most:
            self.popleft()
        moment = passed.moment
        # A record may claim a sample in eleven days.
        self._integers.extend(
            (*passed.position, *(min(end_ns, LATEST_NS) for end_ns in (passed.next_ns, moment.edge_ns)))
        )
        self._floats.extend((moment.came_s, moment.streamed_s))

    def popleft(self) -> Passed:
        """Take the oldest entry out."""
        oldest = self[0]
        self._first += 1
        if self._first > SPENT + len(self):
            del self._integers[: self._first * INTEGERS], self._floats[: self._first * FLOATS]
            self._first = 0
        return oldest

    def pop(self) -> Passed:
        """Take the newest entry out."""
        newest = self[-1]
        del self._integers[-INTEGERS:], self._floats[-FLOATS:]
        return newest

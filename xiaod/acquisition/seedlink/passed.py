"""The used packets of one station, oldest first, until they have been picked or abandoned.

Some hundred wait at each station. They are numbers side by side: objects would take eight times the memory.

>>> passed = PassedPackets(most=2)
>>> for number in (7, 8, 9):
...     passed.append((number, 10 * number), 10 * number + 5, Moment(1.0, 2.0, 90))
>>> len(passed), passed.popleft().position, passed[-1].next_ns
(2, (8, 80), 95)
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from xiaod.acquisition.seedlink.moments import Moment
from xiaod.domain.timegrid import LATEST_NS
from xiaod.domain.types import Position

_ENTRY = Struct("=4q2d")
_BYTES = _ENTRY.size


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

    __slots__ = ("_entries", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        # Its beginning can be cut off without moving the rest.
        self._entries = bytearray()

    def __len__(self) -> int:
        return len(self._entries) // _BYTES

    def __getitem__(self, number: int) -> Passed:
        count = len(self)
        if not -count <= number < count:
            raise IndexError(number)
        sequence, start_ns, next_ns, edge_ns, came_s, streamed_s = _ENTRY.unpack_from(
            self._entries, number % count * _BYTES
        )
        return Passed((sequence, start_ns), next_ns, Moment(came_s, streamed_s, edge_ns))

    def __iter__(self) -> Iterator[Passed]:
        return (self[number] for number in range(len(self)))

    def append(self, position: Position, next_ns: int, moment: Moment) -> None:
        """Add the newest entry."""
        if len(self) >= self._most:
            self.popleft()
        sequence, start_ns = position
        came_s, streamed_s, edge_ns = moment
        # A record may claim a sample in eleven days.
        next_ns, edge_ns = min(next_ns, LATEST_NS), min(edge_ns, LATEST_NS)
        self._entries += _ENTRY.pack(sequence, start_ns, next_ns, edge_ns, came_s, streamed_s)

    def popleft(self) -> Passed:
        """Take the oldest entry out."""
        oldest = self[0]
        del self._entries[:_BYTES]
        return oldest

    def pop(self) -> Passed:
        """Take the newest entry out."""
        newest = self[-1]
        del self._entries[-_BYTES:]
        return newest

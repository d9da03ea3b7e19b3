"""The recent records of one channel, by time and length, to recognise those that come again.

They are numbers in arrays: tuples in a dictionary would take ten times the memory.

>>> recent = RecentRecords()
>>> recent.add(start_ns=5, length=100, content=7)
>>> recent.content_of(5, 100), recent.content_of(5, 99), recent.content_of(6, 100)
(7, None, None)
"""

from array import array

from xiaod.domain.timegrid import EARLIEST_NS

REMEMBERED = 256
"""Records: at 100 Hz, 512 bytes and usual compression about 15 minutes."""


class RecentRecords:
    """The last :data:`REMEMBERED` records."""

    __slots__ = ("_contents", "_lengths", "_oldest", "_starts_ns", "newest_ns")

    def __init__(self) -> None:
        self._starts_ns = array("q")
        self._lengths = array("I")
        self._contents = array("I")
        self._oldest = 0
        """Index of the record that is replaced next."""
        self.newest_ns = EARLIEST_NS
        """Time of the newest record so far; those that are newer are not known."""

    def add(self, start_ns: int, length: int, content: int) -> None:
        """Remember a record: the time of its first sample, how many it has, and a checksum of them."""
        if len(self._starts_ns) < REMEMBERED:
            self._starts_ns.append(start_ns)
            self._lengths.append(length)
            self._contents.append(content)
        else:
            slot = self._oldest
            self._starts_ns[slot], self._lengths[slot], self._contents[slot] = start_ns, length, content
            self._oldest = (slot + 1) % REMEMBERED
        if start_ns > self.newest_ns:
            self.newest_ns = start_ns

    def content_of(self, start_ns: int, length: int) -> int | None:
        """The checksum of the record with this time and length; None when there is none."""
        slot = -1
        try:
            while True:
                slot = self._starts_ns.index(start_ns, slot + 1)
                if self._lengths[slot] == length:
                    return self._contents[slot]
        except ValueError:
            return None

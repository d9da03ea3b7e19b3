"""The records of one channel that came last, by time and length: for telling which of those that come have come before.

Numbers in arrays: in tuples of a dictionary the same takes ten times the memory, which with hundreds of stations is most of what their
buffers take.

>>> recent = RecentRecords()
>>> recent.add(start_ns=5, length=100, content=7)
>>> recent.content_of(5, 100), recent.content_of(5, 99), recent.content_of(6, 100)
(7, None, None)
"""

from array import array

REMEMBERED = 256
"""Records: at 100 Hz, 512 bytes and usual compression about 15 minutes."""


class RecentRecords:
    """So many records, the oldest of which gives way."""

    __slots__ = ("_contents", "_lengths", "_newest_ns", "_oldest", "_starts_ns")

    def __init__(self) -> None:
        self._starts_ns = array("q")
        self._lengths = array("I")
        self._contents = array("I")
        self._oldest = 0
        """Place of the one that gives way next."""
        self._newest_ns: int | None = None

    def add(self, start_ns: int, length: int, content: int) -> None:
        """Remember a record: the time of its first sample, how many it has, and a checksum of them."""
        if len(self._starts_ns) < REMEMBERED:
            self._starts_ns.append(start_ns)
            self._lengths.append(length)
            self._contents.append(content)
        else:
            place = self._oldest
            self._starts_ns[place], self._lengths[place], self._contents[place] = start_ns, length, content
            self._oldest = (place + 1) % REMEMBERED
        if self._newest_ns is None or start_ns > self._newest_ns:
            self._newest_ns = start_ns

    def content_of(self, start_ns: int, length: int) -> int | None:
        """The checksum of the record with this time and length; None when there is none."""
        # Nearly every record is the newest.
        if self._newest_ns is None or start_ns > self._newest_ns:
            return None
        place = -1
        try:
            while True:
                place = self._starts_ns.index(start_ns, place + 1)
                if self._lengths[place] == length:
                    return self._contents[place]
        except ValueError:
            return None

"""Cuts the bytes of a SeedLink 3 connection into packets: a header of 8 bytes, and a record as long as its own header says.

Headers are ``SL`` and six hexadecimal digits, or ``SLINFO`` and a flag. SeedLink 3 was made for records of 512 bytes, but servers send
whatever is in their ring: 256 bytes for low latency, 1,024 or 4,096 from archives, miniSEED 3. The header of the packet does not give the
length. The record does: blockette 1000 in miniSEED 2, the fixed header in miniSEED 3. A record without either has 512.

Where bytes are missing, another packet begins within the length of the damaged one. Reading goes on with it, and its frame says how many
bytes were skipped.

>>> framing = Framing(bytearray(b"SL00002A" + bytes(512)))
>>> [frame.sequence for frame in framing.cut()]
[42]
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from xiaod.acquisition.miniseed import RECORD_LENGTHS, RECORD_START, record_length
from xiaod.domain.seedlink import RECORD_BYTES

HEADER_BYTES = 8
HEAD_BYTES = 64
"""Enough bytes of nearly every record to know its length."""
FRAME_BYTES = HEADER_BYTES + RECORD_BYTES
MAX_GARBAGE_BYTES = 64 * FRAME_BYTES
"""The connection is closed when the bytes outside of packets exceed half of those in packets by more than this."""

_HEADER = re.compile(rb"SL(?:[0-9A-Fa-f]{6}|INFO [ *])")
_BEGINNING = re.compile(_HEADER.pattern + RECORD_START.pattern)
"""A packet: its header, and the first bytes of a record of miniSEED 2 or 3."""
_BEGINNING_BYTES = 16


class LinkError(Exception):
    """The connection cannot be used any more; the message says why."""


class ClosedError(LinkError):
    """The server has closed the connection."""


class ErrorReplyError(LinkError):
    """The server sent ``ERROR`` instead of a packet."""


class EndOfDataError(LinkError):
    """The server has sent everything."""


class Frame(NamedTuple):
    """One packet as it was received."""

    header: bytes
    record: bytes
    skipped: int = 0
    """Bytes before it that belong to no packet; negative: its first bytes were taken for the end of the packet before, which lacks some."""

    @property
    def is_info(self) -> bool:
        """Whether this is a piece of an answer to INFO."""
        return self.header.startswith(b"SLINFO")

    @property
    def is_last_info(self) -> bool:
        """Whether it is the last piece: all others have an asterisk."""
        return not self.header.endswith(b"*")

    @property
    def is_document(self) -> bool:
        """Whether a piece of an answer to INFO is the text itself, not a record with it."""
        return False

    @property
    def sequence(self) -> int:
        """Sequence number: 24 bits, in SeedLink 4 up to 63."""
        return int(self.header[2:], 16)


class Framing:
    """Cuts received bytes into packets."""

    def __init__(self, received: bytearray) -> None:
        """Cut packets off a buffer, which the caller fills."""
        self._received = received
        self._garbage = 0.0
        self._skipped = 0
        self._end = b""
        """The end of the last packet, where what follows it has not come far enough to show another one that begins before."""

    def cut(self) -> Iterator[Frame]:
        """The whole packets in the buffer.

        Raises:
            EndOfDataError, ErrorReplyError: when the server says so.
            LinkError: when too many bytes are not packets.
        """
        received = self._received
        begin = 0
        try:
            while len(received) - begin >= HEADER_BYTES:
                if _HEADER.match(received, begin) is None:
                    if self._end and len(received) - begin < _BEGINNING_BYTES:
                        break
                    begin = begin if self._take_back(begin) else self._resynchronise(begin)
                    continue
                at = begin + HEADER_BYTES
                length = self._length(at)
                stop = at + (length or RECORD_BYTES)
                # Two letters are found much faster than a pattern.
                if received.find(b"SL", at, stop + 1) >= 0:
                    other = _BEGINNING.search(received, at, stop + _BEGINNING_BYTES)
                    if other is not None and other.start() < stop:
                        begin = self._skip(begin, other.start())
                        continue
                if length is None or len(received) < stop:
                    break
                frame = Frame(bytes(received[begin:at]), bytes(received[at:stop]), self._skipped)
                begin = stop
                self._skipped = 0
                seen = len(received) - stop >= _BEGINNING_BYTES
                self._end = b"" if seen else frame.record[1 - _BEGINNING_BYTES :]
                self._garbage = max(0.0, self._garbage - length / 2)
                yield frame
            self._heed(begin)
        finally:
            del received[:begin]

    def _length(self, at: int) -> int | None:
        """Length of the record at an offset; None: more bytes are needed."""
        received = self._received
        # Blockette 1000 is nearly always the first.
        for head_bytes in (HEAD_BYTES, RECORD_BYTES):
            head = bytes(received[at : at + head_bytes])
            if len(head) < HEAD_BYTES:
                return None
            length = record_length(head)
            if length:
                return length if length in RECORD_LENGTHS else RECORD_BYTES
        return RECORD_BYTES if len(head) == RECORD_BYTES else None

    def _heed(self, begin: int) -> None:
        """Raise when there is a word instead of a packet."""
        if self._received.startswith(b"END", begin):
            raise EndOfDataError("the server says 'END'")
        if self._received.startswith(b"ERROR\r", begin):
            raise ErrorReplyError("the server says 'ERROR'")

    def _resynchronise(self, begin: int) -> int:
        """Offset at which the next packet may begin, after bytes that are not a packet."""
        self._heed(begin)
        found = self._received.find(b"SL", begin + 1)
        return self._skip(begin, found if found >= 0 else max(begin + 1, len(self._received) - 1))

    def _take_back(self, begin: int) -> bool:
        """Put the bytes of a packet that begins in the end of the last one before what has come; whether there is such a packet."""
        end, self._end = self._end, b""
        found = _BEGINNING.search(end + bytes(self._received[begin : begin + _BEGINNING_BYTES]))
        if found is None or found.start() >= len(end):
            return False
        self._received[begin:begin] = end[found.start() :]
        self._skipped -= len(end) - found.start()
        return True

    def _skip(self, begin: int, following: int) -> int:
        self._skipped += following - begin
        self._garbage += following - begin
        if self._garbage > MAX_GARBAGE_BYTES:
            raise LinkError(
                f"{self._garbage:.0f} bytes without a packet: not SeedLink 3, or records of another length than their headers say; "
                "look at what the server sends, for example with slinktool -p"
            )
        return following

r"""Cuts the bytes of a SeedLink 4 connection into packets, whose headers give the length of what they carry.

A packet whose end is followed by anything but another packet, or a word of the server, has lost bytes on the way: the connection cannot be
used any more, and the packet comes again on the next one.

>>> received = bytearray(b"SE2D" + bytes([3, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 7]) + b"BW_RJOBabc" + b"END")
>>> framing = Framing4(received)
>>> frames = framing.cut()
>>> frame = next(frames)
>>> frame.sequence, frame.record, frame.is_info
(42, b'abc', False)
>>> list(frames)
Traceback (most recent call last):
...
xiaod.acquisition.seedlink.framing.EndOfDataError: the server says 'END'
"""

from collections.abc import Iterator

from seedlink_client.protocol import (
    FORMAT_JSON,
    HEADSIZE_V4,
    SIGNATURE_V4,
    SeedLinkError,
    StreamEvent,
    classify_stream_prefix,
    parse_header_v4,
)

from xiaod.acquisition.seedlink.framing import EndOfDataError, ErrorReplyError, Frame, Framing, LinkError

MAX_SEQUENCE = (1 << 63) - 1
"""Greatest number that can be stored; servers count from 1."""
_WORD_BYTES = 5
"""Length of the longest word instead of a packet, ``ERROR``."""
_MOST_SAID = 200
"""So many bytes of a line that begins with it are shown; the end of a longer one is not waited for."""
_FORMAT = slice(2, 3)
_JSON: bytes = FORMAT_JSON.encode()
_SEQUENCE = slice(8, 16)


class Frame4(Frame):
    """One packet as it was received; its header is without the station ID."""

    __slots__ = ()

    @property
    def is_info(self) -> bool:
        """Whether this is an answer to INFO."""
        return self.header[_FORMAT] == _JSON

    @property
    def is_last_info(self) -> bool:
        """Answers have one packet."""
        return True

    @property
    def is_document(self) -> bool:
        """Answers are JSON texts."""
        return self.is_info

    @property
    def sequence(self) -> int:
        """Sequence number."""
        return int.from_bytes(self.header[_SEQUENCE], "little")


class Framing4(Framing):
    """Cuts received bytes into packets of SeedLink 4."""

    def cut(self) -> Iterator[Frame]:
        """The whole packets in the buffer.

        Raises:
            EndOfDataError, ErrorReplyError: when the server says so.
            LinkError: when there is something that is not a packet.
        """
        received = self._received
        begin = 0
        try:
            while len(received) - begin >= len(SIGNATURE_V4):
                if not received.startswith(SIGNATURE_V4, begin):
                    self._word(bytes(received[begin : begin + _MOST_SAID]))
                    break
                if len(received) - begin < HEADSIZE_V4:
                    break
                header = bytes(received[begin : begin + HEADSIZE_V4])
                try:
                    parsed = parse_header_v4(header)
                except (SeedLinkError, UnicodeDecodeError) as error:
                    raise LinkError(f"a header that cannot be: {error}") from error
                if parsed.seqnum > MAX_SEQUENCE and parsed.payload_format != FORMAT_JSON:
                    raise LinkError(f"sequence number {parsed.seqnum} is above {MAX_SEQUENCE}")
                at = begin + HEADSIZE_V4 + parsed.station_id_length
                stop = at + parsed.payload_length
                if len(received) < stop:
                    break
                if not _may_begin(bytes(received[stop : stop + _WORD_BYTES])):
                    raise LinkError("bytes were lost in a packet: it is requested again")
                frame = Frame4(header, bytes(received[at:stop]))
                begin = stop
                yield frame
        finally:
            del received[:begin]

    def _word(self, words: bytes) -> None:
        """Raise for what stands instead of a packet; return when too little has come to know."""
        if not _may_begin(words[:_WORD_BYTES]):
            raise LinkError(f"no SeedLink 4 packet: {words[:40]!r}")
        event = classify_stream_prefix(words)
        if event is StreamEvent.END:
            raise EndOfDataError("the server says 'END'")
        if event is StreamEvent.ERROR and (b"\n" in words or len(words) == _MOST_SAID):
            raise ErrorReplyError(f"the server says {words.splitlines()[0].decode('ascii', 'replace')!r}")


def _may_begin(words: bytes) -> bool:
    """Whether a packet, or a word of the server, may begin like this."""
    return any(
        words.startswith(known) or known.startswith(words) for known in (SIGNATURE_V4, b"END", b"ERROR")
    )

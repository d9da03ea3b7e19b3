"""miniSEED record bytes to a :class:`~xiaod.domain.types.Segment`, through libmseed (pymseed).

Versions 2 and 3, Steim 1 and 2, 16- and 32-bit integers, 32- and 64-bit floats, both byte orders, any record length. Whatever the
bytes, the result is a segment, or a :class:`~xiaod.domain.types.BadRecord` with the reason; nothing is raised.

Steim frames contain the last sample twice: as the sum of all differences, and as a value. If the two differ, the record is damaged, and
any sample after the damage may be wrong by any amount: the record is refused (``integrity``). If the value is zero, the datalogger has left
it out, and the record is used. Source: SEED Reference Manual 2.4, appendix B.

>>> decode(b"not a record", source="example").reason
'decode'
"""

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from pymseed import (
    MiniSEEDError,
    MS3Record,
    PymseedError,
    clear_error_messages,
    clibmseed,
    configure_logging,
    ffi,
    get_error_messages,
)

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.types import BadRecord, Channel, SampleArray, Segment

NUMERIC_TYPES: Mapping[bytes, np.dtype[Any]] = {
    b"i": np.dtype(np.int32),
    b"f": np.dtype(np.float32),
    b"d": np.dtype(np.float64),
}
"""libmseed's sample types that are numbers."""
SANE_RATES_HZ = (1e-6, 1e6)
"""Rates outside are damage; times would overflow."""
_CODE = re.compile(r"[A-Za-z0-9-]*")
_INTEGRITY = re.compile(
    r"integrity check for Steim[12] failed, Last sample=(?P<summed>-?\d+), Xn=(?P<stored>-?\d+)"
)
RECORD_START = re.compile(rb"(?:[0-9 \0]{6}[DRQM][ \0]|MS\x03)")
"""How a record of miniSEED 2 or 3 begins."""
RECORD_LENGTHS = range(64, (1 << 16) + 1)
"""Bytes of a record; other lengths are damage."""
MAX_SAMPLES = 1_000_000
"""More samples in one record are damage."""


def decode(
    record: bytes | memoryview, source: str, arrived_ns: int | None = None, sequence: int | None = None
) -> Segment | BadRecord:
    """Decode one record.

    Args:
        record: the bytes of one whole record.
        source: name of the source it came from.
        arrived_ns: host time of arrival, None offline.
        sequence: SeedLink sequence number.
    """
    size = len(record)
    # The header points into it.
    held = ffi.from_buffer(record)
    try:
        header = _parsed(held, size)
        stream, channel = _stream_of(ffi.string(header.sid))
        rate: float = header.samprate
        # A negative one is a period in seconds.
        rate_hz = rate if rate >= 0 else -1 / rate
        found = _wrong_header(header, rate_hz, size) or _samples(header)
    except (PymseedError, ValueError, OverflowError) as error:
        return BadRecord(source, "decode", str(error)[:200], "", size)
    if isinstance(found, tuple):
        return BadRecord(source, *found, stream, size)
    if channel is None:
        return BadRecord(source, "stream", f"{stream!r} is not NET_STA_LOC_CHA", stream, size)
    return Segment(channel, header.starttime, rate_hz, found, source, arrived_ns, sequence, size)


class _Thread(threading.local):
    """What libmseed keeps in each thread: its messages, and here the header that the next record overwrites."""

    def __init__(self) -> None:
        configure_logging()
        self.header = ffi.gc(ffi.new("MS3Record **"), clibmseed.msr3_free)


_thread = _Thread()


def _parsed(record: "ffi.CData", size: int) -> "ffi.CData":
    """The header of a record, until this thread parses another one.

    MS3Record of pymseed does the same with an object for each record, which takes longer than the decoding.
    """
    header = _thread.header
    status = clibmseed.msr3_parse(record, size, header, clibmseed.MSF_VALIDATECRC, 0)
    if status:
        missing = f"Incomplete miniSEED record, {status} more bytes needed"
        raise MiniSEEDError(status, missing if status > 0 else "Error parsing miniSEED record")
    return header[0]


def _samples(header: "ffi.CData") -> "SampleArray | tuple[str, str]":
    """The samples of a record, or reason and detail when they cannot be used."""
    # Those of other records that this thread has read.
    clear_error_messages()
    if (status := clibmseed.msr3_unpack_data(header, 0)) < 0:
        raise MiniSEEDError(status, "Error unpacking data samples")
    kind = NUMERIC_TYPES.get(header.sampletype)
    if kind is None:
        return "encoding", f"encoding {header.encoding} is not numbers"
    for message in get_error_messages():
        found = _INTEGRITY.search(message)
        if found is not None and int(found["stored"]):
            return (
                "integrity",
                f"damaged: its samples end with {found['summed']}, its frames say {found['stored']}",
            )
    samples: SampleArray = np.empty(header.numsamples, kind)
    ffi.memmove(samples, header.datasamples, samples.nbytes)
    if kind.kind == "f" and not np.isfinite(samples).all():
        return "nonfinite", "samples that are no numbers"
    samples.setflags(write=False)
    return samples


def _wrong_header(header: "ffi.CData", rate_hz: float, size: int) -> tuple[str, str] | None:
    """Reason and detail, when a record of this size cannot be used because of its header."""
    count = header.samplecnt
    if header.reclen != size:
        return "decode", f"{size} bytes, the header says {header.reclen}"
    if count == 0:
        return "empty", "record without samples"
    if not 0 < count <= MAX_SAMPLES:
        return "decode", f"claims {count} samples"
    if header.encoding == 0:
        return "log", "text, not samples"
    if not SANE_RATES_HZ[0] <= rate_hz <= SANE_RATES_HZ[1]:
        return "rate", f"sampling rate {rate_hz:g}"
    return None


def duration_s(header: MS3Record) -> float:
    """Seconds of data in a record, by its header; 0 when the header is odd."""
    rate_hz = float(header.samprate)
    if not (SANE_RATES_HZ[0] <= rate_hz <= SANE_RATES_HZ[1] and 0 < header.samplecnt <= MAX_SAMPLES):
        return 0.0
    return float(header.samplecnt / rate_hz)


_version = ffi.new("uint8_t *")
"""Where libmseed writes the version of a record, which nobody reads."""


def record_length(head: bytes) -> int:
    r"""Length in bytes of the record that begins so; 0 when more bytes are needed or it is unknown, negative when it is not miniSEED.

    Sources: SEED Reference Manual 2.4, blockette 1000; miniSEED 3, fixed header.

    >>> record_length(b"MS\x03" + bytes(33) + bytes([100, 0, 0, 0]) + bytes(24))
    140
    """
    length: int = clibmseed.ms3_detect(head, len(head), _version)
    return length


@lru_cache(maxsize=16_384)
def _stream_of(source_id: bytes) -> tuple[str, Channel | None]:
    """A source identifier as text, and as a channel."""
    text = source_id.decode()
    return text, channel_of(text)


@lru_cache(maxsize=16_384)
def channel_of(source_id: str) -> Channel | None:
    """``FDSN:NET_STA_LOC_B_S_C`` as a channel; None when it is not of that form or a code is odd.

    Network, station and location may have dashes (FDSN Source Identifiers 1.0).

    >>> channel_of("FDSN:XX_AB-1__E_H_Z")
    Channel(network='XX', station='AB-1', location='', channel='EHZ')
    """
    parts = source_id.removeprefix("FDSN:").split("_")
    if len(parts) != 6:
        return None
    network, station, location, band, instrument, component = parts
    channel = band + instrument + component
    if not (station and component and channel.isascii() and channel.isalnum()):
        return None
    if not all(_CODE.fullmatch(code) for code in (network, station, location)):
        return None
    return Channel(network, station, "" if location == EMPTY_LOCATION else location, channel)

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
from functools import lru_cache

import numpy as np
from pymseed import MS3Record, PymseedError, clibmseed, ffi, get_error_messages

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.types import BadRecord, Channel, Segment

NUMERIC_TYPES = frozenset({"i", "f", "d"})
"""libmseed's sample types that are numbers: int32, float32, float64."""
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
    try:
        parsed = MS3Record.parse(record)
        stream, channel = parsed.sourceid, channel_of(parsed.sourceid)
        problem = _wrong_header(parsed, size)
        if problem is None:
            parsed.unpack_data()
            problem = _wrong_samples(parsed)
    except (PymseedError, ValueError, OverflowError, RuntimeError) as error:
        return BadRecord(source, "decode", str(error)[:200], "", size)
    if problem is not None:
        return BadRecord(source, *problem, stream, size)
    if channel is None:
        return BadRecord(source, "stream", f"{stream!r} is not NET_STA_LOC_CHA", stream, size)
    samples = parsed.np_datasamples.copy()
    samples.flags.writeable = False
    rate_hz = float(parsed.samprate)
    return Segment(channel, parsed.starttime, rate_hz, samples, source, arrived_ns, sequence, size)


def _wrong_header(parsed: MS3Record, size: int) -> tuple[str, str] | None:
    """Reason and detail, when a record of this size cannot be used because of its header."""
    if parsed.reclen != size:
        return "decode", f"{size} bytes, the header says {parsed.reclen}"
    if parsed.samplecnt == 0:
        return "empty", "record without samples"
    if not 0 < parsed.samplecnt <= MAX_SAMPLES:
        return "decode", f"claims {parsed.samplecnt} samples"
    if parsed.encoding == 0:
        return "log", "text, not samples"
    if not SANE_RATES_HZ[0] <= float(parsed.samprate) <= SANE_RATES_HZ[1]:
        return "rate", f"sampling rate {parsed.samprate:g}"
    return None


def _wrong_samples(parsed: MS3Record) -> tuple[str, str] | None:
    """Reason and detail, when the samples that this thread has just unpacked cannot be used."""
    if parsed.sampletype not in NUMERIC_TYPES:
        return "encoding", f"encoding {parsed.encoding} is not numbers"
    for message in get_error_messages():
        found = _INTEGRITY.search(message)
        if found is not None and int(found["stored"]):
            return (
                "integrity",
                f"damaged: its samples end with {found['summed']}, its frames say {found['stored']}",
            )
    if parsed.sampletype != "i" and not np.isfinite(parsed.np_datasamples).all():
        return "nonfinite", "samples that are no numbers"
    return None


def duration_s(header: MS3Record) -> float:
    """Seconds of data in a record, by its header; 0 when the header is odd."""
    rate_hz = float(header.samprate)
    if not (SANE_RATES_HZ[0] <= rate_hz <= SANE_RATES_HZ[1] and 0 < header.samplecnt <= MAX_SAMPLES):
        return 0.0
    return float(header.samplecnt / rate_hz)


def record_length(head: bytes) -> int:
    r"""Length in bytes of the record that begins so; 0 when more bytes are needed or it is unknown, negative when it is not miniSEED.

    Sources: SEED Reference Manual 2.4, blockette 1000; miniSEED 3, fixed header.

    >>> record_length(b"MS\x03" + bytes(33) + bytes([100, 0, 0, 0]) + bytes(24))
    140
    """
    length: int = clibmseed.ms3_detect(head, len(head), ffi.new("uint8_t *"))
    return length


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

"""miniSEED record bytes to a :class:`~xiaod.records.Segment`, through libmseed (pymseed).

Versions 2 and 3, Steim 1 and 2, 16- and 32-bit integers, 32- and 64-bit floats, both byte orders, any record length. Whatever the
bytes are, the answer is a segment or a :class:`~xiaod.records.BadRecord` with the reason; nothing is raised.

>>> decode(b"not a record", source="example").reason
'decode'
"""

from functools import lru_cache

import numpy as np
from pymseed import MS3Record, PymseedError, clibmseed, ffi

from xiaod.records import BadRecord, Channel, Segment

NUMERIC_TYPES = frozenset({"i", "f", "d"})
"""libmseed's sample types that are numbers: int32, float32, float64."""
SANE_RATES_HZ = (1e-6, 1e6)
"""Rates beyond are damage, and would make times that no integer holds."""
MAX_SAMPLES = 1_000_000
"""More in one record is taken for damage."""


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
        if parsed.reclen != size:
            return BadRecord(
                source, "decode", f"{size} bytes, the header says {parsed.reclen}", parsed.sourceid, size
            )
        stream = parsed.sourceid
        channel = channel_of(stream)
        rate_hz = float(parsed.samprate)
        if parsed.samplecnt == 0:
            return BadRecord(source, "empty", "record without samples", stream, size)
        if not 0 < parsed.samplecnt <= MAX_SAMPLES:
            return BadRecord(source, "decode", f"claims {parsed.samplecnt} samples", stream, size)
        if parsed.encoding == 0:
            return BadRecord(source, "log", "text, not samples", stream, size)
        if not SANE_RATES_HZ[0] <= rate_hz <= SANE_RATES_HZ[1]:
            return BadRecord(source, "rate", f"sampling rate {rate_hz:g}", stream, size)
        parsed.unpack_data()
        if parsed.sampletype not in NUMERIC_TYPES:
            return BadRecord(source, "encoding", f"encoding {parsed.encoding} is not numbers", stream, size)
        samples = parsed.np_datasamples.copy()
    except (PymseedError, ValueError, OverflowError, RuntimeError) as error:
        return BadRecord(source, "decode", str(error)[:200], "", size)
    if channel is None:
        return BadRecord(source, "stream", f"{stream!r} is not NET_STA_LOC_CHA", stream, size)
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        return BadRecord(source, "nonfinite", "samples that are no numbers", stream, size)
    samples.flags.writeable = False
    return Segment(channel, parsed.starttime, rate_hz, samples, source, arrived_ns, sequence, size)


def record_length(head: bytes) -> int:
    r"""Length in bytes of the record that begins so: 0 when that takes more of it or cannot be told, below 0 when it is no miniSEED.

    Sources: SEED Reference Manual 2.4, blockette 1000; miniSEED 3, fixed header.

    >>> record_length(b"MS\x03" + bytes(33) + bytes([100, 0, 0, 0]) + bytes(24))
    140
    """
    length: int = clibmseed.ms3_detect(head, len(head), ffi.new("uint8_t *"))
    return length


@lru_cache(maxsize=16_384)
def channel_of(source_id: str) -> Channel | None:
    """``FDSN:NET_STA_LOC_B_S_C`` as a channel; None when it is not of that form or a code is odd."""
    parts = source_id.removeprefix("FDSN:").split("_")
    if len(parts) != 6:
        return None
    network, station, location, band, instrument, component = parts
    codes = (network, station, location, band + instrument + component)
    if (
        not station
        or not component
        or not all(code.isascii() and (code.isalnum() or not code or code == "--") for code in codes)
    ):
        return None
    return Channel(network, station, "" if location == "--" else location, codes[3])

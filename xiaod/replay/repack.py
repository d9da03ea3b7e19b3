"""Packs the samples of records that cannot be served as they are into miniSEED version 2 records.

In: one record of any length, version or encoding. Out: full records as a datalogger writes them, sample
values and type unchanged: integers as Steim2 (as plain 32-bit integers where a difference needs more than
Steim2's 30 bits), floats as floats. libmseed, by way of pymseed, does all coding.

>>> import numpy as np
>>> counts = np.arange(1000, dtype=np.int32)
>>> segment = TraceSegment("FDSN:BW_RJOB__E_H_Z", 1_251_073_203_000_000_000, 100.0, 2, "i", (counts,), 0)
>>> [len(raw) for raw in repack(segment)]
[512, 512]
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymseed import DataEncoding, MiniSEEDError, MS3Record

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import NS_PER_S

JOIN_TOLERANCE_NS = 100_000
"""Records whose times fit better than this (the resolution of a version 2 header) are one segment."""

_INTEGER, _FLOAT, _DOUBLE = "i", "f", "d"


@dataclass(frozen=True)
class TraceSegment:
    """Contiguous samples of one stream.

    Attributes:
        source: FDSN source identifier.
        start_ns: time of the first sample.
        rate_hz: sampling rate (Hz).
        quality: publication version, which version 2 writes as ``R``, ``D``, ``Q`` or ``M``.
        kind: libmseed's sample type: ``i``, ``f`` or ``d``.
        parts: arrays to be joined.
        offset: byte of the file where the segment begins.
    """

    source: str
    start_ns: int
    rate_hz: float
    quality: int
    kind: str
    parts: tuple[np.ndarray[Any, Any], ...]
    offset: int

    @classmethod
    def unpack(cls, raw: bytes, offset: int) -> "TraceSegment":
        """Decode one record.

        Raises:
            RuntimeError: if libmseed cannot (pymseed's errors are of this family), or the samples are text.
        """
        parsed = MS3Record.parse(raw, unpack_data=True)
        if parsed.sampletype not in (_INTEGER, _FLOAT, _DOUBLE):
            raise RuntimeError(f"sample type {parsed.sampletype!r} is not numeric")
        samples = parsed.np_datasamples.copy()
        return cls(
            parsed.sourceid,
            parsed.starttime,
            parsed.samprate,
            parsed.pubversion,
            parsed.sampletype,
            (samples,),
            offset,
        )

    @property
    def next_ns(self) -> int:
        """Time at which the sample after the last one is due."""
        return self.start_ns + round(sum(map(len, self.parts)) * NS_PER_S / self.rate_hz)

    def continued_by(self, other: "TraceSegment") -> bool:
        """Whether another segment begins where this one ends, in the same stream and type."""
        mine = (self.source, self.rate_hz, self.quality, self.kind)
        return (
            mine == (other.source, other.rate_hz, other.quality, other.kind)
            and abs(other.start_ns - self.next_ns) <= JOIN_TOLERANCE_NS
        )

    def joined(self, other: "TraceSegment") -> "TraceSegment":
        """Append a segment that continues this one."""
        return replace(self, parts=(*self.parts, *other.parts))


def repack(segment: TraceSegment, record_bytes: int = RECORD_BYTES) -> list[bytes]:
    """Pack a segment into version 2 records of a length, all full but the last.

    Raises:
        RuntimeError: if the codes or values cannot be written as version 2 (pymseed's errors are of this
            family).
    """
    samples = np.concatenate(segment.parts)
    if segment.kind == _FLOAT:
        return _pack(segment, samples, record_bytes, DataEncoding.FLOAT32)
    if segment.kind == _DOUBLE:
        return _pack(segment, samples, record_bytes, DataEncoding.FLOAT64)
    try:
        return _pack(segment, samples, record_bytes, DataEncoding.STEIM2)
    except MiniSEEDError:
        return _pack(segment, samples, record_bytes, DataEncoding.INT32)


def _pack(
    segment: TraceSegment, samples: np.ndarray[Any, Any], record_bytes: int, encoding: int
) -> list[bytes]:
    template = MS3Record(reclen=record_bytes, encoding=encoding)
    template.formatversion = 2
    template.sourceid = segment.source
    template.starttime = segment.start_ns
    template.samprate = segment.rate_hz
    template.pubversion = segment.quality
    return list(template.generate(samples, segment.kind))

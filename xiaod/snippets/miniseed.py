"""Records as miniSEED: the samples as they came, at their own rate, with the times of their headers.

Records that follow each other are joined while the time of each fits the time of the first to :data:`JOIN_SAMPLES`; where it does not, a
new record begins with the time that its header gave, so drift and jitter of a datalogger stay visible. Where records overlap, the sample
that came first is kept, as in the pipeline. What lies outside the span is cut.

Version 2, 512 bytes, integers as Steim2 (as plain integers where a difference needs more than its 30 bits), floats as floats; version 3 for
codes that version 2 has no room for.

>>> from xiaod.domain.types import Channel
>>> segment = Segment(Channel("XX", "A", "", "HHZ"), 0, 100.0, np.arange(1000, dtype=np.int32))
>>> record = MS3Record.parse(packed([segment], 2_000_000_000, 4_000_000_000), unpack_data=True)
>>> record.starttime_str(), record.np_datasamples[[0, -1]].tolist(), record.reclen
('1970-01-01T00:00:02Z', [200, 399], 512)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymseed import DataEncoding, MiniSEEDError, MS3Record, nslc2sourceid

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, SampleArray, Segment

JOIN_SAMPLES = 0.01
"""Samples by which the time of a record may differ from what the records before it say, to be joined with them."""
OVERLAP_SAMPLES = 0.5
"""As in the pipeline: a record that begins earlier than this before the end of the last one is cut."""
RECORD_BYTES = 512
VERSION_2_CODES = (2, 5, 2, 3)
"""Letters of network, station, location and channel for which it has room."""


@dataclass(slots=True)
class _Run:
    """Samples of one channel that follow each other."""

    start_ns: int
    rate_hz: float
    parts: list[SampleArray] = field(default_factory=list)
    count: int = 0

    @property
    def next_ns(self) -> int:
        """Time at which the next sample is due."""
        return self.start_ns + round(self.count * NS_PER_S / self.rate_hz)


def packed(segments: Iterable[Segment], start_ns: int, stop_ns: int) -> bytes:
    """Records of any channels as miniSEED, one channel after the other; nothing when no sample lies in the span.

    Args:
        segments: of any channels, in the order in which they came.
        start_ns: begin of the span, ...
        stop_ns: ... and its end, which is outside.

    Raises:
        RuntimeError: when codes or samples cannot be written (pymseed's errors are of this family).
    """
    of_channel: dict[Channel, list[Segment]] = {}
    for segment in segments:
        of_channel.setdefault(segment.channel, []).append(segment)
    return b"".join(
        record
        for channel in sorted(of_channel)
        for run in _runs(of_channel[channel], start_ns, stop_ns)
        for record in _records(channel, run)
    )


def _runs(segments: Sequence[Segment], start_ns: int, stop_ns: int) -> Iterator[_Run]:
    run: _Run | None = None
    reached_ns: int | None = None
    for segment in sorted(segments, key=lambda one: one.start_ns):
        period_ns = NS_PER_S / segment.sampling_rate_hz
        first = max(0, int(np.ceil((start_ns - segment.start_ns) / period_ns)))
        if reached_ns is not None and (over := (reached_ns - segment.start_ns) / period_ns) > OVERLAP_SAMPLES:
            first = max(first, round(over))
        samples = segment.samples[first : max(0, int(np.ceil((stop_ns - segment.start_ns) / period_ns)))]
        if not len(samples):
            continue
        begin_ns = segment.start_ns + round(first * period_ns)
        if (
            run is None
            or run.rate_hz != segment.sampling_rate_hz
            or run.parts[0].dtype != samples.dtype
            or abs(begin_ns - run.next_ns) > JOIN_SAMPLES * period_ns
        ):
            if run is not None:
                yield run
            run = _Run(begin_ns, segment.sampling_rate_hz)
        run.parts.append(samples)
        run.count += len(samples)
        reached_ns = begin_ns + round(len(samples) * period_ns)
    if run is not None:
        yield run


def _records(channel: Channel, run: _Run) -> list[bytes]:
    samples: NDArray[Any] = np.concatenate(run.parts)
    if samples.dtype == np.float32:
        return _encoded(channel, run, samples, "f", DataEncoding.FLOAT32)
    if samples.dtype == np.float64:
        return _encoded(channel, run, samples, "d", DataEncoding.FLOAT64)
    try:
        return _encoded(channel, run, samples, "i", DataEncoding.STEIM2)
    except MiniSEEDError:
        return _encoded(channel, run, samples, "i", DataEncoding.INT32)


def _encoded(channel: Channel, run: _Run, samples: NDArray[Any], kind: str, encoding: int) -> list[bytes]:
    codes = (channel.network, channel.station, channel.location, channel.channel)
    template = MS3Record(reclen=RECORD_BYTES, encoding=encoding)
    fits = all(len(code) <= room for code, room in zip(codes, VERSION_2_CODES, strict=True))
    template.formatversion = 2 if fits else 3
    template.sourceid = nslc2sourceid(*codes)
    template.starttime = run.start_ns
    template.samprate = run.rate_hz
    template.pubversion = 1
    return list(template.generate(samples, kind))

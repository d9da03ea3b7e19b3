"""The event shipped with ObsPy (BW.RJOB, 100 Hz, three components, 30 s), as a station would have sent it.

ObsPy ships it filtered, in float64. A datalogger sends integers, so the samples are multiplied by ten and
rounded: the rounding error (0.03 of an original count) lies far below the noise before the onset (about 100
counts), and a picker that scales its windows sees the same waveform. As Steim2 a record then holds about 3 s,
like one of a real station.

>>> from pymseed import MS3Record
>>> counts = [record.samplecnt for record in MS3Record.from_buffer(example_records())]
>>> sum(counts), max(counts) < 721
(9000, True)
"""

from functools import cache

import numpy as np
from obspy import read
from pymseed import nslc2sourceid

from xiaod.replay.repack import TraceSegment, repack

COUNTS_PER_UNIT = 10.0
"""Factor from ObsPy's float64 samples to the integers served."""
QUALITY = 1
"""Publication version; 1 is written as ``R``, raw real-time data."""


@cache
def example_records() -> bytes:
    """512-byte Steim2 records of the event, one component after the other."""
    packed: list[bytes] = []
    for trace in read():
        stats = trace.stats
        source = nslc2sourceid(stats.network, stats.station, stats.location, stats.channel)
        counts = np.round(trace.data * COUNTS_PER_UNIT).astype(np.int32)
        start_ns = int(stats.starttime.ns)
        packed.extend(
            repack(TraceSegment(source, start_ns, float(stats.sampling_rate), QUALITY, "i", (counts,), 0))
        )
    return b"".join(packed)

"""Data of a busy station: ObsPy's example event forwards, then backwards, repeated without a gap.

>>> from xiaod.acquisition.miniseed import decode
>>> records = station_records(periods=2)
>>> found = [decode(record, "example") for record in records]
>>> sum(one.samples.size for one in found) == 3 * 2 * 2 * 3000
True
"""

import numpy as np

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.replay.example import COUNTS_PER_UNIT, QUALITY
from xiaod.replay.repack import TraceSegment, repack


def station_records(periods: int) -> list[bytes]:
    """512-byte Steim2 records of a minute for each period, in the order in which a datalogger sends them."""
    from obspy import read
    from pymseed import MS3Record, nslc2sourceid

    records: list[tuple[int, bytes]] = []
    for trace in read():
        stats = trace.stats
        source = nslc2sourceid(stats.network, stats.station, stats.location, stats.channel)
        counts = np.round(trace.data * COUNTS_PER_UNIT).astype(np.int32)
        whole = np.tile(np.concatenate([counts, counts[::-1]]), periods)
        segment = TraceSegment(
            source, int(stats.starttime.ns), float(stats.sampling_rate), QUALITY, "i", (whole,), 0
        )
        for packed in repack(segment):
            records += [
                (int(MS3Record.parse(one).endtime), one)
                for start in range(0, len(packed), RECORD_BYTES)
                for one in [packed[start : start + RECORD_BYTES]]
            ]
    return [record for _, record in sorted(records, key=lambda entry: entry[0])]

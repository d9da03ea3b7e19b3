"""Data of stations for measurements: ObsPy's example event and its own quiet beginning, each forwards and backwards so that it joins.

>>> from xiaod.acquisition.miniseed import decode
>>> records = station_records(minutes=2)
>>> found = [decode(record, "example") for record in records]
>>> sum(one.samples.size for one in found) == 3 * 2 * 2 * 3000
True
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.replay.example import COUNTS_PER_UNIT, QUALITY
from xiaod.replay.repack import TraceSegment, repack

QUIET_SAMPLES = 400
"""Of the recording, before the event."""
RATE_HZ = 100
PER_MINUTE = 60 * RATE_HZ

Counts = NDArray[np.int32]


def station_records(minutes: int) -> list[bytes]:
    """512-byte Steim2 records of a busy station, an event each minute, in the order in which a datalogger sends them."""
    return _in_order(lambda counts: np.tile(np.concatenate([counts, counts[::-1]]), minutes))


def quiet_records(minutes: int) -> list[bytes]:
    """The same of a station without an event."""
    return _in_order(lambda counts: _quiet(counts, minutes * PER_MINUTE))


def day_records(hours: float, every_s: float | None) -> list[bytes]:
    """Records of so many hours, one component after the other, with an event every so many seconds, or none."""
    length = round(hours * 3600 * RATE_HZ)

    def whole(counts: Counts) -> Counts:
        if every_s is None:
            return _quiet(counts, length)
        return np.resize(_event(counts, round(every_s * RATE_HZ)), length)

    return [one for own in _records(whole) for one in own]


def event_counts(before_s: float) -> dict[str, Counts]:
    """Component -> so many seconds without an event, and then the event."""
    from obspy import read

    found = {}
    for trace in read():
        counts = _counts(trace.data)
        found[trace.stats.component] = np.concatenate([_quiet(counts, round(before_s * RATE_HZ)), counts])
    return found


def _counts(values: NDArray[np.float64]) -> Counts:
    return np.round(values * COUNTS_PER_UNIT).astype(np.int32)


def _quiet(counts: Counts, length: int) -> Counts:
    quiet = counts[:QUIET_SAMPLES]
    return np.resize(np.concatenate([quiet, quiet[::-1]]), length)


def _event(counts: Counts, length: int) -> Counts:
    """The event, and quiet behind it."""
    if length <= counts.size:
        return counts[:length]
    return np.concatenate([counts, _quiet(counts, length - counts.size)])


def _in_order(whole: Callable[[Counts], Counts]) -> list[bytes]:
    from pymseed import MS3Record

    records = [(int(MS3Record.parse(one).endtime), one) for own in _records(whole) for one in own]
    return [record for _, record in sorted(records, key=lambda entry: entry[0])]


def _records(whole: Callable[[Counts], Counts]) -> list[list[bytes]]:
    """Records of each component."""
    from obspy import read
    from pymseed import nslc2sourceid

    found = []
    for trace in read():
        stats = trace.stats
        source = nslc2sourceid(stats.network, stats.station, stats.location, stats.channel)
        samples = whole(_counts(trace.data))
        segment = TraceSegment(
            source, int(stats.starttime.ns), float(stats.sampling_rate), QUALITY, "i", (samples,), 0
        )
        found.append(
            [
                packed[start : start + RECORD_BYTES]
                for packed in repack(segment)
                for start in range(0, len(packed), RECORD_BYTES)
            ]
        )
    return found

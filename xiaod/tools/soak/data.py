"""Data of a soak: cycles of ten minutes of one station, an event and then quiet, and the picks that each cycle must give.

All stations play the same under other names, and each cycle follows the one before by :data:`CYCLE_S`, a multiple of every hop, so the
picks of all stations and cycles follow from an offline run over one cycle of one station.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import NS_PER_S
from xiaod.replay.example import COUNTS_PER_UNIT, QUALITY
from xiaod.replay.repack import TraceSegment, repack

CYCLE_S = 600
GAP_S = 5
"""Between two cycles: a real gap."""
QUIET_SAMPLES = 400
"""Of the recording, before the event."""

Key = tuple[str, str, int]
"""Station, phase and time (ns) of a pick."""


def cycle_records() -> list[bytes]:
    """512-byte Steim2 records of one cycle: ObsPy's example event, then its quiet beginning repeated."""
    return event_records(CYCLE_S - GAP_S)


def event_records(seconds: int) -> list[bytes]:
    """The same for so many seconds."""
    return _records(seconds, with_event=True)


def quiet_records(cycles: int) -> list[bytes]:
    """The same without an event and without a gap, for so many cycles."""
    return _records(cycles * CYCLE_S, with_event=False)


def _records(seconds: int, with_event: bool) -> list[bytes]:
    from obspy import read
    from pymseed import MS3Record, nslc2sourceid

    records: list[tuple[int, bytes]] = []
    for trace in read():
        stats = trace.stats
        counts = np.round(trace.data * COUNTS_PER_UNIT).astype(np.int32)
        quiet = counts[:QUIET_SAMPLES]
        first = counts if with_event else quiet
        # Forwards and backwards, so that it joins.
        samples = int(seconds * stats.sampling_rate)
        whole = np.concatenate([first, np.resize(np.concatenate([quiet[::-1], quiet]), samples - first.size)])
        source = nslc2sourceid(stats.network, stats.station, stats.location, stats.channel)
        segment = TraceSegment(
            source, int(stats.starttime.ns), float(stats.sampling_rate), QUALITY, "i", (whole,), 0
        )
        for packed in repack(segment):
            for start in range(0, len(packed), RECORD_BYTES):
                one = packed[start : start + RECORD_BYTES]
                records.append((int(MS3Record.parse(one).endtime), one))
    return [record for _, record in sorted(records, key=lambda entry: entry[0])]


def write_cycle(path: Path) -> None:
    """Write one cycle to a file."""
    path.write_bytes(b"".join(cycle_records()))


def expected(one_cycle: Iterable[tuple[str, int]], stations: Iterable[str], cycles: int) -> set[Key]:
    """The picks of whole cycles.

    Args:
        one_cycle: phase and time (ns) of each pick of the first cycle.
        stations: ``NET.STA`` of all.
        cycles: how many.
    """
    picks = list(one_cycle)
    return {
        (station, phase, time_ns + number * CYCLE_S * NS_PER_S)
        for station in stations
        for number in range(cycles)
        for phase, time_ns in picks
    }

"""Records that came last: as a dictionary of so many would remember them, in a tenth of the memory."""

import gc
import tracemalloc
from collections import OrderedDict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Segment
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings
from xiaod.waveform.recent_records import REMEMBERED, RecentRecords

STATIONS = 16
STATION_BYTES = 150_000
"""What a station may hold, whatever has come of it: three quarters of it are rings."""


@given(
    records=st.lists(
        st.tuples(st.integers(-20, 600), st.integers(1, 3), st.integers(0, 2**32 - 1)),
        max_size=3 * REMEMBERED,
    )
)
def test_records_are_known_until_so_many_others_have_come(records: list[tuple[int, int, int]]) -> None:
    recent, expected = RecentRecords(), OrderedDict[tuple[int, int], int]()
    for start_ns, length, content in records:
        known = recent.content_of(start_ns, length)
        assert known == expected.get((start_ns, length))
        if known is None:
            recent.add(start_ns, length, content)
            expected[start_ns, length] = content
            if len(expected) > REMEMBERED:
                expected.popitem(last=False)


def test_what_a_station_takes_is_bounded() -> None:
    """As long as all that is remembered takes to fill; what is measured is all that the first stage holds."""
    station_table, now_ns = StationTable(60 * NS_PER_S), 0
    assembler = Assembler(BufferSettings(length=2000, hop=50), Metrics(), station_table, lambda: now_ns)
    samples = np.zeros(300, np.int32)

    def take(station: int, number: int) -> None:
        for code in ("HHZ", "HHN", "HHE"):
            channel = Channel("XX", f"S{station}", "", code)
            assembler.take(Segment(channel, number * 3 * NS_PER_S, 100.0, samples, "here"), now_ns)
            assembler.final.take(everything=True)

    tracemalloc.start()
    for number in range(REMEMBERED + 50):
        now_ns += 3 * NS_PER_S
        for station in range(STATIONS):
            take(station, number)
        if number == 0:
            # What all stations share is there.
            begun_bytes, _ = tracemalloc.get_traced_memory()
    # Free lists of the interpreter are nobody's.
    gc.collect()
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(station_table) == STATIONS
    assert (held_bytes - begun_bytes) / STATIONS < STATION_BYTES

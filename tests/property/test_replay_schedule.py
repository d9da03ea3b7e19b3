"""Shifted records decode to the same samples; packets, numbers and due times agree."""

from functools import cache
from pathlib import Path

import numpy as np
import obspy
from hypothesis import given, settings
from hypothesis import strategies as st
from pymseed import MS3Record

from xiaod.replay.faults import Faults, Outage
from xiaod.replay.header import TICK_NS, shift_record
from xiaod.replay.records import Archive, load
from xiaod.replay.ring import Ring
from xiaod.replay.schedule import Schedule

MSEED = Path(obspy.__file__).parent / "io" / "mseed" / "tests" / "data"
YEARS_60_TICKS = 60 * 365 * 86_400 * 10_000


@cache
def archive() -> Archive:
    return load(["example"])


@cache
def records() -> tuple[bytes, ...]:
    """Records of several encodings, byte orders and sub-second times."""
    files = (
        "timingquality.mseed",
        "encoding/int32_Steim2_littleEndian.mseed",
        "encoding/float64_Float64_bigEndian.mseed",
    )
    names: list[str | Path] = ["example", *(MSEED / name for name in files)]
    return tuple(record.raw for name in names for record in load([name]).records)


@given(st.integers(0, 10_000), st.integers(-YEARS_60_TICKS // 2, YEARS_60_TICKS))
def test_shifting_moves_the_time_and_nothing_else(which: int, ticks: int) -> None:
    raw = records()[which % len(records())]
    shifted = shift_record(raw, ticks * TICK_NS)
    before, after = MS3Record.parse(raw, unpack_data=True), MS3Record.parse(shifted, unpack_data=True)
    assert after.starttime == before.starttime + ticks * TICK_NS
    assert (after.sourceid, after.samprate, after.encoding) == (
        before.sourceid,
        before.samprate,
        before.encoding,
    )
    np.testing.assert_array_equal(after.np_datasamples, before.np_datasamples)
    assert shift_record(shifted, -ticks * TICK_NS) == raw


FAULTS = st.builds(
    Faults,
    drop_every=st.integers(0, 9),
    duplicate_every=st.integers(0, 9),
    reorder_every=st.integers(0, 9),
    garbage_every=st.integers(0, 9),
    delays_s=st.dictionaries(st.sampled_from(["*_EHZ", "*_EHN"]), st.floats(0, 10)),
    outages=st.lists(
        st.builds(Outage, st.sampled_from(["*", "*_EHE"]), st.floats(0, 60), st.floats(60, 100)), max_size=2
    ),
)


@settings(max_examples=60)
@given(FAULTS, st.booleans(), st.integers(0, 80), st.integers(1, 60))
def test_a_schedule_is_the_same_in_pieces(faults: Faults, loop: bool, begin: int, step: int) -> None:
    schedule = Schedule(archive(), loop=loop, faults=faults)
    whole = list(schedule.payloads(0, 150, 0))
    assert [index for index, _, _ in whole] == list(range(len(whole)))
    pieces = [
        item for start in range(0, 150, step) for item in schedule.payloads(start, min(start + step, 150), 0)
    ]
    assert pieces == whole
    dues = [schedule.due_ns(index) for index, _, _ in whole]
    known = [due for due in dues if due is not None]
    assert len(known) == len(dues)
    if not faults.delays_s:  # a delay may reach into the next cycle
        assert known == sorted(known)
    assert schedule.total() == (None if loop else len(whole))
    if begin < len(known) and not faults.delays_s:
        assert schedule.first_due_after(0, known[begin], inclusive=True) == known.index(known[begin])
        assert schedule.first_due_after(0, known[begin] - 1, inclusive=False) == known.index(known[begin])


@settings(max_examples=60)
@given(FAULTS, st.integers(0, 120), st.integers(0, 2))
def test_newest_and_oldest_packet_of_a_stream(faults: Faults, index: int, stream: int) -> None:
    schedule = Schedule(archive(), loop=False, faults=faults)
    places = [place for place, owner, _ in schedule.payloads(0, 200, 0) if owner == stream]
    last = schedule.last_of(stream, index)
    if index < (schedule.total() or 0):
        assert last == max((place for place in places if place <= index), default=None)
        assert schedule.first_of(stream, index) == min(
            (place for place in places if place >= index), default=None
        )


@given(st.integers(0, 2**24 - 1), st.integers(0, 2**26), st.integers(1, 10**6), st.data())
def test_every_number_in_the_ring_means_its_packet(
    first: int, newest: int, capacity: int, data: st.DataObject
) -> None:
    ring = Ring(Schedule(archive(), loop=True), capacity=capacity, first_sequence=first, whole=False)
    ring.advance(newest)
    index = data.draw(st.integers(ring.oldest, newest))
    assert ring.index_of(ring.sequence_of(index)) == index
    assert ring.start_for(ring.sequence_of(index), None) == index
    start_ns = ring.start_ns(index)
    assert start_ns is not None
    found = ring.start_for(None, start_ns)
    assert ring.oldest <= found <= max(index, ring.oldest)
    number = data.draw(st.integers(0, 2**24 - 1))
    assert ring.oldest <= ring.start_for(number, None) <= newest
    assert ring.oldest <= ring.start_for(number, data.draw(st.integers(0, 2**62))) <= newest

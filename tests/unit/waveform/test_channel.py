"""The buffered of one channel: outcomes, gaps, clocks, rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.domain.types import Channel, Segment
from xiaod.waveform.channel import MAX_WAITING, ChannelBuffer, RecordOutcome
from xiaod.waveform.record_order import WaitingRecords
from xiaod.waveform.resample import converter_for
from xiaod.waveform.rings import Rings
from xiaod.waveform.stretch import Stretch

Z = Channel("XX", "A", "", "HHZ")
SECOND = 1_000_000_000
WAIT_NS = 5 * SECOND


def record(start_s: float, seconds: float, rate: float = 100.0, value: int = 1) -> Segment:
    return Segment(Z, round(start_s * 1e9), rate, np.full(round(seconds * rate), value, np.int32))


def fed(*segments: Segment) -> tuple[ChannelBuffer, list[RecordOutcome]]:
    buffered = ChannelBuffer(Rings(8000), WAIT_NS, max_lead=3000)
    outcomes = [buffered.insert(segment, 0) for segment in segments]
    return buffered, outcomes


def test_a_hole_is_waited_for_and_then_a_gap() -> None:
    buffered = ChannelBuffer(Rings(8000), WAIT_NS, max_lead=3000)
    buffered.insert(record(0, 4), delivery_ns=0)
    assert buffered.release(delivery_ns=WAIT_NS - 1) == []
    assert not buffered.stretches
    buffered.release(delivery_ns=WAIT_NS)
    assert buffered.insert(record(6, 4), delivery_ns=WAIT_NS) is RecordOutcome.GOOD
    assert buffered.release_ns == 2 * WAIT_NS
    assert buffered.release(2 * WAIT_NS - 1) == []
    [gap] = buffered.release(2 * WAIT_NS)
    assert (gap.start_ns, gap.gap_s) == (4 * SECOND, 2.0)
    assert [(run.first, run.stop) for run in buffered.stretches] == [(0, 400), (600, 1000)]
    assert buffered.insert(record(4, 2), 2 * WAIT_NS) is RecordOutcome.LATE


def test_a_missing_record_that_comes_in_time_leaves_no_gap() -> None:
    buffered, outcomes = fed(record(0, 4), record(6, 4), record(4, 2))
    assert outcomes == [RecordOutcome.GOOD] * 3
    assert buffered.release(None, final=True) == []
    assert [(run.first, run.stop) for run in buffered.stretches] == [(0, 1000)]


def test_without_a_clock_later_data_decide() -> None:
    buffered, _ = fed(record(0, 4))
    assert buffered.release(None) == []
    for start in range(6, 50, 4):
        buffered.insert(record(start, 4), 0)
    assert [gap.gap_s for gap in buffered.release(None)] == [2.0]


def test_duplicates_overlaps_and_contradictions() -> None:
    buffered, _ = fed(record(0, 4, value=1))
    buffered.release(None, final=True)
    assert buffered.insert(record(0, 4, value=1), 0) is RecordOutcome.DUPLICATE
    assert buffered.insert(record(0.5, 2, value=1), 0) is RecordOutcome.LATE
    assert buffered.contradictions == []
    assert buffered.insert(record(3, 4, value=2), 0) is RecordOutcome.OVERLAPPING
    assert buffered.insert(record(3, 1, value=3), 0) is RecordOutcome.LATE
    assert buffered.insert(record(3, 4, value=4), 0) is RecordOutcome.DUPLICATE
    assert [(one.channel, one.start_ns, one.overlap_s) for one in buffered.contradictions] == [
        (Z, 3 * SECOND, 1.0),
        (Z, 3 * SECOND, 1.0),
        (Z, 3 * SECOND, 4.0),
    ]
    run = buffered.stretches[0]
    values = run.read(0, 700, level=0.0)
    assert values[:400].tolist() == [1.0] * 400
    assert values[400:].tolist() == [2.0] * 300


@pytest.mark.parametrize("level", [0, 300_000, 1_500_000_000])
def test_samples_do_not_depend_on_where_a_run_began(level: int) -> None:
    samples = np.random.default_rng(1).integers(-1000, 1000, 4000) + level
    held = []
    for begin in (0, 1500):
        run = Stretch(converter_for(50.0, begin * SECOND // 50), Rings(20_000))
        run.push(samples[begin:].astype(np.float64), 0, 0)
        held.append(run.read(4000, 7900, run.level(4000, 7900)))
    assert np.array_equal(held[0], held[1])
    # Counts of a sensor with a large offset keep their digits.
    assert np.std(held[0], dtype=np.float64) == pytest.approx(np.std(samples), rel=0.15)


def test_a_clock_set_back_is_noticed_and_a_second_server_is_not_mistaken_for_one() -> None:
    buffered, _ = fed(record(3600, 4))
    buffered.release(None, final=True)
    outcomes = [buffered.insert(record(start, 4), 0) for start in (0, 4, 8)]
    assert outcomes == [RecordOutcome.LATE, RecordOutcome.LATE, RecordOutcome.CLOCK_STEP]

    buffered, _ = fed(record(3600, 4))
    buffered.release(None, final=True)
    for step in range(10):
        # The other server cuts its records elsewhere, and lags behind.
        assert buffered.insert(record(3604 + 4 * step, 4), 0) is RecordOutcome.GOOD
        assert buffered.insert(record(3501 + 4 * step, 4), 0) is RecordOutcome.LATE


def test_a_changed_rate_begins_a_new_run_without_a_gap() -> None:
    buffered, _ = fed(record(0, 4))
    buffered.release(None, final=True)
    assert buffered.insert(record(4, 4, rate=50.0), 0) is RecordOutcome.GOOD
    assert buffered.release(None) == []
    assert len(buffered.stretches) == 2
    assert buffered.insert(record(8, 4, rate=50.001), 0) is RecordOutcome.GOOD
    assert len(buffered.stretches) == 2


@pytest.mark.parametrize("true_rate", [99.998, 100.002])
@pytest.mark.parametrize("header_rate", [None, 100.0])
def test_a_rate_slightly_off_neither_gaps_nor_drifts(true_rate: float, header_rate: float | None) -> None:
    """Two hours of a clock that is 20 ppm off, with its rate in the header or with the nominal one."""
    buffered = ChannelBuffer(Rings(8000), WAIT_NS, max_lead=3000)
    start_ns = 1_300_000_000 * SECOND
    ramp = np.arange(0, 400, dtype=np.float64)
    for number in range(1800):
        begin_ns = start_ns + round(number * 400 / true_rate * 1e9)
        seconds = (number * 400 + ramp) / true_rate
        segment = Segment(Z, begin_ns, header_rate or true_rate, seconds)
        assert buffered.insert(segment, 0) in {RecordOutcome.GOOD, RecordOutcome.OVERLAPPING}
        assert buffered.release(None, final=number == 0) == []
        run = buffered.stretches[-1]
    [run] = buffered.stretches
    # The samples hold their own true time: the grid must agree with them.
    values = run.read(run.stop - 1000, run.stop, level=0.0).astype(np.float64)
    grid_s = (
        np.arange(run.stop - 1000, run.stop) * 10_000_000 - start_ns + run.offset_at(run.stop - 1)
    ) / 1e9
    slope = np.polyfit(grid_s - grid_s[0], values - values[0], 1)[0]
    assert slope == pytest.approx(1.0, abs=2e-3)
    assert abs((values[-1] - values[0]) - (grid_s[-1] - grid_s[0])) < 0.011
    first_value = run.read(run.first, run.first + 1, level=0.0)[0]
    assert abs((values[-1] - first_value) - (run.stop - 1 - run.first) / 100) < 0.011


class Counting(Segment):
    """A record that counts how often its end is asked for."""

    asked = 0

    @property
    def next_ns(self) -> int:
        Counting.asked += 1
        return super().next_ns


@given(
    records=st.lists(
        st.tuples(st.one_of(st.just(None), st.integers(0, 50)), st.integers(1, 50), st.integers(0, 3)),
        max_size=60,
    )
)
def test_what_waits_is_told_as_a_plain_list_would(records: list[tuple[int | None, int, int]]) -> None:
    waiting, plain = WaitingRecords(), list[tuple[int, int, int, Segment]]()
    delivery_ns = 0
    for number, (start, length, passed) in enumerate(records):
        delivery_ns += passed
        if start is None and plain:
            plain.sort(key=lambda entry: entry[:2])
            assert waiting.first is plain[0][3]
            assert waiting.pop() is plain.pop(0)[3]
        else:
            segment = record(start or 0, length, rate=1.0)
            waiting.add(segment, delivery_ns)
            plain.append((segment.start_ns, number, delivery_ns, segment))
        assert len(waiting) == len(plain)
        if plain:
            assert waiting.newest_ns == max(entry[3].next_ns for entry in plain)
            assert waiting.since_ns == min(entry[2] for entry in plain)


def test_what_waits_costs_no_more_the_more_of_it_there_is() -> None:
    waiting, count = WaitingRecords(), 2000
    for number in range(count):
        waiting.add(Counting(Z, -number * SECOND, 1.0, np.zeros(1, np.int32)), delivery_ns=number)
    Counting.asked = 0
    while len(waiting) > 1:
        waiting.pop()
        assert waiting.newest_ns == SECOND
        assert waiting.since_ns == 0
    assert Counting.asked <= count


def test_no_more_waits_than_a_channel_can_bear() -> None:
    buffered = ChannelBuffer(Rings(8000), WAIT_NS, max_lead=1_000_000)
    for number in range(2 * MAX_WAITING):
        buffered.insert(Segment(Z, number * SECOND // 50, 100.0, np.zeros(1, np.int32)), delivery_ns=0)
        buffered.release(delivery_ns=0)
    # What is waited for is given up instead.
    assert buffered.stretches[-1].stop >= MAX_WAITING


def test_one_header_of_the_future_neither_ends_a_stream_nor_leads_it() -> None:
    buffered, _ = fed(record(0, 4))
    buffered.release(None, final=True)
    ahead, gaps, delivery_ns = 45, [], 0
    for start in range(4, 44, 4):
        delivery_ns += 4 * SECOND
        assert buffered.insert(record(start, 4), delivery_ns) is RecordOutcome.GOOD
        if start == 8:
            assert buffered.insert(record(ahead, 4), delivery_ns) is RecordOutcome.GOOD
        gaps += buffered.release(delivery_ns)
        assert buffered.edge == 100 * (start + 4)
    assert gaps == []
    assert len(buffered.stretches) == 1
    # Two of them are believed: it is the stream that has moved on.
    buffered.insert(record(ahead + 4, 4), delivery_ns)
    assert buffered.edge == 100 * (ahead + 8)


def test_when_data_came_is_not_told_by_a_clock_that_was_ahead_once() -> None:
    buffered = ChannelBuffer(Rings(8000), wait_ns=0, max_lead=3000)
    for number, arrived_s in enumerate([10, 7200, 20, 30]):
        buffered.insert(record(4 * number, 4)._replace(arrived_ns=arrived_s * SECOND), delivery_ns=number)
        buffered.release(delivery_ns=number)
    assert buffered.stretches[-1].arrival_of(1599)[0] == 30 * SECOND


def test_a_stretch_that_is_needed_for_longer_takes_a_longer_ring_and_gives_it_back() -> None:
    """What is needed is there, always; what is not needed takes the usual memory."""
    long = Rings(2000)
    usual = Rings(500, longer=long)
    stretch = Stretch(converter_for(100.0, 0), usual)

    def push(count: int) -> None:
        begin = stretch.stop
        stretch.push(np.arange(begin, begin + count, dtype=np.float64), 0, 0)

    for needed, stop, in_long in [(0, 500, False), (0, 1500, True), (1100, 1600, True), (1500, 1700, False)]:
        while stretch.stop < stop:
            push(50)
        stretch.forget_before(needed)
        assert (long.held_bytes > 0) == in_long
        assert stretch.first <= needed
        assert stretch.read(needed, stop, level=0.0).tolist() == list(range(needed, stop))
    push(50)
    assert usual.held_bytes == 500 * 4

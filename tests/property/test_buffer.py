"""Records in any order, chopped anyhow, give the same windows as the whole."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.streams import OneInstrument, windows_of
from xiaod.domain.types import Channel, Segment, Window
from xiaod.waveform.channel import ChannelBuffer, RecordOutcome
from xiaod.waveform.instrument import BufferSettings, InstrumentChannels
from xiaod.waveform.rings import Rings

RELAXED = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def facts(windows: list[Window]) -> list[tuple[int, int, str, bytes]]:
    return [
        (window.index, window.offset_ns, window.components, window.samples.tobytes()) for window in windows
    ]


def chopped(recording: Recording, samples: NDArray[np.float64], pieces: list[int]) -> list[Segment]:
    """A vertical component as records of the given numbers of samples; the last takes the rest."""
    changed = replace(recording, components={"Z": samples})
    return changed.segments("Z", pieces)


def whole(recording: Recording) -> list[Window]:
    return windows_of([segment for component in "ZNE" for segment in recording.segments(component, [])])


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Component, begin and end of records that together cover everything, some twice, out of order."""
    records = []
    for component in "ZNE":
        cuts = sorted(draw(st.sets(st.integers(1, 2999), min_size=2, max_size=25)))
        edges = [0, *cuts, 3000]
        for begin, end in pairwise(edges):
            early = draw(st.integers(0, min(begin, 60))) if draw(st.booleans()) else 0
            records.append((component, begin - early, end))
    twice = draw(st.lists(st.sampled_from(records), max_size=8))
    return draw(st.permutations(records + twice))


@RELAXED
@given(records=deliveries())
def test_any_order_overlap_and_repetition_gives_the_same_windows(
    rjob: Recording, records: list[tuple[str, int, int]]
) -> None:
    segments = []
    for component, begin, end in records:
        start_ns = rjob.start_ns + begin * 10_000_000
        channel = Channel("BW", "RJOB", "", "EH" + component)
        segments.append(Segment(channel, start_ns, 100.0, rjob.components[component][begin:end]))
    assert facts(windows_of(segments)) == facts(whole(rjob))


@RELAXED
@given(
    gap=st.tuples(st.integers(0, 2900), st.integers(1, 900)),
    pieces=st.lists(st.integers(1, 700), min_size=3, max_size=40),
)
def test_no_window_spans_a_gap_and_none_is_missing(
    rjob: Recording, gap: tuple[int, int], pieces: list[int]
) -> None:
    """Against a naive model: windows are where 1000 samples of every component are there, on multiples of 50."""
    begin, end = gap[0], min(gap[0] + gap[1], 3000)
    segments = []
    for component in "ZNE":
        for segment in rjob.segments(component, pieces):
            first = (segment.start_ns - rjob.start_ns) // 10_000_000
            for low, high in (
                (first, min(first + len(segment.samples), begin)),
                (max(first, end), first + len(segment.samples)),
            ):
                if low < high:
                    samples = rjob.components[component][low:high]
                    segments.append(
                        Segment(segment.channel, rjob.start_ns + low * 10_000_000, 100.0, samples)
                    )
    segments.sort(key=lambda segment: segment.start_ns)
    origin = rjob.start_ns // 10_000_000
    windows = windows_of(segments, BufferSettings(length=1000, hop=50))
    expected = [
        start
        for start in range(-(-origin // 50) * 50 - origin, 2001, 50)
        if start + 1000 <= begin or start >= end
    ]
    on_grid = [window for window in windows if window.index % 50 == 0]
    off_grid = [window for window in windows if window.index % 50]
    assert sorted({*expected} - {window.index - origin for window in on_grid}) == []
    for window in windows:
        start = window.index - origin
        assert start + 1000 <= begin or start >= end
        np.testing.assert_allclose(
            np.diff(window.samples[0]), np.diff(rjob.components["Z"][start : start + 1000]), atol=1e-3
        )
    # One more at each end of data that does not fall on the grid.
    assert len(off_grid) <= 2
    for window in off_grid:
        assert window.stop - origin in {begin, 3000}


@RELAXED
@given(
    begin=st.integers(-4000, 1000),
    rate_hz=st.sampled_from([20.0, 50.0, 100.0, 100.02]),
    pieces=st.lists(st.integers(1, 700), min_size=3, max_size=20),
    without=st.sampled_from(["", "N", "NE"]),
)
def test_no_time_means_that_nothing_has_come(
    rjob: Recording, begin: int, rate_hz: float, pieces: list[int], without: str
) -> None:
    """Data around 1970 give what the same data give half a century later: zero is a time, and so is what lies before."""
    later = 40 * 365 * 86_400 * 100

    def windows(shift: int) -> list[Window]:
        segments = [
            segment._replace(
                start_ns=(begin + shift) * 10_000_000
                + round((segment.start_ns - rjob.start_ns) * 100 / rate_hz),
                sampling_rate_hz=rate_hz,
            )
            for component in "ZNE"
            if component not in without
            for segment in rjob.segments(component, pieces)
        ]
        return windows_of(sorted(segments, key=lambda segment: segment.start_ns))

    expected = [(index - later, *rest) for index, *rest in facts(windows(later))]
    assert expected
    assert facts(windows(0)) == expected


@RELAXED
@given(
    component=st.sampled_from("ZNE"),
    years=st.sampled_from([-45, 1, 91]),
    kept=st.integers(2100, 3000),
    pieces=st.lists(st.integers(1, 700), min_size=3, max_size=20),
)
def test_a_record_of_another_century_changes_no_window_of_this_one(
    rjob: Recording, component: str, years: int, kept: int, pieces: list[int]
) -> None:
    segments = [
        segment._replace(
            samples=segment.samples[: max(1, kept - (segment.start_ns - rjob.start_ns) // 10_000_000)],
        )
        for letter in "ZNE"
        for segment in rjob.segments(letter, pieces)
        if segment.start_ns < rjob.start_ns + kept * 10_000_000
    ]
    stray = segments[0]._replace(channel=Channel("BW", "RJOB", "", "EH" + component))
    stray = stray._replace(start_ns=stray.start_ns + years * 365 * 86_400 * 1_000_000_000)

    def windows(records: list[Segment]) -> list[Window]:
        return windows_of(sorted(records, key=lambda segment: segment.start_ns))

    expected = facts(windows(segments))
    assert expected
    assert facts(windows([*segments, stray])) == expected


@RELAXED
@given(
    spikes=st.lists(
        st.tuples(
            st.integers(0, 2999), st.sampled_from([2.0**31 - 1, -(2.0**31), 2.0**23, -6e6, 1e30, 1e300])
        ),
        min_size=1,
        max_size=6,
    ),
    pieces=st.lists(st.integers(1, 700), min_size=1, max_size=20),
    level=st.sampled_from([0.0, 2.0**19, -3.0e6, 2.0**30]),
)
@example(spikes=[(30, -6e6)], pieces=[1], level=0.0)
def test_windows_without_an_odd_sample_are_as_if_there_were_none(
    rjob: Recording, spikes: list[tuple[int, float]], pieces: list[int], level: float
) -> None:
    clean = rjob.components["Z"] + level
    spoilt = clean.copy()
    for place, reading in spikes:
        spoilt[place] = reading
    whole = {window.index: window for window in windows_of(chopped(rjob, clean, []))}
    windows = windows_of(chopped(rjob, spoilt, pieces))
    assert {window.index for window in windows} == whole.keys()
    origin = rjob.start_ns // 10_000_000
    for window in windows:
        begin, stop = window.index - origin, window.stop - origin
        if not any(begin <= place < stop for place, _ in spikes):
            samples, expected = window.samples[0], whole[window.index].samples[0]
            assert np.array_equal(samples - samples[0], expected - expected[0])


@RELAXED
@given(
    rate_hz=st.sampled_from([20.0, 50.0, 62.5, 100.0, 200.0, 500.0]),
    parts=st.lists(st.floats(-4.9e-4, 4.9e-4), min_size=2, max_size=12),
    length=st.integers(100, 6000),
    lost=st.booleans(),
)
def test_headers_whose_rates_flutter_leave_no_gap_and_hide_none(
    rate_hz: float, parts: list[float], length: int, lost: bool
) -> None:
    """The clock is right, and each header tells another rate, also beyond 20 and 500 Hz; a record that is lost stays lost."""
    start_ns, channel = 1_251_073_203_004_000_000, Channel("XX", "A", "", "BHZ")
    seconds = max(60.0, 3 * length / rate_hz)
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = 1000 * np.sin(2 * np.pi * 0.5 * times_s)
    records = [
        Segment(
            channel,
            start_ns + round(begin * 1e9 / rate_hz),
            rate_hz * (1 + parts[number % len(parts)]),
            samples[begin : begin + length],
        )
        for number, begin in enumerate(range(0, len(samples), length))
    ]
    if lost:
        del records[len(records) // 2]
    buffered = ChannelBuffer(Rings(8000), wait_ns=0, max_lead=3000)
    gaps = []
    for record in records:
        for piece in record.pieces():
            assert buffered.insert(piece, 0) is RecordOutcome.GOOD
            gaps += buffered.release(None)
    gaps += buffered.release(None, final=True)
    assert len(gaps) == lost
    assert len(buffered.stretches) == 1 + lost
    # A record's own rate tells where its samples lie; from record to record the clock does, to a quarter of a sample.
    far_s = (0.3 + length * max(map(abs, parts))) / rate_hz
    for run in buffered.stretches:
        held = run.read(run.first, run.stop, level=0.0)
        at_s = (np.arange(run.first, run.stop) * 10_000_000 - start_ns + run.offset_at(run.stop)) / 1e9
        assert np.abs(held - 1000 * np.sin(np.pi * at_s)).max() < 1000 * np.pi * (far_s + 0.007) + 5


@RELAXED
@given(records=deliveries(), jitter_ns=st.lists(st.integers(-4_000_000, 4_000_000), min_size=1, max_size=9))
def test_what_comes_again_cut_otherwise_is_no_contradiction(
    rjob: Recording, records: list[tuple[str, int, int]], jitter_ns: list[int]
) -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50))
    for number, (component, begin, end) in enumerate(records):
        start_ns = rjob.start_ns + begin * 10_000_000 + jitter_ns[number % len(jitter_ns)]
        channel = Channel("BW", "RJOB", "", "EH" + component)
        buffer.insert(Segment(channel, start_ns, 100.0, rjob.components[component][begin:end]), None)
        buffer.cut(None)
    list(buffer.finish(None))
    assert buffer.channels.contradictions == []


@RELAXED
@given(
    rate_hz=st.sampled_from([20.0, 50.0, 100.0, 200.0]),
    pieces=st.lists(st.integers(50, 700), min_size=3, max_size=9),
    part=st.floats(0.25, 1.0),
    which=st.integers(1, 3),
)
@example(
    rate_hz=20.0, pieces=[50, 50, 501, 201], part=1.0, which=3
)  # so far back that it is a step of the clock
def test_a_header_with_a_wrong_time_is_a_contradiction(
    rjob: Recording, rate_hz: float, pieces: list[int], part: float, which: int
) -> None:
    segments = [
        segment._replace(
            start_ns=rjob.start_ns + round((segment.start_ns - rjob.start_ns) * 100 / rate_hz),
            sampling_rate_hz=rate_hz,
        )
        for segment in rjob.segments("Z", pieces)
    ]
    early_ns = round(part * (segments[which].start_ns - segments[which - 1].start_ns))
    early = segments[which] = segments[which]._replace(start_ns=segments[which].start_ns - early_ns)
    buffer = OneInstrument(BufferSettings(length=1000, hop=50), "Z")
    for segment in segments:
        buffer.insert(segment, None)
        buffer.cut(None)
    list(buffer.finish(None))
    assert [one.start_ns for one in buffer.channels.contradictions] == [early.start_ns]


def test_pieces_too_short_for_a_window_take_no_more_memory() -> None:
    """Nothing is cut from them, so nothing says what is not needed any more."""
    settings = BufferSettings(length=300, hop=50, max_lead=300)
    channels = InstrumentChannels(settings, settings.rings())
    sizes = []
    for number in range(2000):
        start_ns = number * 5_000_000_000
        samples = np.zeros(100, np.int32)
        channels.insert(Segment(Channel("XX", "A", "", "HHZ"), start_ns, 100.0, samples), start_ns)
        channels.release(start_ns)
        if number % 1000 == 999:
            sizes.append(len(pickle.dumps(channels)))
    assert sizes[1] - sizes[0] < 1000

"""What is written is what came: the same samples, at the same rate, at the times of their headers; read by ObsPy."""

import io
from typing import Any

import numpy as np
import obspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymseed import MS3Record

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Segment
from xiaod.snippets.miniseed import JOIN_SAMPLES, packed

START_NS = 1_251_073_203_123_456_000
"""On a microsecond, which is as fine as version 2 has it."""
CHANNELS = [Channel("BW", "RJOB", "", f"EH{letter}") for letter in "ZNE"]


def samples_of(content: bytes) -> dict[str, list[tuple[int, float]]]:
    """Time and value of every sample, by channel, as ObsPy reads them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for trace in obspy.read(io.BytesIO(content)) if content else ():
        begin_ns, period_ns = trace.stats.starttime.ns, NS_PER_S / trace.stats.sampling_rate
        found.setdefault(trace.id, []).extend(
            (begin_ns + round(number * period_ns), float(value)) for number, value in enumerate(trace.data)
        )
    return {channel: sorted(samples) for channel, samples in found.items()}


def counts(length: int, seed: int = 0) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-(2**20), 2**20, length).astype(np.int32)


@st.composite
def cut(draw: st.DrawFn) -> tuple[float, list[Segment]]:
    """Three components in records of any length, in any order, some of them twice or overlapping, times off by microseconds."""
    rate_hz = draw(st.sampled_from([20.0, 50.0, 100.0, 125.0, 200.0, 500.0]))
    jitter_ns = int(JOIN_SAMPLES / 4 * NS_PER_S / rate_hz)
    segments = []
    for number, channel in enumerate(CHANNELS):
        data = counts(600, number)
        cuts = sorted(draw(st.sets(st.integers(1, 599), max_size=8)))
        for begin, end in zip([0, *cuts], [*cuts, 600], strict=True):
            first = max(0, begin - draw(st.sampled_from([0, 0, 0, 7])))
            start_ns = START_NS + round(first * NS_PER_S / rate_hz)
            start_ns += draw(st.integers(-jitter_ns, jitter_ns)) // 1000 * 1000
            segments.append(Segment(channel, start_ns, rate_hz, data[first:end]))
    return rate_hz, draw(st.permutations(segments))


@given(cut(), st.integers(0, 500), st.integers(1, 600))
def test_every_sample_of_the_span_comes_once_at_its_time(
    given_: tuple[float, list[Segment]], first: int, length: int
) -> None:
    rate_hz, segments = given_
    period_ns = NS_PER_S / rate_hz
    # Half a sample beside the samples, so that it does not matter where times are rounded.
    start_ns = START_NS + round((first - 0.5) * period_ns)
    stop_ns = START_NS + round((first + length - 0.5) * period_ns)
    found = samples_of(packed(segments, start_ns, stop_ns))
    last = min(first + length, 600)
    for number, channel in enumerate(CHANNELS):
        samples = found[str(channel)]
        assert [value for _, value in samples] == counts(600, number)[first:last].tolist()
        expected_ns = [START_NS + round(one * period_ns) for one in range(first, last)]
        off_ns = np.array([time_ns for time_ns, _ in samples]) - np.array(expected_ns)
        assert np.abs(off_ns).max() < 2 * JOIN_SAMPLES * period_ns + 2000


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.float64])
def test_samples_of_any_type_keep_all_their_digits(kind: type) -> None:
    values: NDArray[Any] = (counts(2000) * 1000.0 + 0.123456789).astype(kind)
    found = samples_of(
        packed([Segment(CHANNELS[0], START_NS, 100.0, values)], START_NS, START_NS + 20 * NS_PER_S)
    )
    assert [value for _, value in found["BW.RJOB..EHZ"]] == values.astype(np.float64).tolist()


def test_a_gap_stays_a_gap_and_drift_keeps_its_times() -> None:
    data = counts(300)
    starts_ns = [START_NS, START_NS + NS_PER_S + 400_000, START_NS + 5 * NS_PER_S]
    segments = [
        Segment(CHANNELS[0], start_ns, 100.0, data[100 * number : 100 * number + 100])
        for number, start_ns in enumerate(starts_ns)
    ]
    content = packed(segments, START_NS, START_NS + 60 * NS_PER_S)
    assert [record.starttime for record in MS3Record.from_buffer(content)] == starts_ns
    stream = obspy.read(io.BytesIO(content))
    assert sum(trace.stats.npts for trace in stream) == 300
    assert [gap[5].ns for gap in stream.get_gaps(min_gap=1)] == [starts_ns[2]]


def test_where_records_contradict_each_other_the_first_ones_stay() -> None:
    one, other = counts(200), counts(200, 1)
    segments = [
        Segment(CHANNELS[0], START_NS, 100.0, one),
        Segment(CHANNELS[0], START_NS + NS_PER_S, 100.0, other),
    ]
    found = samples_of(packed(segments, START_NS, START_NS + 60 * NS_PER_S))
    assert [value for _, value in found["BW.RJOB..EHZ"]] == [*one.tolist(), *other[100:].tolist()]


def test_nothing_in_the_span_is_nothing() -> None:
    segment = Segment(CHANNELS[0], START_NS, 100.0, counts(100))
    assert packed([segment], START_NS + 2 * NS_PER_S, START_NS + 3 * NS_PER_S) == b""
    assert packed([], START_NS, START_NS + NS_PER_S) == b""

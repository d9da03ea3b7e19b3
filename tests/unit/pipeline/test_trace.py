"""The last minute of an instrument: what is folded in from windows is what the data were."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.streams import OneInstrument
from xiaod.domain.types import Instrument, Window
from xiaod.pipeline.trace import BIN, BINS, FOLD_S, TRACE_BYTES, Trace
from xiaod.waveform.instrument import BufferSettings

A = Instrument("XX", "A", "", "HH")
NOTHING = np.zeros((2, 400), np.float32)


def window(
    index: int, samples: NDArray[np.float32], discontinuous: bool = False, components: str = "ZNE"
) -> Window:
    return Window(A, index, 0, samples, components, discontinuous=discontinuous)


def ramp(index: int, length: int = 1000) -> NDArray[np.float32]:
    return np.tile(np.arange(index, index + length, dtype=np.float32), (3, 1))


@pytest.mark.parametrize("at_once", [True, False])
def test_bins_hold_the_lowest_and_highest_sample(rjob: Recording, at_once: bool) -> None:
    buffer = OneInstrument(BufferSettings(length=1000, hop=50))
    for letter in "ZNE":
        for segment in rjob.segments(letter, [700, 900]):
            buffer.insert(segment, None)
    windows = list(buffer.finish(None))
    trace = Trace()
    for one in windows:
        trace.fold(one, np.zeros((2, 1000 if one.discontinuous else 400), np.float32), at_once)
    part = trace.part()
    if at_once:
        assert trace.stop == windows[-1].stop // BIN
    assert 0 <= windows[-1].stop // BIN - trace.stop <= FOLD_S * 100 / BIN
    whole = np.concatenate([windows[0].samples, *(one.samples[:, -50:] for one in windows[1:-1])], axis=1)
    begin = part.first * BIN - windows[0].index
    count = min(part.low.shape[1], (whole.shape[1] - begin) // BIN)
    assert count > 500
    binned = whole[:, begin : begin + count * BIN].reshape(3, count, BIN)
    np.testing.assert_array_equal(part.low[:, :count], binned.min(axis=2))
    np.testing.assert_array_equal(part.high[:, :count], binned.max(axis=2))
    assert np.isfinite(part.probabilities).all()


def test_probabilities_of_the_last_seconds_are_written_again() -> None:
    trace = Trace()
    trace.fold(window(0, ramp(0), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True)
    curve = np.full((2, 400), 0.5, np.float32)
    first = trace.fold(window(50, ramp(50)), curve, at_once=True)
    assert first == 1000 // BIN - 37
    part = trace.part(first)
    assert (part.probabilities == 0.5).all()
    assert (trace.part().probabilities[:, : first - 1] == 0).all()


def test_a_gap_is_empty_and_what_is_older_than_a_minute_goes() -> None:
    trace = Trace()
    trace.fold(window(0, ramp(0), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True)
    trace.fold(window(1400, ramp(1400), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True)
    part = trace.part()
    assert part.first == 0
    empty = np.isnan(part.low).all(axis=0)
    assert np.flatnonzero(empty).tolist() == list(range(250, 350))
    assert np.isnan(part.probabilities[:, 250:350]).all()
    trace.fold(window(5000, ramp(5000), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True)
    assert trace.part().first == 0
    trace.fold(window(5200, ramp(5200), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True)
    assert trace.part().first == 50
    assert trace.part().low.shape == (3, BINS)


def test_a_clock_that_is_set_back_or_far_ahead_begins_anew() -> None:
    for index in (100_000_000, 1000):
        trace = Trace()
        trace.fold(
            window(1_000_000, ramp(0), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True
        )
        trace.fold(
            window(index, ramp(index), discontinuous=True), np.zeros((2, 1000), np.float32), at_once=True
        )
        part = trace.part()
        assert (part.first, part.low.shape[1]) == (index // BIN, 250)
        assert part.low[0, 0] == index


def test_a_late_component_is_filled_in() -> None:
    trace = Trace()
    blank = ramp(0)
    blank[2] = 0
    trace.fold(
        window(0, blank, discontinuous=True, components="ZN-"), np.zeros((2, 1000), np.float32), at_once=True
    )
    assert np.isnan(trace.part().low[2]).all()
    late = Window(A, 0, 0, ramp(0), "ZNE", revision=1, discontinuous=True)
    assert trace.fold(late, np.zeros((2, 1000), np.float32), at_once=True) == 0
    np.testing.assert_array_equal(trace.part().low[2], trace.part().low[0])


def test_windows_longer_than_a_minute_fit() -> None:
    trace = Trace()
    trace.fold(
        window(0, ramp(0, 12_000), discontinuous=True), np.zeros((2, 12_000), np.float32), at_once=True
    )
    assert trace.part().first == 12_000 // BIN - BINS
    assert trace.part().low[0, 0] == 6000
    assert (
        trace.part().low.nbytes + trace.part().high.nbytes + trace.part().probabilities.nbytes == TRACE_BYTES
    )

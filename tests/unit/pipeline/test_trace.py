"""The last minute of an instrument: what is folded in from windows is what the data were."""

import asyncio
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.streams import OneInstrument
from xiaod.config.loader import parse_config
from xiaod.domain.types import Channel, Instrument, Pick, Segment, Window, WindowBatch
from xiaod.picking.band import band_passed
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.factory import open_scout
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.passing import Passing
from xiaod.pipeline.queues import WindowQueue
from xiaod.pipeline.settings import buffer_settings, cuttings
from xiaod.pipeline.station_table import StationTable
from xiaod.pipeline.trace import BIN, BINS, FOLD_S, TRACE_BYTES, Bringer, Trace
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings

A = Instrument("XX", "A", "", "HH")
NOTHING = np.zeros((2, 400), np.float32)
UNKNOWN = np.zeros((2, 0), np.float32)


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


def flat(value: float, length: int = 1000) -> NDArray[np.float32]:
    return np.full((2, length), value, np.float32)


def test_early_windows_run_ahead_and_final_ones_have_the_last_word() -> None:
    trace = Trace()
    trace.fold(window(0, ramp(0), discontinuous=True), flat(0.1), at_once=True)
    # Two early windows a second and two ahead: their samples are there at once, and their probabilities where no final window has been.
    for index in (100, 200):
        assert trace.fold(window(index, ramp(index)), flat(0.2), at_once=True, stage="early") == 250
    assert trace.stop == 300
    assert trace.part().low[0].tolist() == list(range(0, 1200, BIN))
    assert set(trace.part().probabilities[0, :250]) == {np.float32(0.1)}
    assert set(trace.part().probabilities[0, 250:]) == {np.float32(0.2)}
    # A final window that ends before them, but is computed later, clears nothing.
    trace.fold(window(100, ramp(100)), flat(0.3), at_once=True)
    assert trace.stop == 300
    assert trace.part().low[0].tolist() == list(range(0, 1200, BIN))
    assert set(trace.part().probabilities[0, 250:275]) == {np.float32(0.3)}
    assert set(trace.part().probabilities[0, 275:]) == {np.float32(0.2)}
    # An early one that comes after the final one of the same data is no news.
    assert trace.fold(window(100, ramp(100)), flat(0.4), at_once=False, stage="early") is None
    trace.fold(window(300, ramp(300)), flat(0.5), at_once=True)
    assert trace.fold(window(300, ramp(300)), flat(0.4), at_once=True, stage="early") is None
    assert set(trace.part().probabilities[0, 275:]) == {np.float32(0.5)}


def test_early_windows_after_a_pause_leave_what_final_ones_said() -> None:
    trace = Trace()
    for index in range(0, 2001, 400):
        trace.fold(window(index, ramp(index), discontinuous=index == 0), flat(0.1), at_once=True)
    # Its probabilities are known at the end only, and it follows no other early one.
    early = window(2100, ramp(2100), discontinuous=True)
    assert trace.fold(early, flat(0.9, 200), at_once=True, stage="early") == 750
    part = trace.part()
    assert np.isfinite(part.probabilities).all()
    assert set(part.probabilities[0, :750]) == {np.float32(0.1)}
    assert part.low[0].tolist() == list(range(0, 3100, BIN))


@pytest.mark.parametrize("stage", ["stream", "early", "final"])
def test_a_clock_that_is_set_back_clears_the_trace_with_the_first_window_of_any_stage(stage: Bringer) -> None:
    trace = Trace()
    trace.fold(window(10_000, ramp(10_000), discontinuous=True), flat(0.1), at_once=True)
    trace.fold(window(10_050, ramp(10_050)), flat(0.1), at_once=True, stage="early")
    trace.fold(window(11_008, ramp(11_008, 96)), UNKNOWN, at_once=True, stage="stream")
    trace.fold(window(5_000, ramp(5_000), discontinuous=True), flat(0.2), at_once=True, stage=stage)
    part = trace.part()
    assert (part.first, part.low.shape[1], part.low[0, 0]) == (5_000 // BIN, 250, 5_000)


def test_windows_longer_than_a_minute_fit() -> None:
    trace = Trace()
    trace.fold(
        window(0, ramp(0, 12_000), discontinuous=True), np.zeros((2, 12_000), np.float32), at_once=True
    )
    assert trace.part().first == 12_000 // BIN - BINS
    assert trace.part().low[0, 0] == 6000


def test_memory_is_what_is_said() -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    trace = Trace()
    for index in range(0, 20_000, 400):
        trace.fold(window(index, ramp(index), discontinuous=index == 0), NOTHING, at_once=True)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert TRACE_BYTES <= held < TRACE_BYTES + 4000


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    hops=st.lists(st.sampled_from([32, 96, 400]), min_size=5, max_size=60),
    gap=st.integers(0, 60),
)
def test_a_viewer_gets_the_band_of_the_whole_whatever_the_pieces(
    seed: int, hops: list[int], gap: int
) -> None:
    """As the page does it: bins that come again take the place of those that were there."""
    rng = np.random.default_rng(seed)
    total = 2000 + sum(hops)
    microseisms = 20_000 * np.sin(2 * np.pi * 0.2 * np.arange(total) / 100)
    samples = (rng.normal(1e5, 100, (3, total)) + microseisms).astype(np.float32)
    lost = 2000 + sum(hops[:gap]) if gap < len(hops) else None
    trace, shown = Trace(), np.full((2, 3, total // BIN + 1), np.nan, np.float32)
    begin, stop = 0, 0
    for number, hop in enumerate([2000, *hops]):
        stop += hop
        if number and stop - hop == lost:
            # What this window would have brought is missing.
            samples[:, lost:stop] = np.nan
            begin = stop
            continue
        first_index = max(begin, stop - 2000)
        if stop - first_index < BIN:
            continue
        piece = window(first_index, samples[:, first_index:stop], discontinuous=first_index == begin)
        first = trace.fold(piece, np.zeros((2, 0), np.float32), at_once=True)
        assert first is not None
        part = trace.part(first, band=True)
        shown[:, :, part.first : trace.stop] = part.low, part.high
    seen = slice(0, trace.stop)
    whole = band_passed(samples[:, : trace.stop * BIN]).reshape(3, -1, BIN)
    np.testing.assert_allclose(shown[0, :, seen], whole.min(axis=2), rtol=1e-5, atol=0.05)
    np.testing.assert_allclose(shown[1, :, seen], whole.max(axis=2), rtol=1e-5, atol=0.05)


def test_a_stream_runs_ahead_without_probabilities() -> None:
    trace = Trace()
    trace.fold(window(0, ramp(0), discontinuous=True), flat(0.1), at_once=True)
    assert trace.fold(window(1000, ramp(1000, 32)), UNKNOWN, at_once=True, stage="stream") == 250
    # Nobody watches: the windows will bring it.
    assert trace.fold(window(1032, ramp(1032, 32)), UNKNOWN, at_once=False, stage="stream") is None
    assert trace.fold(window(1032, ramp(1032, 64)), UNKNOWN, at_once=True, stage="stream") == 258
    part = trace.part()
    assert part.low[0].tolist() == list(range(0, 1096, BIN))
    assert part.probabilities.shape == (2, 274)
    assert np.isnan(part.probabilities[:, 250:]).all()
    # An early window that ends before them says what is probable up to there, and clears nothing.
    trace.fold(window(50, ramp(50)), flat(0.2, 200), at_once=True, stage="early")
    part = trace.part()
    assert part.low[0].tolist() == list(range(0, 1096, BIN))
    assert set(part.probabilities[0, 250:262]) == {np.float32(0.2)}
    assert np.isnan(part.probabilities[:, 262:]).all()
    # What the windows have passed already is no news.
    trace.fold(window(100, ramp(100)), flat(0.3), at_once=True)
    assert trace.fold(window(1032, ramp(1032, 64)), UNKNOWN, at_once=True, stage="stream") is None
    assert np.isfinite(trace.part().probabilities).all()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["stream", "early"]), st.integers(0, 60)), max_size=40))
def test_what_a_viewer_gets_ahead_changes_nothing_that_final_windows_say(
    steps: list[tuple[str, int]],
) -> None:
    """Pieces of a stream and early windows between final windows, as far ahead and as late as they like."""
    ahead, alone = Trace(), Trace()
    fed = {"stream": 0, "early": 1000}
    finals = list(range(0, 2001, 400))
    for number, index in enumerate(finals):
        for kind, chunks in steps[number :: len(finals)]:
            length = 32 * (chunks + 1)
            if kind == "stream":
                piece = ramp(fed["stream"], length)
                ahead.fold(window(fed["stream"], piece), UNKNOWN, at_once=True, stage="stream")
                fed["stream"] += length
            else:
                fed["early"] += BIN * chunks
                first = fed["early"] - 1000
                ahead.fold(window(first, ramp(first)), flat(0.9, 200), at_once=True, stage="early")
        one, curve = window(index, ramp(index), discontinuous=index == 0), flat(index / 4000)
        ahead.fold(one, curve, at_once=True)
        alone.fold(one, curve, at_once=True)
        first = max(0, ahead.stop - BINS)
        if first >= alone.stop:
            # More than a minute ahead.
            return
        seen, expected, known = ahead.part(first), alone.part(first), alone.stop - first
        for name in ("low", "high", "probabilities"):
            np.testing.assert_array_equal(getattr(seen, name)[:, :known], getattr(expected, name))


def second_of(station: str, second: int) -> list[Segment]:
    samples = np.arange(second * 100, second * 100 + 100, dtype=np.int32)
    return [
        Segment(Channel("XX", station, "", f"HH{letter}"), second * 10**9, 100.0, samples) for letter in "ZNE"
    ]


class Told:
    """Notes from which bin on the traces of instruments have changed."""

    def __init__(self) -> None:
        self.first: list[tuple[str, int]] = []

    def on_pick(self, pick: Pick) -> None:
        raise AssertionError(pick)

    def on_trace(self, instrument: Instrument, first: int) -> None:
        self.first.append((instrument.station, first))


@pytest.mark.parametrize("early", ["scout", "off"])
def test_a_trace_that_somebody_watches_moves_with_the_stream(early: str) -> None:
    """Records of a second each. Final windows come every 4 s; with a scout, samples come as they are."""

    async def body() -> dict[str, list[int]]:
        config = parse_config(f"sources: [{{server: localhost}}]\nearly: {early}\n", "f")
        scout = open_scout(config)
        table = StationTable(10**11)
        cut = cuttings(config, None if scout is None else scout.spec)
        assembler = Assembler(buffer_settings(config), Metrics(), table, lambda: 0, cuttings=cut)
        windows = WindowQueue(1000)
        second = 0
        passing = Passing(windows, assembler, lambda: second * 10**9, lambda: None)
        monitor = passing.monitor = Monitor(table, assembler, lambda _: None, traces=2)
        told = Told()
        monitor.subscribe(told)
        stops: dict[str, list[int]] = {"A": [], "B": []}
        for second in range(60):
            if second == 40:
                monitor.watch(A)
            for segment in (*second_of("A", second), *second_of("B", second)):
                assembler.take(segment, second * 10**9)
            await passing.pass_on(everything=True)
            while not windows.empty():
                batch = windows.get_nowait()
                for one in batch.windows if isinstance(batch, WindowBatch) else ():
                    monitor.followed(one, NOTHING)
            if second >= 40:
                for station, found in stops.items():
                    trace = monitor.trace(replace(A, station=station))
                    assert trace is not None
                    found.append(trace.stop * BIN)
        assert {station for station, _ in told.first} == {"A"}
        watched = monitor.trace(A)
        assert watched is not None
        # No samples were left out, and none are wrong.
        part = watched.part()
        assert part.low[0].tolist() == [float(BIN * (part.first + bin_)) for bin_ in range(part.low.shape[1])]
        return stops

    stops = asyncio.run(body())
    behind = [100 * (second + 1) - stop for second, stop in enumerate(stops["A"], 40)]
    if early == "scout":
        # The rest of a chunk of the scout.
        assert max(behind) < 100
        assert len(set(stops["A"])) == 20
    else:
        assert max(behind) > 300
    # The trace of another station costs nothing more than before.
    assert len(set(stops["B"])) <= 6


def test_whoever_watched_a_station_without_a_window_may_leave_while_another_is_watched() -> None:
    table = StationTable(10**11)
    assembler = Assembler(BufferSettings(), Metrics(), table, lambda: 0)
    monitor = Monitor(table, assembler, lambda _: None, traces=0)
    silent = Instrument("XX", "S", "", "HH")
    monitor.watch(A)
    monitor.watch(silent)
    samples = np.zeros((3, 2000), np.float32)
    monitor.followed(Window(A, 0, 0, samples, "ZNE", discontinuous=True), NOTHING)
    monitor.unwatch(silent)
    assert monitor.trace_count == 1
    monitor.unwatch(A)
    assert monitor.trace_count == 0

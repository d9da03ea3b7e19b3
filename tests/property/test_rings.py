"""Rings against a dictionary, and windows against a plain reference: what the samples of all records together say."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.streams import OneInstrument
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Channel, Segment, Window, WindowBatch
from xiaod.waveform.instrument import ADVANCING, BufferSettings
from xiaod.waveform.rings import BLOCK, Rings
from xiaod.waveform.schedule import FIRST_STEP

RELAXED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(max_examples=100)
@given(
    length=st.integers(1, 40),
    begin=st.integers(-1000, 1000),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=12),
)
def test_a_ring_holds_the_newest_samples(length: int, begin: int, sizes: list[int]) -> None:
    rings = Rings(length)
    other, ring = rings.open(), rings.open()
    rings.write(other, begin, np.full(length, 7, np.float32))
    written: list[float] = []
    for size in sizes:
        samples = np.arange(len(written), len(written) + size, dtype=np.float32)
        rings.write(ring, begin + len(written), samples)
        written += samples.tolist()
    held = written[-length:]
    stop = begin + len(written)
    for first in range(len(held)):
        assert rings.read(ring, stop - len(held) + first, stop).tolist() == held[first:]
    assert rings.read(other, begin, begin + length).tolist() == [7.0] * length


@settings(max_examples=100)
@given(steps=st.lists(st.integers(-30, 60), max_size=20))
def test_rings_that_are_used_are_never_given_away(steps: list[int]) -> None:
    """Some are opened, or closed when the number is negative; what is written in each stays."""
    rings = Rings(2)
    used: dict[int, float] = {}
    for step in steps:
        for number in range(step):
            ring = rings.open()
            assert ring not in used
            used[ring] = float(100 * step + number)
            rings.write(ring, 0, np.full(2, used[ring], np.float32))
        for ring in list(used)[: max(0, -step)]:
            rings.close(ring)
            del used[ring]
        assert rings.held_bytes == 8 * len(used)
    for ring, value in used.items():
        assert rings.read(ring, 0, 2).tolist() == [value, value]
    # Rings that were closed are used again: blocks are no more than the most that were open at a time needs.
    assert max(used, default=0) < BLOCK * (2 + sum(max(0, step) for step in steps) // BLOCK)


@dataclass(frozen=True)
class Delivery:
    """Records of the recording, in some order, and what they hold."""

    segments: tuple[Segment, ...]
    held: dict[str, frozenset[int]]
    """Component -> samples of the recording that some record brings."""


@st.composite
def deliveries(draw: st.DrawFn, recording: Recording) -> Delivery:
    """Each component cut anywhere, with gaps, overlaps and repetitions, in any order."""
    records: list[tuple[str, int, int]] = []
    for component in "ZNE":
        edges = [0, *sorted(draw(st.sets(st.integers(1, 2999), max_size=20))), 3000]
        for begin, end in itertools.pairwise(edges):
            if draw(st.integers(0, 9)) and end - begin > 1:
                early = draw(st.integers(0, min(begin, 60))) if draw(st.booleans()) else 0
                records.append((component, begin - early, end))
    twice = draw(st.lists(st.sampled_from(records), max_size=6)) if records else []
    held: dict[str, set[int]] = {component: set() for component in "ZNE"}
    segments = []
    for component, begin, end in draw(st.permutations(records + twice)):
        held[component].update(range(begin, end))
        samples = recording.components[component][begin:end]
        channel = Channel("BW", "RJOB", "", "EH" + component)
        segments.append(Segment(channel, recording.start_ns + begin * GRID_NS, 100.0, samples))
    return Delivery(tuple(segments), {one: frozenset(indices) for one, indices in held.items()})


def cut(
    segments: Iterable[Segment], wanted: BufferSettings, phase: int
) -> list[tuple[Window, NDArray[np.float32]]]:
    """Windows of records, offline, with the row that the network takes."""
    one = OneInstrument(wanted, phase=phase)
    windows: list[Window] = []
    batches: list[WindowBatch] = []
    for segment in segments:
        if one.channels.insert(segment, None) in ADVANCING:
            one.channels.release(None)
            if one.schedule.is_due(None):
                windows += one.schedule.cut(None, None, one.batches)
            one.channels.forget(one.schedule.needed)
            batches += one.batches.take()
    windows += one.finish(None)
    batches += one.batches.take(everything=True)
    return list(zip(windows, [row for batch in batches for row in batch.samples], strict=True))


@RELAXED
@given(
    data=st.data(),
    length=st.sampled_from([300, 1000]),
    hop=st.sampled_from([50, 130, 400]),
    phase=st.integers(0, 400),
)
def test_windows_are_where_all_records_together_have_no_gap(
    rjob: Recording, data: st.DataObject, length: int, hop: int, phase: int
) -> None:
    delivery = data.draw(deliveries(rjob))
    origin = rjob.start_ns // GRID_NS
    found = cut(delivery.segments, BufferSettings(length=length, hop=hop), phase)

    expected = {}
    for start in range(3000 - length + 1):
        if (origin + start - phase) % hop == 0:
            inside = range(start, start + length)
            letters = "".join(letter if delivery.held[letter].issuperset(inside) else "-" for letter in "ZNE")
            if letters != "---":
                expected[origin + start] = letters
    # The last window may come once more, to be searched to its end.
    on_grid = [window for window, _ in found if (window.index - phase) % hop == 0 and not window.ends]
    assert {window.index: window.components for window in on_grid if window.revision == 0} == expected
    assert len(on_grid) == len(expected)

    for window, row in found:
        start = window.index - origin
        assert np.array_equal(row, window.samples)
        for number, letter in enumerate(window.components):
            if letter == "-":
                assert not row[number].any()
                continue
            assert delivery.held[letter].issuperset(range(start, start + length))
            assert window.history is not None
            begin = start - window.history.shape[1]
            whole = np.concatenate([window.history[number], row[number]]).astype(np.float64)
            plain = rjob.components[letter][begin : start + length]
            assert np.allclose(whole - whole[0], plain - plain[0], atol=1e-3)
    check_beginnings_and_ends([window for window, _ in found], delivery, origin, phase, hop)


def check_beginnings_and_ends(
    windows: list[Window], delivery: Delivery, origin: int, phase: int, hop: int
) -> None:
    length = windows[0].samples.shape[1] if windows else 0
    # The windows off the grid begin where data begin, or end where a gap, or the end of the data, is.
    step = min(hop, FIRST_STEP)
    for window in windows:
        if (window.index - phase) % hop:
            start, stop = window.index - origin, window.index - origin + length
            shown = [letter for letter in window.components if letter != "-"]
            ends = any(stop not in delivery.held[letter] for letter in shown)
            begins = window.index % step == 0 and any(
                not delivery.held[letter].issuperset(range(start - step, start)) for letter in shown
            )
            assert ends or begins
            assert ends or not window.ends
    # Where data begin none are left out, however long the hop is.
    covered = {sample for window in windows for sample in range(window.index - origin, window.stop - origin)}
    for held in delivery.held.values():
        for begin, end in runs(held):
            if end - begin >= length + step and hop < length:
                assert covered.issuperset(range(begin + step - 1, begin + length))


def runs(held: frozenset[int]) -> list[tuple[int, int]]:
    """First sample of each gapless run, and the one after its last."""
    first = sorted(sample for sample in held if sample - 1 not in held)
    last = sorted(sample for sample in held if sample + 1 not in held)
    return [(begin, end + 1) for begin, end in zip(first, last, strict=True)]

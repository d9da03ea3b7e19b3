"""Envelopes of many stations and of a day: they are the peaks of the band, however windows come, within the memory that is said."""

import tracemalloc
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xiaod.domain.types import Instrument, Window
from xiaod.picking.band import SETTLE, band_passed
from xiaod.pipeline.envelopes import (
    BIN,
    DAY_BINS,
    DAY_BYTES,
    WALL_BINS,
    WALL_BINS_IN_DAY_BIN,
    WALL_BYTES,
    Envelope,
    Envelopes,
)

A = Instrument("XX", "A", "", "HH")
BEGIN = 180_000_000_037
"""A sample that is no begin of a bin."""


def windows(samples: NDArray[np.float32], begin: int, length: int = 2000, hop: int = 400) -> list[Window]:
    last = samples.shape[1] - length
    return [
        Window(
            A,
            begin + at,
            0,
            samples[:, at : at + length],
            "ZNE",
            discontinuous=at == 0,
        )
        for at in range(0, last + 1, hop)
    ]


def wall_of(kept: Envelopes, instrument: Instrument = A) -> Envelope:
    return dict(kept.wall)[instrument]


def expected(samples: NDArray[np.float32], begin: int, stop: int) -> tuple[int, NDArray[np.float32]]:
    """Peaks of whole bins, of the filter over everything."""
    first = -(-begin // BIN)
    passed = np.abs(band_passed(samples[:1]))[:, first * BIN - begin : stop * BIN - begin]
    return first, passed.reshape(-1, BIN).max(axis=1)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    hops=st.integers(0, 40),
    together=st.integers(1, 7),
    offset=st.integers(0, 99),
)
def test_the_wall_has_the_peaks_of_the_band(seed: int, hops: int, together: int, offset: int) -> None:
    rng = np.random.default_rng(seed)
    total, begin = 2000 + 400 * hops, BEGIN + offset
    slow = 20_000 * np.sin(2 * np.pi * 0.2 * np.arange(total) / 100)
    samples = (rng.normal(1e5, 100, (3, total)) + slow).astype(np.float32)
    kept = Envelopes(days=0)
    kept.look()
    cut = windows(samples, begin)
    # Windows of several instruments, and of other stages, come in one batch.
    other = replace(A, station="B")
    for at in range(0, len(cut), together):
        some = cut[at : at + together]
        kept.take(
            [
                *some,
                *(replace(one, instrument=other) for one in some),
                *(replace(one, stage="early") for one in some),
            ]
        )
    for instrument in (A, other):
        envelope = wall_of(kept, instrument)
        assert envelope.stop == cut[-1].stop // BIN
        first, peaks = envelope.since(0)
        true_first, true_peaks = expected(samples, begin, envelope.stop)
        assert first == true_first
        np.testing.assert_allclose(peaks, true_peaks, rtol=1e-4, atol=0.1)
        assert np.isnan(peaks).sum() in (SETTLE // BIN, SETTLE // BIN - 1)


def test_a_gap_and_a_clock_that_was_set_leave_no_old_peaks() -> None:
    envelope = Envelope(10)
    envelope.put(100, np.arange(4, dtype=np.float32))
    envelope.put(107, np.array([7.0], np.float32))
    first, peaks = envelope.since(0)
    assert first == 100
    np.testing.assert_array_equal(peaks, [0, 1, 2, 3, np.nan, np.nan, np.nan, 7])
    envelope.put(113, np.array([1.0], np.float32))
    first, peaks = envelope.since(0)
    assert first == 104
    np.testing.assert_array_equal(peaks, [*[np.nan] * 3, 7, *[np.nan] * 5, 1])
    assert envelope.since(113)[1].tolist() == [1.0]
    assert envelope.since(10**9)[0] == 114
    assert len(envelope.since(10**9)[1]) == 0
    for first in (10**6, 5):
        envelope.put(first, np.array([3.0], np.float32))
        assert envelope.since(0)[0] == first
        assert envelope.since(0)[1].tolist() == [3.0]


def test_nothing_is_made_while_nobody_looks_and_what_was_made_goes_some_minutes_later() -> None:
    now_s = 1000.0
    samples = np.random.default_rng(0).normal(0, 100, (3, 2800)).astype(np.float32)
    first, second, third = windows(samples, BEGIN)
    kept = Envelopes(days=0, monotonic_s=lambda: now_s)
    kept.take([first])
    assert not dict(kept.wall)
    kept.look()
    kept.take([first])
    kept.leave()
    # Whoever comes back soon finds no gap.
    kept.take([second])
    kept.tidy({A})
    assert np.isfinite(wall_of(kept).since(BEGIN // BIN + 14)[1]).all()
    assert wall_of(kept).stop == second.stop // BIN
    now_s += 301
    kept.take([third])
    assert wall_of(kept).stop == second.stop // BIN
    kept.tidy({A})
    assert not dict(kept.wall)
    kept.look()
    kept.take([third])
    kept.tidy(set())
    assert not dict(kept.wall)


def test_a_day_is_kept_of_the_first_instruments_until_others_are_asked_for() -> None:
    samples = np.random.default_rng(0).normal(0, 100, (3, 40_000)).astype(np.float32)
    kept, others = Envelopes(days=2), [replace(A, station=name) for name in "ABC"]
    cut = windows(samples, BEGIN)
    for one in cut[:5]:
        kept.take([replace(one, instrument=instrument) for instrument in others])
    assert kept.day(others[0]) is not None
    # The one that nobody has asked for makes room; C begins with the window that comes next, of which it gets everything.
    fresh = kept.day(others[2])
    assert fresh is not None
    assert fresh.stop is None
    for one in cut[5:]:
        kept.take([replace(one, instrument=instrument) for instrument in others])
    whole, late = kept.day(others[0]), kept.day(others[2])
    assert whole is not None
    assert late is not None
    first = whole.since(0)[0]
    true_first, true_peaks = expected(samples, BEGIN, cut[-1].stop // BIN)
    skip = -true_first % WALL_BINS_IN_DAY_BIN + WALL_BINS_IN_DAY_BIN * 2
    rest = true_peaks[skip:]
    rest = rest[: len(rest) // WALL_BINS_IN_DAY_BIN * WALL_BINS_IN_DAY_BIN]
    begin = (true_first + skip) // WALL_BINS_IN_DAY_BIN
    coarse = rest.reshape(-1, WALL_BINS_IN_DAY_BIN).max(axis=1)
    assert first <= begin
    np.testing.assert_allclose(whole.since(begin)[1][: len(coarse)], coarse, rtol=1e-4, atol=0.1)
    assert late.since(0)[0] == cut[5].index // (BIN * WALL_BINS_IN_DAY_BIN)
    assert np.isfinite(late.since(late.since(0)[0] + 3)[1]).all()
    # B was dropped for C, and is dropped no more once it is asked for: A goes, asked for longest ago.
    assert kept.day(others[1]) is not None
    again = kept.day(others[0])
    assert again is not None
    assert again.stop is None
    assert Envelopes(days=0).day(A) is None


def test_memory_is_what_is_said() -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [Envelope(WALL_BINS) for _ in range(100)]
    wall = tracemalloc.get_traced_memory()[0] - before
    day = Envelope(DAY_BINS)
    one_day = tracemalloc.get_traced_memory()[0] - before - wall
    tracemalloc.stop()
    assert WALL_BYTES <= wall / len(kept) < WALL_BYTES + 600
    assert DAY_BYTES <= one_day < DAY_BYTES + 1000
    assert day.stop is None

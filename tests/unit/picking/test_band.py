"""The band of onsets: what is known of it does not depend on how data are cut, and is what SciPy computes."""

from itertools import pairwise

import numpy as np
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.picking.band import RUN_IN, SETTLE, band_passed

RATE_HZ = 100.0


def test_it_is_the_filter_of_scipy_and_silent_until_it_has_settled() -> None:
    samples = np.random.default_rng(0).normal(1e6, 300, (2, 2000))
    sections = [
        scipy.signal.butter(4, *of, fs=RATE_HZ, output="sos") for of in ((2.0, "high"), (20.0, "low"))
    ]
    expected = scipy.signal.sosfilt(np.concatenate(sections), samples - samples[:, :1])
    passed = band_passed(samples)
    assert np.isnan(passed[:, :SETTLE]).all()
    np.testing.assert_allclose(passed[:, SETTLE:], expected[:, SETTLE:], rtol=1e-4, atol=1e-3)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    gaps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2999), st.integers(1, 500)), max_size=5),
    cuts=st.lists(st.integers(1, 2999), max_size=8, unique=True),
)
def test_pieces_with_what_the_filter_needs_before_them_are_the_whole(
    seed: int, gaps: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    # A broadband record: microseisms that are larger than what is in the band.
    slow = 20_000 * np.sin(2 * np.pi * 0.2 * np.arange(3000) / RATE_HZ + rng.uniform(0, 6, (3, 1)))
    samples = (rng.normal(1e5, 100, (3, 3000)) + slow).astype(np.float32)
    for row, begin, length in gaps:
        samples[row, begin : begin + length] = np.nan
    whole = band_passed(samples)
    edges = [0, *sorted(cuts), 3000]
    pieces = [
        band_passed(samples[:, max(0, begin - RUN_IN) : stop])[:, min(begin, RUN_IN) :]
        for begin, stop in pairwise(edges)
    ]
    joined = np.concatenate(pieces, axis=1)
    np.testing.assert_array_equal(np.isnan(joined), np.isnan(whole))
    # A millionth of what the filter begins with.
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=0.05)

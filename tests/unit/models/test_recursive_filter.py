"""Recursive filters, against those of SciPy."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from models.recursive_filter import (
    BLOCK,
    MOST,
    Filter,
    band_pass,
    filter_matrix,
    high_pass,
    low_pass,
    recursive_filter,
)


@pytest.mark.parametrize("corner_hz", [0.05, 0.5, 2.0, 30.0])
def test_coefficients(corner_hz: float) -> None:
    numerator, denominator = high_pass(corner_hz, 100.0)
    wanted = scipy.signal.butter(2, corner_hz, "highpass", fs=100.0)
    assert np.allclose((numerator, denominator), wanted, rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_band_passes_as_a_high_pass_and_a_low_pass_of_scipy_do(offset: float) -> None:
    waves = np.random.default_rng(2).normal(offset, 100.0, (3, 11 * BLOCK - 5))
    sections = [scipy.signal.butter(4, *of, fs=100.0, output="sos") for of in ((2.0, "high"), (20.0, "low"))]
    wanted = scipy.signal.sosfilt(np.concatenate(sections), waves)
    values, _ = recursive_filter(*band_pass(2.0, 20.0, 100.0), waves, np.zeros((3, 8)))
    assert np.allclose(values, wanted, rtol=0, atol=1e-9 * float(np.abs(waves).max()))


@pytest.mark.parametrize("corner_hz", [4.0, 12.0, 30.0])
def test_coefficients_of_a_low_pass(corner_hz: float) -> None:
    wanted = scipy.signal.butter(2, corner_hz, "lowpass", fs=100.0)
    assert np.allclose(low_pass(corner_hz, 100.0), wanted, rtol=1e-12)


def test_a_matrix_gives_what_its_filters_give() -> None:
    bank = (Filter(*band_pass(2.0, 20.0, 100.0)), Filter(*high_pass(12.0, 100.0), every=4))
    rng = np.random.default_rng(3)
    waves, memory = rng.normal(0, 100.0, (5, 40)), rng.normal(0, 100.0, (5, 10))
    given = np.concatenate([waves, memory], axis=1) @ filter_matrix(bank, 40)
    assert given.shape == (5, 40 + 10 + 10)
    for one, values, held, after in (
        (bank[0], given[:, :40], memory[:, :8], given[:, 50:58]),
        (bank[1], given[:, 40:50], memory[:, 8:], given[:, 58:]),
    ):
        wanted, kept = scipy.signal.lfilter(one.numerator, one.denominator, waves, axis=-1, zi=held)
        np.testing.assert_allclose(values, wanted[:, one.every - 1 :: one.every], atol=1e-8)
        np.testing.assert_allclose(after, kept, atol=1e-8)


@given(
    cuts=st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=6),
    rows=st.sampled_from([1, 3, MOST // BLOCK**2 + 5]),
    offset=st.sampled_from([0.0, 1e6]),
    order=st.sampled_from([1, 2]),
)
def test_pieces_give_what_scipy_gives_for_the_whole(
    cuts: list[int], rows: int, offset: float, order: int
) -> None:
    waves = np.random.default_rng(1).normal(offset, 100.0, (rows, sum(cuts)))
    coefficients = high_pass(0.5, 100.0) if order == 2 else ((0.01,), (1.0, -0.99))
    memory = np.zeros((rows, order))
    found, start = [], 0
    for cut in cuts:
        values, memory = recursive_filter(*coefficients, waves[:, start : start + cut], memory)
        found.append(values)
        start += cut
    wanted, after = scipy.signal.lfilter(*coefficients, waves, axis=-1, zi=np.zeros((rows, order)))
    scale = float(np.abs(waves).max())
    assert np.allclose(np.concatenate(found, axis=1), wanted, rtol=1e-9, atol=1e-11 * scale)
    assert np.allclose(memory, after, rtol=1e-9, atol=1e-10 * scale)

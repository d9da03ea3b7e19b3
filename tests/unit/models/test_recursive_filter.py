"""Recursive filters, against those of SciPy."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from models.recursive_filter import (
    BLOCK,
    MOST,
    Filter,
    band_pass,
    filter_bank,
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


def test_a_bank_gives_what_its_filters_give_in_any_rows() -> None:
    bank = (Filter(*band_pass(2.0, 20.0, 100.0)), Filter(*high_pass(12.0, 100.0), every=4))
    waves = np.random.default_rng(3).normal(0, 100.0, (5, 3, 40))
    found, after = filter_bank(bank, waves, np.zeros((2, 3, 10)), np.array([3, 2]))
    assert found.shape == (5, 3, 40 + 10)
    for order, one, values, held in (
        (8, bank[0], found[..., :40], after[..., :8]),
        (2, bank[1], found[..., 40:], after[..., 8:]),
    ):
        for rows, stream in ((slice(0, 3), 0), (slice(3, 5), 1)):
            whole = np.concatenate(list(waves[rows]), axis=1)
            wanted, memory = scipy.signal.lfilter(
                one.numerator, one.denominator, whole, axis=-1, zi=np.zeros((3, order))
            )
            given = np.concatenate(list(values[rows]), axis=1)
            np.testing.assert_allclose(given, wanted[:, one.every - 1 :: one.every], atol=1e-8)
            np.testing.assert_allclose(held[stream], memory, atol=1e-8)


@settings(deadline=None)
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

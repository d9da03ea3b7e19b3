"""The front end: what it promises about scale, offset, batches and bad input."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.signal import butter, lfilter

from models.conventions import RATE_HZ
from models.frontend import HIGH_PASS_HZ, MEMORY_S, prepare, standardise
from tests.conftest import Recording


@pytest.fixture
def windows(rjob: Recording) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    whole = np.stack([rjob.components[letter] for letter in "ZNE"])
    return np.stack([whole[:, start : start + 1000] for start in range(0, 2001, 125)]).astype(np.float32)


def test_each_component_has_mean_zero_and_deviation_one(windows: np.ndarray) -> None:
    out = standardise(windows).astype(np.float64)
    assert np.abs(out.mean(axis=-1)).max() < 1e-6
    assert np.abs(out.std(axis=-1) - 1).max() < 1e-5


def test_a_window_gives_the_same_bits_in_any_batch_and_memory_order(windows: np.ndarray) -> None:
    together = standardise(windows)
    for index, window in enumerate(windows):
        assert np.array_equal(standardise(window[None])[0], together[index])
    shuffled = standardise(windows[::-1])[::-1]
    assert np.array_equal(shuffled, together)
    assert np.array_equal(standardise(np.asfortranarray(windows)), together)


def test_the_input_is_left_as_it_was(windows: np.ndarray) -> None:
    before = windows.copy()
    windows.flags.writeable = False
    standardise(windows)
    assert np.array_equal(windows, before)


@pytest.mark.parametrize("offset", [1e6, -1e9], ids=["offset 1e6", "offset -1e9"])
def test_an_offset_changes_nothing_but_what_float32_cannot_hold(windows: np.ndarray, offset: float) -> None:
    scaled = np.round(windows * 100)  # large enough to be seen beside 1e9
    shifted = (scaled.astype(np.float64) + offset).astype(np.float32)
    exact = shifted.astype(np.float64)
    exact -= exact.mean(axis=-1, keepdims=True)
    exact /= exact.std(axis=-1, keepdims=True)
    assert np.abs(standardise(shifted) - exact).max() < 1e-4


def test_gain_and_polarity_pass_through(windows: np.ndarray) -> None:
    assert np.abs(standardise(windows * np.float32(-1e4)) + standardise(windows)).max() < 1e-5


@pytest.mark.parametrize("level", [0.0, 1.0, -3.5e7, 1e30], ids=str)
def test_a_component_without_signal_is_exactly_zero_and_leaves_the_others(
    windows: np.ndarray, level: float
) -> None:
    held = standardise(windows)
    windows[:, 1] = level
    out = standardise(windows)
    assert not out[:, 1].any()
    assert np.array_equal(out[:, [0, 2]], held[:, [0, 2]])


def test_a_component_that_moves_in_its_last_digit_alone_is_one_without_signal(windows: np.ndarray) -> None:
    flicker = np.random.default_rng(0).integers(0, 2, windows.shape[-1])
    level = np.float32(2**28)
    windows[:, 2] = level + flicker * np.spacing(level)
    assert np.ptp(windows[0, 2]) > 0
    assert not standardise(windows)[:, 2].any()


def test_a_stream_is_prepared_as_its_formula_says(rjob: Recording) -> None:
    """Sample by sample, from the first one on: high-pass, running power by its weights so far, compression."""
    waves = np.stack([rjob.components[letter][:700] for letter in "ZNE"])
    numerator, denominator = butter(2, HIGH_PASS_HZ, "highpass", fs=RATE_HZ)
    # At rest at the first sample: as if that had been there always, which no high-pass lets through.
    high = lfilter(numerator, denominator, waves - waves[:, :1])
    keep = math.exp(-1 / (MEMORY_S * RATE_HZ))
    expected = np.empty_like(high)
    for sample in range(high.shape[1]):
        weights = keep ** np.arange(sample, -1, -1)
        power = (weights * (high[:, : sample + 1] ** 2).mean(axis=0)).sum() / weights.sum()
        expected[:, sample] = np.arcsinh(high[:, sample] / math.sqrt(power)) if power else 0
    prepared = prepare("stream-1", waves[None].astype(np.float32))[0]
    np.testing.assert_allclose(prepared[:, 5:], expected[:, 5:], atol=2e-3)


@settings(max_examples=200, deadline=None)
@given(
    windows=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=30),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
@example(windows=np.array([[[0] + [2.1079003e-22] * 10]], np.float32))
def test_whatever_goes_in_what_comes_out_is_finite(windows: np.ndarray) -> None:
    out = standardise(windows)
    assert out.shape == windows.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.abs(out).max(initial=0) <= np.sqrt(windows.shape[-1]) * 1.01 + 1e-3

"""The front end: what it promises about scale, offset, batches and bad input."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.signal import butter, lfilter

from models.conventions import BANDS, RATE_HZ
from models.frontend import BANDS_HZ, BLOCK, EVERY, FAINT, MEMORIES_S, STEP, prepare, standardise
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
    """Step by step, from the first block on: bands, running powers by their weights so far, up to the block before the last."""
    blocks = 20
    waves = np.stack([rjob.components[letter][: blocks * BLOCK] for letter in "ZNE"])
    prepared = prepare(BANDS, waves[None].astype(np.float32))[0].reshape(2, 2, 3, -1)
    for number, ((low_hz, high_hz), every) in enumerate(zip(BANDS_HZ, EVERY, strict=True)):
        # At rest at the first sample: as if that had been there always, which no high-pass lets through.
        passed = waves - waves[:, :1]
        for corner_hz, kind in ((low_hz, "highpass"), (high_hz, "lowpass")):
            passed = lfilter(*butter(2, corner_hz, kind, fs=RATE_HZ), passed)
        each = (passed[:, every - 1 :: every] ** 2).reshape(3, -1, STEP // every).mean(axis=2)
        for trace, power in enumerate((each[0], each[1] + each[2])):
            means = power.reshape(blocks, -1).mean(axis=1)
            for memory, memory_s in enumerate(MEMORIES_S):
                keep = math.exp(-BLOCK / RATE_HZ / memory_s)
                for block in range(2, blocks):
                    weights = keep ** np.arange(block - 2, -1, -1)
                    running = (weights * means[: block - 1]).sum() / weights.sum()
                    steps = slice(block * BLOCK // STEP, (block + 1) * BLOCK // STEP)
                    expected = np.log((power[steps] / running + FAINT) / (1 + FAINT)) / 2
                    found = prepared[memory, trace, number, steps]
                    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert not prepared[..., : 2 * BLOCK // STEP].any()


def test_a_slow_swell_hides_no_onset_in_a_band_above_it() -> None:
    """What the first scout could not do: its scale was that of all that is above half a hertz."""
    rng = np.random.default_rng(1)
    times_s = np.arange(0, 60, 1 / RATE_HZ)
    swell = 1e3 * np.sin(2 * np.pi * 0.2 * times_s)
    onset = np.where(times_s > 50, 10 * np.sin(2 * np.pi * 18 * times_s), 0.0)
    waves = np.stack([swell + rng.normal(0, 1, len(times_s)) + onset] * 3)[None].astype(np.float32)
    upper = prepare(BANDS, waves)[0, 2]
    assert upper[-250 + 3 : -250 + 12].min() > 1.0
    assert upper[250:-260].max() < 1.0


@settings(max_examples=200)
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

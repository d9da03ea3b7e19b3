"""What is measured at an onset, of samples of which the answer is known."""

import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.recursive_filter import recursive_filter
from xiaod.domain.types import Instrument, Pick, Window
from xiaod.picking.band import BAND, RUN_IN_S
from xiaod.picking.measure import measure

PEAK, LENGTH = 900, 1300
RATE_HZ = 100.0
AROUND = (-600, 101)
"""What counts, in samples from the onset: the run-in, the noise and the signal."""


def measured(samples: NDArray[np.float32], phase: str, peak: int = PEAK) -> Pick:
    window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE")
    curve = 0.9 * np.exp(-0.5 * ((np.arange(samples.shape[1]) - peak) / 10) ** 2)
    return measure(window, samples, phase, curve, peak, 0, "example-1.0.0", "0" * 64)


def wave(noise: float, signal: float, hz: float = 10.0) -> NDArray[np.float32]:
    """A tone of one amplitude before the onset, and another from there on; in whole counts."""
    since = np.arange(LENGTH) - PEAK
    strength = np.where(since < 0, noise, signal)
    tone: NDArray[np.float32] = np.round(strength * np.cos(2 * np.pi * hz * since / RATE_HZ)).astype(
        np.float32
    )
    return tone


def three(vertical: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([vertical, wave(100, 700), wave(100, 800)])


def in_band(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """By SciPy, from the first sample on."""
    sections = [
        scipy.signal.butter(4, *of, fs=RATE_HZ, output="sos") for of in ((2.0, "high"), (20.0, "low"))
    ]
    filtered: NDArray[np.float64] = scipy.signal.sosfilt(
        np.concatenate(sections), samples.astype(np.float64) - samples[0]
    )
    return filtered


def test_ratio_and_amplitude_are_those_of_the_signal_against_the_noise() -> None:
    pick = measured(three(wave(200, 3000)), "P")
    assert (pick.channel.channel, pick.raw_amplitude) == ("HHZ", 3000.0)
    # The band lets a tone of 10 Hz pass, and overshoots where it grows.
    assert pick.amplitude == pytest.approx(3000.0, rel=0.1)
    assert pick.snr == pytest.approx(15.0, rel=0.03)


@pytest.mark.parametrize(
    ("hz", "passed"), [(0.2, 0.0001), (1.0, 0.0624), (2.0, 0.71), (5.0, 1.0), (40.0, 0.0031)]
)
def test_other_frequencies_count_less(hz: float, passed: float) -> None:
    pick = measured(three(wave(1e6, 1e6, hz)), "P")
    assert pick.amplitude == pytest.approx(1e6 * passed, rel=0.02)


@pytest.mark.parametrize(("begin", "stop"), [(0, 0), (-20, 0), (-400, -300), (-800, -600), (101, 300)])
def test_the_values_are_those_of_a_band_that_has_always_been_filtered(begin: int, stop: int) -> None:
    """The onset begins before its highest probability, and other events may lie around."""
    vertical = wave(200, 3000)
    vertical[PEAK + begin : PEAK + stop] *= 100
    pick = measured(three(vertical), "P")
    band = in_band(vertical)
    signal, noise = band[PEAK : PEAK + 101], band[PEAK - 300 : PEAK - 20]
    assert pick.raw_amplitude == 3000.0
    assert pick.amplitude == pytest.approx(np.abs(signal).max(), rel=1e-4)
    assert pick.snr == pytest.approx(math.sqrt(np.mean(signal**2) / np.mean(noise**2)), rel=1e-4)


@pytest.mark.parametrize(("begin", "stop"), [(-900, -600), (101, 400)])
def test_what_lies_far_from_the_onset_changes_nothing(begin: int, stop: int) -> None:
    vertical = wave(200, 3000)
    quiet = measured(three(vertical), "P")
    vertical[PEAK + begin : PEAK + stop] *= 100
    assert measured(three(vertical), "P") == quiet


@settings(max_examples=60)
@given(
    seed=st.integers(0, 99),
    before=st.integers(-AROUND[0], 1500),
    after=st.integers(AROUND[1], 900),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    phase=st.sampled_from("PS"),
)
def test_the_values_are_the_same_to_the_last_digit_however_the_data_were_cut(
    seed: int, before: int, after: int, cut: tuple[float, float], phase: str
) -> None:
    samples = np.random.default_rng(seed).normal(1e5, 300, (3, before + after)).astype(np.float32)
    samples[:, before:] *= 1.01
    first = round(cut[0] * (before + AROUND[0]))
    last = before + AROUND[1] + round(cut[1] * (after - AROUND[1]))
    whole, part = measured(samples, phase, before), measured(samples[:, first:last], phase, before - first)
    assert (part.channel, part.snr, part.amplitude) == (whole.channel, whole.snr, whole.amplitude)
    assert part.raw_amplitude == whole.raw_amplitude


def test_an_offset_does_not_come_through() -> None:
    pick = measured(three(wave(200, 3000)), "P")
    assert measured(three(wave(200, 3000) + np.float32(4e6)), "P") == pick


def test_a_step_has_settled_when_the_noise_begins() -> None:
    """A digitiser that begins anew: the run-in is long enough that it does not count, in the smallest noise that a record can have."""
    left = 1e-6
    step, _ = recursive_filter(*BAND, np.ones((1, 1000)), np.zeros((1, len(BAND[1]) - 1)))
    assert np.abs(step[0, round(RUN_IN_S * RATE_HZ) :]).max() < left
    vertical = wave(200, 3000)
    pick = measured(three(vertical), "P")
    vertical[: PEAK + AROUND[0] + 1] += 1e6
    stepped = measured(three(vertical), "P")
    assert stepped.snr == pytest.approx(pick.snr, rel=1e-3)
    assert stepped.amplitude == pytest.approx(pick.amplitude)


@pytest.mark.parametrize("begins", [50, 90, 150, 350, 599])
def test_an_onset_just_after_the_beginning_of_the_data_is_measured_against_the_noise_there(
    begins: int,
) -> None:
    offset = np.float32(1e6)
    pick = measured(three(wave(200, 3000) + offset)[:, PEAK - begins :], "P", begins)
    assert pick.amplitude == pytest.approx(3000.0, rel=0.1)
    assert pick.snr == pytest.approx(15.0, rel=0.25)


def test_without_noise_there_is_no_ratio() -> None:
    """What moved before, and rings in the filter, is no noise."""
    vertical = wave(200, 3000)
    vertical[PEAK - 350 : PEAK] = 7
    pick = measured(three(vertical), "P")
    assert pick.snr == math.inf
    assert pick.raw_amplitude == 3007.0


@pytest.mark.parametrize("louder", ["HHN", "HHE"])
def test_s_is_told_of_the_horizontal_on_which_it_is_larger(louder: str) -> None:
    """Not of the one with the better ratio, nor of a vertical that is larger still, nor of one with larger microseisms."""
    quieter = wave(100, 10_000) + wave(2e6, 2e6, 0.2)
    horizontals = [wave(10_000, 100_000), quieter]
    samples = np.stack([wave(100, 500_000), *(horizontals if louder == "HHN" else horizontals[::-1])])
    pick = measured(samples, "S")
    assert (pick.channel.channel, pick.raw_amplitude) == (louder, 100_000.0)
    assert pick.amplitude == pytest.approx(1e5, rel=0.1)

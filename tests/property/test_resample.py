"""Any rate to 100 Hz: chunks equal the whole, tones pass or die, onsets stay where they are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.waveform.resample import Aligner, converter_for

RATES = [20.0, 31.25, 40.0, 50.0, 62.5, 80.0, 99.998, 100.0, 100.0003, 120.0, 125.0, 200.0, 250.0, 500.0]


def convert(rate: float, start_ns: int, samples: np.ndarray, cuts: list[int]) -> tuple[int, np.ndarray]:
    converter = converter_for(rate, start_ns)
    parts = [converter.push(piece) for piece in np.split(samples, cuts)]
    full = [part for part in parts if len(part[1])]
    for (first, out), (then, _) in pairwise(full):
        assert first + len(out) == then
    return full[0][0], np.concatenate([out for _, out in full])


@settings(max_examples=60)
@given(
    rate=st.sampled_from(RATES),
    start_ns=st.integers(1_200_000_000_000_000_000, 1_900_000_000_000_000_000),
    cuts=st.lists(st.integers(0, 1500), max_size=12),
)
def test_chunks_equal_the_whole(rate: float, start_ns: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(1).normal(size=1500).cumsum()
    first, whole = convert(rate, start_ns, samples, [])
    other, pieces = convert(rate, start_ns, samples, sorted(cuts))
    assert other == first
    np.testing.assert_array_equal(pieces, whole)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.7])
def test_a_tone_below_the_cut_off_keeps_amplitude_and_phase(rate: float, fraction: float) -> None:
    frequency = fraction * min(rate, 100.0) / 2
    start_ns = 1_300_000_000_003_700_000
    times = np.arange(int(60 * rate)) / rate
    converter = converter_for(rate, start_ns)
    first, out = converter.push(np.sin(2 * np.pi * frequency * times))
    elapsed = (first * 10_000_000 - start_ns + converter.offset_ns + np.arange(len(out)) * 10_000_000) / 1e9
    assert np.abs(out - np.sin(2 * np.pi * frequency * elapsed)).max() < 2e-3


@pytest.mark.parametrize("rate", [125.0, 200.0, 250.0, 500.0])
def test_a_tone_that_would_alias_dies(rate: float) -> None:
    converter = converter_for(rate, 0)
    _, out = converter.push(np.sin(2 * np.pi * 0.97 * rate / 2 * np.arange(4000) / rate))
    assert np.abs(out).max() < 1e-3


@pytest.mark.parametrize("rate", RATES)
def test_an_onset_stays_within_five_milliseconds(rate: float) -> None:
    """A wavelet band-limited below every Nyquist frequency, sampled at its true instants, peaks at the same time."""
    start_ns = 1_300_000_000_123_456_000
    peak_s = 12.3456
    times = np.arange(int(30 * rate)) / rate
    samples = np.exp(-0.5 * ((times - peak_s) / 0.12) ** 2)
    converter = converter_for(rate, start_ns)
    first, out = converter.push(samples)
    top = int(out.argmax())
    left, middle, right = np.log(out[top - 1 : top + 2])
    refined = top + 0.5 * (left - right) / (left - 2 * middle + right)
    seconds = ((first * 10_000_000 - start_ns + converter.offset_ns) + refined * 1e7) / 1e9
    assert abs(seconds - peak_s) < 0.0005


def test_a_drifting_clock_slips_one_sample_at_a_time_and_leaves_no_gap() -> None:
    aligner = Aligner(0)
    total, seen, samples = 0, [], []
    for record in range(400):
        if record:
            aligner.advance(50_000)
        first, out = aligner.push(np.full(100, float(record)))
        seen.append(first)
        samples.append(out)
        assert first == total
        assert abs(aligner.offset_ns) <= 6_050_000
        total += len(out)
    assert total == 400 * 100 + 2
    # What is put in lies between its neighbours, of which the later one is the larger.
    steps = np.diff(np.concatenate(samples))
    assert steps.min() >= 0
    assert steps.max() == 1


@pytest.mark.parametrize("rate", [0.0, 1.0, 19.98, 500.3, 1000.0])
def test_other_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="20 to 500 Hz"):
        converter_for(rate, 0)

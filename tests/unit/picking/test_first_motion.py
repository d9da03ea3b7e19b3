"""The first motion of ground motions of which it is known, and what must not change it."""

import csv
import os
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import Recording
from tests.unit.picking.test_measure import three
from xiaod.domain.types import Instrument, Pick, Polarity, Stage, Window
from xiaod.picking.first_motion import first_motion
from xiaod.picking.measure import measure
from xiaod.waveform.resample import converter_for

ONSET = 900
OPPOSITE: dict[Polarity, Polarity] = {"up": "down", "down": "up", "undecidable": "undecidable"}
SHARED = Path(os.environ.get("XIAO_SHARED", "../shared")) / "data"
Wave = NDArray[np.float64]


def noise(seed: int, samples: int = 1300) -> Wave:
    """Of a period of some tenths of a second, with a root mean square of 1."""
    white = np.random.default_rng(seed).normal(size=samples + 20)
    smooth = np.convolve(white, np.hanning(9), mode="same")[10:-10]
    return np.asarray(smooth / smooth.std())


def ground(seed: int, strength: float, hz: float = 6.0, grows_s: float = 0.0) -> Wave:
    """Noise, and from the onset on a wave that decays, of a strength in root mean squares of the noise; in whole thousandths."""
    since_s = (np.arange(1300) - ONSET) / 100
    wave = np.sin(2 * np.pi * hz * since_s) * np.exp(-since_s / 0.8)
    begun = np.clip(since_s / grows_s, 0, 1) if grows_s else since_s > 0
    return np.round(1000 * (noise(seed) + strength * np.where(since_s > 0, begun * wave, 0)))


grounds = st.builds(
    ground,
    st.integers(0, 10_000),
    st.floats(-100, 100),
    st.floats(1.5, 20),
    st.sampled_from([0.0, 0.0, 0.5]),
)


@pytest.mark.parametrize("hz", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("late", [-3, -1.4, 0, 1.6, 3])
def test_a_clear_first_motion_is_read_though_the_onset_is_a_little_off(hz: float, late: float) -> None:
    read = Counter(first_motion(ground(seed, -40, hz), ONSET + late, 2.0) for seed in range(40))
    assert read["up"] == 0
    # With an onset that is early, noise of the other sense may seem to lie beyond its uncertainty.
    assert read["down"] >= (5 if late < 0 else 20)


def test_noise_and_what_hardly_leaves_it_has_no_first_motion() -> None:
    for strength in (0.0, 2.0):
        read = Counter(first_motion(ground(seed, strength), ONSET, 2.0) for seed in range(300))
        assert read["undecidable"] >= 295


def test_what_grows_little_by_little_has_none() -> None:
    read = Counter(first_motion(ground(seed, 40, grows_s=2.0), ONSET, 2.0) for seed in range(50))
    assert read["down"] <= 1
    assert read["undecidable"] >= 30


@pytest.mark.parametrize("late", [-60, -20, 20, 60])
def test_an_onset_that_lies_elsewhere_has_none(late: int) -> None:
    read = Counter(first_motion(ground(seed, 40), ONSET + late, 2.0) for seed in range(20))
    assert read["undecidable"] == 20


def test_the_less_sure_the_onset_the_less_is_told() -> None:
    """The first half-cycle lasts 8 samples."""
    told = [first_motion(ground(3, 400), ONSET, uncertainty) for uncertainty in (1.0, 4.0, 12.0, 30.0)]
    assert told == ["up", "up", "undecidable", "undecidable"]


@pytest.mark.parametrize(("precursor", "told"), [(0.0, "up"), (-500.0, "up"), (-4_500.0, "undecidable")])
def test_of_a_precursor_a_tiny_one_is_overlooked(precursor: float, told: Polarity) -> None:
    """In hardly any noise, before a wave of 40,000."""
    wave = ground(1, 40) - np.round(1000 * noise(1)) + np.round(10 * noise(2))
    wave[ONSET - 5 : ONSET] += precursor
    assert first_motion(wave, ONSET, 2.0) == told


def test_a_microseism_hides_little() -> None:
    """One that is 40 times as large as the noise above 1 Hz, and as large as the wave."""
    swell = np.round(40_000 * np.sin(2 * np.pi * 0.15 * np.arange(1300) / 100))
    read = Counter(first_motion(ground(seed, 40) + swell, ONSET, 3.0) for seed in range(40))
    assert read["up"] >= 10
    assert read["down"] == 0


@pytest.mark.parametrize("rate_hz", [40.0, 50.0, 125.0, 200.0, 500.0])
@pytest.mark.parametrize("quiet", [1.0, 1e-4])
def test_resampling_turns_none_round(rate_hz: float, quiet: float) -> None:
    """Its filter is symmetric: before a sharp onset it rings."""
    read: Counter[Polarity] = Counter()
    for seed in range(20):
        since_s = np.arange(round(13 * rate_hz)) / rate_hz - 9.003
        wave = np.where(since_s > 0, np.sin(12 * np.pi * since_s) * np.exp(-since_s / 0.8), 0)
        first, vertical = converter_for(rate_hz, 0).push(40 * wave + quiet * noise(seed, len(since_s)))
        read[first_motion(vertical.astype(np.float64), 900.3 - first, 2.0)] += 1
    assert read["down"] == 0
    # At low rates the ringing is slow, and as large as the beginning of the wave.
    assert read["up"] >= (5 if rate_hz > 100 else 0)


@pytest.mark.parametrize(("begins", "told"), [(134, "undecidable"), (200, "up"), (599, "up")])
def test_just_after_the_beginning_of_the_data_nothing_is_told(begins: int, told: Polarity) -> None:
    assert first_motion(ground(1, 60)[ONSET - begins :], begins, 2.0) == told


@settings(max_examples=200)
@given(grounds, st.floats(-8, 8), st.floats(1, 10))
def test_the_opposite_ground_motion_has_the_opposite_first_motion(
    wave: Wave, late: float, uncertainty: float
) -> None:
    told = first_motion(wave, ONSET + late, uncertainty)
    assert first_motion(-wave, ONSET + late, uncertainty) == OPPOSITE[told]


@settings(max_examples=200)
@given(grounds, st.floats(-8, 8), st.integers(-20, 20), st.integers(-(2**30), 2**30))
def test_neither_gain_nor_offset_changes_it(wave: Wave, late: float, doublings: int, offset: int) -> None:
    told = first_motion(wave, ONSET + late, 2.0)
    assert first_motion(wave * 2.0**doublings, ONSET + late, 2.0) == told
    assert first_motion(wave + offset, ONSET + late, 2.0) == told


@settings(max_examples=100)
@example(ground(80, 40), -0.5, 1, 1300).via("an onset just between two samples")
@given(grounds, st.floats(-8, 8), st.integers(0, 380), st.integers(970, 1300))
def test_what_lies_far_from_the_onset_and_how_the_data_were_cut_changes_nothing(
    wave: Wave, late: float, first: int, last: int
) -> None:
    told = first_motion(wave, ONSET + late, 2.0)
    assert first_motion(wave[first:last], ONSET + late - first, 2.0) == told
    wave[:first], wave[last:] = 1e9, -1e9
    assert first_motion(wave, ONSET + late, 2.0) == told


def measured(samples: Wave, phase: str, stage: Stage = "final", components: str = "ZNE") -> Pick:
    window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples.astype(np.float32), components)
    curve = 0.9 * np.exp(-0.5 * ((np.arange(samples.shape[1]) - ONSET) / 3) ** 2)
    return measure(window, window.samples, phase, curve, ONSET, 0, "example-1.0.0", "0" * 64, stage=stage)


def test_final_p_picks_on_a_vertical_have_one() -> None:
    samples = three(ground(1, 60).astype(np.float32)).astype(np.float64)
    assert measured(samples, "P").polarity == "up"
    assert measured(samples * -1, "P").polarity == "down"
    assert measured(samples, "P", components="Z12").polarity == "up"
    assert measured(samples, "P", components="Z--").polarity == "up"
    assert measured(samples, "P", components="123").polarity is None
    assert measured(samples, "P", stage="early").polarity is None
    assert measured(samples, "S").polarity is None
    # A vertical that is dead: the P is seen on a horizontal.
    samples[0] = 7
    assert measured(samples, "P").polarity is None


def test_a_real_event_has_the_opposite_one_upside_down(rjob: Recording) -> None:
    vertical = rjob.components["Z"]
    told = [first_motion(vertical, onset, 2.0) for onset in np.arange(465, 481, 0.5)]
    assert [first_motion(-vertical, onset, 2.0) for onset in np.arange(465, 481, 0.5)] == [
        OPPOSITE[one] for one in told
    ]


@pytest.mark.skipif(not (SHARED / "dev_eval").is_dir(), reason=f"no evaluation data below {SHARED}")
def test_real_records_have_the_opposite_one_upside_down() -> None:
    told: Counter[Polarity] = Counter()
    with (
        (SHARED / "dev_eval" / "metadata.csv").open(encoding="utf-8") as table,
        h5py.File(SHARED / "dev_eval" / "waveforms.hdf5") as waveforms,
    ):
        for row in csv.DictReader(table):
            vertical = waveforms[f"data/{row['trace_name']}"][0].astype(np.float64)
            onset = float(row["p_sample"])
            one = first_motion(vertical, onset, 2.5)
            assert first_motion(-vertical, onset, 2.5) == OPPOSITE[one], row["trace_name"]
            assert first_motion(vertical * 1024 + 5_000_000, onset, 2.5) == one
            told[one] += 1
    # Analysts pick what is clear; both senses are about as frequent.
    assert told["up"] >= 10
    assert told["down"] >= 10

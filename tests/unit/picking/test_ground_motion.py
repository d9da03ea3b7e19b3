"""The motion of the ground after an onset, against ObsPy's removal of the response from the whole record."""

import math
from pathlib import Path

import numpy as np
import obspy
import pytest
import scipy.signal
from numpy.typing import NDArray

from tests.sensors import L4C, STS2, response, station_xml
from xiaod.config.inventory import Stations, read_stations
from xiaod.domain.onsets import BAND_HZ, WOOD_ANDERSON_HZ
from xiaod.domain.response import Response
from xiaod.domain.types import Channel, GroundMotion
from xiaod.picking.band import BAND
from xiaod.picking.ground_motion import FREQUENCIES_HZ, band, ground_motion, inverse_of

RATE_HZ = 100.0
LENGTH, ONSET = 12_000, 8_000
CHANNEL = Channel("BW", "RJOB", "", "EHZ")
NOW_NS = 1_251_073_207_731_250_000
WOOD_ANDERSON = {
    "poles": [-5.49779 - 5.60886j, -5.49779 + 5.60886j],
    "zeros": [0j],
    "gain": 1.0,
    "sensitivity": 2080.0,
}
"""As the IASPEI gives it for displacement, with one zero less: for velocity."""


def record(strength: float, seed: int = 1) -> NDArray[np.float32]:
    """Counts: microseisms, noise, and from the onset on a wave of several frequencies that fades; with an offset."""
    random = np.random.default_rng(seed)
    time_s = np.arange(LENGTH) / RATE_HZ
    since_s = np.maximum(time_s - ONSET / RATE_HZ, 0.0)
    waves = sum(np.sin(2 * math.pi * hz * since_s + hz) / hz for hz in (1.1, 3.0, 7.0, 13.0))
    samples = 5_000 + 800 * np.sin(2 * math.pi * 0.18 * time_s) + random.normal(0, 20, LENGTH)
    wave: NDArray[np.float32] = np.round(
        samples + strength * waves * since_s * np.exp(-since_s / 1.5)
    ).astype(np.float32)
    return wave


def stations(folder: Path, xml: str) -> Stations:
    path = folder / "stations.xml"
    path.write_text(xml, encoding="utf-8")
    return read_stations(path)


def by_obspy(folder: Path, samples: NDArray[np.float32]) -> GroundMotion:
    """The same from the whole record: ObsPy removes the response and simulates, SciPy filters, and nothing is cut."""
    header = {
        "network": "BW", "station": "RJOB", "channel": "EHZ", "sampling_rate": RATE_HZ,
        "starttime": obspy.UTCDateTime(ns=NOW_NS),
    }  # fmt: skip
    inventory = obspy.read_inventory(str(folder / "stations.xml"))

    def removed(corners_hz: tuple[float, float], simulate: bool) -> NDArray[np.float64]:
        trace = obspy.Trace(samples.astype(np.float64), header)
        # As its manual has it: the record tapered, and what lies far outside of the bands left out, so that nothing drifts.
        trace.remove_response(inventory, output="VEL", water_level=60, pre_filt=(0.02, 0.05, 45, 49))
        if simulate:
            trace.simulate(paz_simulate=WOOD_ANDERSON)
        sections = np.concatenate(
            [
                scipy.signal.butter(4, hz, kind, fs=RATE_HZ, output="sos")
                for hz, kind in zip(corners_hz, ("high", "low"), strict=True)
            ]
        )
        values: NDArray[np.float64] = np.abs(scipy.signal.sosfilt(sections, trace.data))
        return values

    velocity, amplitude = removed(BAND_HZ, simulate=False), removed(WOOD_ANDERSON_HZ, simulate=True) * 1000
    after = slice(ONSET, ONSET + 301)
    return GroundMotion(
        float(velocity[after].max()),
        float(amplitude[after].max()),
        float(amplitude[ONSET - 300 : ONSET - 20].max()),
        3.0,
    )


def motion(samples: NDArray[np.float32], found: Response | str | None, onset: int = ONSET) -> GroundMotion:
    assert isinstance(found, Response)
    measured = ground_motion(samples, onset, inverse_of(found))
    assert measured is not None
    return measured


@pytest.mark.parametrize("sensor", [STS2, L4C])
@pytest.mark.parametrize("strength", [300.0, 30_000.0])
def test_motion_is_that_of_obspy_within_a_percent(tmp_path: Path, sensor: str, strength: float) -> None:
    known = stations(tmp_path, station_xml({("EHZ", "2001-01-01", ""): response(sensor)}))
    samples = record(strength)
    made, wanted = motion(samples, known.response(CHANNEL, NOW_NS)), by_obspy(tmp_path, samples)
    assert made.velocity_m_s == pytest.approx(wanted.velocity_m_s, rel=0.01)
    assert made.wood_anderson_mm == pytest.approx(wanted.wood_anderson_mm, rel=0.01)
    assert made.wood_anderson_noise_mm == pytest.approx(wanted.wood_anderson_noise_mm, rel=0.05)
    assert made.window_s == wanted.window_s == 3.0


def test_a_tone_has_the_amplitude_that_can_be_worked_out(tmp_path: Path) -> None:
    """In the middle of all bands a velocity of 1 um/s at 5 Hz is a displacement of 1 / (10 pi) um, magnified 2080 times."""
    known = stations(tmp_path, station_xml({("EHZ", "2001-01-01", ""): response(STS2, 1500.0, 4e8)}))
    time_s = np.arange(LENGTH) / RATE_HZ
    samples = (1500.0 * 4e8 * 1e-6 * np.sin(2 * math.pi * 5 * time_s)).astype(np.float32)
    made = motion(samples, known.response(CHANNEL, NOW_NS))
    assert made.velocity_m_s == pytest.approx(1e-6, rel=0.02)
    s, resonance = 10j * math.pi, 2 * math.pi / 0.8
    magnification = 2080 * abs(s**2 / (s**2 + 2 * 0.7 * resonance * s + resonance**2))
    assert made.wood_anderson_mm == pytest.approx(1e-3 / (10 * math.pi) * magnification, rel=0.02)
    assert made.wood_anderson_noise_mm == pytest.approx(made.wood_anderson_mm, rel=0.01)


def test_the_band_is_that_of_the_ratio() -> None:
    turn = np.exp(2j * math.pi * FREQUENCIES_HZ / RATE_HZ)
    filtered = np.polyval(BAND[0], turn) / np.polyval(BAND[1], turn)
    np.testing.assert_allclose(band(*BAND_HZ), filtered, atol=1e-9)


def test_only_the_samples_around_an_onset_count(tmp_path: Path) -> None:
    known = stations(tmp_path, station_xml({("EHZ", "2001-01-01", ""): response()})).response(CHANNEL, NOW_NS)
    samples = record(3000.0)
    others = samples.copy()
    others[: ONSET - 1000] += 10_000
    others[ONSET + 301 :] = 0
    assert motion(others, known) == motion(samples, known)
    cut = motion(samples[ONSET - 1000 :], known, onset=1000)
    assert cut == motion(samples, known)
    # Data that end, and data that begin, nearer to it.
    assert motion(samples[: ONSET + 51], known).window_s == 0.5
    nearer = motion(samples[ONSET - 400 :], known, onset=400)
    assert nearer.velocity_m_s == pytest.approx(cut.velocity_m_s, rel=0.01)
    assert nearer.wood_anderson_mm == pytest.approx(cut.wood_anderson_mm, rel=0.05)


def test_a_response_counts_in_its_epoch_alone(tmp_path: Path) -> None:
    epochs = {
        ("EHZ", "2001-01-01", "2008-12-31"): response(volts=1500.0),
        ("EHZ", "2009-01-01", "2010-12-31"): response(volts=3000.0),
        ("EHN", "2001-01-01", ""): response(),
    }
    known = stations(tmp_path, station_xml(epochs))
    samples = record(3000.0)
    old_ns, late_ns = NOW_NS - 2 * 365 * 86_400 * 10**9, NOW_NS + 3 * 365 * 86_400 * 10**9
    old, new = (motion(samples, known.response(CHANNEL, time_ns)) for time_ns in (old_ns, NOW_NS))
    assert old.velocity_m_s == pytest.approx(2 * new.velocity_m_s)
    assert known.response(CHANNEL, late_ns) is None
    assert known.response(Channel("BW", "RJOB", "00", "EHZ"), NOW_NS) is None
    assert known.response(Channel("BW", "RJOB", "", "EHE"), NOW_NS) is None

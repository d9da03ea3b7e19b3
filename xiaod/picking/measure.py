"""What is measured at an onset: time, uncertainty, signal-to-noise ratio and amplitude.

**Time.** The onset is the centroid of the part of the peak above half height, within ``CENTROID_S``; it lies between samples. Its
uncertainty is what the model's calibration expects of a peak of that probability and width; without a calibration, the standard
deviation of a Gaussian of that width.

>>> import numpy as np
>>> from xiaod.domain.types import Instrument, Window
>>> curve = 0.9 * np.exp(-0.5 * ((np.arange(1000) - 600.25) / 10) ** 2)
>>> samples = np.tile(np.arange(1000, dtype=np.float32), (3, 1))
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE")
>>> pick = measure(window, samples, "P", curve, peak=600, before=0, model="example-1.0.0", model_sha256="0" * 64)
>>> pick.id, abs(pick.time_ns - 6_002_500_000) < 200_000, round(pick.time_uncertainty_s, 2)
('19700101.000006.00-P-XX.A..HH-example-1.0.0', True, 0.1)
"""

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from xiaod.domain.components import MISSING, moving_components
from xiaod.domain.onsets import CENTROID_S, SIGNAL_S, pick_id
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, samples_from_s
from xiaod.domain.types import Channel, Pick, Stage, Window

HALF_HEIGHT_SPREAD = 0.5047
"""Standard deviation of the part of a Gaussian above half height, in standard deviations of the whole."""
NOISE_S = (3.0, 0.2)
"""Noise for the signal-to-noise ratio: begin and end, seconds before the onset."""
MIN_NOISE_SAMPLES = 20
NO_CALIBRATION = Calibration()


def measure(
    window: Window,
    samples: NDArray[np.float32],
    phase: str,
    curve: NDArray[np.floating],
    peak: int,
    before: int,
    model: str,
    model_sha256: str,
    calibration: Calibration = NO_CALIBRATION,
    stage: Stage = "final",
) -> Pick:
    """Make the pick of an onset.

    Args:
        window: the window it was seen in.
        samples: samples around it, shape ``(3, n)``, beginning ``before`` samples before the window.
        phase: ``P`` or ``S``.
        curve: probability of the phase at each of these samples.
        peak: sample of ``samples`` with the highest probability.
        before: samples of ``samples`` before the window.
        model: name and version of the model.
        model_sha256: hash of its file.
        calibration: of the time uncertainty.
        stage: of the pick.
    """
    centre, spread = _centroid(curve, peak)
    components = moving_components(window.components, window.samples)
    row = _best_row(samples, components, phase, peak)
    snr, amplitude = _strength(samples[row], peak)
    instrument = window.instrument
    first = window.index - before
    return Pick(
        id=pick_id((first + peak) * GRID_NS, phase, instrument, model, stage),
        channel=Channel(
            instrument.network,
            instrument.station,
            instrument.location,
            instrument.band + components[row],
        ),
        phase=phase,
        time_ns=first * GRID_NS + round(centre * GRID_NS) + window.offset_ns,
        time_uncertainty_s=calibration.uncertainty_s(phase, float(curve[peak]), spread / GRID_RATE_HZ),
        probability=float(curve[peak]),
        snr=snr,
        amplitude=amplitude,
        components=components,
        model=model,
        model_sha256=model_sha256,
        stage=stage,
    )


def _centroid(curve: NDArray[np.floating], peak: int) -> tuple[float, float]:
    """Centre of a peak and the standard deviation of the Gaussian it resembles, in samples."""
    reach = samples_from_s(CENTROID_S)
    start, stop = max(0, peak - reach), min(len(curve), peak + reach + 1)
    above = curve[start:stop] >= curve[peak] / 2
    left = peak - start
    # The part that is connected with the peak.
    while left > 0 and above[left - 1]:
        left -= 1
    right = peak - start
    while right + 1 < len(above) and above[right + 1]:
        right += 1
    position = np.arange(start + left, start + right + 1)
    # The part above half height: the weight falls to zero at both ends, so no sample enters or leaves with a jump.
    weight = curve[position] - curve[peak] / 2
    centre = float((position * weight).sum() / weight.sum())
    spread = float(np.sqrt((weight * (position - centre) ** 2).sum() / weight.sum()))
    return centre, spread / HALF_HEIGHT_SPREAD


def _best_row(samples: NDArray[np.float32], components: str, phase: str, peak: int) -> int:
    """Row that shows the phase best: the vertical for P, the stronger horizontal for S; otherwise whichever there is."""
    around = samples[:, max(0, peak - samples_from_s(NOISE_S[0])) : peak + samples_from_s(SIGNAL_S) + 1]
    # A component that has died meanwhile shows nothing.
    moving = [row for row, letter in enumerate(moving_components(components, around)) if letter != MISSING]
    horizontals = [row for row in moving if row > 0]
    if phase == "S" and horizontals:
        return max(horizontals, key=lambda row: _strength(samples[row], peak)[1])
    return moving[0]


def _strength(samples: NDArray[np.float32], peak: int) -> tuple[float, float]:
    """Signal-to-noise ratio (root mean squares) and peak absolute amplitude around an onset."""
    stop = peak + samples_from_s(SIGNAL_S) + 1
    noise = samples[max(0, peak - samples_from_s(NOISE_S[0])) : max(0, peak - samples_from_s(NOISE_S[1]))]
    if len(noise) < MIN_NOISE_SAMPLES:
        noise = samples[: max(peak, 1)]
    mean = float(noise.mean(dtype=np.float64))
    signal = samples[peak:stop].astype(np.float64) - mean
    amplitude = float(np.abs(signal).max())
    noise_rms = float(noise.std(dtype=np.float64))
    if noise_rms == 0.0:
        return float("inf") if amplitude else 0.0, amplitude
    return float(np.sqrt((signal**2).mean())) / noise_rms, amplitude

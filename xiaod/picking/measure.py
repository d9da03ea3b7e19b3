"""What is measured at an onset: time, uncertainty, signal-to-noise ratio, amplitude, first motion.

**Time.** The onset is the centroid of the part of the peak above half height, within ``CENTROID_S``; it lies between samples. Its
uncertainty is what the model's calibration expects of a peak of that probability and width; without a calibration, the standard
deviation of a Gaussian of that width.

**Ratio and amplitude.** They are measured in a band, :data:`~xiaod.domain.onsets.BAND_HZ`, because in a broadband record microseisms are
larger than most local earthquakes. The filter (:mod:`xiaod.picking.band`) begins anew for each onset, at rest,
:data:`~xiaod.picking.band.RUN_IN_S` before the noise. So neither an offset nor anything before that changes the values, and they are the
same whatever the window and however the data were cut. Nearer to the beginning of the data the run-in is shorter, and then the noise; an
early pick has less signal than a final one. The raw amplitude is of the samples as they are.

**First motion**, of a final P pick on a vertical: :mod:`xiaod.picking.first_motion`.

>>> import numpy as np
>>> from xiaod.domain.types import Instrument, Window
>>> curve = 0.9 * np.exp(-0.5 * ((np.arange(1000) - 600.25) / 10) ** 2)
>>> samples = np.tile(np.arange(1000, dtype=np.float32), (3, 1))
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE")
>>> pick = measure(window, samples, "P", curve, peak=600, before=0, model="example-1.0.0", model_sha256="0" * 64)
>>> pick.id, abs(pick.time_ns - 6_002_500_000) < 200_000, round(pick.time_uncertainty_s, 2)
('19700101.000006.00-P-XX.A..HH-example-1.0.0', True, 0.1)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from xiaod.domain.components import MISSING, moving_components
from xiaod.domain.onsets import CENTROID_S, SIGNAL_S, pick_id
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, samples_from_s
from xiaod.domain.types import Channel, Pick, Stage, Window
from xiaod.picking.band import RUN_IN, from_rest
from xiaod.picking.first_motion import first_motion

HALF_HEIGHT_SPREAD = 0.5047
"""Standard deviation of the part of a Gaussian above half height, in standard deviations of the whole."""
NOISE_S = (3.0, 0.2)
"""Noise for the signal-to-noise ratio: begin and end, seconds before the onset."""
MIN_NOISE_SAMPLES = 20
SHORT_NOISE_S = 1.0
"""So much noise is left where data begin just before the onset, if there is, at the cost of the run-in."""
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
    strength = _strength(samples, components, phase, peak)
    instrument = window.instrument
    first = window.index - before
    uncertainty_s = calibration.uncertainty_s(phase, float(curve[peak]), spread / GRID_RATE_HZ)
    shows_first_motion = stage == "final" and phase == "P" and components[strength.row] == "Z"
    return Pick(
        id=pick_id((first + peak) * GRID_NS, phase, instrument, model, stage),
        channel=Channel(
            instrument.network,
            instrument.station,
            instrument.location,
            instrument.band + components[strength.row],
        ),
        phase=phase,
        time_ns=first * GRID_NS + round(centre * GRID_NS) + window.offset_ns,
        time_uncertainty_s=uncertainty_s,
        probability=float(curve[peak]),
        snr=strength.snr,
        amplitude=strength.amplitude,
        components=components,
        model=model,
        model_sha256=model_sha256,
        stage=stage,
        raw_amplitude=strength.raw_amplitude,
        polarity=first_motion(samples[strength.row], centre, uncertainty_s * GRID_RATE_HZ)
        if shows_first_motion
        else None,
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


@dataclass(frozen=True, slots=True)
class _Strength:
    """Of an onset, on the row that shows it best."""

    row: int
    snr: float
    amplitude: float
    raw_amplitude: float


def _strength(samples: NDArray[np.float32], components: str, phase: str, peak: int) -> _Strength:
    """Ratio and amplitudes; of ``samples``, shape ``(3, n)``, only those around the onset count, whatever a window holds besides."""
    longest = samples_from_s(NOISE_S[0])
    begin = max(0, peak - longest - RUN_IN)
    around = samples[:, begin : peak + samples_from_s(SIGNAL_S) + 1]
    onset = peak - begin
    stop = onset - samples_from_s(NOISE_S[1])
    # Where data have just begun, the filter gets of its run-in what leaves enough noise.
    start = max(0, onset - longest, min(RUN_IN, stop - samples_from_s(SHORT_NOISE_S)))
    noise = slice(start, stop) if stop - start >= MIN_NOISE_SAMPLES else slice(0, max(onset, 1))
    rows = _rows(moving_components(components, around[:, noise.start :]), phase)
    raw = around[rows].astype(np.float64)
    band = from_rest(raw)
    amplitudes = np.abs(band[:, onset:]).max(axis=1)
    best = int(amplitudes.argmax())
    raw_noise = raw[best, noise]
    raw_amplitude = float(np.abs(raw[best, onset:] - raw_noise.mean()).max())
    if raw_noise.max() == raw_noise.min():
        # What earlier samples have left in the filter is no noise.
        snr = math.inf if raw_amplitude else 0.0
    else:
        power = np.square(band[best])
        snr = math.sqrt(float(power[onset:].mean()) / float(power[noise].mean()))
    return _Strength(rows[best], snr, float(amplitudes[best]), raw_amplitude)


def _rows(components: str, phase: str) -> list[int]:
    """Rows that show a phase: the vertical for P, the horizontals for S; otherwise whichever there is."""
    # A component that has died meanwhile shows nothing.
    moving = [row for row, letter in enumerate(components) if letter != MISSING]
    horizontals = [row for row in moving if row > 0]
    return horizontals if phase == "S" and horizontals else moving[:1]

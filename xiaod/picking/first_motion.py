"""First motion of a P: up, down, or undecidable, from the vertical as it was recorded.

The trace is high-passed at :data:`HIGH_PASS_HZ` (Butterworth, order two), because microseisms are larger than the first motion of most
local earthquakes. The filter is causal and at rest at its first sample: it turns no first motion round, and lets no offset through. Of the
half-cycles, the parts of the trace between two changes of sign, the first one that stands out of the noise (:data:`STANDS_OUT`) is the
first motion, if

- it stands out clearly (:data:`CLEAR`), and the half-cycle before it does not nearly do so (:data:`QUIET`): of what grows little by little
  nobody can tell where it begins;
- it is not tiny beside the wave (:data:`LEAST_NOISE`): filters of digitisers that are not causal put precursors before a sharp onset
  (Scherbaum & Bouin 1997, Geophys. J. Int. 130, 661), and so does resampling;
- it is the same wherever within its uncertainty the onset lies: a standard deviation after the onset it has begun, and has not ended.

Everything else is undecidable. What stands out is looked for from :data:`EARLIEST_S` before the onset; where the ground has moved before
that, as in the coda of another event, the noise is as large. A sensor that is wired the wrong way gives the opposite of what the ground
did: what was recorded is all that is known.

>>> since_s = (np.arange(1000) - 700) / 100
>>> vertical = np.sin(50 * np.arange(1000)) + np.where(since_s < 0, 0, 100 * np.sin(40 * since_s))
>>> first_motion(vertical, 700, 2.0), first_motion(-vertical, 700, 2.0), first_motion(vertical, 400, 2.0)
('up', 'down', 'undecidable')
"""

from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray

from models.recursive_filter import high_pass, recursive_filter
from xiaod.domain.timegrid import GRID_RATE_HZ, samples_from_s
from xiaod.domain.types import Polarity

HIGH_PASS_HZ = 1.0
HIGH_PASS = high_pass(HIGH_PASS_HZ, GRID_RATE_HZ)
RUN_IN_S = 1.0
"""Samples before the noise, in which the filter settles; fewer where data have just begun."""
NOISE_S = (3.0, 0.35)
"""Noise: begin and end, seconds before the onset."""
LEAST_NOISE_S = 1.0
"""With less of it, where data have just begun, nothing can be told."""
EARLIEST_S = 0.3
"""How long before the onset a half-cycle may stand out."""
LONGEST_S = 0.6
"""Until so long after the onset the first motion must have ended."""
LEAST_NOISE = 0.01
"""What the noise is taken to be at least, in parts of the largest sample so near the onset."""
STANDS_OUT = 3.0
"""Peak of a half-cycle, in root mean squares of the noise, from which it is no noise."""
CLEAR = 7.0
"""The same, from which it is a first motion."""
QUIET = 1.5
"""The same, up to which the half-cycle before it is noise."""


def first_motion(vertical: NDArray[np.floating], onset: float, uncertainty: float) -> Polarity:
    """First motion at an onset.

    Args:
        vertical: samples at 100 Hz, shape ``(n,)``; of those around the onset alone depends what is told.
        onset: sample, not a whole one as a rule.
        uncertainty: of the onset, one standard deviation in samples.
    """
    # Not to the nearest even one, which depends on where the samples begin.
    place = floor(onset + 0.5)
    begin = max(0, place - samples_from_s(NOISE_S[0] + RUN_IN_S))
    raw = vertical[begin : place + samples_from_s(LONGEST_S)].astype(np.float64)
    place -= begin
    noise = slice(max(0, place - samples_from_s(NOISE_S[0])), max(0, place - samples_from_s(NOISE_S[1])))
    if noise.stop - noise.start < samples_from_s(LEAST_NOISE_S):
        return "undecidable"
    # The filter is at rest at the first sample: no offset comes through.
    [trace], _ = recursive_filter(*HIGH_PASS, (raw - raw[0])[None], np.zeros((1, 2)))
    first = place - samples_from_s(EARLIEST_S)
    around = trace[first:]
    largest = float(np.abs(around[: 2 * samples_from_s(EARLIEST_S)]).max())
    level = max(sqrt(float(np.square(trace[noise]).mean())), LEAST_NOISE * largest)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(np.sign(around))) + 1])
    peaks = np.maximum.reduceat(np.abs(around), starts)
    standing = np.flatnonzero(peaks > STANDS_OUT * level)
    # The half-cycles at both ends are cut.
    if not len(standing) or not 0 < (number := int(standing[0])) < len(starts) - 1:
        return "undecidable"
    start, stop = starts[number : number + 2].tolist()
    since_onset = first + begin - onset
    told = (
        peaks[number] > CLEAR * level
        and peaks[number - 1] <= QUIET * level
        and start + since_onset <= uncertainty < stop + since_onset
    )
    if not told:
        return "undecidable"
    return "up" if around[start] > 0 else "down"

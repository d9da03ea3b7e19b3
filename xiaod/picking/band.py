"""The band in which onsets are measured and shown: a causal Butterworth band-pass, a high-pass of order four and such a low-pass after it.

A filter begins at rest at its first sample, so no offset comes through. After :data:`RUN_IN_S` it has settled: of a step less than a
millionth is left, so pieces of data with so much before them are filtered as the whole is. Where data begin nothing is before them: there
values are unknown for :data:`SETTLE_S`, after which a hundredth is left.

>>> passed = band_passed(np.full((1, 400), 1e6))
>>> bool(np.isnan(passed[0, :100]).all()), passed[0, 100:].tolist() == [0.0] * 300
(True, True)
"""

import numpy as np
from numpy.typing import NDArray

from models.recursive_filter import band_pass, recursive_filter
from xiaod.domain.onsets import BAND_HZ
from xiaod.domain.timegrid import GRID_RATE_HZ, samples_from_s

BAND = band_pass(*BAND_HZ, GRID_RATE_HZ)
"""Coefficients of the filter, on the 100 Hz grid."""
RUN_IN_S = 3.0
"""Samples before those that are looked at, in which the filter settles."""
RUN_IN = samples_from_s(RUN_IN_S)
SETTLE_S = 1.0
SETTLE = samples_from_s(SETTLE_S)


def from_rest(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Filter gapless samples, shape ``(rows, n)``, from rest at the first ones."""
    raw = samples.astype(np.float64)
    values, _ = recursive_filter(*BAND, raw - raw[:, :1], np.zeros((len(raw), len(BAND[1]) - 1)))
    return values


def band_passed(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """Filter samples, shape ``(rows, n)``, NaN where there are none; NaN too for :data:`SETTLE_S` from where they begin."""
    passed = np.full(samples.shape, np.nan, np.float32)
    known = np.isfinite(samples)
    for pattern in known[:1] if known.all() else np.unique(known, axis=0):
        rows = np.flatnonzero((known == pattern).all(axis=1))
        edges = np.flatnonzero(np.diff(pattern, prepend=False, append=False))
        for begin, stop in edges.reshape(-1, 2).tolist():
            if stop - begin > SETTLE:
                passed[rows, begin + SETTLE : stop] = from_rest(samples[rows, begin:stop])[:, SETTLE:]
    return passed

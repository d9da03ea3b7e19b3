"""Peaks of a curve: the highest points at least some distance apart.

As ``scipy.signal.find_peaks`` with ``height`` and ``distance``, but for peaks of exactly one height that are too close: here the earlier
one stays, SciPy leaves open which. The tests compare both wherever no two peaks are alike. SciPy's package takes 70 MB of memory.

>>> find_peaks(np.array([0.0, 0.4, 0.1, 0.5, 0.2, 0.3, 0.3, 0.0]), height=0.25, distance=3)
[3]
"""

import numpy as np
from numpy.typing import NDArray


def find_peaks(curve: NDArray[np.floating], height: float, distance: int) -> list[int]:
    """Indices of peaks, in order.

    A peak is higher than what is beside it; a flat top is one peak, in its middle. Of two that are closer than ``distance`` the lower one
    goes, the later one of two alike.

    Args:
        curve: shape ``(n,)``.
        height: least value of a peak.
        distance: least number of samples between two peaks.
    """
    high = np.flatnonzero(curve >= height)
    if not len(high):
        return []
    # What lies beside the high parts decides whether they are peaks; nothing else does.
    first = max(0, int(high[0]) - 1)
    curve = curve[first : int(high[-1]) + 2]
    # Flat parts: where each begins, and the one after it.
    starts = np.flatnonzero(np.diff(curve, prepend=np.nan) != 0)
    values = curve[starts]
    if len(starts) < 3:
        return []
    top = (values[1:-1] > values[:-2]) & (values[1:-1] > values[2:]) & (values[1:-1] >= height)
    found = np.flatnonzero(top) + 1
    # The part ends where the next one begins.
    peaks = first + (starts[found] + starts[found + 1] - 1) // 2
    kept: list[int] = []
    for peak in peaks[np.argsort(-values[found], kind="stable")].tolist():
        if all(abs(peak - other) >= distance for other in kept):
            kept.append(peak)
    return sorted(kept)

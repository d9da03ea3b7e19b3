"""Stability: whether an onset gives the same pick in every window.

Windows that end 0.5 to 1.0 s after an onset, sample by sample, are compared with windows that have it in their
middle. If picks of a student move as data arrive, they depend on the grid of windows.

>>> import numpy as np
>>> def annotate(windows):
...     curve = np.exp(-0.5 * ((windows[:, :1] - 2000) / 10) ** 2)
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> waves = np.tile(np.arange(4000.0), (3, 1))
>>> sweep(waves, 2003, 1, ends_s=(0.5, 1.0), annotate=annotate, threshold=0.3)
{'windows': 51, 'seen': 1.0, 'time_mean_s': -0.03, 'time_range_s': 0.0, 'probability_min': 1.0}
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.annotators import WINDOW, Annotate
from distill.corpus import onsets_of
from models.conventions import RATE_HZ

EARLY_S = (0.5, 1.0)
MIDDLE_S = (4.0, 6.0)
"""Ends of the windows after the onset, first and last."""
NEAR = 50
"""Samples within which a peak belongs to the onset."""
AGREEMENT_S = 0.02


def sweep(
    waves: NDArray[np.generic],
    onset: int,
    row: int,
    ends_s: tuple[float, float],
    annotate: Annotate,
    threshold: float,
) -> dict[str, Any]:
    """Measure an onset in all windows that end between two times after it.

    Returns:
        Number of windows; share of them in which exactly one peak near the onset reaches the threshold;
        mean of its time relative to ``onset``; range of its time; least probability near the onset.

    Raises:
        ValueError: when the record is too short for these windows.
    """
    ends = range(onset + round(ends_s[0] * RATE_HZ), onset + round(ends_s[1] * RATE_HZ) + 1)
    if ends[0] < WINDOW or ends[-1] > waves.shape[1]:
        raise ValueError(
            f"the record does not hold windows that end {ends_s[0]:g} to {ends_s[1]:g} s after {onset}"
        )
    values = annotate(np.stack([waves[:, end - WINDOW : end] for end in ends]).astype(np.float32))
    times, heights = [], []
    for end, curve in zip(ends, values[:, row], strict=True):
        place = onset - (end - WINDOW)
        heights.append(float(curve[max(0, place - NEAR) : place + NEAR + 1].max()))
        near = [peak for peak in onsets_of(curve, threshold) if abs(peak - place) <= NEAR]
        if len(near) == 1:
            times.append((near[0] - place) / RATE_HZ)
    return {
        "windows": len(ends),
        "seen": round(len(times) / len(ends), 3),
        "time_mean_s": round(float(np.mean(times)), 4) if times else None,
        "time_range_s": round(float(np.ptp(times)), 4) if times else None,
        "probability_min": round(min(heights), 3),
    }


def agreement(
    onsets: Iterable[tuple[NDArray[np.generic], int, int]], annotate: Annotate, threshold: float
) -> dict[str, float]:
    """Early picks compared with those in mid-window, for onsets ``(waves, sample, row)``.

    Returns:
        Number of onsets, and of those seen in all windows of both kinds; share of these whose early mean time
        lies within 20 ms of the other; median and 90th percentile of the difference; median range of time among
        early windows.
    """
    differences, ranges, tried = [], [], 0
    for waves, onset, row in onsets:
        try:
            early = sweep(waves, onset, row, EARLY_S, annotate, threshold)
            middle = sweep(waves, onset, row, MIDDLE_S, annotate, threshold)
        except ValueError:
            continue
        tried += 1
        if early["seen"] == 1.0 and middle["seen"] == 1.0:
            differences.append(abs(early["time_mean_s"] - middle["time_mean_s"]))
            ranges.append(early["time_range_s"])
    if not differences:
        return {"onsets": tried, "always_seen": 0}
    return {
        "onsets": tried,
        "always_seen": len(differences),
        "within_20_ms": round(float(np.mean(np.array(differences) <= AGREEMENT_S)), 3),
        "difference_median_s": round(float(np.median(differences)), 4),
        "difference_p90_s": round(float(np.percentile(differences, 90)), 4),
        "early_range_median_s": round(float(np.median(ranges)), 4),
    }

"""Scores of picks against labels.

A pick is a peak above the threshold, at least 0.5 s from a higher one. A label matches the nearest pick within the
tolerance; every other pick is false.

>>> found = [Found("a", (500,), 502.0), Found("b", (), 300.0), Found("c", (10, 20), None)]
>>> values = score(found, tolerance_s=0.1)
>>> values["precision"], values["recall"], values["f1"], values["residual_mean_s"]
(0.333, 0.5, 0.4, -0.02)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.bootstrap import Counts, interval
from distill.corpus import onsets_of
from models.conventions import RATE_HZ

TOLERANCES_S = (0.1, 0.5)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
OUTLIER_S = 0.3
"""Residuals further than this from their median are outliers."""


@dataclass(frozen=True)
class Found:
    """Picks and label of one window."""

    event: str
    """Event of the window, for the bootstrap."""
    picks: tuple[float, ...]
    """Samples of the picks."""
    label: float | None
    """Sample of the label; None: every pick is false."""


def score(found: Sequence[Found], tolerance_s: float) -> dict[str, Any]:
    """Precision, recall and F1 of picks with its interval, and residuals (pick minus label) of those that match."""
    counts = counts_of(found, tolerance_s)
    hits, false, labels = _summed(counts)
    residuals = residuals_of(found, tolerance_s)
    return {
        "precision": round(hits / max(hits + false, 1), 3),
        "recall": round(hits / max(labels, 1), 3),
        "f1": f1(hits, false, labels),
        "f1_interval": interval(counts),
        "labels": labels,
        "events": len(counts),
        "hits": hits,
        "false": false,
        "residual_mean_s": round(float(np.mean(residuals)), 4) if residuals else 0.0,
        "residual_std_s": round(float(np.std(residuals)), 4) if residuals else 0.0,
    }


def spread(residuals: Sequence[float]) -> dict[str, float | int]:
    """Median of residuals, their median absolute deviation, and how many are further than :data:`OUTLIER_S` from it.

    >>> spread([0.0, 0.01, 0.02, 0.5])
    {'matched': 4, 'median_s': 0.015, 'mad_s': 0.01, 'outliers': 1}
    """
    if not residuals:
        return {"matched": 0, "median_s": 0.0, "mad_s": 0.0, "outliers": 0}
    values = np.asarray(residuals)
    median = float(np.median(values))
    return {
        "matched": len(values),
        "median_s": round(median, 4),
        "mad_s": round(float(np.median(np.abs(values - median))), 4),
        "outliers": int((np.abs(values - median) > OUTLIER_S).sum()),
    }


def residuals_of(found: Sequence[Found], tolerance_s: float) -> list[float]:
    """Seconds of pick minus label, of labels with a pick within the tolerance."""
    return [residual for one in found if (residual := _residual(one, tolerance_s)) is not None]


def hits_and_false(found: Sequence[Found], tolerance_s: float) -> tuple[int, int]:
    """Labels with a pick, and picks without a label."""
    hits = len(residuals_of(found, tolerance_s))
    return hits, sum(len(one.picks) for one in found) - hits


def counts_of(found: Sequence[Found], tolerance_s: float) -> Counts:
    """Hits, false picks and labels of each event."""
    counts: dict[str, tuple[int, int, int]] = {}
    for one in found:
        hit = int(_residual(one, tolerance_s) is not None)
        before = counts.get(one.event, (0, 0, 0))
        added = (hit, len(one.picks) - hit, int(one.label is not None))
        counts[one.event] = (before[0] + added[0], before[1] + added[1], before[2] + added[2])
    return counts


def f1_of_counts(counts: Counts) -> float:
    """F1 over all events."""
    return f1(*_summed(counts))


def _summed(counts: Counts) -> tuple[int, int, int]:
    hits, false, labels = (sum(count[part] for count in counts.values()) for part in range(3))
    return hits, false, labels


def _residual(one: Found, tolerance_s: float) -> float | None:
    if one.label is None or not one.picks:
        return None
    residual_s = min((pick - one.label for pick in one.picks), key=abs) / RATE_HZ
    return residual_s if abs(residual_s) <= tolerance_s else None


def best_f1(ours: NDArray[np.floating], theirs: NDArray[np.floating], onset_threshold: float) -> float:
    """F1 of the peaks of curves against those of the labels: mean of P and S and of two tolerances, each at its best threshold.

    Args:
        ours: shape ``(n, 3, L)``, probabilities of N, P, S in windows.
        theirs: the labels, of the same shape.
        onset_threshold: probability from which a peak of a label is an onset.
    """
    found = []
    for row in (1, 2):
        labels = [onsets_of(curve, onset_threshold) for curve in theirs[:, row]]
        onsets = sum(map(len, labels))
        for tolerance_s in TOLERANCES_S:
            at = []
            for threshold in THRESHOLDS:
                hits = false = 0
                for curve, known in zip(ours[:, row], labels, strict=True):
                    picks = onsets_of(curve, threshold)
                    met = sum(
                        any(abs(pick - onset) <= tolerance_s * RATE_HZ for pick in picks) for onset in known
                    )
                    hits, false = hits + met, false + max(0, len(picks) - met)
                at.append(f1(hits, false, onsets))
            found.append(max(at))
    return float(np.mean(found))


def f1(hits: int, false: int, labels: int) -> float:
    """Harmonic mean of precision and recall.

    >>> f1(hits=8, false=2, labels=10)
    0.8
    """
    return f_measure(hits, false, labels, beta=1.0)


def f_measure(hits: float, false: float, labels: float, beta: float) -> float:
    """Weighted harmonic mean of precision and recall; recall counts ``beta`` times as much as precision. Counts may be weighted.

    Source: C. J. van Rijsbergen, Information Retrieval, 2nd ed., 1979, ch. 7.

    >>> f_measure(hits=6, false=0, labels=10, beta=0.5), f_measure(hits=10, false=6, labels=10, beta=0.5)
    (0.882, 0.676)
    """
    weight = beta**2
    return round((1 + weight) * hits / ((weight * labels + hits + false) or 1), 3)

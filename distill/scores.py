"""Scores of picks against labels.

Every peak above the threshold and at least 0.5 s from a higher one is a pick; a label is matched by the
nearest within the tolerance; every other peak counts as false.

>>> score([([500], 502.0), ([], 300.0), ([10, 20], None)], tolerance_s=0.1)
{'precision': 0.333, 'recall': 0.5, 'f1': 0.4, 'labels': 2, 'residual_mean_s': -0.02, 'residual_std_s': 0.0}
"""

from collections.abc import Sequence

import numpy as np

RATE_HZ = 100.0

Found = tuple[list[int], float | None]
"""Samples of the picks in a window, and the sample of its label."""


def score(found: Sequence[Found], tolerance_s: float) -> dict[str, float]:
    """Precision, recall and F1 of picks, and residuals (pick minus label) of those that match."""
    hits, false, labels, residuals = 0, 0, 0, []
    for picks, label in found:
        if label is None:
            false += len(picks)
            continue
        labels += 1
        nearest = min(picks, key=lambda pick: abs(pick - label), default=None)
        if nearest is not None and abs(nearest - label) <= tolerance_s * RATE_HZ:
            hits += 1
            false += len(picks) - 1
            residuals.append((nearest - label) / RATE_HZ)
        else:
            false += len(picks)
    precision, recall = hits / max(hits + false, 1), hits / max(labels, 1)
    return {
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": f1(hits, false, labels),
        "labels": labels,
        "residual_mean_s": round(float(np.mean(residuals)), 4) if residuals else 0.0,
        "residual_std_s": round(float(np.std(residuals)), 4) if residuals else 0.0,
    }


def f1(hits: int, false: int, labels: int) -> float:
    """Harmonic mean of precision and recall.

    >>> f1(hits=8, false=2, labels=10)
    0.8
    """
    return round(2 * hits / max(hits + false + labels, 1), 3)

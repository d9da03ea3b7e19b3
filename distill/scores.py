"""Scores of picks against labels.

Every peak above the threshold and at least 0.5 s from a higher one is a pick; a label is matched by the
nearest within the tolerance; every other peak counts as false.

>>> found = [Found("a", (500,), 502.0), Found("b", (), 300.0), Found("c", (10, 20), None)]
>>> values = score(found, tolerance_s=0.1)
>>> values["precision"], values["recall"], values["f1"], values["residual_mean_s"]
(0.333, 0.5, 0.4, -0.02)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.bootstrap import Counts, interval

RATE_HZ = 100.0


@dataclass(frozen=True)
class Found:
    """What was picked in one window."""

    event: str
    """What the window belongs to when events are drawn anew."""
    picks: tuple[float, ...]
    """Samples of the picks."""
    label: float | None
    """Sample of the label; None: every pick is false."""


def score(found: Sequence[Found], tolerance_s: float) -> dict[str, Any]:
    """Precision, recall and F1 of picks with its interval, and residuals (pick minus label) of those that match."""
    counts = counts_of(found, tolerance_s)
    hits, false, labels = (sum(count[part] for count in counts.values()) for part in range(3))
    residuals = [residual for one in found if (residual := _residual(one, tolerance_s)) is not None]
    return {
        "precision": round(hits / max(hits + false, 1), 3),
        "recall": round(hits / max(labels, 1), 3),
        "f1": f1(hits, false, labels),
        "f1_interval": interval(counts),
        "labels": labels,
        "events": len(counts),
        "residual_mean_s": round(float(np.mean(residuals)), 4) if residuals else 0.0,
        "residual_std_s": round(float(np.std(residuals)), 4) if residuals else 0.0,
    }


def counts_of(found: Sequence[Found], tolerance_s: float) -> Counts:
    """Hits, false picks and labels of each event."""
    counts: dict[str, tuple[int, int, int]] = {}
    for one in found:
        hit = int(_residual(one, tolerance_s) is not None)
        before = counts.get(one.event, (0, 0, 0))
        added = (hit, len(one.picks) - hit, int(one.label is not None))
        counts[one.event] = (before[0] + added[0], before[1] + added[1], before[2] + added[2])
    return counts


def _residual(one: Found, tolerance_s: float) -> float | None:
    if one.label is None or not one.picks:
        return None
    residual_s = min((pick - one.label for pick in one.picks), key=abs) / RATE_HZ
    return residual_s if abs(residual_s) <= tolerance_s else None


def f1(hits: int, false: int, labels: int) -> float:
    """Harmonic mean of precision and recall.

    >>> f1(hits=8, false=2, labels=10)
    0.8
    """
    return round(2 * hits / max(hits + false + labels, 1), 3)

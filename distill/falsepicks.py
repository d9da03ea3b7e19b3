"""Where a student picks, or notices, what its teacher does not see: the noise from which it has most to learn.

>>> import numpy as np
>>> record = Record("a", "XX.A", "noise", np.zeros((3, 3000), np.int32), np.zeros((3, 3000)), (), (None, None))
>>> def sure(windows):
...     curves = np.zeros(windows.shape, np.float32)
...     curves[:, 1, 500] = 0.9
...     return curves
>>> [found.false_picks for found in with_false_picks([record], sure, 2000)]
[(500, 1500)]
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distill.annotators import Annotate
from distill.corpus import NEAR_SAMPLES, Record, onsets_of
from distill.teachers.windows import starts_of
from models.conventions import RATE_HZ

PICKED = 0.3
"""Probability of the student from which it picks."""
UNSEEN = 0.1
"""Probability of the teacher below which it sees nothing."""


def with_false_picks(
    records: Iterable[Record],
    annotate: Annotate,
    window: int,
    picked: float = PICKED,
    calm_s: float = 0.0,
    hop: int = 0,
) -> tuple[Record, ...]:
    """Records with the samples at which a student has a P or an S, or an onset, but the teacher sees nothing within 1 s.

    Args:
        records: with the teacher's probabilities as labels.
        annotate: the student.
        window: samples of its windows.
        picked: probability from which it picks.
        calm_s: time without an onset that must lie before.
        hop: samples between windows: with few of them, also what only the end of a window looks like is found; 0: half a window.
    """
    found = []
    for record in records:
        starts = (
            starts_of(record.waves.shape[1], window, hop or window // 2)
            if record.waves.shape[1] >= window
            else []
        )
        places = set()
        if starts:
            windows = np.stack([record.waves[:, start : start + window] for start in starts])
            for start, curves in zip(starts, annotate(windows.astype(np.float32)), strict=True):
                step = -(-window // curves.shape[1])
                for row, curve in enumerate(curves[1:], start=1):
                    # A network that notices does not say which phase.
                    phases = slice(row, row + 1) if len(curves) > 2 else slice(1, None)
                    for peak in onsets_of(curve, picked):
                        at = start + peak * step
                        restless = any(0 <= at - onset < calm_s * RATE_HZ for onset, _ in record.onsets)
                        if unseen(record.labels[phases], at) and not restless:
                            places.add(at)
        found.append(replace(record, false_picks=tuple(sorted(places))))
    return tuple(found)


def unseen(curves: NDArray[np.floating], at: int) -> bool:
    """Whether the teacher sees nothing within 1 s.

    Args:
        curves: its probabilities of one phase or both, ``(phases, n)``.
        at: sample.
    """
    near = curves[:, max(0, at - NEAR_SAMPLES) : at + NEAR_SAMPLES]
    return bool(near.size) and bool(near.max() < UNSEEN)

"""Where a student picks what its teacher does not see: the noise from which it has most to learn.

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

from distill.annotators import Annotate
from distill.corpus import NEAR_SAMPLES, Record, onsets_of
from distill.teachers.windows import starts_of

PICKED = 0.3
"""Probability of the student from which it picks."""
UNSEEN = 0.1
"""Probability of the teacher below which it sees nothing."""


def with_false_picks(records: Iterable[Record], annotate: Annotate, window: int) -> tuple[Record, ...]:
    """Records with the samples at which a student picks P or S, but the teacher sees nothing within 1 s.

    Args:
        records: with the teacher's probabilities as labels.
        annotate: the student.
        window: samples of its windows; they overlap by half.
    """
    found = []
    for record in records:
        starts = (
            starts_of(record.waves.shape[1], window, window // 2) if record.waves.shape[1] >= window else []
        )
        places = set()
        if starts:
            windows = np.stack([record.waves[:, start : start + window] for start in starts])
            for start, curves in zip(starts, annotate(windows.astype(np.float32)), strict=True):
                for row in (1, 2):
                    for peak in onsets_of(curves[row], PICKED):
                        near = slice(max(0, start + peak - NEAR_SAMPLES), start + peak + NEAR_SAMPLES)
                        if record.labels[row, near].max() < UNSEEN:
                            places.add(start + peak)
        found.append(replace(record, false_picks=tuple(sorted(places))))
    return tuple(found)

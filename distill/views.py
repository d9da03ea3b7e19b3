"""The windows for comparing pickers, the same for all.

*Placed*: windows with P at random 2 to 15 s from the start (seed: CRC-32 of the record's name), four a record. *Ending*: one
window for each analyst's pick, which ends a given time after it.

>>> placed_starts("a", 3000, 9000, 3000, P_PLACE_30_S)[:2]
[1515, 2720]
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.corpus import Record, onsets_of
from distill.scores import Found, score
from distill.serving import PHASE_ROWS
from models.conventions import RATE_HZ

WINDOWS_PER_RECORD = 4
P_PLACE_30_S = (2.0, 15.0)
"""Where the P of a window may be."""
MARGIN = 30
"""Samples at a window's ends in which a label does not count."""
TOLERANCES_S = (0.1, 0.5)

Picks = Mapping[str, Sequence[float]]
"""Samples of P and S picks in a window."""
Picker = Callable[[NDArray[np.generic]], Picks]
Curves = Callable[[NDArray[np.generic]], NDArray[np.floating]]
"""A window ``(3, n)``, Z N E, counts -> probabilities of N, P, S."""
Views = dict[str, list[Found]]
"""Phase -> its picks."""


def from_curves(curves: Curves, thresholds: Mapping[str, float]) -> Picker:
    """Make a picker: peaks of the curves."""

    def pick(window: NDArray[np.generic]) -> Picks:
        values = curves(window)
        return {
            phase: [float(peak) for peak in onsets_of(values[row], thresholds[phase])]
            for row, phase in PHASE_ROWS
        }

    return pick


def placed_starts(
    name: str, p_pick: float, samples: int, window: int, place_s: tuple[float, float]
) -> list[int]:
    """Draw the starts of a record's windows."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    starts = [int(p_pick - rng.uniform(*place_s) * RATE_HZ) for _ in range(WINDOWS_PER_RECORD)]
    return [min(max(start, 0), samples - window) for start in starts]


def ending(
    records: Sequence[Record],
    picker: Picker,
    window: int,
    after_s: float,
    events: Mapping[str, str] | None = None,
    room: tuple[int, int] = (0, 0),
) -> Views:
    """Pick the window that ends a given time after each analyst's pick.

    Args:
        records: waveforms and labels.
        picker: picks a window.
        window: samples.
        after_s: data after the onset.
        events: event of each record, by its name; otherwise the name itself.
        room: samples that a record must have before and after the onset, so that all windows have the same onsets.
    """
    found: Views = {phase: [] for _, phase in PHASE_ROWS}
    for record in records:
        event = (events or {}).get(record.name, record.name)
        for row, phase in PHASE_ROWS:
            label = record.analyst[row - 1]
            if label is None or label < room[0] or label + room[1] > record.waves.shape[1]:
                continue
            start = int(label + after_s * RATE_HZ) - window
            if 0 <= start <= record.waves.shape[1] - window:
                picks = picker(record.waves[:, start : start + window])
                found[phase].append(Found(event, tuple(picks[phase]), label - start))
    return found


def table(found: Views) -> dict[str, dict[str, Any]]:
    """Scores of each phase and tolerance."""
    return {
        f"{phase} {tolerance_s} s": score(values, tolerance_s)
        for phase, values in found.items()
        for tolerance_s in TOLERANCES_S
    }

"""The serving view: a record through the daemon's own picker, in overlapping windows half a second apart.

>>> import numpy as np
>>> def annotate(windows):
...     position = windows[:, :1]  # these samples hold their own index
...     curve = np.exp(-0.5 * ((position - 1234) / 10) ** 2)
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> [(round(sample), row, round(height, 2)) for sample, row, height in
...  service_picks(np.tile(np.arange(3000), (3, 1)), annotate, threshold=0.5)]
[(1234, 1, 1.0)]
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distill.annotators import HOP, WINDOW, Annotate
from distill.corpus import Record
from distill.scores import RATE_HZ, f1
from xiaod.buffer import BufferSettings
from xiaod.picker import InstrumentPicker, PickerSettings
from xiaod.records import Instrument, Probabilities, Window
from xiaod.timebase import GRID_NS

NEAR = 50
"""Samples within which a pick matches an onset."""
HISTORY = BufferSettings().history
"""Samples before a window that the picker may look at again."""
PHASE_ROWS = ((1, "P"), (2, "S"))

Picked = tuple[float, int, float]
"""Sample, row (1 for P, 2 for S) and probability."""


def service_picks(waves: NDArray[np.generic], annotate: Annotate, threshold: float) -> list[Picked]:
    """Pick a record as the daemon does; its shape is ``(3, n)``."""
    starts = range(0, waves.shape[1] - WINDOW + 1, HOP)
    if not starts:
        return []
    samples = waves.astype(np.float32)
    probabilities = annotate(np.stack([samples[:, start : start + WINDOW] for start in starts]))
    picker = InstrumentPicker(PickerSettings((threshold, threshold), HOP, "evaluated", ""))
    picks = []
    for start, values in zip(starts, probabilities, strict=True):
        window = Window(
            Instrument("", "", "", ""),
            start,
            0,
            samples[:, start : start + WINDOW],
            "ZNE",
            fresh=start == 0,
            history=samples[:, max(0, start - HISTORY) : start],
        )
        for candidate in picker.look(Probabilities(window, values[1:])):
            pick = picker.decide(candidate, lambda windows: annotate(windows)[:, 1:])
            if pick is not None:
                picks.append((pick.time_ns / GRID_NS, "NPS".index(pick.phase), pick.probability))
    return picks


def service_scores(
    annotate: Annotate, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """F1 (0.5 s) against onsets, the teacher's and the analysts', for each phase and threshold.

    Every station has the same weight, whatever its number of onsets and picks: the rates are per onset there.
    """
    found = [(record, service_picks(record.waves, annotate, min(thresholds))) for record in records]
    scores: dict[str, dict[float, float]] = {"P": {}, "S": {}}
    for row, phase in PHASE_ROWS:
        for threshold in thresholds:
            counts: dict[str, list[int]] = {}
            for record, picked in found:
                picks = [place for place, of, height in picked if of == row and height >= threshold]
                onsets = [onset for onset, onset_row in record.onsets if onset_row == row]
                hits = sum(any(abs(pick - onset) <= NEAR for pick in picks) for onset in onsets)
                false = sum(not any(abs(pick - onset) <= NEAR for onset in onsets) for pick in picks)
                station = counts.setdefault(record.station, [0, 0, 0])
                for index, count in enumerate((hits, false, len(onsets))):
                    station[index] += count
            with_onsets = [f1(*count) for count in counts.values() if count[2]]
            scores[phase][threshold] = float(np.mean(with_onsets)) if with_onsets else 0.0
    return scores


def picks_per_hour(
    annotate: Annotate, records: Sequence[Record], thresholds: Mapping[str, float]
) -> dict[str, float]:
    """Count picks per station-hour of records that hold noise: all of them are taken for false."""
    rates = false_rates(annotate, records, sorted(set(thresholds.values())))
    result: dict[str, float] = {"hours": _hours(records), "records": len(records)}
    return result | {phase: rates[phase][threshold] for phase, threshold in thresholds.items()}


def false_rates(
    annotate: Annotate, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """Count picks per station-hour of noise, for each phase and threshold."""
    picked = [pick for record in records for pick in service_picks(record.waves, annotate, min(thresholds))]
    hours = max(_hours(records), 1e-9)
    return {
        phase: {
            threshold: round(sum(of == row and height >= threshold for _, of, height in picked) / hours, 2)
            for threshold in thresholds
        }
        for row, phase in PHASE_ROWS
    }


def _hours(records: Sequence[Record]) -> float:
    samples: int = sum(record.waves.shape[1] for record in records)
    return round(samples / RATE_HZ / 3600, 2)

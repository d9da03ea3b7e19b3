"""Runs a record through the daemon's own picker, in overlapping windows.

>>> import numpy as np
>>> def annotate(windows):
...     position = windows[:, :1]  # these samples hold their own index
...     curve = np.exp(-0.5 * ((position - 1234) / 10) ** 2)
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> picks = windowed(annotate)(np.tile(np.arange(3000), (3, 1)), 0.5)
>>> [(round(pick.time_ns / 1e7), pick.phase, round(pick.probability, 2)) for pick in picks]
[(1234, 'P', 1.0)]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distill.annotators import HOP, WINDOW, Annotate
from distill.calibration import NEAR_S, Judged
from distill.corpus import Record
from distill.scores import f1
from models.conventions import RATE_HZ
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Instrument, Pick, Probabilities, Window
from xiaod.picking.picker import InstrumentPicker, PickerSettings, compute_again
from xiaod.waveform.instrument import BufferSettings

NEAR = round(NEAR_S * RATE_HZ)
"""Samples within which a pick matches an onset."""
HISTORY = BufferSettings().history
"""Samples before a window that the picker may use again."""
PHASE_ROWS = ((1, "P"), (2, "S"))
NOWHERE = Instrument("", "", "", "")

Serve = Callable[[NDArray[np.generic], float], list[Pick]]
"""A record ``(3, n)``, Z N E, that begins at time zero, and a threshold for both phases -> picks."""


def windowed(annotate: Annotate, length: int = WINDOW) -> Serve:
    """Pick as the daemon does in overlapping windows."""

    def serve(waves: NDArray[np.generic], threshold: float) -> list[Pick]:
        settings = PickerSettings((threshold, threshold), HOP, "evaluated", "")
        return [pick for _, pick in decisions(annotate, waves, length, settings)]

    return serve


def decisions(
    annotate: Annotate,
    waves: NDArray[np.generic],
    length: int,
    settings: PickerSettings,
    first: int = 0,
    last: int | None = None,
) -> Iterator[tuple[int, Pick]]:
    """Picks of a record in overlapping windows, and the sample at which each is decided.

    Args:
        annotate: the student.
        waves: record ``(3, n)``, Z N E, that begins at time zero.
        length: samples of a window.
        settings: of the daemon's picker.
        first: sample before which no window begins.
        last: sample after which none ends.
    """
    samples, hop = waves.astype(np.float32), settings.hop
    begin = -(-max(first, 0) // hop) * hop
    stop = samples.shape[1] if last is None else min(last, samples.shape[1])
    starts = range(begin, stop - length + 1, hop)
    if not starts:
        return
    picker = InstrumentPicker(settings)
    probabilities = annotate(np.stack([samples[:, start : start + length] for start in starts]))
    for start, values in zip(starts, probabilities, strict=True):
        window = Window(
            NOWHERE,
            start,
            0,
            samples[:, start : start + length],
            "ZNE",
            discontinuous=start == begin,
            history=samples[:, max(0, start - HISTORY) : start],
        )
        candidates = picker.notice(Probabilities(window, values[1:]))
        for onset in compute_again(candidates, lambda windows: annotate(windows)[:, 1:]):
            pick = picker.confirm(onset)
            if pick is not None:
                yield window.stop, pick


def sample_of(pick: Pick) -> float:
    """Sample of a record that begins at time zero."""
    return pick.time_ns / GRID_NS


def judged(serve: Serve, records: Sequence[Record], threshold: float) -> list[Judged]:
    """Picks of records, with the nearest onset of the phase, if any is near."""
    found = []
    for record in records:
        for pick in serve(record.waves, threshold):
            onsets = [
                exact
                for onset, row in record.onsets
                if "NPS"[row] == pick.phase
                for exact in [_exact(record, onset, row)]
            ]
            nearest = min(onsets, key=lambda onset: abs(onset - sample_of(pick)), default=None)
            residual = None if nearest is None else (sample_of(pick) - nearest) / RATE_HZ
            near = residual is not None and abs(residual) <= NEAR_S
            found.append(
                Judged(pick.phase, pick.probability, pick.time_uncertainty_s, residual if near else None)
            )
    return found


def _exact(record: Record, onset: int, row: int) -> float:
    """Exact time of an onset: the analyst's pick, if the onset is one."""
    pick = record.analyst[row - 1]
    return pick if pick is not None and round(pick) == onset else float(onset)


def service_scores(
    serve: Serve, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """F1 (0.5 s) against onsets, the teacher's and the analysts', for each phase and threshold.

    Every station has the same weight, whatever its number of onsets and picks: the rates are per onset there.
    """
    found = [(record, serve(record.waves, min(thresholds))) for record in records]
    scores: dict[str, dict[float, float]] = {"P": {}, "S": {}}
    for row, phase in PHASE_ROWS:
        for threshold in thresholds:
            counts: dict[str, list[int]] = {}
            for record, picked in found:
                picks = [
                    sample_of(pick)
                    for pick in picked
                    if pick.phase == phase and pick.probability >= threshold
                ]
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
    serve: Serve, records: Sequence[Record], thresholds: Mapping[str, float]
) -> dict[str, float]:
    """Count picks per station-hour of records of noise: all of them count as false."""
    rates = false_rates(serve, records, sorted(set(thresholds.values())))
    result: dict[str, float] = {"hours": round(_hours(records), 2), "records": len(records)}
    return result | {phase: rates[phase][threshold] for phase, threshold in thresholds.items()}


def false_rates(
    serve: Serve, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """Count picks per station-hour of noise, for each phase and threshold."""
    picked = [pick for record in records for pick in serve(record.waves, min(thresholds))]
    hours = _hours(records) or 1.0
    return {
        phase: {
            threshold: round(
                sum(pick.phase == phase and pick.probability >= threshold for pick in picked) / hours, 2
            )
            for threshold in thresholds
        }
        for _, phase in PHASE_ROWS
    }


def _hours(records: Sequence[Record]) -> float:
    samples: int = sum(record.waves.shape[1] for record in records)
    return samples / RATE_HZ / 3600

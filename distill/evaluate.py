"""How good a student is, beside its teacher, on the same onsets.

Two views. *Windows*: 10 s around analysts' picks, P placed at random, four a record; and windows that end a given time after the onset
(early picks). *Serving*: records in overlapping windows half a second apart, where a peak counts only with half a second of data after it,
as the daemon does.

Every peak above the threshold and at least 0.5 s from a higher one is a pick; a label is matched by the nearest within the tolerance;
every other peak counts as false.

>>> score([([500], 502.0), ([], 300.0), ([10, 20], None)], tolerance_s=0.1)
{'precision': 0.333, 'recall': 0.5, 'f1': 0.4, 'labels': 2, 'residual_mean_s': -0.02, 'residual_std_s': 0.0}
"""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from distill.config import TrainConfig
from distill.corpus import Record, load_records, onsets_of
from distill.teachers import Teacher
from distill.train import WEIGHTS, averaged_net
from models.frontend import standardise
from models.small_phasenet import SmallPhaseNet

RATE_HZ = 100.0
WINDOWS_PER_RECORD = 4
P_PLACE_S = (1.5, 7.0)
"""Where the P of a window may stand."""
MARGIN = 30
"""Samples at a window's ends in which a label does not count."""
EARLY_S = (0.5, 0.75, 1.0, 2.0)
TOLERANCES_S = (0.1, 0.5)
HOP = 50
LOOKAHEAD = 50
ZONE = 250
"""Samples before the last eligible one in which a window's peaks count, in the serving view."""
BATCH = 256

Found = tuple[list[int], float | None]
Annotate = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def evaluate(
    config: TrainConfig, folder: Path, shared: Path, data: str, teacher: Teacher, cache: Path
) -> dict[str, Any]:
    """All scores of a run on a dataset, with the teacher's on the same windows' labels."""
    net = averaged_net(config, load_file(folder / WEIGHTS))
    records, _ = load_records(shared / data, config, teacher, cache, shared / config.teacher.onnx)
    results: dict[str, Any] = {"parameters": sum(value.numel() for value in net.parameters())}
    for row, phase in ((1, "P"), (2, "S")):
        for threshold in (0.2, 0.3, 0.4, 0.5):
            found = [pair for record in records for pair in _placed(record, row, threshold, annotator(net), config)]
            for tolerance in TOLERANCES_S:
                results[f"{phase} windows, threshold {threshold}, {tolerance} s"] = score(found, tolerance)
        for early in EARLY_S:
            found = [pair for record in records for pair in _ending(record, row, early, 0.3, annotator(net), config)]
            for tolerance in TOLERANCES_S:
                results[f"{phase} data end {early} s after, threshold 0.3, {tolerance} s"] = score(found, tolerance)
    return results


def annotator(net: SmallPhaseNet) -> Annotate:
    """Raw windows ``(n, 3, L)`` -> probabilities ``(n, 3, L)``."""

    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            parts = [
                net(torch.from_numpy(standardise(windows[begin : begin + BATCH]))).numpy()
                for begin in range(0, len(windows), BATCH)
            ]
        return np.concatenate(parts)

    return annotate


def score(found: Sequence[Found], tolerance_s: float) -> dict[str, float]:
    """Precision, recall and F1 of picks against labels, and residuals (pick minus label) of those that match."""
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
        "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 3),
        "labels": labels,
        "residual_mean_s": round(float(np.mean(residuals)), 4) if residuals else 0.0,
        "residual_std_s": round(float(np.std(residuals)), 4) if residuals else 0.0,
    }


def serving_scores(
    net: SmallPhaseNet, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """F1 (0.5 s) against onsets for each threshold and phase, in overlapping windows."""
    curves = [(record, serving_peaks(record, annotator(net), min(thresholds))) for record in records]
    scores: dict[str, dict[float, float]] = {"P": {}, "S": {}}
    for row, phase in ((1, "P"), (2, "S")):
        for threshold in thresholds:
            hits, false, labels = 0, 0, 0
            for record, peaks in curves:
                picks = [sample for sample, found_row, height in peaks if found_row == row and height >= threshold]
                onsets = [onset for onset, onset_row in record.onsets if onset_row == row]
                matched = sum(any(abs(pick - onset) <= 50 for pick in picks) for onset in onsets)
                hits += matched
                labels += len(onsets)
                false += sum(not any(abs(pick - onset) <= 50 for onset in onsets) for pick in picks)
            scores[phase][threshold] = 2 * hits / max(hits + false + labels, 1)
    return scores


def serving_peaks(record: Record, annotate: Annotate, threshold: float) -> list[tuple[int, int, float]]:
    """Sample, row and probability of what overlapping windows find in a record, each onset once."""
    window = 1000
    starts = range(0, record.waves.shape[1] - window + 1, HOP)
    if not starts:
        return []
    probabilities = annotate(np.stack([record.waves[:, start : start + window] for start in starts]).astype(np.float32))
    peaks: list[tuple[int, int, float]] = []
    for row in (1, 2):
        reported: dict[int, float] = {}
        for start, values in zip(starts, probabilities, strict=True):
            last = window - LOOKAHEAD
            first = last - ZONE if start else HOP
            for peak in onsets_of(values[row], threshold):
                place = start + peak
                if first <= peak <= last and not any(abs(place - other) < HOP for other in reported):
                    reported[place] = float(values[row, peak])
        peaks += [(place, row, height) for place, height in reported.items()]
    return peaks


def _placed(record: Record, row: int, threshold: float, annotate: Annotate, config: TrainConfig) -> list[Found]:
    """Windows with P at random places, as the evaluation protocol draws them."""
    p_pick = record.analyst[0]
    if p_pick is None:
        return []
    rng = np.random.default_rng(zlib.crc32(record.name.encode()))
    window = config.sampling.window_samples
    found = []
    for _ in range(WINDOWS_PER_RECORD):
        start = int(p_pick - rng.uniform(*P_PLACE_S) * RATE_HZ)
        start = min(max(start, 0), record.waves.shape[1] - window)
        label = record.analyst[row - 1]
        place = None if label is None else label - start
        if place is None or not MARGIN < place < window - MARGIN:
            continue
        values = annotate(record.waves[None, :, start : start + window].astype(np.float32))[0]
        found.append((onsets_of(values[row], threshold), place))
    return found


def _ending(
    record: Record, row: int, early_s: float, threshold: float, annotate: Annotate, config: TrainConfig
) -> list[Found]:
    """The window that ends a given time after the analyst's pick."""
    label = record.analyst[row - 1]
    window = config.sampling.window_samples
    if label is None:
        return []
    start = int(label + early_s * RATE_HZ) - window
    if start < 0 or start + window > record.waves.shape[1]:
        return []
    values = annotate(record.waves[None, :, start : start + window].astype(np.float32))[0]
    return [(onsets_of(values[row], threshold), label - start)]

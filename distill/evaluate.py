"""How good an exported student is, beside its teacher on the same onsets.

Views: *30 s*, windows of 3,000 samples, P placed at random 2 to 15 s from the start (seed: CRC-32 of the
record's name), four a record; the teacher sees them whole, the student in overlapping windows of 10 s.
*10 s*, single windows of 1,000 samples, P placed at random. *Early*, single windows that end a given time
after the onset. *Noise*, picks per station-hour in service (:mod:`distill.serving`). *Stability*
(:mod:`distill.stability`). *Speed*, of the network alone.

The teacher's threshold is 0.3, the student's are those in its file.

>>> placed_starts("a", 3000, 9000, 3000, P_PLACE_30_S)[:2]
[1515, 2720]
"""

import hashlib
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.annotators import WINDOW, Annotate, onnx_annotator, overlapped
from distill.config import TrainConfig
from distill.corpus import Record, load_corpus, load_records, onsets_of
from distill.scores import RATE_HZ, Found, score
from distill.serving import PHASE_ROWS, picks_per_hour, windowed
from distill.stability import agreement, sweep
from distill.teachers import Teacher

WINDOWS_PER_RECORD = 4
P_PLACE_30_S = (2.0, 15.0)
P_PLACE_10_S = (1.5, 7.0)
"""Where the P of a window may stand."""
MARGIN = 30
"""Samples at a window's ends in which a label does not count."""
EARLY_S = (0.5, 0.75, 1.0, 2.0, 4.0)
TOLERANCES_S = (0.1, 0.5)
TEACHER_THRESHOLDS = {"P": 0.3, "S": 0.3}
TEACHER_WINDOW = 3000
SPEED_RUNS = 200
EXAMPLE_ONSETS = (473, 571)
"""Samples at which PhaseNet puts P and S of ObsPy's example event, BW.RJOB."""
EXAMPLE_OFFSET = 1200
"""Samples put before it."""
EXAMPLE_ENDS_S = (0.5, 4.0)

Curves = Callable[[NDArray[np.generic]], NDArray[np.floating]]


def evaluate(
    model: Path, config: TrainConfig, shared: Path, data: str, teacher: Teacher, cache: Path
) -> dict[str, Any]:
    """Score an exported student on a dataset, beside its teacher.

    Raises:
        FileNotFoundError: when the data are not there.
        SpecError: when the file carries no specification.
    """
    student, spec = onnx_annotator(model, config.threads)
    records, _ = load_records(shared / data, config, teacher, cache, shared / config.teacher.onnx)
    corpus = load_corpus(shared, config, teacher, cache)
    thresholds = dict(spec.thresholds)

    def teach(piece: NDArray[np.generic]) -> NDArray[np.floating]:
        return teacher.annotate(piece.astype(np.float64))

    def single(piece: NDArray[np.generic]) -> NDArray[np.floating]:
        curves: NDArray[np.floating] = student(piece[None].astype(np.float32))[0]
        return curves

    def merged(piece: NDArray[np.generic]) -> NDArray[np.floating]:
        return overlapped(piece.astype(np.float64), student, spec.window_samples)

    example = example_waves()
    noise = [record for record in corpus.training + corpus.validation if record.kind == "noise"]
    held_out = [record for record in corpus.validation if record.kind == "noise"]
    return {
        "records": len(records),
        "model": {
            "name": f"{spec.name}-{spec.version}",
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "bytes": model.stat().st_size,
            "thresholds": thresholds,
        },
        "30 s": {
            "student": placed(records, merged, thresholds, TEACHER_WINDOW, P_PLACE_30_S),
            "teacher": placed(records, teach, TEACHER_THRESHOLDS, TEACHER_WINDOW, P_PLACE_30_S),
        },
        "10 s": placed(records, single, thresholds, WINDOW, P_PLACE_10_S),
        "early": {f"{early} s": ending(records, single, thresholds, early) for early in EARLY_S},
        "noise": {
            "student": picks_per_hour(windowed(student, spec.window_samples), noise, thresholds),
            "teacher": _curve_picks_per_hour(noise, teacher),
            "student, stations held out": picks_per_hour(
                windowed(student, spec.window_samples), held_out, thresholds
            ),
            "teacher, stations held out": _curve_picks_per_hour(held_out, teacher),
        },
        "stability": {
            phase: agreement(_labelled(records, row), student, thresholds[phase]) for row, phase in PHASE_ROWS
        },
        "example": {
            phase: sweep(example, EXAMPLE_OFFSET + onset, row, EXAMPLE_ENDS_S, student, thresholds[phase])
            for (row, phase), onset in zip(PHASE_ROWS, EXAMPLE_ONSETS, strict=True)
        },
        "speed_us_per_window": {f"batch {size}": _speed(student, size) for size in (1, 16)},
    }


def example_waves() -> NDArray[np.float64]:
    """Build ObsPy's example event, Z N E, after 12 s of its own noise: its first 4 s, back and forth."""
    import obspy

    stream = obspy.read()
    waves = np.stack([stream.select(component=letter)[0].data for letter in "ZNE"])
    quiet = waves[:, :400]
    return np.concatenate([quiet[:, ::-1], quiet, quiet[:, ::-1], waves], axis=1)


def placed_starts(
    name: str, p_pick: float, samples: int, window: int, place_s: tuple[float, float]
) -> list[int]:
    """Draw the starts of a record's windows."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    starts = [int(p_pick - rng.uniform(*place_s) * RATE_HZ) for _ in range(WINDOWS_PER_RECORD)]
    return [min(max(start, 0), samples - window) for start in starts]


def placed(
    records: Sequence[Record],
    curves: Curves,
    thresholds: dict[str, float],
    window: int,
    place_s: tuple[float, float],
) -> dict[str, dict[str, float]]:
    """Score windows with P at random places; every peak that is not the label's counts as false."""
    found: dict[str, list[Found]] = {phase: [] for _, phase in PHASE_ROWS}
    for record in records:
        p_pick, samples = record.analyst[0], record.waves.shape[1]
        if p_pick is None or samples < window:
            continue
        for start in placed_starts(record.name, p_pick, samples, window, place_s):
            values = curves(record.waves[:, start : start + window])
            for row, phase in PHASE_ROWS:
                label = record.analyst[row - 1]
                if label is not None and MARGIN < label - start < window - MARGIN:
                    found[phase].append((onsets_of(values[row], thresholds[phase]), label - start))
    return _scores(found)


def ending(
    records: Sequence[Record], curves: Curves, thresholds: dict[str, float], early_s: float
) -> dict[str, dict[str, float]]:
    """Score the window that ends a given time after each analyst's pick."""
    found: dict[str, list[Found]] = {phase: [] for _, phase in PHASE_ROWS}
    for record in records:
        for row, phase in PHASE_ROWS:
            label = record.analyst[row - 1]
            if label is None:
                continue
            start = int(label + early_s * RATE_HZ) - WINDOW
            if 0 <= start <= record.waves.shape[1] - WINDOW:
                values = curves(record.waves[:, start : start + WINDOW])
                found[phase].append((onsets_of(values[row], thresholds[phase]), label - start))
    return _scores(found)


def _scores(found: dict[str, list[Found]]) -> dict[str, dict[str, float]]:
    return {f"{phase} {tol} s": score(found[phase], tol) for phase in found for tol in TOLERANCES_S}


def _labelled(records: Sequence[Record], row: int) -> list[tuple[NDArray[np.generic], int, int]]:
    labels = [(record.waves, record.analyst[row - 1]) for record in records]
    return [(waves, round(label), row) for waves, label in labels if label is not None]


def _curve_picks_per_hour(records: Sequence[Record], teacher: Teacher) -> dict[str, float]:
    """Peaks per hour of the teacher's curve, averaged over overlapping windows of 30 s."""
    counts = {"P": 0, "S": 0}
    for record in records:
        values = teacher.annotate(record.waves.astype(np.float64))
        for row, phase in PHASE_ROWS:
            counts[phase] += len(onsets_of(values[row], TEACHER_THRESHOLDS[phase]))
    hours = sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600
    return {phase: round(count / hours, 2) if hours else 0.0 for phase, count in counts.items()}


def _speed(annotate: Annotate, batch: int) -> float:
    """Median time of one window, front end and network, in microseconds."""
    windows = np.random.default_rng(0).normal(size=(batch, 3, WINDOW)).astype(np.float32)
    annotate(windows)
    times = []
    for _ in range(SPEED_RUNS):
        begin = time.perf_counter()
        annotate(windows)
        times.append(time.perf_counter() - begin)
    return round(float(np.median(times)) / batch * 1e6, 1)

"""How good an exported student is, beside its teacher and the classic pickers, on the same windows.

*30 s*: see :mod:`distill.views`. The student sees the window whole, and in overlapping windows of the length it serves with;
PhaseNet padded as in its training, and as SeisBench runs it. *Early*: windows of the length it serves with, which end a given time
after the onset; *full* has the onset in the middle. *Noise* and *continuous*: :mod:`distill.rates`. *Calibration*: on the training
corpus' held-out stations and on the evaluation data. *Stability*: :mod:`distill.stability`. *Cost*: :mod:`distill.cost`.

Thresholds: PhaseNet 0.3; the student's are those in its file, chosen on the training corpus.

>>> EARLY_S
(0.25, 0.5, 1.0, 2.0, 4.0)
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.annotators import Annotate, onnx_annotator, overlapped
from distill.baselines import Labelled, tuned
from distill.bootstrap import interval_of_difference
from distill.calibration import calibration_error, coverage, reliability
from distill.config import SourceSection, TrainConfig
from distill.corpus import Corpus, Record, load_corpus, load_records, without_horizontals
from distill.cost import stateful_cost, window_cost
from distill.rates import classify_rates, continuous_rates, student_picks
from distill.scores import RATE_HZ, counts_of
from distill.seisbench_form import WINDOW as SEISBENCH_WINDOW
from distill.seisbench_form import load_phasenet, seisbench_curves
from distill.serving import PHASE_ROWS, Serve, judged, picks_per_hour, streamed, windowed
from distill.stability import agreement, sweep
from distill.teachers import Teacher
from distill.views import (
    P_PLACE_30_S,
    TOLERANCES_S,
    Curves,
    Picker,
    Views,
    ending,
    from_curves,
    placed,
    placed_starts,
    table,
)
from models.calibration import Calibration
from models.spec import ModelSpec
from models.weights import STATEFUL_SUFFIX, SUFFIX

EARLY_S = (0.25, 0.5, 1.0, 2.0, 4.0)
LEAST_JUDGED = 0.2
"""Picks below are left out of the reliability table."""
TEACHER = "PhaseNet, aligned"
TEACHER_THRESHOLDS = {"P": 0.3, "S": 0.3}
TEACHER_WINDOW = 3000
PHASENET = "teacher/phasenet_aligned.onnx"
TEACHER_CACHE = "teacher"
CONTINUOUS = "data/continuous_dev"
COST_BATCHES = (1, 16)
EXAMPLE_ONSETS = (473, 571)
"""Samples at which PhaseNet puts P and S of ObsPy's example event, BW.RJOB."""
EXAMPLE_OFFSET = 1200
"""Samples put before it."""
EXAMPLE_ENDS_S = (0.5, 4.0)


@dataclass(frozen=True)
class Student:
    """An exported student and how it is served."""

    path: Path
    spec: ModelSpec
    annotate: Annotate
    serve: Serve

    @classmethod
    def load(cls, path: Path, threads: int) -> "Student":
        """Open a file; with its stateful form beside it, that is how it is served.

        Raises:
            FileNotFoundError: when there is no such file.
            SpecError: when it is no model, or carries no specification.
        """
        annotate, spec = onnx_annotator(path, threads)
        beside = _stateful(path)
        if beside.exists():
            _, stateful = onnx_annotator(beside, threads)
            return cls(path, spec, annotate, streamed(annotate, stateful.delay_samples))
        return cls(path, spec, annotate, windowed(annotate, spec.window_samples))

    @property
    def streams(self) -> bool:
        """Whether it was made to stream."""
        return self.spec.front_end.startswith("stream")

    def curves(self, window: NDArray[np.generic]) -> NDArray[np.floating]:
        """Probabilities of N, P, S of a window as a whole."""
        values: NDArray[np.floating] = self.annotate(window[None].astype(np.float32))[0]
        return values

    def merged(self, window: NDArray[np.generic]) -> NDArray[np.floating]:
        """The same in overlapping windows."""
        return overlapped(window.astype(np.float64), self.annotate, self.spec.window_samples)


def evaluate(
    model: Path,
    config: TrainConfig,
    shared: Path,
    data: str,
    teacher: Teacher,
    cache: Path,
    thorough: bool = True,
) -> dict[str, Any]:
    """Score an exported student on a dataset, beside its teacher and the classic pickers.

    Args:
        model: the ONNX file.
        config: what it was trained with: corpus and teacher.
        shared: folder of data and teachers.
        data: dataset below it.
        teacher: the teacher.
        cache: where its output is kept.
        thorough: also continuous data, SeisBench's PhaseNet, classic pickers.

    Raises:
        FileNotFoundError: when the data are not there.
        SpecError: when the file carries no specification.
    """
    student = Student.load(model, config.threads)
    records, _ = load_records(SourceSection(path=data), shared, config, teacher, cache)
    events = _events(shared / data / "metadata.csv")
    corpus = load_corpus(shared, config, teacher, cache)
    thresholds = dict(student.spec.thresholds)

    def teach(window: NDArray[np.generic]) -> NDArray[np.floating]:
        return teacher.annotate(window.astype(np.float64))

    seisbench = (
        load_phasenet(shared / TEACHER_CACHE)
        if thorough and (shared / TEACHER_CACHE / "models").is_dir()
        else None
    )
    skipped = (
        [] if seisbench is not None or not thorough else [f"{shared / TEACHER_CACHE / 'models'}: not there"]
    )
    forms: dict[str, tuple[Curves, int, Mapping[str, float]]] = {
        "student": (student.curves, TEACHER_WINDOW, thresholds),
        TEACHER: (teach, TEACHER_WINDOW, TEACHER_THRESHOLDS),
    }
    if not student.streams:
        forms[_overlapping(student)] = (student.merged, TEACHER_WINDOW, thresholds)
    if seisbench is not None:
        forms["PhaseNet, SeisBench"] = (seisbench_curves(seisbench), SEISBENCH_WINDOW, TEACHER_THRESHOLDS)
    views: dict[str, Views] = {
        name: placed(records, from_curves(curves, levels), window, P_PLACE_30_S, events)
        for name, (curves, window, levels) in forms.items()
    }
    settings: dict[str, Any] = {}
    if thorough:
        for name, classic in tuned(training_windows(corpus)).items():
            settings[name] = classic.described
            views[name] = placed(records, classic.picker, TEACHER_WINDOW, P_PLACE_30_S, events)
    result: dict[str, Any] = {
        "data": data,
        "records": len(records),
        "model": {
            "name": f"{student.spec.name}-{student.spec.version}",
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "bytes": model.stat().st_size,
            "stateful_bytes": _stateful(model).stat().st_size if _stateful(model).exists() else None,
            "thresholds": thresholds,
            "vertical_thresholds": dict(student.spec.vertical_thresholds),
            "window_samples": student.spec.window_samples,
        },
        "30 s": {name: table(view) for name, view in views.items()},
        "difference": {
            name: _difference(view, views[TEACHER]) for name, view in views.items() if name != TEACHER
        },
        "classic_settings": settings,
        "skipped": skipped,
        "noise": _noise(student, corpus, teacher, seisbench),
        "calibration": _calibration(student, corpus, records),
        "cost": _cost(model, shared / PHASENET),
    }
    if not student.streams:
        result |= _early(student, records, events, teach)
        result |= _stability(student, records)
    if (
        thorough
        and seisbench is not None
        and (shared / CONTINUOUS / "index.csv").is_file()
        and not student.streams
    ):
        result["continuous"] = continuous_rates(
            shared / CONTINUOUS, {"student": lambda folder: student_picks(folder, model)}, seisbench
        )
    return result


def example_waves() -> NDArray[np.float64]:
    """Build ObsPy's example event, Z N E, after 12 s of its own noise: its first 4 s, back and forth."""
    import obspy

    stream = obspy.read()
    waves = np.stack([stream.select(component=letter)[0].data for letter in "ZNE"])
    quiet = waves[:, :400]
    return np.concatenate([quiet[:, ::-1], quiet, quiet[:, ::-1], waves], axis=1)


def _stateful(model: Path) -> Path:
    """Where the stateful form of a file lies, if there is one."""
    return model.with_name(model.name.removesuffix(SUFFIX) + STATEFUL_SUFFIX)


def _overlapping(student: Student) -> str:
    return f"student, windows of {student.spec.window_samples / RATE_HZ:g} s"


def _events(path: Path) -> dict[str, str]:
    """Event of each record that has one."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["trace_name"]: row["event"] for row in csv.DictReader(file) if row.get("event")}


def training_windows(corpus: Corpus) -> Labelled:
    """One window of each training record that an analyst has picked."""
    windows: list[tuple[NDArray[np.floating], Mapping[str, float | None]]] = []
    for record in (*corpus.training, *corpus.validation):
        p_pick, samples = record.analyst[0], record.waves.shape[1]
        if p_pick is None or samples < TEACHER_WINDOW:
            continue
        start = placed_starts(record.name, p_pick, samples, TEACHER_WINDOW, P_PLACE_30_S)[0]
        labels = {
            phase: None if pick is None or not 0 <= pick - start < TEACHER_WINDOW else pick - start
            for (_, phase), pick in zip(PHASE_ROWS, record.analyst, strict=True)
        }
        windows.append((record.waves[:, start : start + TEACHER_WINDOW].astype(np.float64), labels))
    return windows


def _difference(first: Views, second: Views) -> dict[str, tuple[float, float]]:
    """Interval of the difference of F1, by phase and tolerance."""
    return {
        f"{phase} {tolerance_s} s": interval_of_difference(
            counts_of(first[phase], tolerance_s), counts_of(second[phase], tolerance_s)
        )
        for phase in first
        for tolerance_s in TOLERANCES_S
    }


def _early(
    student: Student, records: Sequence[Record], events: Mapping[str, str], teach: Curves
) -> dict[str, Any]:
    """Scores by the data after the onset, all on the same onsets."""
    spec = student.spec
    window = spec.window_samples
    ours: Picker = from_curves(student.curves, dict(spec.thresholds))
    theirs: Picker = from_curves(teach, TEACHER_THRESHOLDS)
    full_s = window / RATE_HZ / 2
    room = max(window, TEACHER_WINDOW), round(max(full_s, *EARLY_S) * RATE_HZ)
    result: dict[str, Any] = {"early": {}, "early, teacher": {}}
    for name, after_s in [*((f"{early:g} s", early) for early in EARLY_S), ("full", full_s)]:
        result["early"][name] = table(ending(records, ours, window, after_s, events, room))
        result["early, teacher"][name] = table(ending(records, theirs, TEACHER_WINDOW, after_s, events, room))
    return result


def _noise(student: Student, corpus: Corpus, teacher: Teacher, seisbench: Any) -> dict[str, Any]:
    noise = [record for record in corpus.training + corpus.validation if record.kind == "noise"]
    held_out = [record for record in corpus.validation if record.kind == "noise"]
    thresholds = dict(student.spec.thresholds)
    result: dict[str, Any] = {
        "student": picks_per_hour(student.serve, noise, thresholds),
        "student, stations held out": picks_per_hour(student.serve, held_out, thresholds),
        "student, vertical alone": picks_per_hour(
            student.serve,
            list(map(without_horizontals, noise)),
            dict(student.spec.vertical_thresholds) or thresholds,
        ),
        TEACHER: _curve_picks_per_hour(noise, teacher),
        f"{TEACHER}, stations held out": _curve_picks_per_hour(held_out, teacher),
    }
    if seisbench is not None:
        result["PhaseNet, SeisBench classify"] = classify_rates(seisbench, noise)
        result["PhaseNet, SeisBench classify, stations held out"] = classify_rates(seisbench, held_out)
    return result


def _curve_picks_per_hour(records: Sequence[Record], teacher: Teacher) -> dict[str, float]:
    """Peaks per hour of the teacher's curve, averaged over overlapping windows of 30 s."""
    counts = {"P": 0, "S": 0}
    pick = from_curves(lambda waves: teacher.annotate(waves.astype(np.float64)), TEACHER_THRESHOLDS)
    for record in records:
        for phase, picks in pick(record.waves).items():
            counts[phase] += len(picks)
    hours = sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600
    return {phase: round(count / hours, 2) if hours else 0.0 for phase, count in counts.items()}


def _calibration(student: Student, corpus: Corpus, records: Sequence[Record]) -> dict[str, Any]:
    """Reliability of probabilities, and part of the residuals within the uncertainty that is given with them."""
    calibration = Calibration.from_spec(student.spec.calibration)
    labelled = [record for record in records if record.labelled]
    result: dict[str, Any] = {}
    for name, chosen in (("stations held out", corpus.validation), ("evaluation data", labelled)):
        found = judged(student.serve, chosen, LEAST_JUDGED)
        sure = [one for one in found if one.probability >= student.spec.thresholds[one.phase]]
        result[name] = {
            "reliability": reliability(found),
            "error": {phase: calibration_error(found, phase) for phase in ("P", "S")},
            "time": {phase: coverage(sure, calibration, phase) for phase in ("P", "S")},
        }
    return result


def _stability(student: Student, records: Sequence[Record]) -> dict[str, Any]:
    thresholds, example = student.spec.thresholds, example_waves()
    return {
        "stability": {
            phase: agreement(_labelled(records, row), student.annotate, thresholds[phase])
            for row, phase in PHASE_ROWS
        },
        "example": {
            phase: sweep(
                example, EXAMPLE_OFFSET + onset, row, EXAMPLE_ENDS_S, student.annotate, thresholds[phase]
            )
            for (row, phase), onset in zip(PHASE_ROWS, EXAMPLE_ONSETS, strict=True)
        },
    }


def _labelled(records: Sequence[Record], row: int) -> list[tuple[NDArray[np.generic], int, int]]:
    labels = [(record.waves, record.analyst[row - 1]) for record in records]
    return [(waves, round(label), row) for waves, label in labels if label is not None]


def _cost(model: Path, teacher_file: Path) -> list[dict[str, Any]]:
    """Cost of the student beside PhaseNet, in one run."""
    beside = _stateful(model)
    rows = [
        {"model": name, **window_cost(path, batch)}
        for name, path in (("PhaseNet", teacher_file), ("student", model))
        if path.is_file()
        for batch in COST_BATCHES
    ]
    if beside.exists():
        rows += [{"model": "student, stateful", **stateful_cost(beside, batch)} for batch in COST_BATCHES]
    return rows

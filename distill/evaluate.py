"""Evaluates an exported student that picks in depth: measurements for such students only.

*Early*: windows of the length in service that end a given time after the onset; *full* has the onset in the middle. The teacher is
measured beside it in windows of 30 s. *Calibration*: on the held-out stations of the training corpus and on the evaluation data.
*Vertical alone*: on the noise of the comparison, without horizontals. *Stability*: :mod:`distill.stability`. The comparison with other
pickers is in :mod:`distill.report.evaluation`.

Thresholds: the teacher's 0.3; the student's are those in its file, chosen on the training corpus: of early picks where the windows end
less than 4 s after the onset, else of final picks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.annotators import Annotate, onnx_annotator
from distill.baselines import Labelled
from distill.calibration import calibration_error, coverage, reliability
from distill.corpus import Corpus, Record, silenced
from distill.progress import SILENT, Progress
from distill.serving import EARLY, FINAL, PHASE_ROWS, Serve, judged, picks_per_hour, windowed
from distill.stability import agreement, sweep
from distill.teachers import Teacher
from distill.views import P_PLACE_30_S, Curves, Picker, ending, from_curves, placed_starts, table
from models.calibration import Calibration
from models.conventions import ONSET, RATE_HZ
from models.spec import ModelSpec, SpecError

EARLY_S = (0.25, 0.5, 1.0, 2.0, 4.0)
LEAST_JUDGED = 0.2
"""Picks with a lower probability are left out of the reliability table."""
TEACHER_THRESHOLDS = {"P": 0.3, "S": 0.3}
TEACHER_WINDOW = 3000
EXAMPLE_ONSETS = (473, 571)
"""Samples at which PhaseNet picks P and S of ObsPy's example event, BW.RJOB."""
EXAMPLE_OFFSET = 1200
"""Samples put before it."""
EXAMPLE_ENDS_S = (0.5, 4.0)


@dataclass(frozen=True)
class Student:
    """An exported student, and how it is served."""

    path: Path
    spec: ModelSpec
    annotate: Annotate
    serve: Serve

    @classmethod
    def load(cls, path: Path, threads: int) -> "Student":
        """Open a file.

        Raises:
            FileNotFoundError: when the file does not exist.
            SpecError: when it is not a model, has no specification, or is one that streams.
        """
        annotate, spec = onnx_annotator(path, threads)
        if ONSET in spec.phases:
            raise SpecError(f"{path}: streams, so it notices onsets and picks none")
        return cls(path, spec, annotate, windowed(annotate, spec.window_samples))

    def curves(self, window: NDArray[np.generic]) -> NDArray[np.floating]:
        """Probabilities of N, P, S of a window as a whole."""
        values: NDArray[np.floating] = self.annotate(window[None].astype(np.float32))[0]
        return values


def in_depth(
    student: Student,
    records: Sequence[Record],
    corpus: Corpus,
    noise: Sequence[Record],
    teacher: Teacher,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Make the measurements for students only.

    Args:
        student: an exported one.
        records: with labels, of stations that are not in its training.
        corpus: of its training.
        noise: on which false picks are counted.
        teacher: its teacher.
        progress: shows the stage.
    """
    thresholds = dict(student.spec.vertical_thresholds) or dict(student.spec.thresholds)
    name, looks = student.spec.name, len(noise) * len(set(thresholds.values()))
    serve = progress.counted(student.serve, looks, f"{name}: noise without horizontals")
    alone = picks_per_hour(serve, list(map(silenced, noise)), thresholds)
    result = {"vertical_alone": alone, "calibration": _calibration(student, corpus, records, progress)}
    result |= _early(student, records, lambda window: teacher.annotate(window.astype(np.float64)), progress)
    return result | _stability(student, records, progress)


def example_waves() -> NDArray[np.float64]:
    """Build ObsPy's example event, Z N E, after 12 s of its own noise: its first 4 s, back and forth."""
    import obspy

    stream = obspy.read()
    waves = np.stack([stream.select(component=letter)[0].data for letter in "ZNE"])
    quiet = waves[:, :400]
    return np.concatenate([quiet[:, ::-1], quiet, quiet[:, ::-1], waves], axis=1)


def training_windows(corpus: Corpus) -> Labelled:
    """One window of each training record that an analyst picked."""
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


def _early(student: Student, records: Sequence[Record], teach: Curves, progress: Progress) -> dict[str, Any]:
    """Scores by the data after the onset, all on the same onsets."""
    spec = student.spec
    window = spec.window_samples
    events = {record.name: record.event for record in records if record.event}
    theirs: Picker = from_curves(teach, TEACHER_THRESHOLDS)
    full_s = window / RATE_HZ / 2
    room = max(window, TEACHER_WINDOW), round(max(full_s, *EARLY_S) * RATE_HZ)
    result: dict[str, Any] = {"early": {}, "early, teacher": {}}
    ends = [*((f"{early:g} s", early) for early in EARLY_S), ("full", full_s)]
    said = f"{spec.name}: windows that end soon after an onset"
    for name, after_s in progress.over(ends, said, len(ends)):
        ours: Picker = from_curves(student.curves, thresholds_at(spec, after_s))
        result["early"][name] = table(ending(records, ours, window, after_s, events, room))
        result["early, teacher"][name] = table(ending(records, theirs, TEACHER_WINDOW, after_s, events, room))
    return result


def thresholds_at(spec: ModelSpec, lookahead_s: float) -> dict[str, float]:
    """Thresholds of picks with so much data after the onset: those of final picks, or of early ones."""
    stage = FINAL if round(lookahead_s * RATE_HZ) >= FINAL.lookahead else EARLY
    return dict(spec.thresholds_of(stage.stage))


def _calibration(
    student: Student, corpus: Corpus, records: Sequence[Record], progress: Progress
) -> dict[str, Any]:
    """Reliability of probabilities, and fraction of the residuals within their uncertainty."""
    calibration = Calibration.from_spec(student.spec.calibration)
    labelled = [record for record in records if record.labelled]
    looks = len(corpus.validation) + len(labelled)
    serve = progress.counted(student.serve, looks, f"{student.spec.name}: calibration")
    result: dict[str, Any] = {}
    for name, chosen in (("stations held out", corpus.validation), ("evaluation data", labelled)):
        found = judged(serve, chosen, LEAST_JUDGED)
        sure = [one for one in found if one.probability >= student.spec.thresholds[one.phase]]
        result[name] = {
            "reliability": reliability(found),
            "error": {phase: calibration_error(found, phase) for phase in ("P", "S")},
            "time": {phase: coverage(sure, calibration, phase) for phase in ("P", "S")},
        }
    return result


def _stability(student: Student, records: Sequence[Record], progress: Progress) -> dict[str, Any]:
    early, example = student.spec.thresholds_of("early"), example_waves()
    onsets = {phase: _labelled(records, row) for row, phase in PHASE_ROWS}
    said = f"{student.spec.name}: stability of"
    return {
        "stability": {
            phase: agreement(
                progress.over(found, f"{said} {phase}", len(found)), student.annotate, early[phase]
            )
            for phase, found in onsets.items()
        },
        "example": {
            phase: sweep(example, EXAMPLE_OFFSET + onset, row, EXAMPLE_ENDS_S, student.annotate, early[phase])
            for (row, phase), onset in zip(PHASE_ROWS, EXAMPLE_ONSETS, strict=True)
        },
    }


def _labelled(records: Sequence[Record], row: int) -> list[tuple[NDArray[np.generic], int, int]]:
    labels = [(record.waves, record.analyst[row - 1]) for record in records]
    return [(waves, round(label), row) for waves, label in labels if label is not None]

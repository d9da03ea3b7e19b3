"""Final and early picks of whole records, as the daemon makes them: with windows, data after the onset and thresholds of each stage.

Around the analyst's picks every other pick of the phase is false: from 5 s before P to 3 s after S, or to 8 s after P where there is no S.

>>> import numpy as np
>>> from models.weights import weights_path
>>> waves, none = np.zeros((3, 6000), np.int32), np.zeros((3, 0), np.float16)
>>> silent = Record("a", "XX.A", "event", waves, none, (), (3000.0, None), origin="here")
>>> found = list(stage_numbers("micro", weights_path("micro"), [silent]))
>>> {(one.phase, one.condition): (one.value, one.count) for one in found}[("P", "early, all, 0.5 s")]
(0.0, 1)
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from distill.annotators import onnx_annotator
from distill.corpus import Record
from distill.progress import SILENT, Progress
from distill.report.scoring import Number, by_part
from distill.scores import Found
from distill.serving import EARLY, FINAL, PHASE_ROWS, Serve, sample_of, windowed
from models.conventions import RATE_HZ

TABLE = "stages"
BEFORE_P_S, AFTER_S_S, AFTER_P_S = 5.0, 3.0, 8.0
"""Where a pick without a label is false."""


def stage_numbers(
    name: str, path: Path, records: Sequence[Record], threads: int = 1, progress: Progress = SILENT
) -> Iterator[Number]:
    """F1 of the picks of each stage, of all records, of each origin and without each; see :func:`distill.report.scoring.by_part`.

    Args:
        name: of the student.
        path: of its ``.onnx`` file, which has the thresholds.
        records: those with an analyst's P count.
        threads: of the engine.
        progress: shows the stage.
    """
    annotate, spec = onnx_annotator(path, threads)
    for stage in (FINAL, EARLY):
        serve = windowed(annotate, spec.window_samples, stage)
        thresholds = spec.thresholds_of(stage.stage)
        found: dict[str, dict[str, list[Found]]] = {phase: {} for _, phase in PHASE_ROWS}
        for record in progress.over(records, f"{name}: {stage.stage} picks", len(records)):
            for row, phase in PHASE_ROWS:
                label, p_pick = record.analyst[row - 1], record.analyst[0]
                if label is not None and p_pick is not None:
                    picks = _around(serve, record, phase, thresholds[phase], p_pick)
                    of_origin = found[phase].setdefault(record.origin, [])
                    of_origin.append(Found(record.event or record.name, picks, label))
        for phase, parts in found.items():
            yield from by_part(TABLE, name, phase, parts, f"{stage.stage}, ")


def _around(serve: Serve, record: Record, phase: str, threshold: float, p_pick: float) -> tuple[float, ...]:
    s_pick = record.analyst[1]
    first = p_pick - BEFORE_P_S * RATE_HZ
    last = p_pick + AFTER_P_S * RATE_HZ if s_pick is None else s_pick + AFTER_S_S * RATE_HZ
    picks = (sample_of(pick) for pick in serve(record.waves, threshold) if pick.phase == phase)
    return tuple(sample for sample in picks if first <= sample <= last)

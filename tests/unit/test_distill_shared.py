"""Against real evaluation data, where they are: the teacher reaches its known scores, the student comes near.

The folder is named by ``XIAO_SHARED``; without it these tests are skipped.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from distill.annotators import onnx_annotator, overlapped
from distill.config import SourceSection, TeacherSection, TrainConfig
from distill.corpus import Record, load_records
from distill.evaluate import TEACHER_THRESHOLDS, TEACHER_WINDOW
from distill.teachers import OnnxTeacher
from distill.views import P_PLACE_30_S, from_curves, placed, table
from models.weights import weights_path

SHARED = Path(os.environ.get("XIAO_SHARED", "../shared"))
SECTION = TeacherSection(hop_samples=3000)
pytestmark = pytest.mark.skipif(
    not (SHARED / "data/dev_eval").is_dir(), reason=f"no evaluation data below XIAO_SHARED ({SHARED})"
)


@pytest.fixture(scope="module")
def teacher() -> OnnxTeacher:
    return OnnxTeacher(SHARED / SECTION.onnx, SECTION, threads=1)


@pytest.fixture(scope="module")
def records(teacher: OnnxTeacher, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    config = TrainConfig(name="none", version="0.0.0", teacher=SECTION)
    found, _ = load_records(
        SourceSection(path="data/dev_eval"), SHARED, config, teacher, tmp_path_factory.mktemp("cache")
    )
    return found


def test_the_teacher_scores_as_is_known_of_it(teacher: OnnxTeacher, records: list[Record]) -> None:
    picker = from_curves(lambda window: teacher.annotate(window.astype(np.float64)), TEACHER_THRESHOLDS)
    scores = table(placed(records, picker, TEACHER_WINDOW, P_PLACE_30_S))
    known = {"P 0.1 s": 0.933, "P 0.5 s": 0.972, "S 0.1 s": 0.868, "S 0.5 s": 0.959}
    assert {key: values["f1"] for key, values in scores.items()} == pytest.approx(known, abs=0.01)


def test_the_student_comes_near(records: list[Record]) -> None:
    annotate, spec = onnx_annotator(weights_path("micro"))
    picker = from_curves(
        lambda window: overlapped(window.astype(np.float64), annotate, spec.window_samples),
        dict(spec.thresholds),
    )
    scores = table(placed(records[::2], picker, TEACHER_WINDOW, P_PLACE_30_S))
    assert scores["P 0.1 s"]["f1"] > 0.85
    assert scores["S 0.1 s"]["f1"] > 0.7

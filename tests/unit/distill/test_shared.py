"""Against real evaluation data, where they are: pickers reach the scores that the file of measurements holds.

The folder is named by ``XIAO_SHARED``; without it these tests are skipped.
"""

import os
from pathlib import Path

import pytest

from distill.measure import EVALUATION
from distill.measurements import TOLERANCES, Measurements
from distill.report.config import load_report_config
from distill.report.contenders import Bench, contenders_of
from distill.report.evaluation import SPARE_SAMPLES
from distill.report.scoring import Looked, accuracy
from distill.report.windows import LabelledWindow, cut_windows, load_labelled

SHARED = Path(os.environ.get("XIAO_SHARED", "../shared"))
CONFIG = load_report_config(EVALUATION)
pytestmark = pytest.mark.skipif(
    not (SHARED / CONFIG.data.path).is_dir(), reason=f"no evaluation data below XIAO_SHARED ({SHARED})"
)
CLOSE = 0.003
"""Other processors and libraries round otherwise: two windows of 640 may go the other way."""


@pytest.fixture(scope="module")
def windows() -> list[LabelledWindow]:
    records, _ = load_labelled(CONFIG.data, SHARED)
    events = {record.name: record.event for record in records if record.event}
    return cut_windows(records, events, CONFIG.window_samples + SPARE_SAMPLES)


@pytest.mark.parametrize("name", ["PhaseNet", "micro"])
def test_a_picker_scores_as_the_file_of_measurements_says(name: str, windows: list[LabelledWindow]) -> None:
    [section] = [one for one in CONFIG.contenders if one.name == name]
    [contender] = contenders_of(section, Bench(SHARED, Path(), ()))
    looked = Looked(windows, [contender.curves(window.waves) for window in windows])
    held = Measurements.load()
    compared = 0
    for one in accuracy(contender, looked, (0.1, 0.5)):
        said = held.number(one.table, name, one.phase, one.condition, one.metric)
        if one.table == "accuracy" and one.condition in TOLERANCES:
            assert said is not None
            assert one.value == pytest.approx(said.value, abs=CLOSE), one
            compared += 1
    assert compared == 20

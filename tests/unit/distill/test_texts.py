"""No number of README, cards and docs stands with two values: all of them are what the file of measurements gives."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from distill.measurements import Measurements
from distill.texts import FILLED, PART, PARTS, ROOT, filled, texts_of
from models.weights import shipped

F1 = re.compile(r"(?<![\d.])0?\.\d{3}(?!\d)")
"""A score, to three digits."""


@pytest.fixture(scope="module")
def held() -> Measurements:
    return Measurements.load()


def test_every_text_is_what_the_file_gives(held: Measurements) -> None:
    for path, text in texts_of(held, ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: 'make texts' writes it anew"


def test_every_part_is_shown_and_every_student_measured(held: Measurements) -> None:
    shown = {
        name for file in FILLED for _, name, _ in PART.findall((ROOT / file).read_text(encoding="utf-8"))
    }
    assert shown == set(PARTS)
    assert set(held.students) == set(shipped() | shipped(stateful=True))
    # A run from code that nobody else has cannot be done again.
    assert not held.provenance["code"].endswith("-dirty")


@pytest.mark.parametrize("file", FILLED)
def test_scores_stand_nowhere_else(file: str) -> None:
    text = PART.sub("", (ROOT / file).read_text(encoding="utf-8"))
    assert not F1.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_a_picker_has_the_same_score_in_documents_and_cards(held: Measurements) -> None:
    """Beside the code that fills the texts: the rows as they stand there."""
    rows = [
        (path.name, re.findall(r"0\.\d{3} \([\d.]+ to [\d.]+\)", line))
        for path in (ROOT / "docs" / "benchmarks.md", *sorted((ROOT / "models" / "weights").glob("*.md")))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("| AR-AIC | 0")
    ]
    assert len(rows) == 1 + len(shipped())
    assert len({tuple(scores) for _, scores in rows}) == 1
    number = held.number("accuracy", "AR-AIC", "P", "0.1 s", "f1")
    assert number is not None
    assert rows[0][1][0].startswith(f"{number.value:.3f} ")


def test_a_part_that_is_not_there_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="absent"):
        filled("<!-- measured: absent -->\n<!-- end -->\n", {})
    twice = "<!-- measured: a -->\nold\n<!-- end -->\n"
    assert filled(twice, {"a": "new"}) == filled(filled(twice, {"a": "new"}), {"a": "new"})


def test_measurements_survive_their_file(held: Measurements, tmp_path: Path) -> None:
    path = tmp_path / "again.json"
    path.write_text(held.text(), encoding="utf-8")
    assert Measurements.load(path).text() == held.text()


def test_the_daemon_is_shown_with_its_stages_and_its_machine(held: Measurements) -> None:
    own = {
        "early P": {"count": 9, "median": 0.312, "p99": 0.987},
        "final P": {"count": 8, "median": 0.5, "p99": 1.25},
    }
    load = {
        "stations": 1000, "data": "events", "early": "scout", "us_per_station_s": 150.5, "resident_mb": 320.0, "windows_of_due": 1.1,
        "kept_up": True, "own_latency_s": own, "caught_up_s": 12.0, "catching_up_peak_mb": 400.5,
    }  # fmt: skip
    day = {
        "program": "xiaod pick", "data": "quiet", "hours": 24.0, "cpu_s": 5.1, "start_cpu_s": 1.2, "wall_s": 6.0, "picks": 3,
        "of_phasenet": 0.45,
    }  # fmt: skip
    shown = PARTS["daemon"](
        replace(
            held,
            daemon=[load],
            offline=[day, {**day, "program": "PhaseNet (SeisBench classify)", "of_phasenet": None}],
            early=[{"early": "scout", "places": 16, "data_s": {"count": 16, "median": 0.8, "p95": 1.1}}],
            machine={"model": "a processor", "cores": 2},
        )
    )
    note = "after a stop caught up in 12 s, with 400.5 MB at most"
    assert f"| 1,000 | events | scout | 150.5 | 320.0 | 0.31, 0.99 | 0.50, 1.25 | {note} |" in shown
    assert "| xiaod pick | quiet | 24 | 5.1 | 1.2 | 3 | 45% |" in shown
    assert "| PhaseNet (SeisBench classify) | quiet | 24 | 5.1 | 1.2 | 3 |  |" in shown
    assert "`early: scout`, the example event at 16 places: 0.80 s (median; 95 %\nwithin 1.10 s)" in shown
    assert shown.endswith("Machine: model a processor, cores 2.")

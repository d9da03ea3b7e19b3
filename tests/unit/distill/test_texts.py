"""No number of README, cards and docs stands with two values: all of them are what the file of measurements gives."""

import re
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

"""``xiao-distill compare``: one's own student beside others, on a corpus of one real event."""

import re
from pathlib import Path

import pandas as pd
import pytest

from distill.cli import main
from models.weights import weights_path

CONFIG = """
name: mine
version: 0.0.1
data: {validation_fraction: 0.5}
teacher: {onnx: teacher.onnx, window_samples: 3000, hop_samples: 250}
"""


@pytest.fixture
def command(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command; the student of one's own is ``micro``, and so is the teacher."""
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    monkeypatch.setattr("distill.baselines.STA_S", (0.5, 1.0))
    monkeypatch.setattr("distill.baselines.BANDS_HZ", ((2.0, 15.0),))
    (tmp_path / "mine.yaml").write_text(CONFIG, encoding="utf-8")
    return [
        *("compare", "--config", str(tmp_path / "mine.yaml"), "--model", str(weights_path("micro"))),
        *("--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")),
    ]


def rows_of(text: str) -> dict[tuple[str, str], list[str]]:
    """Cells of the table, by picker and phase."""
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]
    return {(name, phase): rest for name, phase, *rest in cells[2:]}


def test_one_table_and_one_picture(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--data", "data/dev_eval", "--beside", "small", str(weights_path("micro"))]) == 0
    said = capsys.readouterr()
    # Nothing that takes long is silent.
    assert all(stage in said.err for stage in ("tuning recursive STA/LTA", "mine", "small", "teacher"))
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert said.out.startswith(text.partition("\n![")[0])
    assert "data/dev_eval: 3 records, 12 windows with 12 P, 12 S" in text
    rows = rows_of(text)
    names = ("mine", "small", "micro", "teacher", "recursive STA/LTA")
    assert list(rows) == [(name, phase) for name in names for phase in "PS"]
    assert {row[-1] for row in rows.values()} == {"12"}
    for phase in "PS":
        for cell in rows["mine", phase][:2]:
            value, low, high = map(float, re.fullmatch(r"(\S+) \((\S+)–(\S+)\)", cell).groups())  # type: ignore[union-attr]
            assert 0 < low <= value <= high <= 1
        # The same network under another name.
        assert rows["micro", phase][:2] == rows["mine", phase][:2]
        assert rows["micro", phase][2:4] == ["+0.000 (+0.00 to +0.00)"] * 2
        assert rows["mine", phase][2:4] == ["", ""]
        better = float(rows["mine", phase][1].split()[0]) - float(
            rows["recursive STA/LTA", phase][1].split()[0]
        )
        assert float(rows["recursive STA/LTA", phase][3].split()[0]) == pytest.approx(-better, abs=1e-9)
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "mine was trained on data of 2 of these stations" in text
    assert "Of 3 records, intervals say little" in text


def test_without_data_it_is_what_was_held_out(
    command: list[str], shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "On stations held out of training: " in said
    assert "Thresholds of mine were chosen at these stations" in said
    assert set(rows_of(said)) == {
        (name, phase) for name in ("mine", "small", "teacher", "recursive STA/LTA") for phase in "PS"
    }
    # Without an analyst's pick there is nothing to compare with, and nothing to tune on.
    table = shared / "data" / "train" / "metadata.csv"
    pd.read_csv(table).assign(p_sample="", s_sample="").to_csv(table, index=False)
    assert main(command) == 2
    assert "no record with an analyst's P that is longer than 30 s; --data names" in capsys.readouterr().err
    assert main([*command, "--data", "data/dev_eval"]) == 0
    assert "has the settings that are best on these very windows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "nowhere"], "nowhere: not there (--data)"),
        (["--beside", "nobody"], "nobody: neither a shipped model"),
        (["--model", "absent.onnx"], "absent.onnx: neither a shipped model"),
    ],
)
def test_what_is_missing_is_named(
    options: list[str], words: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *options]) == 2
    assert words in capsys.readouterr().err

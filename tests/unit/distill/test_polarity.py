"""``xiao-distill polarity`` on a corpus of one real event, whose vertical moves down first."""

from pathlib import Path

import pandas as pd
import pytest

from distill.cli import main


def test_what_is_against_the_label_is_counted(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared / "data/dev_eval/metadata.csv"
    table = pd.read_csv(path, keep_default_na=False)
    command = ["polarity", "--shared", str(shared), "--data", "data/dev_eval", "--no-progress"]
    table.assign(trace_polarity="undecidable").to_csv(path, index=False)
    assert main(command) == 2
    assert "no record has positive or negative in the column trace_polarity, " in capsys.readouterr().err
    table.assign(trace_polarity=["negative", "positive", "", "negative"]).to_csv(path, index=False)
    assert main(command) == 0
    said, plain, origins, _, noisy = capsys.readouterr().out.strip().split("\n\n")
    assert said.endswith("P picks at 3 of 3 onsets whose first motion an analyst has read")
    assert plain.splitlines()[-1] == "| all | 3 | 100 % | 1 of 3 (at most 79 %) |"
    assert origins.splitlines()[2] == "| here | 3 | 100 % | 1 of 3 (at most 79 %) |"
    # With more noise less can be told.
    picks, share = noisy.splitlines()[-1].split(" | ")[1:3]
    assert int(picks) > 3
    assert int(share.removesuffix(" %")) < 100


def test_what_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["polarity", "--shared", str(tmp_path), "--data", "none"]) == 2
    assert f"{tmp_path}/none: not there (--data)" in capsys.readouterr().err
    assert main(["polarity", "--data", "example", "--model", "none"]) == 2
    assert "none: neither a shipped model" in capsys.readouterr().err
    assert main(["polarity", "--data", "example"]) == 2
    assert "--data example: no record has positive" in capsys.readouterr().err

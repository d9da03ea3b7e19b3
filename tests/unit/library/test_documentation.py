"""What the documentation of the library shows is what happens."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from tests.notebooks import DOCS, NOTEBOOK, code_cells, examples, masked, run, shown
from xiaod import Picker


def test_the_notebook_shows_what_its_cells_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names: dict[str, Any] = {}
    cells = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert len(cells) > 5
    for number, cell in enumerate(cells):
        printed, value = run("".join(cell["source"]), names)
        assert [masked(printed), masked(value)] == list(map(masked, shown(cell))), (
            f"cell {number}; make notebook writes the outputs anew"
        )


def test_the_examples_show_what_they_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = examples((DOCS / "library.md").read_text(encoding="utf-8"))
    assert sum(bool(output) for _, output in found) == 4
    for code, output in found:
        printed, _ = run(code, names)
        assert not output or masked(printed) == masked(output), code
    assert (tmp_path / "picks.xml").read_bytes().startswith(b"<?xml")


def test_all_options_are_described() -> None:
    table = re.findall(r"^\| (`.*?) \|", (DOCS / "library.md").read_text(encoding="utf-8"), re.MULTILINE)
    described = re.findall(r"`(\w+)`", " ".join(table))
    assert sorted(described) == sorted(inspect.signature(Picker).parameters)

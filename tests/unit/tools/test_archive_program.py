"""A run over an archive that goes on after an upgrade mixes no picks of two programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xiaod.config import Config
from xiaod.domain.types import Instrument
from xiaod.inference.errors import ModelError
from xiaod.tools.archive.chunk import Job, pick_chunk
from xiaod.tools.archive.journal import Journal
from xiaod.tools.archive.plan import Chunk
from xiaod.tools.archive.program import ROOMS, program_fingerprint

ROOT = Path(__file__).parents[3]
CONFIG = Config.model_validate({"sources": [{"server": "localhost"}]})
CHUNK = Chunk(Instrument("BW", "RJOB", "", "EH"), 0, 86_400_000_000_000, ())
WITHOUT_PICKS = {"association", "process", "sinks", "snippets", "storage"}
"""Rooms that the work on a chunk loads, and that change no pick: it has no sink but a list, no store, makes no events, and keeps no
waveforms."""


def fingerprint_of(home: Path) -> str:
    code = "from xiaod.tools.archive.program import program_fingerprint as f; print(f())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=os.environ | {"PYTHONPATH": str(home)},
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.strip()  # fmt: skip


def test_code_that_picks_makes_another_program(tmp_path: Path) -> None:
    for package in ("xiaod", "models"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert fingerprint_of(tmp_path) == program_fingerprint()
    seen = {program_fingerprint()}
    for changed, matters in [
        ("xiaod/picking/picker.py", True),
        ("xiaod/acquisition/seedlink/source.py", True),
        ("models/calibration.py", True),
        ("xiaod/sinks/console.py", False),
        ("xiaod/cli/main.py", False),
    ]:
        with (tmp_path / changed).open("a", encoding="utf-8") as file:
            file.write("\n# changed\n")
        found = fingerprint_of(tmp_path)
        assert (found not in seen) == matters, changed
        seen.add(found)


def test_no_room_that_makes_picks_is_forgotten() -> None:
    code = "import sys, xiaod.tools.archive.chunk; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = [name.split(".") for name in done.stdout.split()]
    rooms = {parts[1] for parts in loaded if parts[0] == "xiaod" and len(parts) > 1} - {"tools"}
    assert rooms - WITHOUT_PICKS == {room for room in ROOMS if "/" not in room}
    tools = {parts[2] for parts in loaded if parts[:2] == ["xiaod", "tools"] and len(parts) > 2}
    assert tools == {room.removeprefix("tools/") for room in ROOMS if "/" in room}


def test_another_program_picks_again(tmp_path: Path) -> None:
    journals = [
        Journal(tmp_path, Job(CONFIG, "model", program).fingerprint)
        for program in (program_fingerprint(), "another")
    ]
    assert len({journal.key(CHUNK) for journal in journals}) == 2


def test_a_worker_with_another_program_refuses() -> None:
    with pytest.raises(ModelError, match=r"the code of this program, or a library of it, differs"):
        pick_chunk(Job(CONFIG, "model", "another"), CHUNK)

"""The state folder of one run: who may have it, and what is forgotten of it."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from xiaod.config import Config, SeedLinkConfig, StateConfig
from xiaod.exitcode import StartError
from xiaod.lock import FolderLock
from xiaod.metrics import Metrics
from xiaod.shard import ALONE
from xiaod.state import State

UNITS = sorted((Path(__file__).parents[2] / "systemd").glob("*.service"))


def state_in(folder: Path, **keys: float) -> State:
    source = SeedLinkConfig(server="localhost", begin="resume")
    config = Config(sources=(source,), state=StateConfig(folder=folder, **keys))
    return State(lambda: config, ALONE, Metrics())


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_whoever_finds_the_folder_held_is_started_again_until_it_is_free(tmp_path: Path, unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    [prevented] = re.findall(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert "\nRestart=on-failure\n" in text
    held = FolderLock(tmp_path, ALONE)
    with ExitStack() as stack:
        with pytest.raises(StartError, match="uses this folder already; stop that one") as refused:
            state_in(tmp_path).lock(stack)
        assert refused.value.code > 0
        assert str(int(refused.value.code)) not in prevented.split()
        held.release()
        state_in(tmp_path).lock(stack)

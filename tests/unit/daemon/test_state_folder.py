"""The state folder of one run: who may have it, and what is forgotten of it."""

import re
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.contract.test_sinks import pick
from xiaod.config import Config, SeedLinkConfig, StateConfig
from xiaod.daemon.state_folder import StateFolder
from xiaod.domain.sharding import ALONE
from xiaod.domain.timegrid import NS_PER_S
from xiaod.process.exit_status import ExitCode, StartError
from xiaod.process.metrics import Metrics
from xiaod.storage.folder_lock import FolderLock
from xiaod.storage.pick_query import stored_picks
from xiaod.storage.pick_store import STORE, PickStore

UNITS = sorted((Path(__file__).parents[3] / "systemd").glob("*.service"))


def state_in(folder: Path, **keys: float) -> StateFolder:
    source = SeedLinkConfig(server="localhost", begin="resume")
    config = Config(sources=(source,), state=StateConfig(folder=folder, **keys))
    return StateFolder(config, ALONE, Metrics())


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


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_clock_that_is_a_year_ahead_takes_no_pick_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def ahead() -> None:
        true_ns = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: true_ns() + 365 * 86_400 * NS_PER_S)

    picks = [pick(number) for number in range(3)]
    with ExitStack() as stack:
        state = state_in(tmp_path, keep_days=30.0)
        state.open(stack)
        assert state.store is not None
        state.store.add(picks, {})
        state.save({})
    if when == "before the start":
        ahead()
    with ExitStack() as stack:
        state = state_in(tmp_path, keep_days=30.0)
        state.open(stack)
        state.save({})
        if when == "while it runs":
            ahead()
        state.save({})
    assert stored_picks(tmp_path / STORE) == picks


def test_a_store_of_a_newer_program_is_no_reason_to_begin_a_new_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        state_in(tmp_path).open(stack)
    with closing(sqlite3.connect(tmp_path / STORE)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    with ExitStack() as stack, pytest.raises(StartError, match=r"store version 99.*newer xiaod") as refused:
        state_in(tmp_path).open(stack)
    assert refused.value.code == ExitCode.CONFIGURATION


def test_damage_that_keeps_it_from_starting_is_found_at_the_next_start(tmp_path: Path) -> None:
    base = tmp_path / "state"
    # A shard of another count has left something, which makes it read its own store.
    left = PickStore(base / "shard-2" / STORE)
    left.save({}, {"test": {("BW", "RJOB"): (1, 2)}})
    left.close()
    with ExitStack() as stack:
        state = state_in(base)
        state.open(stack)
        assert state.store is not None
        state.store.save({}, {"test": {("BW", f"R{number:03d}"): (1, 2) for number in range(1000)}})
    content = bytearray((base / STORE).read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    (base / STORE).write_bytes(content)
    with ExitStack() as stack, pytest.raises(StartError, match="cannot be taken over") as refused:
        state_in(base).open(stack)
    assert refused.value.code == ExitCode.FAILURE
    with ExitStack() as stack:
        state_in(base).open(stack)
    assert list(base.glob("picks.bad-*[0-9]"))

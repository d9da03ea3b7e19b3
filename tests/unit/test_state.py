"""What survives a restart, and what is made of it when it did not survive whole."""

from pathlib import Path

import pytest

from xiaod.state import StateStore

POSITIONS = {("BW", "RJOB"): (0xFFFFFF, 1_251_073_203_000_000_000), ("", "A"): (0, -1)}


def test_it_comes_back_for_each_source(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "new" / "state")
    store.save("one:18000", POSITIONS)
    store.save("two", {("XX", "B"): (1, 2)})
    again = StateStore(tmp_path / "new" / "state")
    assert again.load("one:18000") == POSITIONS
    assert again.load("two") == {("XX", "B"): (1, 2)}
    assert again.load("three") == {}


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save("a", POSITIONS)
    [file] = tmp_path.iterdir()
    file.unlink()
    store.save("a", dict(POSITIONS))
    store.save("a", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"state_version": 99, "stations": {}}', b'{"state_version": 1, "stations": {"A.B": ["x", 1]}}', b"\xff\xfe"],
)  # fmt: skip
def test_damage_is_moved_aside_and_not_fatal(tmp_path: Path, damage: bytes) -> None:
    store = StateStore(tmp_path)
    store.save("a", POSITIONS)
    [file] = tmp_path.iterdir()
    file.write_bytes(damage)
    assert StateStore(tmp_path).load("a") == {}
    [aside] = tmp_path.iterdir()
    assert ".bad-" in aside.name
    assert aside.read_bytes() == damage
    StateStore(tmp_path).save("a", POSITIONS)
    assert StateStore(tmp_path).load("a") == POSITIONS


def test_a_folder_that_cannot_be_written_is_an_error_and_the_old_state_stays(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"exists|directory"):
        StateStore(blocked).save("a", POSITIONS)
    blocked.unlink()
    store = StateStore(blocked)
    store.save("a", POSITIONS)
    (blocked / "resume-a.partial").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.save("a", {("X", "Y"): (1, 1)})
    assert StateStore(blocked).load("a") == POSITIONS

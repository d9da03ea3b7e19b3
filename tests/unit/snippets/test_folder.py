"""Files are written once, the oldest go, and nothing that is not ours is touched."""

import errno
import os
import time
from pathlib import Path

import pytest

from xiaod.snippets import folder as folder_module
from xiaod.snippets.folder import SnippetFolder, file_name, is_file_name

DAY_S = 86_400.0


def name(number: int, suffix: str = ".mseed") -> str:
    return file_name(f"20260131.1200{number:02d}.50-P-BW.RJOB..EH-micro-1.1.0", suffix)


def opened(path: Path, keep_days: float = 0.0, max_bytes: float = 1e9) -> SnippetFolder:
    made = SnippetFolder(path, keep_days, max_bytes)
    made.open()
    return made


def test_a_file_is_written_once(tmp_path: Path) -> None:
    folder = opened(tmp_path / "new" / "snippets")
    assert folder.write(name(1), b"first")
    assert not folder.write(name(1), b"second")
    assert (folder.path / name(1)).read_bytes() == b"first"
    assert not opened(folder.path).write(name(1), b"third")
    assert [path.name for path in folder.path.iterdir()] == [name(1)]


def test_the_oldest_go_when_all_are_too_large_also_those_of_earlier_runs(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number in range(10):
        folder.write(name(number), bytes(100))
        os.utime(tmp_path / name(number), (number, number))
    again = opened(tmp_path, max_bytes=450)
    assert again.held_bytes == 1000
    again.write(name(10), bytes(100))
    assert again.prune() == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == [name(number) for number in range(7, 11)]
    assert again.held_bytes == 400


def test_old_ones_go_and_with_zero_none(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    for number, age_s in ((1, 3 * DAY_S), (2, 1.9 * DAY_S), (3, 0)):
        folder.write(name(number), b"a")
        os.utime(tmp_path / name(number), (time.time() - age_s,) * 2)
    assert opened(tmp_path).prune() == 0
    assert opened(tmp_path, keep_days=2).prune() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [name(2), name(3)]


def test_files_of_others_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    others = ["archive.mseed", "BW.RJOB..EHZ.D.2026.031", "picture.png", "notes.partial", f"{name(1)}.gz"]
    for other in others:
        (tmp_path / other).write_bytes(bytes(1000))
    folder = opened(tmp_path, keep_days=1e-9, max_bytes=1)
    folder.write(name(1), b"ours")
    folder.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.partial(name(1)).write_bytes(b"half")
    opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_nearly_full_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened(tmp_path)
    monkeypatch.setattr(folder_module, "LEAST_FREE_BYTES", 1 << 62)
    with pytest.raises(OSError, match="MB left") as told:
        folder.write(name(1), b"a")
    assert told.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="MB left"):
        folder.try_out()
    monkeypatch.undo()
    folder.try_out()
    assert list(tmp_path.iterdir()) == []
    assert folder.write(name(1), b"a")


def test_a_folder_that_has_gone_is_made_again(tmp_path: Path) -> None:
    folder = opened(tmp_path / "a")
    folder.write(name(1), b"a")
    (folder.path / name(1)).unlink()
    folder.path.rmdir()
    assert folder.write(name(2), b"a")
    assert folder.prune() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "", ".", "..", "../x.png", "a/b.mseed", f"../{name(1)}", f"/{name(1)}", f"{name(1)}.partial", f"{name(1)}\n", f"{name(1)}\0",
        "..%2f..%2fetc%2fpasswd", "20260131.120001.50-P-../../x.png", name(1)[:-6], name(1).replace("mseed", "sqlite"),
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(wrong: str, tmp_path: Path) -> None:
    assert is_file_name(name(1))
    assert is_file_name(name(1, ".png"))
    assert not is_file_name(wrong)


def test_odd_letters_of_an_id_make_a_name(tmp_path: Path) -> None:
    odd = file_name("20260131.120001.50-P-B/W.R\0JOB..EH-mïcro 1", ".mseed")
    assert is_file_name(odd)
    assert opened(tmp_path).write(odd, b"a")

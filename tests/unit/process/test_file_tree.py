"""Folders that are links, links that go round, and links that lead nowhere."""

import os
from pathlib import Path

import pytest

from distill.datasets.miniseed import MiniSeedDataset
from tests.end_to_end.harness import write_event
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.domain.types import BadRecord, Segment, SourceItem
from xiaod.process.file_tree import files_below
from xiaod.replay.records import load
from xiaod.tools.archive.plan import Selection, plan


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive whose year lies on another disk, with a link round to itself and one to a disk that is not there."""
    disk = tmp_path / "disk" / "2009"
    disk.mkdir(parents=True)
    write_event(disk / "day.mseed")
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "2009").symlink_to(disk)
    (disk / "round").symlink_to(folder)
    (disk / "itself").symlink_to(disk)
    return folder


def test_each_folder_is_visited_once(archive: Path) -> None:
    assert [path.relative_to(archive) for path in files_below(archive)] == [Path("2009/day.mseed")]


def test_order_is_that_of_names(tmp_path: Path) -> None:
    for name in ("b/1", "a.b/2", "a/3", "c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert list(files_below(tmp_path)) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_every_reader_of_folders_follows_links(archive: Path) -> None:
    items: list[SourceItem] = []
    FileSource([archive]).run(items.append)
    assert {type(item) for item in items} == {Segment}
    assert len(plan([archive], Selection()).chunks) == 1
    served = load([archive])
    assert len(served.records) == len(items)
    assert not served.problems
    assert len(MiniSeedDataset(archive, None)) > 0


def test_what_cannot_be_looked_into_is_named(archive: Path) -> None:
    (archive / "2010").symlink_to("/nowhere/2010")
    items: list[SourceItem] = []
    FileSource([archive]).run(items.append)
    [bad] = [item for item in items if isinstance(item, BadRecord)]
    assert f"{archive}/2010" in bad.detail
    assert str(archive / "2010") in plan([archive], Selection()).damaged
    assert [problem.path for problem in load([archive]).problems] == [str(archive / "2010")]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_folder_is_named(archive: Path) -> None:
    (archive / "lost+found").mkdir(mode=0)
    assert str(archive / "lost+found") in plan([archive], Selection()).damaged

"""JSON Lines on real file systems: disks that fill up, power cuts, rotation."""

import errno
import fcntl
import json
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_sinks import AGENCY, DAY_NS, EVENT, NOW_NS, pick
from tests.descriptors import open_in
from xiaod.config.sinks.file import JsonLinesConfig
from xiaod.sinks.file.jsonl import JsonLinesSink, json_line
from xiaod.sinks.file.tail import MAX_DOUBTFUL_BYTES, MAX_UNSYNCED_BYTES, TAIL_BYTES

LINE = json_line(pick(), AGENCY)


def made(path: Path, **keys: object) -> JsonLinesSink:
    return JsonLinesSink(JsonLinesConfig.model_validate({"kind": "jsonl", "path": path, **keys}), AGENCY)


def ids(path: Path) -> list[str]:
    """The id of each line; every line must be a document."""
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def close_all_in(folder: Path) -> None:
    """Close the files in a folder behind the back of whoever has opened them, as the end of a process does."""
    descriptors = open_in(folder)
    assert descriptors
    for descriptor in descriptors:
        os.close(descriptor)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel writes no file beyond this size: a write that crosses it is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
@pytest.mark.parametrize("room", [0, 1, len(LINE) - 1, len(LINE), len(LINE) + 10])
def test_a_write_that_is_cut_short_is_undone(tmp_path: Path, fsync: str, room: int) -> None:
    path = tmp_path / "picks.jsonl"
    sink = made(path, fsync=fsync)
    sink.deliver([pick(1)], NOW_NS)
    before = path.read_bytes()
    for _ in range(3):
        with files_end_at(len(before) + room), pytest.raises(OSError, match="File too large"):
            sink.deliver([pick(2), pick(3)], NOW_NS)
        assert path.read_bytes() == before
    sink.deliver([pick(2), pick(3)], NOW_NS)
    sink.close()
    assert ids(path) == [pick(number).id for number in (1, 2, 3)]


@settings(max_examples=60)
@given(cut=st.integers(0, 2 * len(LINE)), zeros=st.sampled_from([0, 0, 1, 4096]))
def test_whatever_a_power_cut_left_every_line_is_a_document(
    tmp_path_factory: pytest.TempPathFactory, cut: int, zeros: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "picks.jsonl"
    left = (LINE * 2).encode()[:cut] + bytes(zeros)
    path.write_bytes(left)
    sink = made(path)
    sink.deliver([pick(9)], NOW_NS)
    sink.close()
    *whole, last = ids(path)
    assert last == pick(9).id
    # A line that lacks only its newline counts; with zeros behind it, it does not.
    assert len(whole) == (left.count(b"\n") if zeros else (cut + 1) // len(LINE))
    aside = path.with_name("picks.jsonl.partial")
    tail = left[left.rfind(b"\n") + 1 :]
    assert not tail or len(whole) > left.count(b"\n") or aside.read_bytes() == tail + b"\n"


def test_an_event_of_many_stations_that_a_power_failure_cut_spoils_no_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    large = replace(EVENT, picks=EVENT.picks * 2000)
    for cut in (20, 0):
        sink = made(path, of="events")
        sink.deliver([large], NOW_NS)  # type: ignore[list-item]
        sink.close()
        assert ids(path) == [large.id]
        os.truncate(path, path.stat().st_size - cut)
    assert path.with_name("events.jsonl.partial").stat().st_size > 100_000


def test_a_long_last_line_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    path.write_text("x" * (TAIL_BYTES + 5))
    sink = made(path)
    sink.deliver([pick(1)], NOW_NS)
    sink.close()
    assert path.read_text() == "x" * (TAIL_BYTES + 5) + "\n" + json_line(pick(1), AGENCY)


def test_a_folder_moved_away_is_made_anew_and_keeps_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "picks"
    sink = made(folder / "picks.jsonl")
    sink.deliver([pick(1)], NOW_NS)
    folder.rename(tmp_path / "away")
    sink.deliver([pick(2)], NOW_NS)
    sink.close()
    assert ids(tmp_path / "away" / "picks.jsonl") == [pick(1).id]
    assert ids(folder / "picks.jsonl") == [pick(2).id]


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_a_file_that_its_file_system_has_given_up_is_opened_anew(tmp_path: Path, fsync: str) -> None:
    path = tmp_path / "picks.jsonl"
    sink = made(path, fsync=fsync)
    sink.deliver([pick(0)], NOW_NS)
    # In every call it fails as one does whose handle is stale.
    close_all_in(tmp_path)
    sink.deliver([pick(1)], NOW_NS)
    sink.close()
    assert ids(path) == [pick(0).id, pick(1).id]


def test_a_folder_in_place_of_the_file_is_an_error_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    path.mkdir()
    sink = made(path)
    with pytest.raises(IsADirectoryError):
        sink.deliver([pick(1)], NOW_NS)
    path.rmdir()
    sink.deliver([pick(1)], NOW_NS)
    sink.close()
    assert ids(path) == [pick(1).id]


def test_a_pipe_takes_picks_although_it_cannot_be_synced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = made(path, fsync="always")
    sink.deliver([pick(1)], NOW_NS)
    assert os.read(reader, 10_000).decode() == json_line(pick(1), AGENCY)
    sink.close()
    os.close(reader)


def test_names_of_rotated_files_sort_by_time_and_old_ones_go_first(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    sink = made(path, rotate="size", rotate_mb=0.0001)
    for number in range(30):
        sink.deliver([pick(number)], NOW_NS + number // 12 * 1_000_000_000)
    sink.close()
    files = sorted(file for file in tmp_path.iterdir() if file != path)
    assert [ids(file)[0] for file in files] == [pick(number).id for number in range(29)]
    assert files[1].name == "picks.20231114T221320_001.jsonl"
    keeping = made(path, rotate="size", rotate_mb=0.0001, keep_files=4)
    keeping.deliver([pick(30)], NOW_NS + 5_000_000_000)
    keeping.close()
    assert sorted(ids(file)[0] for file in tmp_path.iterdir()) == [
        pick(number).id for number in range(26, 31)
    ]


def test_files_of_others_are_not_removed(tmp_path: Path) -> None:
    names = ["picks.2.jsonl", "picks.20200101.csv", "picks.20200101.notes.jsonl", "other.20200101.jsonl"]
    for name in names:
        (tmp_path / name).write_text("not ours")
    path = tmp_path / "picks.jsonl"
    sink = made(path, rotate="day", keep_files=1)
    for day in range(4):
        sink.deliver([pick(day)], NOW_NS + day * DAY_NS)
        os.utime(path, ns=(NOW_NS + day * DAY_NS,) * 2)
    sink.close()
    assert {file.name for file in tmp_path.iterdir()} == {*names, "picks.jsonl", "picks.20231116.jsonl"}


def test_a_clock_that_is_set_back_rotates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    sink = made(path, rotate="day")
    sink.deliver([pick(1)], NOW_NS)
    os.utime(path, ns=(NOW_NS, NOW_NS))
    sink.deliver([pick(2)], NOW_NS - 3 * DAY_NS)
    sink.close()
    assert ids(path) == [pick(1).id, pick(2).id]
    assert list(tmp_path.iterdir()) == [path]


def test_picks_are_held_until_their_lines_are_synced(tmp_path: Path) -> None:
    sink = made(tmp_path / "picks.jsonl", fsync_interval_s=3600.0)
    sink.deliver([pick(1), pick(2)], NOW_NS)
    sink.deliver([pick(3)], NOW_NS)
    assert sink.held == 3
    sink.deliver([], NOW_NS)
    assert sink.held == 3
    sink.close()
    assert sink.held == 0


def test_an_interval_that_is_over_or_too_many_lines_make_a_sync(tmp_path: Path) -> None:
    soon = made(tmp_path / "soon.jsonl", fsync_interval_s=1e-6)
    soon.deliver([pick(1)], NOW_NS)
    assert soon.held == 0
    soon.close()
    late = made(tmp_path / "late.jsonl", fsync_interval_s=3600.0)
    size = 0
    for number in range(0, 3000, 100):
        late.deliver([pick(number + index) for index in range(100)], NOW_NS)
        assert late.held * len(LINE) <= MAX_UNSYNCED_BYTES * 1.1
        size += late.held == 100
    assert size > 1
    late.close()


@pytest.mark.parametrize("fsync", ["always", "never"])
def test_nothing_is_held_when_every_or_no_line_is_synced(tmp_path: Path, fsync: str) -> None:
    sink = made(tmp_path / "picks.jsonl", fsync=fsync, fsync_interval_s=3600.0)
    sink.deliver([pick(1)], NOW_NS)
    assert sink.held == 0
    sink.close()


def test_what_stands_in_the_file_is_not_written_again_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    for last in (3, 5):
        sink = made(path, fsync="never")
        sink.deliver([pick(number) for number in range(1, last)], NOW_NS)
        sink.deliver([pick(number) for number in range(1, last)], NOW_NS)
        # No close: the process is gone.
        close_all_in(tmp_path)
    assert ids(path) == [pick(number).id for number in (1, 2, 3, 4)]


def test_the_name_of_a_file_is_synced_even_if_the_process_that_made_it_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync, answers = tmp_path / "picks.jsonl", os.fsync, False
    synced = []

    def folders_fail(descriptor: int) -> None:
        if not answers and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "the disk does not answer")
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", folders_fail)
    first = made(path)
    with pytest.raises(OSError, match="does not answer"):
        first.deliver([pick(1)], NOW_NS)
    assert path.exists()
    answers = True
    second = made(path, fsync="always")
    second.deliver([pick(1)], NOW_NS)
    assert second.held == 0
    assert tmp_path.stat().st_ino in synced
    second.close()


def test_a_file_that_takes_new_lines_alone_takes_them(tmp_path: Path) -> None:
    """Set by the administrator with chattr(1); what root may do on some file systems."""
    path = tmp_path / "picks.jsonl"
    path.write_text(json_line(pick(1), AGENCY))
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+a", path], capture_output=True, check=False).returncode:
        pytest.skip("this user or file system cannot set the attribute")
    try:
        sink = made(path)
        sink.deliver([pick(1), pick(2)], NOW_NS)
        sink.close()
        assert ids(path) == [pick(1).id, pick(2).id]
    finally:
        subprocess.run([chattr, "-a", path], check=True)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_flags_and_times_takes_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def without_setting(descriptor: int, command: int, value: int = 0) -> int:
        if command == fcntl.F_SETFL and not setting:
            refused()
        return asked(descriptor, command, value)

    asked = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", without_setting)
    monkeypatch.setattr(os, "utime", refused)
    path = tmp_path / "picks.jsonl"
    path.write_text(json_line(pick(0), AGENCY))
    for setting in (False, True):
        sink = made(path)
        sink.deliver([pick(0), pick(1 + setting)], NOW_NS)
        sink.close()
    assert ids(path) == [pick(0).id, pick(1).id, pick(2).id]


def test_what_may_be_unsynced_is_written_anew_and_in_a_trial_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(descriptor: int, content: bytes, offset: int) -> int:
        sizes.append(len(content))
        return pwrite(descriptor, content, offset)

    pwrite, sizes = os.pwrite, list[int]()
    monkeypatch.setattr(os, "pwrite", counted)
    path = tmp_path / "picks.jsonl"
    content = "".join(json_line(pick(number), AGENCY) for number in range(TAIL_BYTES // len(LINE)))
    path.write_text(content)
    config = JsonLinesConfig(kind="jsonl", path=path)
    for one in (config.for_trial(), config):
        sink = JsonLinesSink(one, AGENCY)
        sink.deliver([pick(-1)], NOW_NS)
        sink.close()
        assert sizes == ([] if one is not config else [MAX_DOUBTFUL_BYTES])
    assert path.read_text().startswith(content)


def test_what_was_synced_before_a_rotation_is_not_written_again_after_it(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    first = made(path, rotate="day")
    first.deliver([pick(1), pick(2)], NOW_NS)
    os.utime(path, ns=(NOW_NS, NOW_NS))
    first.deliver([pick(3)], NOW_NS + DAY_NS)
    close_all_in(tmp_path)
    second = made(path, rotate="day")
    second.deliver([pick(1), pick(2), pick(3), pick(4)], NOW_NS + DAY_NS)
    second.close()
    assert ids(tmp_path / "picks.20231114.jsonl") == [pick(1).id, pick(2).id]
    assert ids(path) == [pick(3).id, pick(4).id]


def test_a_file_that_an_earlier_run_has_left_is_mended_before_it_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    path.write_text(json_line(pick(1), AGENCY) + LINE[:50])
    os.utime(path, ns=(NOW_NS, NOW_NS))
    sink = made(path, rotate="day")
    sink.deliver([pick(2)], NOW_NS + DAY_NS)
    sink.close()
    assert ids(tmp_path / "picks.20231114.jsonl") == [pick(1).id]
    assert ids(path) == [pick(2).id]


def test_a_file_of_yesterday_is_rotated_although_its_picks_come_again_first(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    path.write_text(json_line(pick(1), AGENCY))
    os.utime(path, ns=(NOW_NS, NOW_NS))
    sink = made(path, rotate="day")
    for number in (1, 2):
        sink.deliver([pick(number)], NOW_NS + DAY_NS)
    sink.close()
    assert ids(tmp_path / "picks.20231114.jsonl") == [pick(1).id]
    assert ids(path) == [pick(2).id]


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    count = TAIL_BYTES // len(LINE) + 100
    path.write_text("".join(json_line(pick(number), AGENCY) for number in range(count)))
    sink = made(path)
    # The oldest has left the store long ago; if it comes again nevertheless, it is written again.
    sink.deliver([pick(0), pick(count - 1), pick(count)], NOW_NS)
    sink.close()
    assert ids(path)[-3:] == [pick(count - 1).id, pick(0).id, pick(count).id]

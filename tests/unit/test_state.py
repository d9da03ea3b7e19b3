"""What survives a restart: whole files or none, damage moved aside, errors that the caller can count."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from xiaod.state import STATE_VERSION, StateStore

POSITIONS = {("BW", "RJOB"): (42, 1_251_073_203_000_000_000), ("GR", "FUR"): (0xFFFFFF, 0)}
FILE = "resume-server.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stored(version: object = STATE_VERSION, stations: object = None) -> str:
    return json.dumps({"state_version": version, "source": "server", "stations": stations or {}})


def test_comes_back_in_another_process_life(tmp_path: Path) -> None:
    StateStore(tmp_path).save("server", POSITIONS)
    assert StateStore(tmp_path).load("server") == POSITIONS
    assert names(tmp_path) == [FILE]


def test_nothing_was_saved(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert StateStore(tmp_path / "absent").load("server") == {}
        StateStore(tmp_path / "absent").save("server", {})
    assert logs == []
    assert not (tmp_path / "absent").exists()


def test_folder_is_made_when_it_is_needed(tmp_path: Path) -> None:
    StateStore(tmp_path / "var" / "state").save("server", POSITIONS)
    assert names(tmp_path / "var" / "state") == [FILE]


def test_sources_are_kept_apart_and_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    sources = ["localhost:18000", "[::1]:18000", "../../etc/passwd", "a"]
    for sequence, source in enumerate(sources):
        store.save(source, {("BW", "RJOB"): (sequence, 1)})
    assert len(names(tmp_path)) == len(sources)
    for sequence, source in enumerate(sources):
        assert StateStore(tmp_path).load(source) == {("BW", "RJOB"): (sequence, 1)}


def test_written_only_when_something_changed(tmp_path: Path) -> None:
    store, path = StateStore(tmp_path), tmp_path / FILE
    positions = dict(POSITIONS)
    store.save("server", positions)
    first = path.stat().st_ino
    store.save("server", dict(POSITIONS))
    assert path.stat().st_ino == first
    # The caller's own mapping may go on changing; a change in it must be seen.
    positions["BW", "RJOB"] = (43, 1_251_073_204_000_000_000)
    store.save("server", positions)
    assert path.stat().st_ino != first
    assert StateStore(tmp_path).load("server") == positions


DAMAGED = {
    "empty": b"",
    "cut": stored(stations={"BW.RJOB": [1, 2]}).encode()[:-10],
    "zeros": bytes(200),
    "not_text": b"\xff\xfe{}",
    "list": b"[]",
    "no_version": b'{"stations": {}}',
    "no_stations": b'{"state_version": 1}',
    "stations_list": stored(stations=["BW.RJOB"]).encode(),
    "one_number": stored(stations={"BW.RJOB": [1]}).encode(),
    "three_numbers": stored(stations={"BW.RJOB": [1, 2, 3]}).encode(),
    "text_number": stored(stations={"BW.RJOB": ["1", 2]}).encode(),
    "fraction": stored(stations={"BW.RJOB": [1, 2.5]}).encode(),
    "null": stored(stations={"BW.RJOB": None}).encode(),
    "other_version": stored(version=STATE_VERSION + 1, stations={"BW.RJOB": [1, 2]}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file_is_moved_aside_and_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    store = StateStore(tmp_path)
    with capture_logs() as logs:
        assert store.load("server") == {}
    assert [(line["event"], line["log_level"]) for line in logs] == [("state.unreadable", "warning")]
    (aside,) = names(tmp_path)
    assert aside.startswith("resume-server.bad-")
    assert (tmp_path / aside).read_bytes() == content
    assert logs[0]["moved_to"] == str(tmp_path / aside)
    store.save("server", POSITIONS)
    assert StateStore(tmp_path).load("server") == POSITIONS
    assert (tmp_path / aside).read_bytes() == content


def test_other_sources_are_not_touched_by_damage(tmp_path: Path) -> None:
    StateStore(tmp_path).save("other", POSITIONS)
    (tmp_path / FILE).write_bytes(b"damaged")
    store = StateStore(tmp_path)
    assert store.load("server") == {}
    assert store.load("other") == POSITIONS


def test_folder_in_the_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with capture_logs() as logs:
        assert StateStore(tmp_path).load("server") == {}
    assert [line["event"] for line in logs] == ["state.unreadable"]
    with pytest.raises(OSError):
        StateStore(tmp_path).save("server", POSITIONS)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / FILE).write_bytes(content)
    with capture_logs():
        assert StateStore(folder).load("server") == {}


codes = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=5)
places = st.tuples(st.integers(-1, 2**24), st.integers(0, 2**63 - 1))


@settings(deadline=None)
@given(st.dictionaries(st.tuples(codes, codes), places))
def test_any_positions_come_back(
    tmp_path_factory: pytest.TempPathFactory, positions: dict[tuple[str, str], tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    StateStore(folder).save("server", positions)
    assert StateStore(folder).load("server") == positions


def test_folder_that_cannot_be_made_is_an_error_to_count(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = StateStore(tmp_path / "file" / "state")
    with pytest.raises(OSError):
        store.save("server", POSITIONS)


@contextmanager
def full_disk() -> Iterator[None]:
    """Every write of a file's first byte fails, as it does when there is no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_failed_write_leaves_the_old_state_and_is_tried_again(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.save("server", POSITIONS)
    newer = {("BW", "RJOB"): (99, 5)}
    with full_disk(), pytest.raises(OSError) as error:
        store.save("server", newer)
    assert error.value.errno == errno.EFBIG
    assert StateStore(tmp_path).load("server") == POSITIONS
    store.save("server", newer)
    assert StateStore(tmp_path).load("server") == newer
    assert names(tmp_path) == [FILE]


def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """A process that saves without pause is killed; what it left is one of its states, and no file grows old."""
    program = (
        "import sys; from pathlib import Path; from xiaod.state import StateStore\n"
        "store = StateStore(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    store.save('server', {('BW', f'S{i}'): (n, n) for i in range(200)})\n"
        "    print(n, flush=True)\n"
    )
    newest = -1
    for wait_for in (0, 3, 11):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=dict(os.environ)
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                newest = int(line)
                if newest >= wait_for:
                    break
            process.kill()
        with capture_logs() as logs:
            positions = StateStore(tmp_path).load("server")
        assert logs == []
        assert len(positions) == 200
        (place,) = set(positions.values())
        assert place[0] == place[1] >= newest
        assert set(names(tmp_path)) <= {FILE, "resume-server.partial"}

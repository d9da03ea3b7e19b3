"""``xiaod pick`` over an archive: the same picks whoever works, however often it is killed, and however the files lie."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from obspy import UTCDateTime

from tests.archives import MIDNIGHT, ONSET_S, ONSETS_OF_A_DAY_S, sds_path, write_archive
from tests.conftest import ONSET_TOLERANCE_S, ONSETS_S
from tests.end_to_end.harness import wait_until
from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import ns_from_iso
from xiaod.pipeline.offline import offline_config, pick_files
from xiaod.tools.archive.chunk import Job
from xiaod.tools.archive.dask_cluster import DaskCluster
from xiaod.tools.archive.plan import Selection, patterns_of
from xiaod.tools.archive.run import ArchiveOptions, pick_archive
from xiaod.tools.archive.workers import WorkerError

PIECES = 6
"""Two stations, three days."""
CONFIG = offline_config(None, None)
LIMIT_S = 300.0
"""Each process takes some seconds of CPU to start: on a busy machine many more."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder)
    return folder


@pytest.fixture(scope="module")
def expected(archive: Path) -> bytes:
    """What a run over everything at once gives, in order of time, then identifier; all onsets, and where they are."""
    found = in_order(archive)
    picks = sorted(map(json.loads, found.splitlines()), key=lambda pick: (pick["station"], pick["time"]))
    onsets = [
        (station, phase, MIDNIGHT + day * 86_400 + begin_s - ONSET_S + onset_s)
        for station in ("RJOB", "SLOW")
        for day in range(2)
        for begin_s in ONSETS_OF_A_DAY_S
        for phase, onset_s in ONSETS_S.items()
    ]
    assert [(pick["station"], pick["phase"]) for pick in picks] == [onset[:2] for onset in onsets]
    for pick, (*_, onset) in zip(picks, onsets, strict=True):
        assert abs(UTCDateTime(pick["time"]) - onset) < ONSET_TOLERANCE_S
    return found


def in_order(
    folder: Path, model: str | None = None, config: Path | None = None, early: bool = False
) -> bytes:
    output = folder.parent / f"{folder.name}.whole.jsonl"
    assert pick_files([folder], config, model, "jsonl", output, progress=False, early=early) == 0
    lines: list[bytes] = output.read_bytes().splitlines(keepends=True)
    lines.sort(key=when)
    return b"".join(lines)


def when(line: bytes) -> tuple[str, str]:
    pick = json.loads(line)
    return pick["time"], pick["id"]


def picked(inputs: Sequence[Path], options: ArchiveOptions, folder: Path, config: Config = CONFIG) -> bytes:
    output = folder / "picks.jsonl"
    assert pick_archive(inputs, config, options, "jsonl", output, progress=False) == 0
    return output.read_bytes()


def command(archive: Path, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "xiaod", "pick", str(archive), "--no-progress", *map(str, arguments)]


def workers_of(process: int) -> list[int]:
    """Worker processes of a run; the resource tracker of multiprocessing is none."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(name) for name in children if "spawn_main" in Path(f"/proc/{name}/cmdline").read_text()]


def results(folder: Path) -> dict[Path, int]:
    """Finished chunks and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_one_process_gives_what_a_run_over_everything_gives(
    archive: Path, expected: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert picked([archive], ArchiveOptions(), tmp_path) == expected
    said = capfd.readouterr().err
    damaged = sds_path(archive, "RJOB", "EHN", MIDNIGHT + 1)
    assert said.count(f'"file": "{damaged}"') == 1
    assert "byte 2048" in said


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("early", ["scout", "windows"])
def test_early_picks_too_are_those_of_a_run_over_everything(
    archive: Path, expected: bytes, tmp_path: Path, early: str
) -> None:
    file = tmp_path / "early.yaml"
    file.write_text(f"config_version: 2\nsources: [{{server: localhost}}]\nearly: {early}\n")
    wanted = in_order(archive, config=file, early=True)
    documents = [json.loads(line) for line in wanted.splitlines()]
    early_ids = {one["id"] for one in documents if one["stage"] == "early" and "outcome" not in one}
    final = [one for one in documents if one["stage"] == "final"]
    # Each early one is followed by one that says what became of it.
    followed = [one["early_id"] for one in documents if one.get("early_id")]
    assert sorted(followed) == sorted(early_ids)
    assert len(early_ids) >= len(final) / 2
    assert [one["id"] for one in final] == [json.loads(line)["id"] for line in expected.splitlines()]
    assert picked([archive], ArchiveOptions(), tmp_path, offline_config(file, None, early=True)) == wanted


@pytest.mark.timeout(LIMIT_S)
def test_dask_gives_it_too(archive: Path, expected: bytes, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address=None, worker_dashboard_address=None,
    ) as cluster:  # fmt: skip
        options = ArchiveOptions(scheduler=cluster.scheduler_address)
        assert picked([archive], options, tmp_path) == expected
    with pytest.raises(WorkerError, match=r"--dask tcp://127.0.0.1:1: cannot connect"):
        DaskCluster(Job(CONFIG, ""), "tcp://127.0.0.1:1", connect_s=0.5)


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_killed_run_goes_on_where_it_was(archive: Path, expected: bytes, tmp_path: Path) -> None:
    journal, output = tmp_path / "journal", tmp_path / "picks.jsonl"
    arguments = command(archive, "--workers", "2", "--resume", journal, "--output", output)
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: results(journal), "a finished chunk", LIMIT_S)
        workers = workers_of(process.pid)
    finally:
        process.kill()
        process.wait()
    assert len(workers) == 2
    # Nobody goes on working for a run that is gone.
    wait_until(
        lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the workers' end", LIMIT_S
    )
    before = results(journal)
    subprocess.run(arguments, check=True, timeout=LIMIT_S, stderr=subprocess.DEVNULL)
    assert output.read_bytes() == expected
    after = results(journal)
    assert len(after) == PIECES
    assert before.items() <= after.items()


def test_only_what_has_changed_is_done_again(archive: Path, tmp_path: Path) -> None:
    changed, journal = tmp_path / "changed", tmp_path / "journal"
    shutil.copytree(archive, changed)
    options = ArchiveOptions(Selection(patterns=patterns_of("BW.SLOW")), journal=journal)
    picked([changed], options, tmp_path)
    first = results(journal)
    assert len(first) == PIECES // 2
    last_day = sds_path(changed, "SLOW", "EHZ", MIDNIGHT + 86_400)
    last_day.write_bytes(last_day.read_bytes()[:2048])
    picked([changed], options, tmp_path)
    second = results(journal)
    # The day before reads it too.
    assert len(second) == PIECES // 2
    assert len(first.items() & second.items()) == 1
    # A result that is not whole is made again.
    one = next(iter(second))
    one.write_bytes(one.read_bytes()[:20])
    picked([changed], options, tmp_path)
    assert json.loads(one.read_bytes())["records"]


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_worker_that_is_killed_is_replaced(archive: Path, expected: bytes, tmp_path: Path) -> None:
    output = tmp_path / "picks.jsonl"
    process = subprocess.Popen(command(archive, "--workers", "2", "--output", output), stderr=subprocess.PIPE)
    os.kill(wait_until(lambda: workers_of(process.pid), "a worker", LIMIT_S)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    assert output.read_bytes() == expected


def test_a_part_is_that_part_of_the_whole(archive: Path, expected: bytes, tmp_path: Path) -> None:
    def part(since: str | None, until: str | None, stations: str = "*.*") -> bytes:
        selection = Selection(
            None if since is None else ns_from_iso(since),
            None if until is None else ns_from_iso(until),
            patterns_of(stations),
        )
        return picked([archive], ArchiveOptions(selection), tmp_path)

    lines = expected.splitlines(keepends=True)
    # From between P and S of an event up to another day, at one station.
    since, until = "2020-03-01T00:00:00", "2020-03-01T23:59:59.470"
    wanted = [line for line in lines if since <= when(line)[0] < until and b'"RJOB"' in line]
    assert 4 <= len(wanted) < len(lines) / 2
    assert part(since, until, "BW.RJ*") == b"".join(wanted)
    assert part("2020-03-02T00:00:00Z", None) == b"".join(
        line for line in lines if when(line)[0] >= "2020-03-02"
    )


@pytest.mark.timeout(2 * LIMIT_S)
def test_files_of_any_name_give_the_same(archive: Path, expected: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "any"
    folder.mkdir()
    files = [path for path in sorted(archive.rglob("*")) if path.is_file()]
    # One station in one file, the other in files with the names of others.
    with (folder / "all.mseed").open("wb") as file:
        for path in files:
            if "SLOW" in path.name:
                file.write(path.read_bytes())
    for path, other in zip(files, reversed(files), strict=True):
        if "RJOB" in path.name:
            shutil.copy(path, folder / other.name)
    (folder / "notes.txt").write_text("not of miniSEED")
    (folder / "empty").touch()
    output = tmp_path / "picks.jsonl"
    done = subprocess.run(
        command(folder, "--workers", "1", "--output", output),
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert output.read_bytes() == expected
    said = done.stderr.decode()
    assert "notes.txt" in said
    assert "empty" not in said


def test_only_what_a_file_with_a_name_of_sds_holds_beside_its_instrument_is_left_out(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = sds_path(archive, "RJOB", "EHZ", MIDNIGHT + 1).name
    parts = {
        station: [sds_path(archive, station, f"EH{letter}", MIDNIGHT + 1).read_bytes() for letter in "ZNE"]
        for station in ("RJOB", "SLOW")
    }
    # Clean data: the north component of this day is damaged on purpose.
    parts["RJOB"].pop(1)
    apart, together = tmp_path / "apart.mseed", tmp_path / name
    apart.write_bytes(b"".join(parts["RJOB"]))
    together.write_bytes(b"".join(parts["RJOB"]))
    wanted = in_order(apart)
    assert b'"components":"Z-E"' in wanted
    capfd.readouterr()
    assert picked([together], ArchiveOptions(), tmp_path) == wanted
    assert "archive.misplaced" not in capfd.readouterr().err
    together.write_bytes(b"".join(parts["RJOB"] + parts["SLOW"]))
    assert picked([together], ArchiveOptions(), tmp_path) == wanted
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "misplaced" in line]
    assert [(one["file"], one["records"]) for one in said] == [
        (str(together), sum(map(len, parts["SLOW"])) // RECORD_BYTES)
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "there is no file in it; name miniSEED files, or folders with miniSEED files at any depth"),
        ([b"a", b"b"], "none of 2 file(s) begins as miniSEED does"),
    ],
)
def test_a_folder_without_data_gets_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: list[bytes], said: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, text in enumerate(content):
        (folder / str(number)).write_bytes(text)
    for options in ([], ["--workers", "1"]):
        assert main(["pick", str(folder), "--no-progress", *options]) == 1
        assert f"{folder}: {said}" in capfd.readouterr().err.splitlines()
    assert main(["plot", "BW.RJOB..EH?", "2009-08-24T00:20:07Z", "--input", str(folder)]) == 1
    assert said in capfd.readouterr().err


def test_the_bar_counts_hours_of_data(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert pick_files([archive], None, None, "csv", tmp_path / "out", progress=True) == 0
    said = capfd.readouterr().err
    # Of two stations, four stretches each; one twice, and one with a hole.
    assert re.search(r"100%\|.*\| (0\.5\d) of \1 h of data", said), said


def test_nothing_that_could_be_read_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    output = tmp_path / "out"
    assert pick_archive([tmp_path / "empty"], CONFIG, ArchiveOptions(), "csv", output, progress=False) == 1
    assert pick_files([tmp_path / "empty"], None, None, "csv", output, progress=False) == 1
    text = tmp_path / "README.md"
    text.write_text("# No data\n")
    assert pick_files([text], None, None, "csv", output, progress=False) == 1
    why = "none of 1 file(s) begins as miniSEED does"
    said = capfd.readouterr().err.splitlines()
    assert said == [f"{path}: {why}" for path in (tmp_path / "empty", tmp_path / "empty", text)]

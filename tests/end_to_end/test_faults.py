"""Faults around the daemon: the picks are those of an undisturbed run, and the log says what happened."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Busy
from tests.end_to_end.harness import (
    LIMIT_S,
    Daemon,
    Server,
    ServerProcess,
    comparable,
    wait_until,
)
from tests.end_to_end.manager import Manager
from tests.ports import free_port
from tests.scripted import Scripted
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.replay import Faults, ReplayConfig
from xiaod.tools.bench.station import station_records

SPEED = 50.0
WATCHDOG_S = 2.0
QUEUES = ("inbox", "windows", "batches")
QUICK = {
    "connect_timeout_s": 1.0,
    "network_timeout_s": 2.0,
    "keepalive_s": 0.5,
    "reconnect_min_s": 0.1,
    "reconnect_max_s": 0.5,
}
"""Time limits of a source for tests."""


def source_at(port: int, **keys: Any) -> dict[str, Any]:
    return {"name": "test", "server": f"127.0.0.1:{port}", "streams": ["BW.RJOB..EH?"], **QUICK, **keys}


def records_in(path: Path) -> int:
    return path.stat().st_size // RECORD_BYTES


@contextmanager
def ended(daemon: Daemon) -> Iterator[None]:
    """The daemon does not outlive this, whatever happens."""
    try:
        yield
    finally:
        daemon.__exit__()


@contextmanager
def ended_on_failure(daemon: Daemon) -> Iterator[None]:
    """The daemon goes on, unless something fails."""
    try:
        yield
    except BaseException:
        daemon.__exit__()
        raise


def test_a_server_that_is_killed_and_comes_back_with_other_numbers(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    port = free_port()
    with Daemon(tmp_path, sources=[source_at(port)]) as daemon:
        for records in (20, 90):
            with ServerProcess(path, "--speed", SPEED, port=port) as server:
                daemon.wait_for_records(records)
                server.process.kill()
                server.process.wait()
                daemon.wait_for("source.disconnected")
        with ServerProcess(path, "--speed", "max", port=port):
            daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)


def test_a_server_that_is_stopped_while_connected(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with (
        ServerProcess(path, "--speed", SPEED) as server,
        Daemon(tmp_path, sources=[source_at(server.port)]) as daemon,
    ):
        daemon.wait_for_records(30)
        server.process.send_signal(signal.SIGSTOP)
        [event, *_] = daemon.wait_for("source.disconnected")
        assert "nothing received for 2 s" in event["detail"]
        assert daemon.get("/readyz")[0] == 503
        server.process.send_signal(signal.SIGCONT)
        daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        pytest.param({b"HELLO": b""}, "no answer to 'HELLO'", id="silent at HELLO"),
        pytest.param({b"HELLO": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "SeedLink", id="not SeedLink"),
        pytest.param({b"STATION": b"ERROR\r\n"}, "subscription failed", id="refuses every station"),
        pytest.param({b"SELECT": b"ERROR\r\n"}, "subscription failed", id="refuses every selector"),
        pytest.param({b"DATA": b"ERROR\r\n"}, "subscription failed", id="refuses to send"),
    ],
)
def test_a_server_that_refuses_until_another_takes_its_place(
    tmp_path: Path, busy: Busy, answers: dict[bytes, bytes], complaint: str
) -> None:
    path, expected = busy
    with Scripted(lambda _: None, answers, port=free_port()) as bad:
        daemon = Daemon(tmp_path, sources=[source_at(bad.port)])
        daemon.__enter__()
        with ended_on_failure(daemon):
            refused = daemon.wait_for("source.connect_failed", 2)
            assert complaint in refused[0]["detail"]
            assert daemon.get("/healthz")[0] == 200
            assert daemon.get("/readyz")[0] == 503
    with ended(daemon), Server(ReplayConfig(inputs=(path,), port=bad.port, speed="max")):
        daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)


def test_a_server_that_says_error_in_the_midst_of_data(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    content = path.read_bytes()
    frames = [
        b"SL%06X" % (number + 1) + content[begin : begin + RECORD_BYTES]
        for number, begin in enumerate(range(0, len(content), RECORD_BYTES))
    ]
    sessions = iter([[*frames[:40], b"ERROR\r\n"], [*frames[40:90], b"END"], frames[90:]])

    def send(sock: Any) -> None:
        sock.sendall(b"".join(next(sessions, [])))

    with Scripted(send) as server, Daemon(tmp_path, sources=[source_at(server.port)]) as daemon:
        said = daemon.wait_for("source.disconnected", 2)
        assert ["ERROR" in said[0]["detail"], "END" in said[1]["detail"]] == [True, True]
        daemon.finish(len(frames))
        assert [line for line in server.commands if line.startswith(b"DATA 0000")][:2] == [
            b"DATA 000029 " + seedlink_time(frames[39]),
            b"DATA 00005B " + seedlink_time(frames[89]),
        ]
    assert comparable(daemon.stored()) == comparable(expected)


def seedlink_time(frame: bytes) -> bytes:
    """Start of a packet's record as ``DATA`` names it."""
    from xiaod.acquisition.miniseed import decode
    from xiaod.domain.types import Segment

    segment = decode(frame[8:], "test")
    assert isinstance(segment, Segment)
    return time.strftime("%Y,%m,%d,%H,%M,%S", time.gmtime(segment.start_ns // 10**9)).encode()


def test_numbers_that_wrap_and_that_jump_back(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    config = ReplayConfig(inputs=(path,), port=0, speed=SPEED, first_sequence=0xFFFFF0)
    with Server(config) as server, Daemon(tmp_path, sources=[source_at(server.port)]) as daemon:
        daemon.wait_for_records(30)
        server.set_faults(Faults(cut_after_packets=1, cut_connections=1))
        daemon.wait_for("source.disconnected", 1)
        daemon.wait_for_records(50)
        # As after the server's ring was lost.
        server.set_faults(Faults(reset_sequence_to=5, refuse_connections=True))
        daemon.wait_for("source.disconnected", 2)
        server.set_faults(Faults())
        daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)


def test_the_clock_of_the_host_is_set_forth_and_back(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    offset = tmp_path / "offset"
    offset.write_text("0")
    program = Path(__file__).with_name("stepped.py")
    config = ReplayConfig(inputs=(path,), port=0, speed=SPEED, faults=Faults(delays_s={"*N": 4.0}))
    command = ["env", f"CLOCK_OFFSET_FILE={offset}", sys.executable, str(program)]
    with (
        Server(config) as server,
        Daemon(
            tmp_path,
            command=command,
            sources=[source_at(server.port)],
            http={"port": 0, "stale_after_s": 5.0},
            buffer={"max_future_s": 60.0},
        ) as daemon,
    ):
        for step, (records, seconds) in enumerate([(30, 3600.0), (80, -7200.0), (120, 0.0)]):
            daemon.wait_for_records(records)
            (tmp_path / "new").write_text(str(seconds))
            (tmp_path / "new").replace(offset)
            daemon.wait_for("clock.stepped", step + 1)
        assert not daemon.events("station.stale")
        daemon.finish(records_in(path))
    steps = [round(event["step_s"]) for event in daemon.events("clock.stepped")]
    assert steps == [3600, -10800, 7200]
    assert comparable(daemon.stored()) == comparable(expected)


def test_packets_of_1970_and_of_the_future(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    content = path.read_bytes()
    records = [content[begin : begin + RECORD_BYTES] for begin in range(0, len(content), RECORD_BYTES)]

    def dated(record: bytes, year: int) -> bytes:
        # Year and day of the year, in a miniSEED 2 header.
        return record[:20] + year.to_bytes(2, "big") + (1).to_bytes(2, "big") + record[24:]

    sent: list[bytes] = []
    for number, record in enumerate(records):
        if number % 20 == 0:
            sent += [dated(record, 1970), dated(record, 2200)]
        sent.append(record)

    def send(sock: Any) -> None:
        sock.sendall(b"".join(b"SL%06X" % number + record for number, record in enumerate(sent, 1)))

    with (
        Scripted(send) as server,
        Daemon(tmp_path, sources=[source_at(server.port)], buffer={"max_future_s": 60.0}) as daemon,
    ):
        wait_until(
            lambda: daemon.metric("xiaod_records_total", verdict="good") >= len(records), "all records"
        )
        odd = len(sent) - len(records)
        assert daemon.metric("xiaod_records_total", verdict="future") == odd // 2
        assert daemon.metric("xiaod_gap_seconds_total") == 0
        assert daemon.stop() == 0
    assert comparable(daemon.stored()) == comparable(expected)


def small_disk(folder: Path) -> list[str]:
    """A command under which the daemon sees a folder on a disk of 700 kB of its own."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=700k tmpfs '{folder}' && exec \"$@\""
    command = ["unshare", "-rm", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    return command


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(path).f_bavail == 0


def test_a_full_disk_and_room_again(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    disk = tmp_path / "disk"
    command = [*small_disk(disk), sys.executable, "-m", "xiaod"]
    with (
        tempfile.TemporaryDirectory(prefix="xiaod") as short,
        Manager(Path(short), WATCHDOG_S) as manager,
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server,
        Daemon(
            tmp_path,
            command=command,
            environment=manager.environment(tmp_path / "log.jsonl"),
            sources=[source_at(server.port)],
            state={"folder": str(disk / "state"), "save_interval_s": 0.2},
            sinks=[{"kind": "jsonl", "path": str(disk / "picks.jsonl")}],
        ) as daemon,
    ):
        daemon.wait_for_records(30)
        # The daemon's own view of its file system.
        inside = Path(f"/proc/{daemon.process.pid}/root{disk}")
        filler = inside / "filler"
        fill(filler)
        daemon.wait_for("store.failed")
        assert daemon.get("/healthz")[0] == 200
        # Windows wait, and none is picked; who waits for room is alive all the same, for the watchdog too.
        manager.wait_for("WATCHDOG=1", 2, time.monotonic() + WATCHDOG_S)
        # A sink more cannot be noted.
        daemon.write_config(sinks=[*daemon.content["sinks"], {"kind": "console"}])
        daemon.process.send_signal(signal.SIGHUP)
        assert "full" in daemon.wait_for("reload.refused")[0]["problems"][0]
        filler.unlink()
        daemon.wait_for("store.recovered")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reload.done")
        used = ("good", "overlapping")
        wait_until(
            lambda: (
                sum(daemon.metric("xiaod_records_total", verdict=verdict) for verdict in used)
                >= records_in(path)
            ),
            "all records",
        )
        wait_until((inside / "picks.jsonl").exists, "a pick")
        lines = last_lines(inside / "picks.jsonl", daemon)
    assert comparable(lines) == comparable(expected)


def last_lines(path: Path, daemon: Daemon) -> list[dict[str, Any]]:
    """What a file holds when the daemon has been told to end, in whose world alone it exists."""
    with path.open("rb") as file:
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(LIMIT_S) == 0
        return [json.loads(line) for line in file.read().splitlines()]


def test_a_disk_that_does_not_answer_stops_the_store_alone(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    hang = tmp_path / "hang"
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server,
        Daemon(
            tmp_path,
            command=[sys.executable, "-m", "tests.end_to_end.slowdisk"],
            environment={"HANG_FILE": str(hang)},
            sources=[source_at(server.port)],
        ) as daemon,
    ):
        daemon.wait_for_records(20)
        hang.touch()
        wait_until(hang.with_suffix(".waiting").exists, "a use of the store")
        # The event loop turns: it answers, and takes what comes.
        assert daemon.get("/healthz")[0] == 200
        daemon.wait_for_records(int(daemon.metric("xiaod_records_total")) + 20)
        hang.unlink()
        daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)
    assert sorted(pick["id"] for pick in daemon.picks()) == sorted(pick["id"] for pick in expected)


def test_folders_of_the_output_are_removed(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    output = tmp_path / "output"
    sinks = [
        {"kind": "jsonl", "path": str(output / "lines" / "picks.jsonl")},
        {"kind": "quakeml", "folder": str(output / "quakeml")},
    ]
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED)) as server,
        Daemon(tmp_path, sources=[source_at(server.port)], sinks=sinks) as daemon,
    ):
        wait_until(lambda: daemon.metric("xiaod_sink_picks_total", sink="quakeml") >= 2, "first picks")
        shutil.rmtree(output)
        daemon.finish(records_in(path))
    assert comparable(daemon.stored()) == comparable(expected)
    last = sorted(expected, key=lambda pick: pick["time"])[-1]["id"]
    assert last in (output / "lines" / "picks.jsonl").read_text(encoding="utf-8")
    assert any(last in file.read_text(encoding="utf-8") for file in (output / "quakeml").glob("*.xml"))


def test_a_state_folder_that_cannot_be_written(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server,
        # Nobody, root neither, makes a folder there.
        Daemon(tmp_path, sources=[source_at(server.port)], state={"folder": "/proc/xiaod"}) as daemon,
    ):
        [event] = daemon.wait_for("store.unavailable")
        assert "/proc/xiaod" in event["error"]
        assert "not kept" in event["consequence"]
        problems = json.loads(daemon.get("/api/stations")[1])["problems"]
        [said] = [one["text"] for one in problems if one["code"] == "state_failing"]
        assert "/proc/xiaod" in said
        daemon.finish(records_in(path))
    assert comparable(daemon.picks()) == comparable(expected)


def test_a_sink_that_hangs_holds_nobody_up_and_gets_everything_later(tmp_path: Path, busy: Busy) -> None:
    import fcntl

    path, expected = busy
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sinks = [
        {"kind": "jsonl", "name": "slow", "path": str(pipe)},
        {"kind": "jsonl", "name": "quick", "path": str(tmp_path / "picks.jsonl")},
    ]
    end = os.open(pipe, os.O_RDWR)
    # As little room as there can be: a few picks.
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    got: list[bytes] = []

    def read() -> None:
        while not got or not got[-1].endswith(b"\0"):
            got.append(os.read(end, 300))
            time.sleep(0.01)

    reader = threading.Thread(target=read)
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server,
        Daemon(tmp_path, sources=[source_at(server.port)], sinks=sinks) as daemon,
    ):
        wait_until(lambda: len(daemon.picks()) >= len(expected) - 1, "all picks at the other sink")
        assert daemon.metric("xiaod_sink_picks_total", sink="slow") < len(expected) - 1
        reader.start()
        daemon.finish(records_in(path))
    os.write(end, b"\0")
    reader.join(LIMIT_S)
    os.close(end)
    lines = b"".join(got).removesuffix(b"\0").splitlines()
    assert comparable([json.loads(line) for line in lines]) == comparable(expected)


def test_what_the_server_has_lost_is_told_and_the_rest_is_picked(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    # Again and again, so that there is something behind the gap however long a daemon takes to start.
    config = ReplayConfig(inputs=(path,), port=0, speed=SPEED, ring_packets=20, loop=True)
    with Server(config) as server:
        source = source_at(server.port, begin="resume")
        with Daemon(tmp_path, sources=[source]) as daemon:
            daemon.wait_for_records(60)
            assert daemon.stop() == 0
            last = max(event["created"] for event in daemon.picks())
        assert last
        # A minute and a half of data, of which the ring keeps the last third.
        time.sleep(90 / SPEED)
        with Daemon(tmp_path, sources=[source]) as daemon:
            [gap, *_] = daemon.wait_for("resume.gap")
            assert gap["gap_s"] > 30
            assert daemon.metric("xiaod_resume_gap_seconds_total") == pytest.approx(gap["gap_s"], abs=0.01)
            wait_until(lambda: daemon.metric("xiaod_picks_total", stage="final") >= 2, "picks behind the gap")
            assert daemon.stop() == 0
    picked = {pick["time"] for pick in daemon.stored()}
    missed = [pick for pick in expected if gap["from_time"] < pick["time"] < gap["to_time"]]
    assert missed
    assert not picked & {pick["time"] for pick in missed}


def nothing_waits(daemon: Daemon) -> bool:
    """Whether all that has come has been picked."""
    metrics = daemon.metrics()
    return not any(metrics["xiaod_queue_depth", (("queue", name),)] for name in QUEUES)


def test_more_data_than_can_be_picked(tmp_path: Path, busy: Busy) -> None:
    """The daemon waits, the server's ring loses the oldest, the gaps are counted, memory stays, and then it is live again."""
    path, expected = busy
    long = tmp_path / "long.mseed"
    long.write_bytes(b"".join(station_records(60)))
    # 28,000 seconds of data in a second, for half a minute; a core picks a third of it or less.
    flood = ReplayConfig(inputs=(long,), port=free_port(), speed=280.0, copies=100, ring_packets=2000)
    sections: dict[str, Any] = {
        "picker": dict.fromkeys(
            ("threshold_p", "threshold_s", "early_threshold_p", "early_threshold_s"), 0.9
        ),
        "buffer": {"max_future_s": None, "max_component_wait_s": 0.5},
    }
    with Server(flood) as server:
        source = source_at(server.port, streams=["*.*.*.*"])
        daemon = Daemon(tmp_path, sources=[source], **sections)
        daemon.__enter__()
        with ended_on_failure(daemon):
            daemon.wait_for_records(2000)
            resident = daemon.metric("process_resident_memory_bytes")
            wait_until(lambda: server.overrun_packets > 5000, "packets that the server could not keep")
            # A gap of all components is one gap, so a hundred take three times as long as a hundred of channels.
            missing = "gaps where they are missing"
            wait_until(lambda: daemon.metric("xiaod_gaps_total") > 100, missing, 3 * LIMIT_S)
            queues = daemon.metrics()
            for name in QUEUES:
                label = (("queue", name),)
                assert queues["xiaod_queue_depth", label] <= queues["xiaod_queue_limit", label]
    with ended(daemon), Server(ReplayConfig(inputs=(path,), port=server.port, speed=SPEED)):
        wait_until(
            lambda: [pick for pick in daemon.picks() if pick["network"] == "BW"][len(expected) // 2 :],
            "picks of the quiet time after the flood",
        )
        wait_until(lambda: nothing_waits(daemon), "the daemon to be live again")
        # What was freed is given back every ten seconds.
        wait_until(
            lambda: daemon.metric("process_resident_memory_bytes") < resident + 100e6, "memory as before"
        )
        assert daemon.metric("xiaod_gap_seconds_total") > 1000
        assert daemon.stop() == 0

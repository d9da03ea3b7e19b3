"""Several processes share the stations: together they make the picks of one, whatever their number, and when it changes."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import (
    LIMIT_S,
    Daemon,
    Server,
    assert_event_picked,
    comparable,
    wait_until,
    write_event,
)
from tests.end_to_end.test_durability import at_rest
from tests.end_to_end.test_faults import QUICK
from tests.end_to_end.test_reload import hang_up
from tests.natsserver import NatsServer
from xiaod.domain.sharding import shard_of
from xiaod.replay import ReplayConfig

COPIES = 6
SPEED = 4.0
"""So that the last daemons begin before the end of the data."""
XIAOD = (sys.executable, "-m", "xiaod")


def written_by_each(folder: Path) -> dict[str, Any]:
    return {"kind": "jsonl", "path": str(folder / "picks-{shard}.jsonl"), "rotate": "none"}


def daemon_of(folder: Path, port: int, shard: str = "", by: str = "option", **sections: Any) -> Daemon:
    """A daemon in a folder of its own, with state and picks where all shards have theirs."""
    content = {
        "sources": [{"name": "test", "server": f"127.0.0.1:{port}", **QUICK, **sections.pop("source", {})}],
        "sinks": [written_by_each(folder)],
        "state": {"folder": str(folder / "state"), "save_interval_s": 0.5},
        **sections,
    }
    command = list(XIAOD)
    if by == "file":
        index, count = shard.split("/")
        content["shard"] = {"index": int(index), "count": int(count)}
    elif by == "environment":
        command = ["env", f"XIAOD_SHARD={shard}", *XIAOD]
    elif shard:
        command += ["--shard", shard]
    return Daemon(folder / f"run-{shard.replace('/', '-of-') or 'alone'}", command=command, **content)


def written(folder: Path) -> list[dict[str, Any]]:
    """What the sinks of all shards have written."""
    files = sorted(folder.glob("picks-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def used_records(daemons: list[Daemon]) -> float:
    return sum(daemon.metric("xiaod_records_total") for daemon in daemons)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    return path, write_event(path) * COPIES


@pytest.fixture(scope="module")
def server(event: tuple[Path, int]) -> Iterator[Server]:
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max", copies=COPIES)) as running:
        yield running


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, server: Server, event: tuple[Path, int]
) -> list[dict[str, Any]]:
    """The picks of one process."""
    folder = tmp_path_factory.mktemp("alone")
    with daemon_of(folder, server.port) as daemon:
        daemon.finish(event[1])
    picks = written(folder)
    assert len({pick["station"] for pick in picks}) == COPIES
    assert_event_picked(picks)
    return picks


def test_shards_together_make_the_picks_of_one_process(
    tmp_path: Path, server: Server, event: tuple[Path, int], expected: list[dict[str, Any]]
) -> None:
    givers = ("option", "environment", "file")
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(daemon_of(tmp_path, server.port, f"{index}/3", by))
            for index, by in enumerate(givers)
        ]
        wait_until(lambda: used_records(daemons) >= event[1], "all records")
        second = subprocess.run(
            [*XIAOD, "--shard", "1/3", "--config", str(daemons[1].config_path)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        # Not 2: a service manager is to try again, until the other one has ended.
        assert second.returncode == 1
        assert f"process {daemons[1].process.pid} uses this folder already" in second.stderr
        # Its shard cannot change while a daemon runs: neither does its output.
        for daemon in daemons:
            daemon.write_config(shard={"index": 1, "count": 4})
            hang_up(daemon, "reload.done")
        # What option and environment say is as it was.
        assert not daemons[0].events("reload.needs_restart")
        assert not daemons[1].events("reload.needs_restart")
        assert daemons[2].wait_for("reload.needs_restart")[0]["keys"] == ["shard.index", "shard.count"]
        assert all(daemon.get("/readyz")[0] == 200 for daemon in daemons)
        assert used_records(daemons) == event[1]
        assert [daemon.stop() for daemon in daemons] == [0, 0, 0]
    assert comparable(written(tmp_path)) == comparable(expected)
    daemons[0].write_config(shard={"count": 3})
    assert comparable(daemons[0].stored()) == comparable(expected)
    for index in range(3):
        lines = (tmp_path / f"picks-{index}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {shard_of("BW", json.loads(line)["station"], 3) for line in lines} == {index}


def started(
    stack: ExitStack, folder: Path, port: int, count: int, bus: NatsServer | None = None
) -> list[Daemon]:
    """All shards of a count; where there is a bus, their picks go there too."""
    sections: dict[str, Any] = {"source": {"begin": "resume"}}
    if bus is not None:
        shared = {"kind": "nats", "stage": "final", "servers": [bus.server], "stream": {"create": True}}
        sections["sinks"] = [written_by_each(folder), shared]
    return [
        stack.enter_context(daemon_of(folder, port, f"{index}/{count}", **dict(sections)))
        for index in range(count)
    ]


@pytest.mark.timeout(400)  # six daemons, one after the other
def test_nothing_is_lost_or_made_twice_when_the_number_changes(
    tmp_path: Path, event: tuple[Path, int], expected: list[dict[str, Any]]
) -> None:
    quarter, ids = event[1] // 4, {pick["id"] for pick in expected}
    slow = ReplayConfig(inputs=(event[0],), port=0, speed=SPEED, copies=COPIES)
    with Server(slow) as server, ExitStack() as around:
        bus = None
        if shutil.which("nats-server"):
            bus = around.enter_context(NatsServer(tmp_path / "nats", "-js"))
        with ExitStack() as stack:
            [alone] = started(stack, tmp_path, server.port, 1, bus)
            wait_until(lambda: used_records([alone]) >= quarter, "a quarter of the records")
            assert alone.stop() == 0
        with ExitStack() as stack:
            three = started(stack, tmp_path, server.port, 3, bus)
            wait_until(lambda: used_records(three) >= quarter, "a quarter of the records")
            three[1].process.send_signal(signal.SIGKILL)
            assert [three[index].stop() for index in (0, 2)] == [0, 0]
        with ExitStack() as stack:
            two = started(stack, tmp_path, server.port, 2, bus)
            # Of another count nobody may run meanwhile.
            two[0].wait_for("service.started")
            command = [*XIAOD, "--shard", "2/3", "--config", str(two[0].config_path)]
            other = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
            assert other.returncode == 1
            assert "stop all shards before their number changes" in other.stderr
            late = {pick["id"] for pick in sorted(expected, key=lambda pick: str(pick["time"]))[:-COPIES]}
            wait_until(lambda: {pick["id"] for pick in written(tmp_path)} >= late, "picks", 3 * LIMIT_S)
            wait_until(lambda: all(map(at_rest, two)), "the end of the data")
            assert [daemon.stop() for daemon in two] == [0, 0]
        if bus is not None:
            # Where all shards' picks meet, each is once.
            assert sorted(bus.ids()) == sorted(ids)
    inherited = [sum(event["stations"] for event in one.events("shard.inherited")) for one in (*three, *two)]
    assert sum(inherited[:3]) == COPIES
    assert sum(inherited[3:]) == sum(
        shard_of("BW", one, 3) != shard_of("BW", one, 2) for one in {pick["station"] for pick in expected}
    )
    assert comparable(two[0].stored()) == comparable(expected)
    lines = [pick["id"] for pick in written(tmp_path)]
    assert set(lines) == ids
    # The last lines of a shard that was killed may come again, and no others.
    killed = [json.loads(line)["id"] for line in (tmp_path / "picks-1.jsonl").read_text().splitlines()]
    assert all(lines.count(one) == 1 for one in ids - set(killed))

"""Early picks and what becomes of them: live as offline, and whatever kills the daemon in between."""

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import (
    Daemon,
    comparable,
    offline_picks,
    streaming,
    wait_until,
    write_event,
)
from tests.scripted import Scripted
from xiaod.replay import Faults, ReplayConfig
from xiaod.replay.records import load

Documents = list[dict[str, Any]]


def of_all_stages(folder: Path) -> dict[str, Any]:
    """Settings with a sink that takes everything, and thresholds at which there is more than the event."""
    return {
        "sinks": [{"kind": "jsonl", "path": str(folder / "picks.jsonl"), "stage": "all"}],
        "picker": {"early_threshold_p": 0.3, "early_threshold_s": 0.3},
    }


def check_outcomes(documents: Documents) -> None:
    """Each early pick is followed by one outcome: the final pick that names it, or its withdrawal."""
    early = [one["id"] for one in documents if one["stage"] == "early"]
    outcomes = [one["early_id"] for one in documents if "early_id" in one]
    assert len(set(early)) == len(early)
    assert sorted(outcomes) == sorted(early)
    order = [one["id"] for one in documents]
    for one in documents:
        if "early_id" in one:
            assert order.index(one["early_id"]) < order.index(one["id"])
        if one["stage"] == "final" and "early_id" in one:
            assert one["outcome"] == ("confirmed" if abs(one["moved_s"]) <= 0.1 else "revised")
        else:
            assert "outcome" not in one


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    return path, write_event(path, quiet_s=30)


@pytest.mark.parametrize("early", ["scout", "windows"])
@pytest.mark.parametrize(
    ("faults", "speed"),
    [
        pytest.param(Faults(), "max", id="as fast as it goes"),
        pytest.param(Faults(delays_s={"*N": 2.0}, reorder_every=5), 20.0, id="out of step"),
    ],
)
def test_live_equals_offline_in_both_stages(
    tmp_path: Path, event: tuple[Path, int], early: str, faults: Faults, speed: Any
) -> None:
    path, records = event
    settings = {"early": early, **of_all_stages(tmp_path)}
    with streaming(
        tmp_path, ReplayConfig(inputs=(path,), port=0, speed=speed, faults=faults), **settings
    ) as (_, daemon):
        daemon.finish(records)
        live = daemon.picks()
    offline = offline_picks(path, "--early", "--config", str(tmp_path / "config.yaml"))
    check_outcomes(offline)
    # What the last seconds of a live run leave open is for the next one to say.
    said = {one.get("early_id") for one in live}
    left = {one["id"] for one in live if one["stage"] == "early"} - said
    assert left <= {one["early_id"] for one in offline if one["stage"] == "withdrawn"}
    check_outcomes([one for one in live if one["id"] not in left])
    assert len(left) <= 2
    for stage in ("early", "final"):
        wanted = comparable([one for one in offline if one["stage"] == stage])
        found = comparable([one for one in live if one["stage"] == stage])
        # Data that come all at once may be picked for good before they are noticed.
        assert found == wanted or (stage == "early" and speed == "max" and set(found) <= set(wanted))
        assert {phase for _, _, _, phase, *_ in wanted} == {"P", "S"}
    alone = offline_picks(path, "--config", str(tmp_path / "config.yaml"))
    assert comparable(alone) == comparable([one for one in offline if one["stage"] == "final"])
    assert {one["stage"] for one in alone} == {"final"}


@pytest.mark.parametrize("early", ["scout", "windows"])
def test_killed_between_an_early_pick_and_its_final_one(
    tmp_path: Path, event: tuple[Path, int], early: str
) -> None:
    """The next run names the early pick, which is made once."""
    path, _ = event
    records = sorted(load([path]).records, key=lambda record: record.end_ns)
    begin_ns = min(record.start_ns for record in records)
    frames = [b"SL%06X" % number + one.raw for number, one in enumerate(records, 1)]
    # The P comes after 34.7 s.
    sent = sum(one.end_ns <= begin_ns + 37.5e9 for one in records)

    def send(sock: socket.socket) -> None:
        asked = next(line for line in reversed(server.commands) if line.startswith(b"DATA")).split()[1:]
        begin = int(asked[0], 16) - 1 if asked else 0
        sock.sendall(b"".join(frames[begin:sent]))

    with Scripted(send) as server:
        source = {
            "name": "test",
            "server": f"127.0.0.1:{server.port}",
            "streams": ["BW.RJOB..EH?"],
            "begin": "resume",
        }
        daemon = Daemon(tmp_path, sources=[source], early=early, **of_all_stages(tmp_path))

        def picks(stage: str) -> Documents:
            return [one for one in daemon.picks() if one["stage"] == stage]

        with daemon:
            wait_until(lambda: [one for one in picks("early") if one["phase"] == "P"], "an early P")
            assert not picks("final")
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
        before = picks("early")
        sent = len(frames)
        with daemon:
            wait_until(lambda: {one["phase"] for one in picks("final")} == {"P", "S"}, "the final picks")
            assert daemon.stop() == 0
    named = [one["early_id"] for one in picks("final") if "early_id" in one]
    [early_p] = [one["id"] for one in before if one["phase"] == "P" and one["id"] in named]
    assert named.count(early_p) == 1
    ids = [one["id"] for one in daemon.picks()]
    assert len(set(ids)) == len(ids)

"""Sinks over the network that are down, slow, or answer with errors, as the real daemon meets them."""

import base64
import json
import sys
from pathlib import Path

import pytest

from tests.datalinkserver import DataLinkServer, Ringserver
from tests.end_to_end.conftest import Busy
from tests.end_to_end.harness import Daemon, Server, comparable, run_without, wait_until
from tests.end_to_end.test_durability import at_rest
from tests.end_to_end.test_faults import records_in, source_at
from tests.endpoint import Answer, Endpoint, Request
from tests.kafkabroker import KafkaBroker
from tests.natsserver import NatsServer
from tests.ports import free_port
from xiaod.replay import ReplayConfig

HUSH = "hush-hush-hush"
SECRET = "whsec_" + base64.b64encode(HUSH.encode() * 2).decode()


def test_a_webhook_that_is_down_then_slow_then_failing_then_fine(
    tmp_path: Path, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = busy
    monkeypatch.setenv("XIAOD_WEBHOOK_SECRET", SECRET)
    port = free_port()
    poison: list[str] = []

    def decide(request: Request) -> Answer:
        # One pick that it will never take, in the midst.
        if poison and poison[0] in request.ids:
            return Answer(422)
        return Answer(200)

    hook = {
        "kind": "webhook",
        "stage": "final",
        "url": f"http://me:{HUSH}@127.0.0.1:{port}/{HUSH}?key={HUSH}",
        "headers": {"Authorization-Too": f"Bearer {HUSH}"},
        "secret": "${XIAOD_WEBHOOK_SECRET}",
        "timeout_s": 2.0,
        "batch": 3,
    }
    sinks = [hook, {"kind": "jsonl", "path": str(tmp_path / "picks.jsonl")}]
    logs = {"format": "json", "level": "debug"}
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        daemon = Daemon(tmp_path, sources=[source_at(server.port)], sinks=sinks, logs=logs, grace_s=30.0)
        with daemon:
            # Down: the other sink gets everything meanwhile.
            wait_until(lambda: len(daemon.picks()) >= len(expected) - 1, "all picks at the other sink")
            daemon.wait_for("sink.failed")
            poison.append(daemon.picks()[len(expected) // 2]["id"])
            assert daemon.stop() == 0
            left = daemon.events("sink.undelivered")
            assert [(event["sink"], event["backlog"]) for event in left] == [("webhook", len(expected))]
            first_log = daemon.log_path.read_text()
        said = comparable(daemon.picks())
        assert said == comparable(expected)
        slow_and_failing = [
            Answer(200, wait_s=30.0),
            Answer(500),
            Answer(429, {"Retry-After": "1"}),
            Answer(404),
        ]
        with Endpoint(slow_and_failing, port=port) as endpoint, daemon:
            wait_until(lambda: len(endpoint.requests) >= 3, "attempts")
            assert endpoint.taken == []
            endpoint.decide = decide
            wait_until(lambda: len(endpoint.taken) >= len(expected) - 1, "all picks but one at the webhook")
            [refused] = daemon.wait_for("sink.refused")
            assert daemon.metric("xiaod_sink_refused_total", sink="webhook") == 1
            assert daemon.metric("xiaod_sink_backlog", sink="webhook") == 0
            assert daemon.stop() == 0
            failures = [event["error"] for event in daemon.events("sink.failed")]
    assert refused["pick"] == poison[0]
    for part in ("no answer within 2 s", "HTTP 500", "HTTP 429"):
        assert any(part in failure for failure in failures), failures
    # In order, each once, without the one that was refused.
    assert endpoint.taken == [pick["id"] for pick in daemon.picks() if pick["id"] != poison[0]]
    # Those that failed were tried again as they were.
    assert len({request.headers["webhook-id"] for request in endpoint.requests[:3]}) == 1
    for log in (first_log, daemon.log_path.read_text()):
        assert "sink." in log
        assert HUSH not in log
        assert SECRET not in log


def test_a_bus_that_is_killed_meanwhile_has_each_pick_once(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with NatsServer(tmp_path / "nats", "-js") as bus:
        sinks = [
            {"kind": "nats", "stage": "final", "servers": [bus.server], "stream": {"create": True}},
            {"kind": "jsonl", "path": str(tmp_path / "picks.jsonl")},
        ]
        with (
            Server(ReplayConfig(inputs=(path,), port=0, speed=60.0)) as server,
            Daemon(tmp_path, sources=[source_at(server.port)], sinks=sinks) as daemon,
        ):
            wait_until(lambda: daemon.metric("xiaod_sink_picks_total", sink="nats") >= 2, "first picks")
            bus.kill()
            there = len(daemon.picks())
            wait_until(lambda: len(daemon.picks()) > there, "picks meanwhile")
            daemon.wait_for("sink.failed")
            bus.start()
            daemon.wait_for("sink.recovered")
            daemon.finish(records_in(path))
        assert comparable([content for _, content in bus.messages()]) == comparable(expected)
        assert {subject for subject, _ in bus.messages()} == {
            "xiaod.picks.BW.RJOB.P.final",
            "xiaod.picks.BW.RJOB.S.final",
        }


def test_topics_get_each_pick_whatever_dies(tmp_path: Path, busy: Busy) -> None:
    path, expected = busy
    with KafkaBroker(tmp_path / "kafka") as broker:
        sinks = [
            {"kind": "kafka", "stage": "final", "brokers": [broker.server], "topic": broker.topic},
            {"kind": "jsonl", "path": str(tmp_path / "picks.jsonl")},
        ]
        with Server(ReplayConfig(inputs=(path,), port=0, speed=60.0)) as server:
            source = source_at(server.port, begin="resume")
            daemon = Daemon(tmp_path, sources=[source], sinks=sinks)
            with daemon:
                wait_until(lambda: daemon.metric("xiaod_sink_picks_total", sink="kafka") >= 2, "first picks")
                broker.stop()
                there = len(daemon.picks())
                wait_until(lambda: len(daemon.picks()) > there, "picks meanwhile")
                daemon.wait_for("sink.failed")
                daemon.process.kill()
                daemon.process.wait()
            broker.start()
            with daemon:
                wait_until(lambda: server.played and at_rest(daemon), "the end of the data")
                assert daemon.stop() == 0
        stored = [pick["id"] for pick in daemon.stored() if pick["stage"] == "final"]
        assert len(stored) >= len(expected) - 2
        assert list(dict.fromkeys(broker.ids())) == stored
        assert {record.key for record in broker.records()} == {b"BW.RJOB"}


@pytest.mark.parametrize("small", [True, False], ids=["small", "ringserver"])
def test_a_ringserver_that_is_killed_meanwhile_has_every_pick(
    tmp_path: Path, busy: Busy, small: bool
) -> None:
    path, expected = busy
    with DataLinkServer() if small else Ringserver(tmp_path / "ringserver") as ring:
        sinks = [
            {"kind": "datalink", "stage": "final", "server": ring.server},
            {"kind": "jsonl", "path": str(tmp_path / "picks.jsonl")},
        ]
        with (
            Server(ReplayConfig(inputs=(path,), port=0, speed=60.0)) as server,
            Daemon(tmp_path, sources=[source_at(server.port)], sinks=sinks) as daemon,
        ):
            wait_until(lambda: daemon.metric("xiaod_sink_picks_total", sink="datalink") >= 2, "first picks")
            ring.kill()
            there = len(daemon.picks())
            wait_until(lambda: len(daemon.picks()) > there, "picks meanwhile")
            daemon.wait_for("sink.failed")
            ring.start()
            # What it has forgotten.
            daemon.wait_for("datalink.restored")
            daemon.wait_for("sink.recovered")
            daemon.finish(records_in(path))
        packets = ring.packets()
        found = {one["id"]: one for one in (json.loads(packet.data) for packet in packets)}
        assert comparable(list(found.values())) == comparable(expected)
        assert {packet.streamid for packet in packets} == {
            "FDSN:BW_RJOB__E_H_Z/JSON",
            "FDSN:BW_RJOB__E_H_N/JSON",
        }


@pytest.mark.parametrize("command", [[], ["check"]])
def test_without_the_extra_it_is_told_what_to_install(tmp_path: Path, command: list[str]) -> None:
    config = {
        "sources": [{"server": "replay:example"}],
        "sinks": [{"kind": "nats"}],
        "logs": {"format": "json"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    done = run_without("nats", *command, "--config", str(path), folder=tmp_path)
    assert done.returncode == 2
    assert "sinks[0].kind: kind nats needs the package nats, which is not installed" in done.stderr
    assert f"{sys.executable} -m pip install 'xiaod[nats]'" in done.stderr
    assert "Traceback" not in done.stderr

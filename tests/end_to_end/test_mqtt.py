"""The daemon and a real MQTT broker: picks on ``mosquitto_sub``, brokers and daemons that die, and secrets that stay secret."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import LIMIT_S, Daemon, Server, run_without, wait_until, write_event
from tests.mosquitto import Mosquitto
from xiaod.replay import ReplayConfig

PICKS = "xiaod/+/+/+/+"
STATUS = "xiaod/status/+"
PASSWORD = "hush-4711"  # noqa: S105  of a broker that lives for a test


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A replay server with one event."""
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    write_event(path)
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with a user and a watcher, that is down."""
    made = Mosquitto(tmp_path / "broker", "password_file {folder}/users")
    made.user("xiaod", PASSWORD)
    made.options += ["-u", "xiaod", "-P", PASSWORD]
    with made:
        made.watch(PICKS)
        made.stop()
        yield made


def daemon(folder: Path, server: Server, broker: Mosquitto, **keys: Any) -> Daemon:
    source = {"name": "test", "server": f"127.0.0.1:{server.port}", "reconnect_min_s": 0.1}
    mqtt = {"kind": "mqtt", "stage": "final", "server": broker.server, "username": "xiaod", **keys}
    mqtt["client_id"] = "tester"
    jsonl = {"kind": "jsonl", "path": str(folder / "picks.jsonl")}
    logs = {"format": "json", "level": "debug"}
    return Daemon(folder, sources=[source], sinks=[jsonl, mqtt], logs=logs)


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def test_a_broker_that_comes_up_late_gets_everything_in_order_and_tells_when_the_daemon_is_killed(
    tmp_path: Path, server: Server, broker: Mosquitto
) -> None:
    with daemon(tmp_path, server, broker, password=PASSWORD, discovery={"enabled": True}) as running:
        failed = running.wait_for("sink.failed", 2)
        assert failed[0]["error"] == f"{broker.server}: Connection refused"
        wait_until(lambda: {pick["phase"] for pick in running.picks()} == {"P", "S"}, "a P and an S")
        assert running.metric("xiaod_sink_picks_total", sink="mqtt") == 0
        broker.start()
        running.wait_for("mqtt.connected")
        wait_until(
            lambda: running.metric("xiaod_sink_picks_total", sink="mqtt") >= len(running.picks()), "all picks"
        )
        picks = running.picks()
        assert [json.loads(line) for line in broker.drain(PICKS)] == picks
        assert broker.retained(STATUS, 1) == {"xiaod/status/tester": "online"}
        assert len(broker.retained("homeassistant/sensor/+/config", 2)) == 2
        running.process.kill()
        running.process.wait(LIMIT_S)
        wait_until(lambda: broker.retained(STATUS, 1) == {"xiaod/status/tester": "offline"}, "the last will")
        log = running.log_path.read_text()
        shown = subprocess.run(
            [sys.executable, "-m", "xiaod", "check", "--config", str(running.config_path)],
            capture_output=True, text=True, check=True, timeout=LIMIT_S,
        )  # fmt: skip
        assert PASSWORD in running.config_path.read_text()
        assert PASSWORD not in log + shown.stdout + shown.stderr


def test_a_stop_while_the_broker_is_down_is_bounded_and_the_next_run_delivers(
    tmp_path: Path, server: Server, broker: Mosquitto
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    with daemon(tmp_path / "run", server, broker, password_file=str(secret)) as running:
        wait_until(lambda: {pick["phase"] for pick in running.picks()} == {"P", "S"}, "a P and an S")
        begun_s = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun_s < LIMIT_S / 2
        left = running.events("sink.undelivered")
        assert [event["sink"] for event in left] == ["mqtt"]
        assert left[0]["backlog"] == len(running.picks())
    broker.start()
    with running:
        running.wait_for("mqtt.connected")
        wait_until(
            lambda: running.metric("xiaod_sink_picks_total", sink="mqtt") >= len(running.picks()),
            "all picks",
        )
        assert running.stop() == 0
    assert ids(broker.drain(PICKS)) == [pick["id"] for pick in running.picks()]
    assert broker.retained(STATUS, 1) == {"xiaod/status/tester": "offline"}


def test_a_broker_that_does_not_let_us_in_is_named_with_what_to_check(
    tmp_path: Path, server: Server, broker: Mosquitto
) -> None:
    broker.start()
    with daemon(tmp_path, server, broker, password="not-the-one") as running:  # noqa: S106
        error = running.wait_for("sink.failed")[0]["error"]
        assert error.startswith(f"{broker.server}: connection refused: Not authorized; check username")
        assert running.stop() == 0
        assert "not-the-one" not in running.log_path.read_text()


def test_a_package_that_is_missing_is_named_with_the_extra(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("sources: [{server: localhost}]\nsinks: [{kind: mqtt, server: broker}]\n")
    done = run_without("paho", "--config", str(config), folder=tmp_path)
    assert done.returncode == 2
    assert "sinks[0].kind: kind mqtt needs the package paho" in done.stderr
    assert f"{sys.executable} -m pip install 'xiaod[mqtt]'" in done.stderr


def test_home_assistant_sees_it_shake_and_a_station_fall_silent(tmp_path: Path, broker: Mosquitto) -> None:
    broker.start()
    places = "homeassistant/binary_sensor/+/state"
    data, shaking = (
        f"homeassistant/binary_sensor/xiaod_{name}/state" for name in ("BW_RJOB_data", "tester_shaking")
    )
    mqtt = {
        "kind": "mqtt",
        "of": "all",
        "server": broker.server,
        "username": "xiaod",
        "password": PASSWORD,
        "client_id": "tester",
        "discovery": {"enabled": True, "shaking_s": 1e9},
    }

    def shown() -> dict[str, str]:
        states = broker.retained(places, 2)
        return {data: states[data], shaking: json.loads(states[shaking])["state"]}

    replay = ReplayConfig(inputs=("example",), port=0, speed=20.0, loop=True, shift_to_now=True)
    with ExitStack() as ended_first:
        playing = ended_first.enter_context(Server(replay))
        running = Daemon(
            tmp_path,
            sources=[{"name": "test", "server": f"127.0.0.1:{playing.port}", "reconnect_min_s": 0.1}],
            sinks=[mqtt],
            events={"enabled": True, "stations": 1},
            http={"port": 0, "stale_after_s": 3.0},
        )
        with running:
            running.wait_for("event.early")
            wait_until(lambda: running.metric("xiaod_sink_picks_total", sink="mqtt") >= 3, "P, S and event")
            wait_until(lambda: shown() == {data: "ON", shaking: "ON"}, "an event")
            about = json.loads(broker.retained(shaking, 1)[shaking])["about"]
            assert about.startswith("1 station; about ")
            ended_first.close()
            running.wait_for("station.stale")
            wait_until(lambda: shown()[data] == "OFF", "a silent station")
            assert running.stop() == 0
    assert shown()[data] == "None"
    assert broker.retained(STATUS, 1) == {"xiaod/status/tester": "offline"}

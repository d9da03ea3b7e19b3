"""MQTT against a real broker: topics, refusals, certificates, connections that break, and what Home Assistant is told."""

import gc
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, early, final, mean, pick
from tests.end_to_end.harness import wait_until
from tests.everysink import suspended
from tests.mosquitto import LIMIT_S, Mosquitto, program
from xiaod.config import Config
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.domain.document import pick_document
from xiaod.domain.onsets import is_of, withdrawal
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import (
    Channel,
    DocumentStage,
    Event,
    EventMagnitude,
    EventOrigin,
    EventPick,
    Pick,
    Stages,
    StationDistance,
)
from xiaod.sinks import Refused
from xiaod.sinks.mqtt.sink import MqttSink, topic_of
from xiaod.tools.selftest.sinks import try_sinks

PICKS = "xiaod/+/+/+/+"
STATUS = "xiaod/status/+"


RIGHT = "right secret"


def made(server: str, **keys: object) -> MqttSink:
    settings = {"kind": "mqtt", "server": server, "client_id": "tester", "timeout_s": LIMIT_S, **keys}
    return MqttSink(MqttConfig.model_validate(settings), AGENCY)


def delivers(sink: MqttSink, picks: list[Pick]) -> bool:
    """A delivery, as a sink_runner gives it; whether it went well."""
    try:
        sink.deliver(picks, NOW_NS)
    except OSError:
        return False
    return True


def ticks(sink: MqttSink) -> bool:
    """A tick; whether it went well."""
    return delivers(sink, [])


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


RIGHTS = (
    "user picker", "topic write xiaod/status/#", "topic write xiaod/BW/RJOB/P/final",
    "user reader", "topic readwrite #",
)  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One that lets in ``picker`` and ``reader``; ``picker`` may write nothing but P of RJOB."""
    made = Mosquitto(
        tmp_path_factory.mktemp("broker"), "password_file {folder}/users", "acl_file {folder}/access"
    )
    made.user("picker", RIGHT)
    made.user("reader", "other")
    (made.folder / "access").write_text("\n".join(RIGHTS) + "\n")
    made.options += ["-u", "reader", "-P", "other"]
    with made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mosquitto]:
    """One for a single test, that anybody may use."""
    with Mosquitto(tmp_path / "broker") as made:
        yield made


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("xiaod/{network}/{station}/{phase}/{stage}", "xiaod/BW/R_J_B/P/final"),
        ("{network}.{station}.{location}.{channel}", "BW.R_J_B.--.EH_"),
        ("picks", "picks"),
    ],
)
def test_codes_never_change_the_levels_of_a_topic(template: str, expected: str) -> None:
    assert topic_of(pick(channel=Channel("BW", "R/J+B", "", "EH#")), template) == expected


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("server: 'broker:0'", "sinks[0].server: must be HOST or HOST:PORT, for example 'broker.local:1883'; got 'broker:0'"),
        ("server: 'mqtt://broker'", "sinks[0].server: must be HOST or HOST:PORT"),
        ("topic: 'a/{code}'", "sinks[0].topic: {code} is not known; allowed are {network}, {station}, {location}, {channel}, {phase}"),
        ("topic: 'a/{phase'", "sinks[0].topic: expected '}' before end of string; allowed are {network}"),
        ("topic: 'a/#'", "sinks[0].topic: must be a topic to publish to: 1 to 256 letters, without + and #"),
        ("status_topic: '$SYS/x'", "sinks[0].status_topic: must be a topic to publish to"),
        ("qos: 3", "sinks[0].qos: must be 0 or 1; got 3"),
        ("qos: 2", "sinks[0].qos: must be 0 or 1: write 1, which delivers every pick at least once, as 2 did; got 2"),
        ("keepalive_s: 1", "sinks[0].keepalive_s: must be a number at least 5 and at most 65535 seconds"),
        ("tls: {cert_file: a}", "sinks[0].tls.cert_file and key_file belong together"),
        ("tls: {insecure: true, ca_file: a}", "sinks[0].tls.insecure: with a ca_file the certificate is looked at"),
        ("username: me, password: 4711", "sinks[0].password: must be text (put it in quotes), or null; got something else"),
        ("topic: a, discovery: {enabled: true}", "sinks[0].topic must be made of {network}, {station}, {phase} and {stage} alone"),
        ("rsam_topic: a, discovery: {enabled: true}", "sinks[0].rsam_topic must be made of {network}, {station} and {minutes} alone"),
        (
            "topic: 'a/{network}/{station}/{phase}', discovery: {enabled: true}",
            "sinks[0].topic must have {stage} while discovery.enabled is true: a sensor shows final picks or early ones",
        ),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named(keys: str, said: str) -> None:
    server = "" if keys.startswith("server") else "server: broker, "
    with pytest.raises(ConfigError) as refused:
        parse_config(f"sources:\n- server: a\nsinks:\n- {{kind: mqtt, {server}{keys}}}\n", "x.yaml")
    assert refused.value.problems == [
        problem for problem in refused.value.problems if f"x.yaml:4: {said}" in problem
    ]
    assert "hush" not in str(refused.value)
    assert "4711" not in str(refused.value)


def test_a_password_comes_from_a_file_or_the_environment(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "password"
    path.write_text("right secret\n")
    monkeypatch.setenv("BROKER_PASSWORD", "right secret")
    for keys in ({"password_file": path}, {"password": "${BROKER_PASSWORD}"}, {"password": "right secret"}):
        sink = made(broker.server, username="picker", **keys)
        sink.deliver([pick(1)], NOW_NS)
        sink.close()


@pytest.mark.parametrize(
    "user", [{}, {"username": "picker", "password": "wrong"}, {"username": "nobody", "password": "x"}]
)
def test_who_is_not_let_in_is_told_what_to_check(broker: Mosquitto, user: dict[str, str]) -> None:
    sink = made(broker.server, **user)
    for _ in range(2):
        with pytest.raises(
            OSError, match=r"127.0.0.1:\d+: connection refused: Not authorized; check username and password"
        ):
            sink.deliver([pick(1)], NOW_NS)
    sink.close()


def test_attempts_leave_neither_threads_nor_descriptors(broker: Mosquitto) -> None:
    sink = made(broker.server)
    gc.disable()
    try:
        assert not ticks(sink)
        before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            assert not ticks(sink)
        assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before
    finally:
        gc.enable()
    sink.close()


def test_a_topic_that_is_not_allowed_is_named_and_what_was_taken_is_not_sent_again(
    broker: Mosquitto,
) -> None:
    broker.watch(PICKS)
    sink = made(broker.server, username="picker", password=RIGHT)
    picks = [pick(1), pick(2, phase="S", id="an S"), pick(3)]
    with pytest.raises(
        OSError, match=r"xiaod/BW/RJOB/S/final refused: Not authorized; the broker's access list must allow"
    ) as refused:
        sink.deliver(picks, NOW_NS)
    # What an administrator can mend is waited for.
    assert not isinstance(refused.value, Refused)
    access = broker.folder / "access"
    access.write_text("\n".join([*RIGHTS[:3], "topic write xiaod/BW/RJOB/S/final", *RIGHTS[3:]]) + "\n")
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: delivers(sink, picks), "the new access list")
    found = ids(broker.drain(PICKS))
    assert found[:2] == [pick(1).id, "an S"] or found[:3] == [pick(1).id, pick(3).id, "an S"]
    assert found.count(pick(1).id) == 1
    assert found[-1] == pick(3).id
    sink.close()
    access.write_text("\n".join(RIGHTS) + "\n")
    broker.process.send_signal(signal.SIGHUP)


def test_everything_comes_in_order_and_once(own: Mosquitto) -> None:
    own.watch(PICKS)
    sink = made(own.server)
    picks = [pick(number) for number in range(70)]
    sink.deliver(picks, NOW_NS)
    sink.close()
    assert ids(own.drain(PICKS)) == [made.id for made in picks]


def test_a_broker_that_is_killed_and_comes_back_is_told_that_the_sink_is_there(own: Mosquitto) -> None:
    sink = made(own.server)
    sink.deliver([pick(1)], NOW_NS)
    own.kill()
    for said in ("connection lost", "Connection refused"):
        with pytest.raises(OSError, match=said):
            wait_until(lambda: sink.deliver([], NOW_NS), "the end of the connection")
    own.start()
    sink.deliver([pick(2)], NOW_NS)
    assert own.retained(STATUS, 1) == {"xiaod/status/tester": "online"}
    sink.close()
    assert own.retained(STATUS, 1) == {"xiaod/status/tester": "offline"}


def test_the_farewell_to_a_broker_that_hangs_is_bounded(own: Mosquitto) -> None:
    sink = made(own.server)
    sink.deliver([pick(1)], NOW_NS)
    with suspended(own.process):
        begun_s = time.monotonic()
        sink.close()
        assert time.monotonic() - begun_s < LIMIT_S / 2


def test_two_with_the_same_client_id_are_told_of_each_other(own: Mosquitto) -> None:
    first, second = made(own.server), made(own.server)
    first.deliver([], NOW_NS)
    second.deliver([], NOW_NS)
    with pytest.raises(OSError, match="another client may have the client_id tester"):
        wait_until(lambda: first.deliver([], NOW_NS), "the end of the first")
    second.close()
    wait_until(lambda: ticks(first), "a new connection")
    first.close()


def test_a_trial_disturbs_no_daemon_and_leaves_nothing_behind(own: Mosquitto) -> None:
    config = MqttConfig.model_validate(
        {
            "kind": "mqtt",
            "server": own.server,
            "client_id": "tester",
            "status_topic": "state",
            "retain": True,
            "discovery": {"enabled": True},
        }
    )
    running = MqttSink(config, AGENCY)
    running.deliver([], NOW_NS)
    own.watch(PICKS)
    whole = Config.model_validate({"sources": [{"server": "a"}]})
    [step] = try_sinks(whole, [config], [pick(1)], LIMIT_S)
    assert (step.result, step.detail) == ("delivered", f"server {own.server}")
    running.deliver([], NOW_NS)
    assert ids(own.drain(PICKS)) == [pick(1).id]
    own.send("mark", "seen", "-r")
    assert own.retained("#", 2) == {"state": "online", "mark": "seen"}
    running.close()


def test_what_is_too_large_for_the_broker_is_refused_for_good(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", "allow_anonymous true", "max_packet_size 700") as small:
        small.watch(PICKS)
        sink = made(small.server)
        long = pick(2, model="m" * 700)
        short = pick(1, created_ns=None, latency=None)
        with pytest.raises(Refused, match="takes packets of at most 700 bytes") as refused:
            sink.deliver([short, long], NOW_NS)
        assert refused.value.picks == {long.id}
        sink.deliver([short], NOW_NS)
        sink.close()
        assert ids(small.drain(PICKS)) == [short.id]


@pytest.mark.parametrize("keys", [{}, {"status_topic": None}])
def test_a_broker_that_takes_qos_0_alone_is_served_with_qos_0(tmp_path: Path, keys: dict[str, Any]) -> None:
    with Mosquitto(tmp_path / "broker", "max_qos 0", "allow_anonymous true") as small:
        with pytest.raises(OSError, match=r"QoS .*; set qos: 0\Z"):
            made(small.server, **keys).deliver([pick(1)], NOW_NS)
        sink = made(small.server, qos=0, retain=True, discovery={"enabled": True}, **keys)
        sink.deliver([pick(1)], NOW_NS)
        # Sent is not yet received.
        assert json.loads(small.first("homeassistant/sensor/+/config"))["name"] == "P"
        assert json.loads(small.first(PICKS))["id"] == pick(1).id
        if "status_topic" not in keys:
            assert small.first(STATUS) == "online"
        sink.close()
        if "status_topic" not in keys:
            wait_until(lambda: small.first(STATUS) == "offline", "the farewell")


def test_the_last_pick_is_kept_where_that_is_wished(own: Mosquitto) -> None:
    for qos in (0, 1):
        sink = made(own.server, qos=qos, retain=True, topic="last/{channel}/{phase}")
        sink.deliver([pick(qos), pick(10 + qos)], NOW_NS)
        sink.close()
        [(topic, text)] = own.retained("last/#", 1).items()
        assert (topic, json.loads(text)["id"]) == ("last/EHZ/P", pick(10 + qos).id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server at 127.0.0.1 and of a client that it has signed."""
    folder = tmp_path_factory.mktemp("certificates")

    def request(name: str, *arguments: str) -> None:
        subprocess.run(
            [
                program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *arguments,
            ],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip

    signed = ("-CA", "authority.pem", "-CAkey", "authority.key")
    request("authority")
    request(
        "server",
        *signed,
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=CA:FALSE",
    )
    request("client", *signed, "-addext", "basicConstraints=CA:FALSE")
    return folder


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[Mosquitto]:
    lines = [
        f"cafile {folder}/authority.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
    ]
    made = Mosquitto(folder / "broker", "allow_anonymous true", *lines)
    made.options += ["--cafile", f"{folder}/authority.pem"]
    with made:
        yield made


def test_picks_go_to_a_broker_whose_authority_is_known(secure: Mosquitto, folder: Path) -> None:
    secure.watch(PICKS)
    for tls in ({"ca_file": folder / "authority.pem"}, {"insecure": True}):
        sink = made(secure.server, tls=tls)
        sink.deliver([pick(1)], NOW_NS)
        sink.close()
        assert ids(secure.drain(PICKS)) == [pick(1).id]


def test_a_certificate_that_does_not_fit_is_refused(secure: Mosquitto, folder: Path) -> None:
    with pytest.raises(
        OSError,
        match=r"certificate not accepted: .*; name its authority in tls.ca_file",
    ):
        made(secure.server, tls={}).deliver([], NOW_NS)
    with pytest.raises(OSError, match=r"certificate not accepted: Hostname mismatch"):
        made(f"localhost:{secure.port}", tls={"ca_file": folder / "authority.pem"}).deliver([], NOW_NS)


def test_a_port_of_the_other_kind_is_named(secure: Mosquitto, own: Mosquitto) -> None:
    with pytest.raises(OSError, match=r"before the connection was accepted; does this port expect TLS\?"):
        made(secure.server).deliver([], NOW_NS)
    with pytest.raises(OSError, match=r"does this port speak TLS\?"):
        made(own.server, tls={}).deliver([], NOW_NS)


def test_a_broker_may_ask_for_a_certificate(folder: Path) -> None:
    lines = [
        f"cafile {folder}/authority.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
    ]
    trusted = {"ca_file": folder / "authority.pem"}
    own = {"cert_file": folder / "client.pem", "key_file": folder / "client.key"}
    asking = Mosquitto(folder / "asking", "require_certificate true", "use_identity_as_username true", *lines)
    with asking:
        sink = made(asking.server, tls={**trusted, **own})
        sink.deliver([pick(1)], NOW_NS)
        sink.close()
        with pytest.raises(
            OSError, match=r"before the connection was accepted; does it ask for a tls.cert_file\?|TLS: "
        ):
            made(asking.server, tls=trusted).deliver([], NOW_NS)
    with pytest.raises(OSError, match=r"tls.cert_file, key_file: .*cannot be used"):
        made("broker", tls={"cert_file": folder / "client.pem", "key_file": folder / "server.key"})


def test_home_assistant_is_told_of_each_station_and_phase_before_its_first_pick(own: Mosquitto) -> None:
    configs = "homeassistant/sensor/+/config"
    own.watch(configs)
    sink = made(own.server, discovery={"enabled": True})
    sink.deliver([pick(1), pick(2), pick(3, phase="S")], NOW_NS)
    sink.deliver([pick(4, phase="S")], NOW_NS)
    found = own.retained(configs, 2)
    assert sorted(found) == [f"homeassistant/sensor/xiaod_BW_RJOB_{phase}/config" for phase in "PS"]
    told = json.loads(found["homeassistant/sensor/xiaod_BW_RJOB_S/config"])
    assert told["device"].pop("sw_version")
    assert told["origin"].pop("sw_version")
    assert told == {
        "name": "S",
        "unique_id": "xiaod_BW_RJOB_S",
        "device_class": "timestamp",
        "icon": "mdi:pulse",
        "qos": 1,
        "state_topic": "xiaod/BW/RJOB/S/final",
        "value_template": "{{ value_json.time }}",
        "json_attributes_topic": "xiaod/BW/RJOB/S/final",
        "availability_topic": "xiaod/status/tester",
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": ["xiaod_BW_RJOB"],
            "name": "BW.RJOB",
            "manufacturer": "xiaod",
            "model": "seismic station",
        },
        "origin": {"name": "xiaod"},
    }
    assert len(own.drain(configs)) == 2
    # Home Assistant starts: it is told again.
    own.send("homeassistant/status", "offline")
    own.send("homeassistant/status", "online")
    until_s = time.monotonic() + LIMIT_S
    again: list[str] = []
    while len(again) < 2 and time.monotonic() < until_s:
        sink.deliver([], NOW_NS)
        again += own.drain(configs)
    assert sorted(again) == sorted(found.values())
    # A broker that has forgotten everything is told again.
    own.kill()
    (own.folder / "mosquitto.db").unlink(missing_ok=True)
    own.start()
    wait_until(lambda: ticks(sink), "a new connection")
    assert own.retained(configs, 2) == found
    sink.close()


def test_early_picks_have_topics_and_sensors_of_their_own(own: Mosquitto) -> None:
    configs = "homeassistant/sensor/+/config"
    sink = made(own.server, discovery={"enabled": True}, retain=True)
    sink.deliver([early(1), final(1, 0.03), early(3)], NOW_NS)
    sink.deliver([withdrawal(early(3))], NOW_NS)
    found = own.retained(configs, 3)
    assert {json.loads(text)["name"]: topic for topic, text in found.items()} == {
        "P": "homeassistant/sensor/xiaod_BW_RJOB_P/config",
        "P early": "homeassistant/sensor/xiaod_BW_RJOB_P_early/config",
        "P withdrawn": "homeassistant/sensor/xiaod_BW_RJOB_P_withdrawn/config",
    }
    # The last final pick is not touched by early ones and what withdraws them.
    last = {topic: json.loads(text) for topic, text in own.retained("xiaod/BW/#", 3).items()}
    assert {topic: document["id"] for topic, document in last.items()} == {
        "xiaod/BW/RJOB/P/final": final(1, 0.03).id,
        "xiaod/BW/RJOB/P/early": early(3).id,
        "xiaod/BW/RJOB/P/withdrawn": withdrawal(early(3)).id,
    }
    sensors = [json.loads(text) for text in found.values()]
    assert {one["name"]: state_of(one, last[one["state_topic"]]) for one in sensors} == {
        "P": iso_from_ns(final(1, 0.03).time_ns),
        "P early": iso_from_ns(early(3).time_ns),
        "P withdrawn": iso_from_ns(early(3).time_ns),
    }
    sink.close()


def state_of(sensor: dict[str, str], document: dict[str, object]) -> str:
    """What Home Assistant shows when a document comes; it makes None unknown."""
    shown: str = jinja2.Template(sensor["value_template"]).render(value_json=document)
    return shown


@pytest.mark.parametrize(("stage", "name"), [("final", "P"), ("early", "P early")])
def test_a_sink_of_one_stage_needs_no_stage_in_its_topic(own: Mosquitto, stage: Stages, name: str) -> None:
    topic = "a/{network}/{station}/{phase}"
    sink = made(own.server, discovery={"enabled": True}, stage=stage, topic=topic)
    # One that begins with a withdrawal, as after a restart, names the sensor no other way.
    taken = [one for one in reversed(STAGES) if is_of(one, stage)]
    sink.deliver(taken, NOW_NS)
    [told] = own.retained("homeassistant/sensor/+/config", 1).values()
    sensor = json.loads(told)
    assert (sensor["name"], sensor["state_topic"]) == (name, "a/BW/RJOB/P")
    assert [state_of(sensor, pick_document(one, AGENCY)) for one in taken] == [
        "None" if one.stage == "withdrawn" else iso_from_ns(one.time_ns) for one in taken
    ]
    sink.close()


BINARY = "homeassistant/binary_sensor/"
S_NS = 1_000_000_000


def event(name: str, stage: DocumentStage = "early", version: int = 1, time_ns: int = NOW_NS) -> Event:
    event_id = name if stage == "final" else f"{name}-early"
    found = tuple(EventPick(one.id, one.channel, "P", time_ns, 0.1, "final") for one in (pick(1), pick(2)))
    near = StationDistance("BW", "RJOB", 2.5, 20.06, 2.2)
    early_id = None if stage == "early" else f"{name}-early"
    return Event(
        f"{event_id}-v{version}", event_id, version, stage, "coincidence", time_ns, found, (near,), early_id
    )


def test_home_assistant_sees_mean_amplitudes(own: Mosquitto) -> None:
    sink = made(own.server, discovery={"enabled": True}, of="rsam", retain=True)
    assert not sink.takes_stations
    sink.deliver([mean(1), mean(0, minutes=10), mean(2)], NOW_NS)
    sink.close()
    told = own.retained("homeassistant/sensor/+/config", 2)
    assert set(told) == {f"homeassistant/sensor/xiaod_BW_RJOB_rsam{minutes}/config" for minutes in (1, 10)}
    one = json.loads(told["homeassistant/sensor/xiaod_BW_RJOB_rsam1/config"])
    assert (one["name"], one["unit_of_measurement"], one["expire_after"]) == ("RSAM 1 min", "counts", 180)
    assert (one["state_topic"], one["device"]["identifiers"]) == ("xiaod/BW/RJOB/rsam/1", ["xiaod_BW_RJOB"])
    state = json.loads(own.retained("xiaod/BW/RJOB/rsam/1", 1)["xiaod/BW/RJOB/rsam/1"])
    assert state["id"] == mean(2).id
    assert float(jinja2.Template(one["value_template"]).render(value_json=state)) == 125.457


class Retained:
    """What Home Assistant finds at the broker whenever it looks, as it reads it."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker

    def sensors(self, count: int) -> dict[str, dict[str, Any]]:
        """Configurations of binary sensors by name of the device and of the sensor."""
        told = [json.loads(text) for text in self._broker.retained(f"{BINARY}+/config", count).values()]
        return {f"{one['device']['name']} {one['name']}": one for one in told}

    def states(self, count: int) -> dict[str, str]:
        """State of each of them."""
        sensors = self.sensors(count)
        texts = self._broker.retained(f"{BINARY}+/state", count)
        assert {one["state_topic"] for one in sensors.values()} == texts.keys()
        return {name: self._state(one, texts[one["state_topic"]]) for name, one in sensors.items()}

    @staticmethod
    def _state(sensor: dict[str, Any], text: str) -> str:
        if "value_template" not in sensor:
            return text
        shown: str = jinja2.Template(sensor["value_template"]).render(value_json=json.loads(text))
        return shown


def test_home_assistant_sees_an_event_shake_until_it_is_over_or_withdrawn(own: Mosquitto) -> None:
    sink = made(own.server, discovery={"enabled": True}, of="events")
    home = Retained(own)

    def state(items: list[Event], now_s: float) -> str:
        sink.deliver(items, NOW_NS + int(now_s * S_NS))
        [[name, shown]] = home.states(1).items()
        assert name == "xiaod tester Shaking"
        return shown

    assert state([], 0) == "OFF"
    assert state([event("a")], 3) == "ON"
    # Its settling switches it on for no longer.
    assert state([event("a", "final")], 70) == "ON"
    assert state([], 179.9) == "ON"
    assert state([], 180) == "OFF"
    late_ns = NOW_NS + 300 * S_NS
    assert state([event("b", time_ns=late_ns), event("c", time_ns=late_ns)], 301) == "ON"
    assert state([event("b", "withdrawn", 2, late_ns)], 302) == "ON"
    assert state([event("c", "withdrawn", 2, late_ns)], 303) == "OFF"
    # What has waited for the broker switches nothing on; a clock that is ahead not for longer.
    assert state([event("old")], 400) == "OFF"
    assert state([event("ahead", time_ns=NOW_NS + 9999 * S_NS)], 500) == "ON"
    assert state([], 681) == "OFF"
    sink.close()
    [told] = home.sensors(1).values()
    assert told["device"].pop("sw_version")
    assert told["origin"].pop("sw_version")
    topic = f"{BINARY}xiaod_tester_shaking/state"
    assert told == {
        "name": "Shaking",
        "unique_id": "xiaod_tester_shaking",
        "device_class": "vibration",
        "qos": 1,
        "state_topic": topic,
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": topic,
        "availability_topic": "xiaod/status/tester",
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": ["xiaod_tester"],
            "name": "xiaod tester",
            "manufacturer": "xiaod",
            "model": "seismic picker",
        },
        "origin": {"name": "xiaod"},
    }
    attributes = json.loads(own.retained(topic, 1)[topic])
    assert attributes.pop("notice")
    assert attributes == {
        "state": "OFF",
        "event_id": "ahead-early",
        "stage": "early",
        "first_pick_time": iso_from_ns(NOW_NS + 9999 * S_NS),
        "stations": 2,
        "about": "2 stations; about 20 km (+-2) from BW.RJOB",
        "distance_km": 20.06,
        "from": "BW.RJOB",
    }


def test_home_assistant_can_show_a_located_event_on_its_map(own: Mosquitto) -> None:
    sink = made(own.server, discovery={"enabled": True}, of="events")
    origin = EventOrigin(NOW_NS, 35.69891, 126.72222, 10.22, 0.1, 1.0, 2.0, 0.3, 90.0, 5.0, "iasp91")
    located = replace(event("a", "final"), origin=origin, magnitude=EventMagnitude(4.83, 0.2, 5))
    sink.deliver([located], NOW_NS)
    sink.close()
    [text] = own.retained(f"{BINARY}+/state", 1).values()
    attributes = json.loads(text)
    assert {key: attributes[key] for key in ("latitude", "longitude", "depth_km", "magnitude")} == {
        "latitude": 35.69891,
        "longitude": 126.72222,
        "depth_km": 10.22,
        "magnitude": 4.83,
    }
    assert attributes["about"].startswith("ML 4.8, 35.699 N 126.722 E, 10 km deep")
    assert "not located" not in attributes["notice"]


def test_home_assistant_sees_which_stations_send_and_forgets_those_that_depart(own: Mosquitto) -> None:
    sink = made(own.server, discovery={"enabled": True, "shaking_s": 60.0})
    home = Retained(own)
    sink.note_stations({("BW", "RJOB"): True, ("BW", "BHZ"): None, ("XX", "GONE"): False})
    other = pick(2, channel=Channel("XX", "GONE", "", "EHZ"))
    sink.deliver([pick(1), other], NOW_NS)
    # Each has a sensor of its picks too, as the sink takes no events.
    assert home.states(6) == {
        "BW.RJOB Data": "ON",
        "BW.RJOB Shaking": "ON",
        "BW.BHZ Data": "None",
        "BW.BHZ Shaking": "OFF",
        "XX.GONE Data": "OFF",
        "XX.GONE Shaking": "ON",
    }
    told = home.sensors(6)["BW.RJOB Data"]
    assert (told["device_class"], told["entity_category"]) == ("connectivity", "diagnostic")
    assert told["device"]["identifiers"] == ["xiaod_BW_RJOB"]
    assert told["availability_topic"] == "xiaod/status/tester"
    assert len(own.retained("homeassistant/sensor/+/config", 2)) == 2
    # Nothing is sent that has not changed.
    own.watch(f"{BINARY}#")
    assert len(own.drain(f"{BINARY}#")) == 12
    assert ticks(sink)
    assert own.drain(f"{BINARY}#") == []
    # One falls silent, one departs for good.
    sink.note_stations({("BW", "RJOB"): False, ("BW", "BHZ"): True})
    sink.deliver([], NOW_NS + 60 * S_NS)
    assert home.states(4) == {
        "BW.RJOB Data": "OFF",
        "BW.RJOB Shaking": "OFF",
        "BW.BHZ Data": "ON",
        "BW.BHZ Shaking": "OFF",
    }
    assert list(own.retained("homeassistant/sensor/+/config", 1)) == [
        "homeassistant/sensor/xiaod_BW_RJOB_P/config"
    ]
    # It comes back, while the broker has forgotten everything.
    own.kill()
    (own.folder / "mosquitto.db").unlink(missing_ok=True)
    own.start()
    sink.note_stations({("BW", "RJOB"): True, ("XX", "GONE"): True})
    wait_until(lambda: delivers(sink, [other]), "a new connection")
    assert home.states(4) == {
        "BW.RJOB Data": "ON",
        "BW.RJOB Shaking": "OFF",
        "XX.GONE Data": "ON",
        "XX.GONE Shaking": "ON",
    }
    assert len(own.retained("homeassistant/sensor/+/config", 2)) == 2
    sink.close()
    # Until the next run has heard of them.
    assert home.states(4) == {
        "BW.RJOB Data": "None",
        "BW.RJOB Shaking": "OFF",
        "XX.GONE Data": "None",
        "XX.GONE Shaking": "OFF",
    }


def test_a_station_that_departs_while_the_broker_is_away_is_forgotten_later(own: Mosquitto) -> None:
    sink = made(own.server, discovery={"enabled": True, "shaking_s": 0.0})
    home = Retained(own)
    sink.note_stations({("BW", "RJOB"): True, ("XX", "GONE"): True})
    sink.deliver([pick(1, channel=Channel("XX", "GONE", "", "EHZ"))], NOW_NS)
    assert home.states(2) == {"BW.RJOB Data": "ON", "XX.GONE Data": "ON"}
    own.stop()
    sink.note_stations({("BW", "RJOB"): True})
    assert not ticks(sink)
    own.start()
    wait_until(lambda: ticks(sink), "a new connection")
    assert ticks(sink)
    assert home.states(1) == {"BW.RJOB Data": "ON"}
    own.watch("homeassistant/sensor/#", "another")
    assert own.drain("homeassistant/sensor/#", "another") == []
    sink.close()


def test_a_broker_that_refuses_binary_sensors_gets_the_picks(broker: Mosquitto) -> None:
    topics = broker.folder / "access"
    before = topics.read_text()
    rights = ["topic readwrite homeassistant/status", "topic write homeassistant/sensor/#"]
    topics.write_text("\n".join(["user picker", *rights, before]))
    broker.process.send_signal(signal.SIGHUP)
    broker.watch(PICKS)
    try:
        sink = made(broker.server, username="picker", password=RIGHT, discovery={"enabled": True})
        sink.note_stations({("BW", "RJOB"): True})
        wait_until(lambda: delivers(sink, [pick(1)]), "the pick")
        assert pick(1).id in ids(broker.drain(PICKS))
        sink.close()
    finally:
        topics.write_text(before)
        broker.process.send_signal(signal.SIGHUP)

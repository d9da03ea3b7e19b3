"""Picks from a bus: what is one and what is not, what time it is, and a bus that goes away in between."""

import asyncio
import json
import socket
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.test_sinks import AGENCY, EVENT, STAGES, mean, pick
from tests.end_to_end.harness import wait_until
from tests.end_to_end.test_events_process import STATIONS, onset
from tests.kafkabroker import KafkaBroker
from tests.mosquitto import Mosquitto
from tests.natsserver import NatsServer
from xiaod.config import Config
from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.document import pick_document
from xiaod.domain.event import json_of
from xiaod.domain.rsam import rsam_document
from xiaod.domain.types import Pick
from xiaod.pipeline.bus import PORTION, REFUSED, BusRun, PickClock, pick_of
from xiaod.pipeline.factory import open_sinks
from xiaod.process.metrics import Metrics
from xiaod.sinks.kafka.reader import KafkaReader
from xiaod.sinks.mqtt.reader import MqttReader
from xiaod.sinks.nats.reader import NatsReader
from xiaod.sinks.reading import Portion, Reader
from xiaod.storage.pick_store import PickStore
from xiaod.tools.selftest.sinks import marked

S = 1_000_000_000


def test_time_is_that_of_the_fastest_pick_and_goes_on() -> None:
    now = 100 * S
    clock = PickClock(lambda: now, hold_ns=75 * S)
    assert clock.reached_ns() is None
    clock.saw(1000 * S)
    now += 5 * S
    assert clock.reached_ns() == 1005 * S
    # One that comes later for its time changes nothing, one that comes sooner does.
    clock.saw(1003 * S)
    assert clock.reached_ns() == 1005 * S
    clock.saw(1007 * S)
    assert clock.reached_ns() == 1007 * S


def test_after_the_bus_was_away_it_is_waited_for_what_others_bring() -> None:
    now = 100 * S
    clock = PickClock(lambda: now, hold_ns=75 * S)
    clock.saw(1000 * S)
    clock.lost()
    assert clock.reached_ns() is None
    now += 3600 * S
    clock.lost()
    # The first daemon brings what has waited; the second one may be a minute behind.
    clock.saw(1600 * S)
    now += 70 * S
    assert clock.reached_ns() is None
    clock.saw(4600 * S)
    now += 10 * S
    assert clock.reached_ns() == 4610 * S


def test_what_is_a_pick() -> None:
    text = json_of(pick(1), AGENCY).encode()
    assert pick_of(text) == pick(1)
    assert pick_of(json_of(EVENT, AGENCY).encode()) is None
    assert pick_of(json.dumps(rsam_document(mean(1), AGENCY)).encode()) is None
    [trial] = marked([pick(1)], time.time_ns())
    assert pick_of(json_of(trial, AGENCY).encode()) is None


@pytest.mark.parametrize("key", ["wood_anderson_mm", "wood_anderson_noise_mm"])
def test_a_negative_amplitude_is_refused(key: str) -> None:
    motion = {
        "velocity_m_s": 1e-6,
        "wood_anderson_mm": None,
        "wood_anderson_noise_mm": 0.1,
        "motion_window_s": 3.0,
    }
    assert pick_of(json.dumps({**DOCUMENT, **motion}).encode()) is not None
    with pytest.raises(ValueError, match="negative"):
        pick_of(json.dumps({**DOCUMENT, **motion, key: -1.0}).encode())


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.none(), max_size=1)
)
DOCUMENT = pick_document(pick(1), AGENCY)


@given(key=st.sampled_from(sorted(DOCUMENT)), value=VALUES)
def test_a_document_with_any_value_is_a_pick_that_can_be_stored_or_refused(key: str, value: Any) -> None:
    try:
        found = pick_of(json.dumps({**DOCUMENT, key: value}).encode())
    except REFUSED:
        return
    assert found is None or isinstance(found, Pick)


@given(content=st.binary(max_size=50) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_message_is_refused_without_more(content: bytes) -> None:
    with pytest.raises(REFUSED):
        pick_of(content)


def test_a_bus_that_is_killed_in_between_and_messages_that_are_none(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", "-js") as bus, closing(PickStore(tmp_path / "store")) as store:
        keys = {"kind": "nats", "servers": [bus.server], "stream": {"create": True}, "timeout_s": 5.0}
        events = {"enabled": True, "stations": 3, "window_s": 2.0, "wait_s": 5.0, "bus": "nats"}
        config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys], "events": events})
        [publisher] = open_sinks(config)
        metrics = Metrics()
        reader = partial(NatsReader, NatsConfig.model_validate(keys))
        start_ns = time.time_ns() - 600 * S

        def quake(number: int) -> list[Pick]:
            return [
                onset(station, start_ns + 60 * S * number + 100_000_000 * order)
                for order, station in enumerate(STATIONS)
            ]

        async def junk(client: Any) -> None:
            await client.jetstream().publish("xiaod.picks.XX.A.P.final", b'{"id": 5}')
            ahead = onset("AHEAD", time.time_ns() + 3600 * S)
            await client.jetstream().publish("xiaod.picks.XX.A.P.final", json_of(ahead, AGENCY).encode())

        def count(result: str) -> float:
            return metrics.registry.get_sample_value("xiaod_bus_picks_total", {"result": result}) or 0.0

        def settled() -> float:
            return metrics.registry.get_sample_value("xiaod_events_total", {"stage": "final"}) or 0.0

        async def until(condition: Any) -> None:
            await asyncio.to_thread(wait_until, condition, "it")

        async def work() -> None:
            run = BusRun(config, "nats", reader, [], store, metrics, PickClock(hold_ns=0))
            async with asyncio.TaskGroup() as group:
                finished = run.start(group)
                await until(lambda: run.links() == {"nats": "streaming"})
                await asyncio.to_thread(publisher.deliver, quake(0), 0)
                await until(lambda: count("new") == len(STATIONS))
                await asyncio.to_thread(bus.kill)
                await until(lambda: run.links() == {"nats": "connect_failed"})
                assert [one.code for one in run.problems()] == ["source_down"]
                await asyncio.to_thread(bus.start)
                await until(lambda: run.links() == {"nats": "streaming"})
                assert run.problems() == []
                await asyncio.to_thread(bus.ask, junk)
                for number in range(1, 4):
                    await asyncio.to_thread(publisher.deliver, quake(number), 0)
                await until(lambda: count("new") == 4 * len(STATIONS))
                await until(lambda: settled() >= 3)
                run.stop(1.0)
                await finished

        # There is a stream before it is read; what was there before the first start is not read.
        asyncio.run(asyncio.to_thread(publisher.deliver, [onset("FIRST", start_ns - 60 * S)], 0))
        asyncio.run(work())
        publisher.close()
        assert count("refused") == 2
        assert count("repeated") == 0
        assert store.positions("nats") == {("XIAOD", ""): (19, 0)}


class AwayReader:
    """Gives early picks, is away for longer than silence lasts, and is there again with nothing new."""

    def __init__(self, contents: tuple[bytes, ...], away_s: float) -> None:
        self.reads = 0
        self._contents, self._away_s = contents, away_s

    def read(self, limit: int, wait_s: float) -> Portion:
        self.reads += 1
        if self.reads == 1:
            return Portion(self._contents)
        if self.reads == 2:
            time.sleep(self._away_s)
            raise ConnectionError("away")
        time.sleep(0.01)
        return Portion()

    def stored(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_the_time_in_which_the_bus_was_away_is_no_silence(tmp_path: Path) -> None:
    keys = {"kind": "nats", "servers": ["127.0.0.1:1"], "stream": {"create": True}}
    events = {"enabled": True, "stations": 3, "silent_s": 3.0, "bus": "nats"}
    config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys], "events": events})
    now_ns = time.time_ns()
    early = [replace(onset(station, now_ns), stage="early") for station in STATIONS]
    reader = AwayReader(tuple(json_of(one, AGENCY).encode() for one in early), away_s=3.5)

    async def work(store: PickStore) -> None:
        run = BusRun(config, "nats", lambda positions, lost_ns: reader, [], store, Metrics())
        async with asyncio.TaskGroup() as group:
            run.start(group)
            await asyncio.to_thread(wait_until, lambda: reader.reads > 10, "reads after the bus is back")
            run.stop(5.0)

    with closing(PickStore(tmp_path / "store")) as store:
        asyncio.run(work(store))
        _, made = store.last_minutes(60.0)
        assert [one.stage for one in made] == ["early"]


class FullReader:
    """Gives a full portion, and then older picks."""

    def __init__(self, portions: list[tuple[bytes, ...]]) -> None:
        self.portions = portions
        self.reads = 0

    def read(self, limit: int, wait_s: float) -> Portion:
        self.reads += 1
        time.sleep(0.01)
        return Portion(self.portions.pop(0) if self.portions else ())

    def stored(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_older_picks_after_a_full_portion_are_not_late(tmp_path: Path) -> None:
    keys = {"kind": "nats", "servers": ["127.0.0.1:1"], "stream": {"create": True}}
    events = {"enabled": True, "stations": 3, "wait_s": 5.0, "bus": "nats"}
    config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys], "events": events})
    begin_ns, metrics = time.time_ns() - 1000 * S, Metrics()
    many = [onset(STATIONS[0], begin_ns + number * S) for number in range(PORTION)]
    older = onset(STATIONS[1], begin_ns + 50 * S)
    reader = FullReader([tuple(json_of(one, AGENCY).encode() for one in some) for some in (many, [older])])

    async def work(store: PickStore) -> None:
        run = BusRun(config, "nats", lambda positions, lost_ns: reader, [], store, metrics)
        async with asyncio.TaskGroup() as group:
            run.start(group)
            await asyncio.to_thread(wait_until, lambda: reader.reads > 5, "reads after both portions")
            run.stop(5.0)

    with closing(PickStore(tmp_path / "store")) as store:
        asyncio.run(work(store))
    assert metrics.registry.get_sample_value("xiaod_bus_picks_total", {"result": "new"}) == PORTION + 1
    assert metrics.registry.get_sample_value("xiaod_events_late_picks_total") == 0


def test_a_stream_that_was_made_anew_and_one_that_has_forgotten(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", "-js") as bus:
        keys = {"kind": "nats", "servers": [bus.server], "stream": {"create": True}, "timeout_s": 5.0}
        config = NatsConfig.model_validate(keys)
        missing = NatsReader(
            config.model_copy(update={"stream": config.stream.model_copy(update={"create": False})}), {}
        )
        with pytest.raises(
            OSError, match=r"no stream XIAOD; .*nats stream add XIAOD --subjects 'xiaod.picks.\*"
        ):
            missing.read(10, 0.1)
        missing.close()
        [publisher] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]}))
        publisher.deliver([pick(1), pick(2), pick(3)], 0)
        # Read further than there is: it has been made anew.
        reader = NatsReader(config, {("XIAOD", ""): (99, 0)})
        assert len(reader.read(10, 5.0).contents) == 3
        reader.close()
        reader = NatsReader(config, {("XIAOD", ""): (1, 0)})
        portion = reader.read(1, 5.0)
        assert json.loads(portion.contents[0])["id"] == pick(2).id
        assert portion.positions == {("XIAOD", ""): (2, 0)}
        reader.close()
        publisher.close()


def ids(portion: Portion) -> list[str]:
    return [json.loads(content)["id"] for content in portion.contents]


def read_all(reader: Reader, count: int) -> list[str]:
    """So many messages, in whatever portions they come; nothing of them is told to be stored."""
    found: list[str] = []
    until_s = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until_s
        found += ids(reader.read(100, 1.0))
    return found


def test_a_broker_gives_again_what_was_not_stored(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto") as broker:
        keys = {"kind": "mqtt", "server": broker.server, "timeout_s": 30.0, "retain": True}
        config = MqttConfig.model_validate(keys)
        [publisher] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]}))
        publisher.deliver([pick(0)], 0)
        reader = MqttReader(config, {})
        # Retained messages are of earlier times.
        assert ids(reader.read(10, 0.5)) == []
        publisher.deliver([pick(number) for number in range(1, 6)], 0)
        assert read_all(reader, 5) == [pick(number).id for number in range(1, 6)]
        reader.close()
        # While it is away, and the broker restarts.
        publisher.deliver([pick(6)], 0)
        publisher.close()
        broker.stop()
        broker.start()
        reader = MqttReader(config, {})
        assert read_all(reader, 6) == [pick(number).id for number in range(1, 7)]
        reader.stored()
        reader.close()
        reader = MqttReader(config, {})
        assert ids(reader.read(10, 0.5)) == []
        broker.kill()
        with pytest.raises(OSError, match="connection lost"):
            reader.read(10, 30.0)
        with pytest.raises(OSError, match="Connection refused"):
            reader.read(10, 30.0)
        reader.close()


def test_topics_that_come_later_and_partitions_that_were_read_before(tmp_path: Path) -> None:
    with KafkaBroker(tmp_path / "kafka") as broker:
        name = broker.topic
        keys = {"kind": "kafka", "brokers": [broker.server], "topic": f"{name}.{{stage}}", "timeout_s": 30.0}
        config = KafkaConfig.model_validate(keys)
        [publisher] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]}))
        publisher.deliver([pick(0)], 0)
        reader = KafkaReader(config, {})
        first = reader.read(10, 1.0)
        # From now on; and where that is, is known at once.
        assert first.contents == ()
        positions = dict(first.positions)
        assert max(number for number, _ in positions.values()) == 1
        reader.close()
        publisher.deliver([pick(1), *STAGES[:1]], 0)
        reader = KafkaReader(config, positions)
        assert sorted(read_all(reader, 2)) == sorted([pick(1).id, STAGES[0].id])
        reader.close()
        # Further than there is: topics were made anew.
        reader = KafkaReader(config, dict.fromkeys(positions, (99, 0)))
        assert sorted(read_all(reader, 3)) == sorted([pick(0).id, pick(1).id, STAGES[0].id])
        broker.stop()
        with pytest.raises(OSError, match=broker.server):
            read_all(reader, 1)
        reader.close()
        publisher.close()


def test_a_topic_that_is_made_while_the_connection_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.sinks.kafka.reader.REFRESH_S", 0.0)
    with KafkaBroker(tmp_path / "kafka") as broker:
        topic = f"{broker.topic}.{{stage}}"
        keys = {"kind": "kafka", "brokers": [broker.server], "topic": topic, "timeout_s": 30.0}
        [publisher] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]}))
        reader = KafkaReader(KafkaConfig.model_validate(keys), {})
        assert reader.read(10, 0.1).contents == ()
        publisher.deliver([pick(0)], 0)
        assert read_all(reader, 1) == [pick(0).id]
        publisher.deliver(STAGES[:1], 0)
        assert read_all(reader, 1) == [STAGES[0].id]
        reader.close()
        publisher.close()


def test_a_broker_that_has_not_kept_the_session_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Mosquitto(tmp_path / "mosquitto", "allow_anonymous true", "autosave_interval 3600") as broker:
        config = MqttConfig.model_validate({"kind": "mqtt", "server": broker.server, "timeout_s": 30.0})
        reader = MqttReader(config, {})
        positions = dict(reader.read(10, 0.1).positions)
        assert dict(reader.read(10, 0.1).positions) == {}
        reader.close()
        # It is there after a pause, and the reader of the next run knows that it should be.
        assert dict(reader.read(10, 0.1).positions) == {}
        reader.close()
        reader = MqttReader(config, positions)
        assert dict(reader.read(10, 0.1).positions) == {}
        reader.close()
        assert "bus.gap" not in "".join(capsys.readouterr())
        broker.kill()
        broker.start()
        for one in (reader, MqttReader(config, positions)):
            one.read(10, 0.1)
            one.close()
            assert "".join(capsys.readouterr()).count("bus.gap") == (one is reader)


def test_a_stop_does_not_wait_for_a_bus_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, closing(PickStore(tmp_path / "store")) as store:
        server = f"127.0.0.1:{mute.getsockname()[1]}"
        keys = {"kind": "mqtt", "server": server, "timeout_s": 3600.0}
        events = {"enabled": True, "bus": "mqtt"}
        written = tmp_path / "events.jsonl"
        into = {"kind": "jsonl", "path": str(written), "of": "events", "stage": "all"}
        config = Config.model_validate(
            {"sources": [{"server": "a"}], "sinks": [keys, into], "events": events}
        )
        _, sink = open_sinks(config)
        reader = partial(MqttReader, MqttConfig.model_validate(keys))

        async def work() -> None:
            run = BusRun(config, "mqtt", reader, [sink], store, Metrics())
            store.add_events([EVENT])
            async with asyncio.TaskGroup() as group:
                finished = run.start(group)
                asked, _ = await asyncio.to_thread(mute.accept)
                run.stop(1.0)
                await finished
                # The thread, which nothing waits for, ends with the connection.
                asked.close()

        asyncio.run(work())
        assert EVENT.id in [json.loads(line)["id"] for line in written.read_text().splitlines()]

"""``xiaod events`` on real buses: the events of several publishers, each once, however often it is killed."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_sinks import pick
from tests.end_to_end.harness import Daemon, Server, wait_until
from tests.end_to_end.test_durability import at_rest
from tests.everysink import RECEIVERS, Receiver
from tests.natsserver import NatsServer
from xiaod.association.coincidence import Coincidence, CoincidenceSettings
from xiaod.association.tracker import EventTracker
from xiaod.config import Config
from xiaod.domain.document import pick_from_document
from xiaod.domain.onsets import pick_id, settled, withdrawal
from xiaod.domain.types import Channel, Instrument, Pick
from xiaod.pipeline.factory import open_sinks
from xiaod.replay import ReplayConfig
from xiaod.sinks import Sink
from xiaod.storage.pick_store import STORE

STATIONS = ("A", "B", "C", "D")
QUAKES = 8
APART_S = 60.0
EVENTS: dict[str, Any] = {
    "enabled": True, "stations": 3, "window_s": 2.0, "max_s_minus_p_s": 3.0, "wait_s": 30.0
}  # fmt: skip
COPIES = 6
SPEED = 20.0
XIAOD = (sys.executable, "-m", "xiaod")
KINDS = ("nats", "mqtt", "kafka")


def onset(station: str, time_ns: int, stage: str = "final") -> Pick:
    """A final P pick, or the early one of the same onset."""
    instrument = Instrument("XX", station, "", "HH")
    name = pick_id(time_ns, "P", instrument, "micro-1.1.0")
    final = pick(id=name, channel=Channel("XX", station, "", "HHZ"), time_ns=time_ns, latency=None)
    if stage == "final":
        return final
    return replace(final, id=f"{name}-early", stage="early", latency=None)


def earthquake(start_ns: int, stations: tuple[str, ...]) -> list[Pick]:
    """Early picks of all stations, then the final ones; the last station's is withdrawn instead."""
    times = {station: start_ns + number * 200_000_000 for number, station in enumerate(STATIONS)}
    found = [onset(station, times[station], "early") for station in stations]
    for one in list(found):
        if one.channel.station == STATIONS[-1]:
            found.append(withdrawal(one))
        else:
            found.append(settled(onset(one.channel.station, one.time_ns), one))
    return found


def expected(quakes: list[list[Pick]]) -> set[str]:
    """Identifiers of the final events of all picks together."""
    tracker = EventTracker(Coincidence(CoincidenceSettings(3, 2.0, 3.0)), EVENTS["wait_s"])
    for one in quakes:
        for each in one:
            tracker.take(each)
    return {event.id for event in tracker.update(everything=True) if event.stage == "final"}


@contextmanager
def bus_of(kind: str, folder: Path) -> Iterator[tuple[Receiver, dict[str, Any], list[Sink]]]:
    """A bus, the keys of the sink for it, and two publishers."""
    with RECEIVERS[kind](folder / "bus") as bus:
        keys = {"kind": kind, **bus.keys}
        config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]})
        publishers = []
        for number in range(2):
            placed = {**keys, "name": f"publisher{number}"}
            config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [placed]})
            publishers += open_sinks(config)
        try:
            yield bus, keys, publishers
        finally:
            for publisher in publishers:
                publisher.close()


def publish(publisher: Sink, picks: list[Pick]) -> None:
    """As the runner does it: again until it succeeds."""
    until_s = time.monotonic() + 60
    while True:
        try:
            publisher.deliver(picks, time.time_ns())
        except OSError:
            assert time.monotonic() < until_s
            time.sleep(0.2)
        else:
            return


def events_process(folder: Path, keys: dict[str, Any], **more: Any) -> Daemon:
    """``xiaod events`` with a file of events."""
    sinks = [keys, {"kind": "jsonl", "path": str(folder / "events.jsonl"), "of": "events", "stage": "all"}]
    return Daemon(
        folder,
        command=[*XIAOD, "events"],
        sources=[{"server": "127.0.0.1:9"}],
        sinks=sinks,
        events={**EVENTS, "bus": keys["kind"]},
        **more,
    )


def written(folder: Path) -> list[dict[str, Any]]:
    """Events in the file; a line that is being written is none yet."""
    path = folder / "events.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def finals(folder: Path) -> set[str]:
    return {event["id"] for event in written(folder) if event["stage"] == "final"}


def stored_ids(folder: Path, kind: str) -> list[str]:
    with closing(sqlite3.connect(folder / "state" / "events" / STORE)) as store:
        return [name for (name,) in store.execute("SELECT id FROM picks WHERE kind = ?", (kind,))]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_again_and_again_it_has_each_event_once(kind: str, tmp_path: Path) -> None:
    rng = random.Random(11)
    start_ns = time.time_ns() - round(QUAKES * APART_S * 1e9) - 600_000_000_000
    parts = [STATIONS[::2], STATIONS[1::2]]
    quakes = [
        [earthquake(start_ns + round(number * APART_S * 1e9), stations) for stations in parts]
        for number in range(QUAKES)
    ]
    wanted = expected([one for quake in quakes for one in quake])
    assert len(wanted) == QUAKES
    with bus_of(kind, tmp_path) as (_, keys, publishers):
        with events_process(tmp_path, keys) as process:
            # From here on the bus keeps what comes for it.
            process.wait_for("bus.connected")
            wait_until(lambda: process.get("/readyz")[0] == 200, "a process that is ready")

            def bring() -> None:
                for quake in quakes:
                    for publisher, picks in zip(publishers, quake, strict=True):
                        publish(publisher, picks)
                    # Some come twice, as after a crash of a daemon.
                    publish(publishers[0], quake[0][:2])
                    time.sleep(0.4)

            bringing = threading.Thread(target=bring)
            bringing.start()
            time.sleep(rng.uniform(0, 1))
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
        while bringing.is_alive():
            with events_process(tmp_path, keys) as process:
                process.wait_for("bus.connected")
                time.sleep(rng.uniform(0, 1))
                process.process.send_signal(signal.SIGKILL)
                process.process.wait()
        bringing.join()
        # A later pick settles the last earthquake; each other one is settled by the next.
        last = onset("END", start_ns + round((QUAKES + 1) * APART_S * 1e9))
        publish(publishers[1], [last])
        with events_process(tmp_path, keys) as process:
            wait_until(lambda: finals(tmp_path) >= wanted, "all events")
            assert process.metric("xiaod_source_connected", source=kind) == 1
            assert process.metric("xiaod_events_late_picks_total") == 0
            assert process.stop() == 0
    events = written(tmp_path)
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids))
    assert finals(tmp_path) == wanted
    stored = stored_ids(tmp_path, "event")
    assert sorted(stored) == sorted(set(ids))
    brought = {one.id for quake in quakes for picks in quake for one in picks} | {last.id}
    assert sorted(stored_ids(tmp_path, "pick")) == sorted(brought)
    # Whatever was announced has been settled.
    announced = {event["event_id"] for event in events if event["stage"] == "early"}
    assert announced == {event["early_id"] for event in events if "early_id" in event}


def test_two_daemons_and_one_of_each_killed(tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]) -> None:
    path, _ = busy
    # However long a daemon is away: what settles the events is the pick of the end.
    lagging = {**EVENTS, "wait_s": 1000.0, "bus": "nats"}
    with (
        NatsServer(tmp_path / "nats", "-js") as bus,
        Server(ReplayConfig(inputs=(path,), port=0, speed=SPEED, copies=COPIES)) as server,
        ExitStack() as stack,
    ):
        shared: dict[str, Any] = {
            "sources": [{"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}],
            "state": {"folder": str(tmp_path / "state"), "save_interval_s": 0.5},
            "sinks": [
                {"kind": "nats", "servers": [bus.server], "stream": {"create": True}},
                {"kind": "jsonl", "path": str(tmp_path / "events.jsonl"), "of": "events", "stage": "all"},
            ],
            "events": lagging,
        }
        process = Daemon(tmp_path / "run-events", command=[*XIAOD, "events"], shard={"count": 2}, **shared)
        daemons = [
            Daemon(tmp_path / f"run-{index}", shard={"index": index, "count": 2}, **shared)
            for index in range(2)
        ]
        # It begins before there is a stream: a daemon makes it.
        for one in (*daemons, process):
            stack.enter_context(one)
        process.wait_for("bus.connected")
        wait_until(lambda: process.metric("xiaod_bus_picks_total", result="new") >= COPIES, "first picks")
        for one in (process, daemons[0]):
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
        stack.enter_context(daemons[0])
        stack.enter_context(process)
        wait_until(lambda: server.played and all(at_rest(one) for one in daemons), "the end of the data")
        brought = [json.loads(line) for one in daemons for line in stored_documents(one)]
        finals_of_all = [one for one in map(pick_from_document, brought) if one.stage == "final"]
        tracker = EventTracker(Coincidence(CoincidenceSettings(3, 2.0, 3.0)), lagging["wait_s"])
        for pick in finals_of_all:
            tracker.take(pick)
        wanted = {event.id for event in tracker.update(everything=True) if event.stage == "final"}
        assert len(wanted) >= 4
        assert not finals(tmp_path)
        keys = {"kind": "nats", "servers": [bus.server]}
        [publisher] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [keys]}))
        end_ns = max(pick.time_ns for pick in finals_of_all)
        publish(publisher, [onset("END", end_ns + 1_100_000_000_000)])
        publisher.close()
        wait_until(lambda: finals(tmp_path) >= wanted, "all events")
        # No daemon makes events of its own.
        assert all(one.metric("xiaod_events_total") == 0 for one in daemons)
        assert process.metric("xiaod_events_late_picks_total") == 0
        assert [one.stop() for one in (*daemons, process)] == [0, 0, 0]
    assert finals(tmp_path) == wanted
    ids = [event["id"] for event in written(tmp_path)]
    assert len(ids) == len(set(ids))
    assert sorted(stored_ids(tmp_path, "event")) == sorted(ids)
    assert set(stored_ids(tmp_path, "pick")) >= {pick.id for pick in finals_of_all}


def stored_documents(daemon: Daemon) -> list[str]:
    """All picks of a daemon's store, as JSON."""
    done = subprocess.run(
        [*XIAOD, "picks", "--stage", "all", "--config", str(daemon.config_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()

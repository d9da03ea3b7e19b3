"""``xiaod events`` on real buses: the events of several publishers, each once, however often it is killed."""

import json
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_sinks import pick
from tests.end_to_end.harness import Daemon, wait_until
from tests.everysink import RECEIVERS, Receiver
from xiaod.association.coincidence import Coincidence, CoincidenceSettings
from xiaod.association.tracker import EventTracker
from xiaod.config import Config
from xiaod.domain.onsets import pick_id, settled, withdrawal
from xiaod.domain.types import Channel, Instrument, Pick
from xiaod.pipeline.factory import open_sinks
from xiaod.sinks import Sink
from xiaod.storage.pick_store import STORE

STATIONS = ("A", "B", "C", "D")
QUAKES = 12
APART_S = 60.0
EVENTS: dict[str, Any] = {
    "enabled": True, "stations": 3, "window_s": 2.0, "max_s_minus_p_s": 3.0, "wait_s": 8.0
}  # fmt: skip
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
        command=[sys.executable, "-m", "xiaod", "events"],
        sources=[{"server": "127.0.0.1:9"}],
        sinks=sinks,
        events={**EVENTS, "bus": keys["kind"]},
        **more,
    )


def written(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
                    time.sleep(0.5)

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
    brought = {one.id for quake in quakes for picks in quake for one in picks}
    assert sorted(stored_ids(tmp_path, "pick")) == sorted(brought)
    # Whatever was announced has been settled.
    announced = {event["event_id"] for event in events if event["stage"] == "early"}
    assert announced == {event["early_id"] for event in events if "early_id" in event}

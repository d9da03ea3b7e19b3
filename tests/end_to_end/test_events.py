"""Events of a daemon: as of an undisturbed offline run, each version once, however often it was killed."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.end_to_end.browser import browsing, chromium
from tests.end_to_end.harness import Daemon, Server, streaming, wait_until, write_event
from tests.end_to_end.test_durability import at_rest
from tests.ports import free_port
from tests.scripted import Scripted
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.config import AgencyConfig, Config
from xiaod.domain.event import event_document, event_schema
from xiaod.domain.types import Event, PickOrEvent, Wanted
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.replay import ReplayConfig
from xiaod.replay.records import load

KILLS = 4
PROGRAM = chromium()
SPEED = 10.0
EVENTS: dict[str, Any] = {"enabled": True, "stations": 1}
NOT_SETTLED = timedelta(seconds=90)
"""At the end of data that may go on, as in a live run."""
CONTINUOUS = Path(os.environ.get("XIAO_SHARED", "../shared")) / "data" / "continuous_dev"


class EventList(ListSink):
    wanted: Wanted = "events"


def offline_events(path: Path, early: str = "off", **events: Any) -> list[Event]:
    config = Config.model_validate(
        {"sources": [{"server": "localhost"}], "events": {**EVENTS, **events}, "early": early}
    )
    sink = EventList()
    run_offline(config, open_engine(config), FileSource([path]), sink)
    found: list[PickOrEvent] = list(sink.picks)
    return [one for one in found if isinstance(one, Event)]


def content(document: dict[str, Any]) -> dict[str, Any]:
    """What live and offline events have in common."""
    return {
        key: value
        for key, value in document.items()
        if key not in ("early_id", "created", "agency_id", "author")
    }


def settled(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["id"]: content(one) for one in documents if one["stage"] == "final"}


def test_killed_again_and_again_it_says_each_event_once(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]
) -> None:
    path, picks = busy
    expected = settled([event_document(one, AgencyConfig()) for one in offline_events(path)])
    assert len(expected) >= 2
    written = tmp_path / "events.jsonl"
    rng = random.Random(7)
    with Server(ReplayConfig(inputs=(path,), port=0, speed=2 * SPEED)) as server:
        parts: dict[str, Any] = {
            "sources": [{"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}],
            "state": {"folder": str(tmp_path / "state"), "save_interval_s": 0.3},
            "sinks": [{"kind": "jsonl", "path": str(written), "of": "events", "stage": "all"}],
            "events": EVENTS,
        }
        for number in range(KILLS):
            with Daemon(tmp_path, **parts) as daemon:
                if number:
                    daemon.wait_for("source.streaming")
                else:
                    daemon.wait_for_records(1)
                time.sleep(rng.uniform(0, 2))
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
        with Daemon(tmp_path, **parts) as daemon:
            wait_until(lambda: server.played and at_rest(daemon), "the end of the data")
            answer = json.loads(daemon.get("/api/events?stage=all")[1])
            assert daemon.stop() == 0
    events = [json.loads(line) for line in written.read_text().splitlines()]
    for event in events:
        jsonschema.validate(event, event_schema())
    ids = [event["id"] for event in events]
    assert len(set(ids)) == len(ids)
    assert answer["enabled"]
    assert {event["id"] for event in answer["events"]} <= set(ids)
    end = datetime.fromisoformat(max(pick["time"] for pick in picks)) - NOT_SETTLED
    found = settled(events)
    assert {name: found[name] for name in found} == {name: expected[name] for name in found}
    assert all(
        name in found
        for name, one in expected.items()
        if datetime.fromisoformat(one["first_pick_time"]) < end
    )
    # What was announced and is not at the end of the data is settled or withdrawn.
    told = {event["early_id"] for event in events if "early_id" in event}
    for event in events:
        if event["stage"] == "early" and datetime.fromisoformat(event["first_pick_time"]) < end:
            assert event["event_id"] in told


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_event_announced_before_a_stop_is_settled_or_withdrawn_after_it(tmp_path: Path, how: int) -> None:
    """Withdrawn where the server has gone and nothing comes for a time; settled where the data come again."""
    path = tmp_path / "event.mseed"
    write_event(path, quiet_s=60)
    records = sorted(load([path]).records, key=lambda record: record.end_ns)
    begin_ns = min(record.start_ns for record in records)
    frames = [b"SL%06X" % number + one.raw for number, one in enumerate(records, 1)]
    # P and S are noticed by then, and not final.
    sent = sum(one.end_ns <= begin_ns + 70.5e9 for one in records)

    def send(sock: socket.socket) -> None:
        asked = next(line for line in reversed(server.commands) if line.startswith(b"DATA")).split()[1:]
        sock.sendall(b"".join(frames[int(asked[0], 16) - 1 if asked else 0 : sent]))

    def parts(name: str, port: int, silent_s: float) -> dict[str, Any]:
        folder = tmp_path / name
        return {
            "sources": [{"name": "test", "server": f"127.0.0.1:{port}", "streams": ["BW.RJOB..EH?"], "begin": "resume"}],
            "state": {"folder": str(folder), "save_interval_s": 0.3},
            "sinks": [{"kind": "jsonl", "path": str(folder / "events.jsonl"), "of": "events", "stage": "all"}],
            "events": {**EVENTS, "silent_s": silent_s},
            "picker": {"early_threshold_p": 0.3, "early_threshold_s": 0.3},
        }  # fmt: skip

    def said(name: str) -> list[dict[str, Any]]:
        written = tmp_path / name / "events.jsonl"
        lines = written.read_text().splitlines() if written.exists() else []
        return [json.loads(line) for line in lines]

    def stages(name: str) -> list[str]:
        return [one["stage"] for one in said(name)]

    with Scripted(send) as server:
        with Daemon(tmp_path, **parts("state", server.port, 600)) as daemon:
            wait_until(lambda: stages("state"), "an event that is announced")
            daemon.process.send_signal(how)
            daemon.process.wait()
        announced = said("state")
        assert {one["stage"] for one in announced} == {"early"}
        [name] = {one["event_id"] for one in announced}
        shutil.copytree(tmp_path / "state", tmp_path / "without")
        sent = len(frames)
        with Daemon(tmp_path, **parts("state", server.port, 600)) as daemon:
            wait_until(lambda: "final" in stages("state"), "the event to be settled")
            assert daemon.stop() == 0
    told = said("state")
    assert [one["early_id"] for one in told if "early_id" in one] == [name]
    assert len({one["id"] for one in told}) == len(told)
    # Nothing listens there.
    port = free_port()
    with Daemon(tmp_path, **parts("without", port, 1.0)) as daemon:
        wait_until(lambda: "withdrawn" in stages("without"), "the event to be withdrawn")
        assert daemon.stop() == 0
    with Daemon(tmp_path, **parts("without", port, 1.0)) as daemon:
        daemon.wait_for("source.connect_failed", 2)
        answer = json.loads(daemon.get("/api/events?stage=all")[1])
        assert daemon.stop() == 0
    told = said("without")
    assert told[: len(announced)] == announced
    assert [(one["stage"], one["early_id"]) for one in told[len(announced) :]] == [("withdrawn", name)]
    assert {event["id"] for event in answer["events"]} == {event["id"] for event in told}


@pytest.mark.skipif(not CONTINUOUS.is_dir(), reason=f"no {CONTINUOUS}")
def test_final_events_of_a_real_earthquake_do_not_depend_on_early_picks() -> None:
    path = CONTINUOUS / "buan_20240611_KS"
    finals = [
        [event for event in offline_events(path, early, stations=4) if event.stage == "final"]
        for early in ("off", "scout")
    ]
    [event], [again] = finals
    assert content(event_document(event, AgencyConfig())) == content(event_document(again, AgencyConfig()))
    # The catalogue of the network has it at 23:26:49.83.
    delay_s = (event.time_ns - 1_718_148_409_830_000_000) / 1e9
    assert 0 < delay_s < 5
    assert event.stations >= 20


@pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")
def test_the_page_lists_events(tmp_path: Path) -> None:
    replay = ReplayConfig(inputs=("example",), port=0, speed=SPEED, loop=True, shift_to_now=True)
    rows = "[...document.querySelectorAll('#event-rows tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"

    async def body(port: int) -> None:
        async with browsing(str(PROGRAM), tmp_path / "browser") as tab:
            await tab.open(f"http://127.0.0.1:{port}/")
            [first, *_] = await tab.until(rows, bool)
            assert first[2] == "1"
            assert re.fullmatch(r"[0-9]+ ± [0-9]+ km from BW\.RJOB", first[3])
            assert not await tab.value("document.getElementById('events').hidden")
            located = {
                "stage": "final", "stations": 9, "first_pick_time": "2026-01-31T12:00:03.100000Z", "notice": "n", "distances": [],
                "picks": [],
                "origin": {
                    "time": "2026-01-31T12:00:01.250000Z", "latitude": -35.6989, "longitude": 126.7222, "depth_km": 10.2, "rms_s": 0.2,
                    "horizontal_uncertainty_km": 0.4, "azimuthal_gap_deg": 47.0, "velocity_model": "iasp91",
                },
                "magnitude": {"type": "ML", "value": 4.75},
            }  # fmt: skip
            cells = "[...Events.row({}).cells].map((cell) => cell.textContent)"
            time, _, stations, place = await tab.value(cells.replace("{}", json.dumps(located)))
            assert time.endswith("12:00:01.25")
            assert (stations, place) == ("9", "ML 4.8, 35.699° S 126.722° E, 10 km deep")
            # Versions come in order of their first P, which a later version can have earlier.
            versions = [
                {"event_id": name, "early_id": ends, "stage": stage, "version": version, "first_pick_time": f"2026-01-31T12:00:0{at}Z"}
                for name, ends, stage, version, at in (
                    ("a-early", None, "early", 2, 1),
                    ("a", "a-early", "final", 1, 1),
                    ("a-early", None, "early", 1, 2),
                    ("b-early", None, "early", 2, 5),
                    ("b-early", None, "early", 1, 6),
                )
            ]  # fmt: skip
            standing = await tab.value(
                f"Events.standing({json.dumps(versions)}).map(({{ event_id, version }}) => [event_id, version])"
            )
            assert standing == [["b-early", 2], ["a", 1]]

    with streaming(tmp_path / "daemon", replay, events=EVENTS) as (_, daemon):
        asyncio.run(body(daemon.wait_for("web.listening")[0]["port"]))

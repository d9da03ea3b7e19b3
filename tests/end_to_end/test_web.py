"""The API of the real daemon: stations, picks and the stream, while ObsPy's example event is played again and again."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.end_to_end.harness import LIMIT_S, Daemon, ServerProcess, streaming, wait_until, write_event
from xiaod.replay import ReplayConfig

STATION = "BW.RJOB..EH"


def ask(daemon: Daemon, path: str) -> Any:
    status, body = daemon.get(path)
    assert status == 200, body
    return json.loads(body)


def test_stations_say_how_they_are_and_why_nothing_was_picked(watched: Daemon) -> None:
    def picked() -> Any:
        found = ask(watched, "/api/stations")
        written = {pick["id"] for pick in watched.picks()}
        stations = [
            one for one in found["stations"] if one["picks"] >= 2 and one["last_pick"]["id"] in written
        ]
        return found if stations else None

    # Another test may have started the daemon anew.
    found = wait_until(picked, "picks that the sink has written too")
    assert found["sources"] == {"test": "streaming"}
    assert found["model"].startswith("micro-")
    [station] = found["stations"]
    assert (station["id"], station["source"]) == (STATION, "test")
    assert station["state"] in {"live", "gap", "filling"}
    for phase in "PS":
        told = station["phases"][phase]
        assert 0 < told["threshold"] < 1
        assert told["reason"] in {"picked", "below_threshold", "gap", "filling"}
        assert told["text"]


def test_picks_are_those_of_the_sink_and_can_be_asked_for_by_time(watched: Daemon) -> None:
    written = {pick["id"]: pick for pick in watched.picks()}
    found = ask(watched, f"/api/picks?station={STATION}")["picks"]
    times = [pick["time"] for pick in found]
    assert times == sorted(times)
    assert [written[pick["id"]] for pick in found if pick["id"] in written] == [
        pick for pick in found if pick["id"] in written
    ]
    assert len(found) >= len(written)
    # Documents are rounded to microseconds.
    between = quote(times[1][:-4] + "Z")
    assert ask(watched, f"/api/picks?since={between}")["picks"][0]["time"] == times[1]
    assert ask(watched, f"/api/picks?until={between}")["picks"][-1]["time"] == times[0]
    newest = ask(watched, "/api/picks?limit=1")
    assert len(newest["picks"]) == 1
    assert newest["truncated"]
    assert ask(watched, "/api/picks?station=XX.NONE..HH") == {"picks": [], "truncated": False}


def test_the_stream_tells_picks_and_the_trace_of_a_station(watched: Daemon) -> None:
    port = watched.wait_for("web.listening")[0]["port"]
    seen: dict[str, list[Any]] = {"stations": [], "problems": [], "pick": [], "trace": []}
    url = f"http://127.0.0.1:{port}/api/stream?station={STATION}"
    wait_until(lambda: ask(watched, "/api/stations")["stations"], "the station")
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        name = ""
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen[name].append(json.loads(line.removeprefix("data: ")))
            if len(seen["pick"]) >= 2 and len(seen["trace"]) >= 10 and len(seen["stations"]) >= 2:
                break
    whole, *parts = seen["trace"]
    assert {part["components"] for part in seen["trace"]} == {"ZNE"}
    assert len(whole["low"][0]) > len(parts[0]["low"][0])
    for part in seen["trace"]:
        rows = [*part["low"], *part["high"], part["p"], part["s"]]
        assert len({len(row) for row in rows}) == 1
        for low, high in zip(part["low"][0], part["high"][0], strict=True):
            assert (low is None and high is None) or low <= high
    assert parts[-1]["first"] > whole["first"]
    assert max(value or 0 for part in seen["trace"] for value in part["p"]) > 0.5
    assert {pick["phase"] for pick in seen["pick"]} <= {"P", "S"}


def test_status_asks_the_daemon(watched: Daemon) -> None:
    listening = watched.wait_for("web.listening")[0]
    port = listening["port"]
    assert listening["page"] == f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "xiaod", "status", "--url", f"http://127.0.0.1:{port}"]
    wait_until(lambda: ask(watched, "/api/stations")["stations"], "the station")
    text = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert "sources: test streaming" in text
    assert STATION in text
    assert any(reason in text for reason in ("P: picked at ", "gap of", "window not full", "below threshold"))
    lines = subprocess.run([*command, "--format", "json"], capture_output=True, timeout=LIMIT_S, check=True)
    assert [one["id"] for one in json.loads(lines.stdout)["stations"]] == [STATION]


def test_a_server_that_dies_is_told_wherever_one_asks(tmp_path: Path) -> None:
    write_event(tmp_path / "event.mseed")
    with (
        ServerProcess(tmp_path / "event.mseed", "--loop", "--shift-to-now") as server,
        Daemon(
            tmp_path / "daemon",
            sources=[{"name": "test", "server": f"127.0.0.1:{server.port}", "reconnect_min_s": 0.1}],
        ) as daemon,
    ):
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "a daemon that is ready")
        port = daemon.wait_for("web.listening")[0]["port"]
        assert ask(daemon, "/api/stations")["problems"] == []
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/stream", timeout=LIMIT_S) as answer:
            # A server that hangs is found out after network_timeout_s; one that dies at once.
            server.process.kill()
            told = (json.loads(line[6:]) for line in answer if line.startswith(b'data: {"time"'))
            [problem] = next(event["problems"] for event in told if event.get("problems"))
        assert problem["code"] == "source_down"
        assert problem["text"].startswith("source test: no connection: ")
        status, body = daemon.get("/readyz")
        assert status == 503
        assert [one["code"] for one in json.loads(body)["problems"]] == ["source_down"]
        # It has sent data a moment ago, and does not look alive.
        assert [one["state"] for one in ask(daemon, "/api/stations")["stations"]] == ["down"]
        command = [sys.executable, "-m", "xiaod", "status", "--url", f"http://127.0.0.1:{port}"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
        assert "\n0 of 1 stations live" in text
        assert "\nPROBLEM: source test: no connection: " in text


def test_more_stations_than_the_machine_can_pick_are_told_wherever_one_asks(tmp_path: Path) -> None:
    """Data as quickly as they can be read, which is more than any machine picks: the queues are full."""
    write_event(tmp_path / "event.mseed", quiet_s=60)
    config = ReplayConfig(inputs=(tmp_path / "event.mseed",), port=0, speed="max", loop=True, copies=100)
    with streaming(tmp_path / "daemon", config, early="windows") as (_, daemon):
        port = daemon.wait_for("web.listening")[0]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/stream", timeout=LIMIT_S) as answer:
            told = (json.loads(line[6:]) for line in answer if line.startswith(b'data: {"time"'))
            codes = ({one["code"]: one["text"] for one in event.get("problems", ())} for event in told)
            text = next(found["overloaded"] for found in codes if "overloaded" in found)
        assert text.endswith("so picks are late: fewer stations, early: off, or a faster machine")
        status, body = daemon.get("/readyz")
        assert status == 503
        assert "overloaded" in {one["code"] for one in json.loads(body)["problems"]}
        command = [sys.executable, "-m", "xiaod", "status", "--url", f"http://127.0.0.1:{port}"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
        assert any(line.startswith("PROBLEM: ") and line.endswith(text[-40:]) for line in shown.splitlines())
        daemon.process.kill()


def test_the_page_can_be_switched_off(tmp_path: Path) -> None:
    with Daemon(
        tmp_path,
        sources=[{"server": "127.0.0.1:1", "reconnect_min_s": 30.0}],
        http={"port": 0, "page": False},
    ) as daemon:
        assert daemon.get("/healthz")[0] == 200
        assert "page" not in daemon.wait_for("web.listening")[0]
        assert daemon.get("/")[0] == daemon.get("/api/stations")[0] == 404

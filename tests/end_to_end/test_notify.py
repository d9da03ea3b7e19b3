"""The real daemon tells people of an event, with the picture of its traces, and tells nobody the address."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.end_to_end.harness import Daemon, Server, run_without, wait_until, write_event
from tests.end_to_end.test_faults import source_at
from tests.endpoint import Answer, Endpoint, Request
from tests.ports import free_port
from xiaod.replay import ReplayConfig

HUSH = "hush-hush-hush"
STATIONS = ("RJOA", "RJOB", "RJOC")


def of_settled(request: Request) -> bool:
    return bool(json.loads(request.body)["title"].startswith("Likely earthquake"))


def test_an_event_at_three_stations_is_announced_and_settled_with_a_picture(tmp_path: Path) -> None:
    inputs = []
    for number, station in enumerate(STATIONS):
        inputs.append(tmp_path / f"{station}.mseed")
        write_event(inputs[-1], station, shift_s=0.5 * number, quiet_s=90)
    port = free_port()
    secret = tmp_path / "address"
    secret.write_text(f"json://me:{HUSH}@127.0.0.1:{port}/{HUSH}?+X-Token={HUSH}\n")
    sink = {
        "kind": "notify",
        "url_file": str(secret),
        "time_zone": "Europe/Berlin",
        "min_stations": 3,
        "attach": ["picture"],
        "timeout_s": 20.0,
    }
    with (
        Server(ReplayConfig(inputs=tuple(inputs), port=0, speed=20.0)) as server,
        Daemon(
            tmp_path,
            sources=[source_at(server.port, streams=["BW.RJO?.*.EH?"])],
            sinks=[sink],
            events={"enabled": True, "stations": 3},
            snippets={"enabled": True, "folder": str(tmp_path / "snippets"), "after_s": 5.0},
            logs={"format": "json", "level": "debug"},
        ) as daemon,
    ):
        # Nobody listens yet: it is told later, in order.
        failed = daemon.wait_for("sink.failed")
        assert "Connection error" in failed[0]["error"]
        with Endpoint([Answer(401), Answer(500), Answer(200)], port=port) as endpoint:
            wait_until(lambda: any(map(of_settled, endpoint.requests)), "the settled event")
            daemon.wait_for("sink.recovered")
            known = json.loads(daemon.get("/api/events?stage=final")[1])["events"]
            wait_until(
                lambda: daemon.metric("xiaod_sink_backlog", sink="notify") == 0, "nothing waits any more"
            )
            metrics = daemon.get("/metrics")[1].decode()
            assert daemon.stop() == 0
    # The answers 401 and 500 are to the first message, which is sent again as it was.
    bodies = [json.loads(request.body) for request in endpoint.requests]
    assert [one["title"] for one in bodies[:2]] == [bodies[2]["title"]] * 2
    assert bodies[0]["title"].startswith("Possible earthquake: 3 stations")
    assert "2009-08-24 02:2" in bodies[0]["message"]
    assert "CEST, at BW.RJO" in bodies[0]["message"]
    settled, *others = [request for request in endpoint.requests if of_settled(request)]
    # The seams of the data make others, some of them after the list was asked for: each is told once.
    assert len(others) >= len(known) - 1
    told = [request.body for request in (settled, *others)]
    assert len(set(told)) == len(told)
    content = json.loads(settled.body)
    assert content["title"].startswith("Likely earthquake: 3 stations; about ")
    assert "Stations: BW.RJO" in content["message"]
    assert content["message"].endswith("not for early warning.")
    [attached] = content["attachments"]
    picture = base64.b64decode(attached["base64"])
    (tmp_path / "attached.png").write_bytes(picture)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert imread(io.BytesIO(picture)).shape[2] == 4
    assert picture == (tmp_path / "snippets" / attached["filename"]).read_bytes()
    assert settled.headers["X-Token"] == HUSH
    log = daemon.log_path.read_text()
    assert "HTTP 401" in log
    assert HUSH not in log + metrics
    assert 'xiaod_sink_left_out_total{sink="notify"} 0.0' in metrics


def test_a_service_that_hangs_holds_up_no_stop(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    write_event(path)
    with (
        Endpoint([Answer(200, wait_s=120.0)]) as endpoint,
        Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server,
        Daemon(
            tmp_path,
            sources=[source_at(server.port)],
            # rto: the limit that Apprise has for itself.
            sinks=[{"kind": "notify", "of": "picks", "url": f"json://127.0.0.1:{endpoint.port}/a?rto=100"}],
            grace_s=4.0,
        ) as daemon,
    ):
        wait_until(lambda: endpoint.requests, "the first message")
        assert daemon.stop() == 0
        [left] = daemon.events("sink.undelivered")
        assert (left["sink"], left["backlog"] >= 1) == ("notify", True)


@pytest.mark.parametrize("command", [[], ["check"]])
def test_without_the_extra_it_is_told_what_to_install_where_it_is_needed(
    tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "config.yaml"

    def run(sinks: list[dict[str, str]], *arguments: str) -> "subprocess.CompletedProcess[str]":
        config = {"sources": [{"server": "replay:example"}], "sinks": sinks, "logs": {"format": "json"}}
        path.write_text(json.dumps(config), encoding="utf-8")
        return run_without("apprise", *arguments, "--config", str(path), folder=tmp_path)

    done = run([{"kind": "notify", "of": "picks", "url": f"json://{HUSH}"}], *command)
    assert done.returncode == 2
    assert "sinks[0].kind: kind notify needs the package apprise, which is not installed" in done.stderr
    assert f"{sys.executable} -m pip install 'xiaod[notify]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert HUSH not in done.stderr
    assert run([{"kind": "console"}], "check").returncode == 0

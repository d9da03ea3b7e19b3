"""``xiaod selftest``: a real socket, the real engine, real sinks that take, refuse and hang."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.end_to_end.harness import run_without
from tests.endpoint import Endpoint
from tests.everysink import EverySink
from xiaod.cli.main import main
from xiaod.domain.document import schema
from xiaod.domain.event import event_schema

TIMEOUT_S = 8.0
"""For a sink that hangs; picking takes a fraction of a second, and the machine may be busy."""


def write(folder: Path, sinks: list[dict[str, Any]], **config: Any) -> Path:
    path = folder / "config.yaml"
    content = {"sources": [{"server": "127.0.0.1:1"}], "sinks": sinks, **config}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def selftest(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "xiaod", "selftest", "--config", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=path.parent,
    )


def test_every_sink_gets_p_and_s(tmp_path: Path) -> None:
    with EverySink(tmp_path) as every:
        sinks = every.configuration()
        [quakeml] = [sink for sink in sinks if sink["kind"] == "quakeml"]
        # What it holds back has arrived too at the end.
        quakeml["interval_s"] = 3600.0
        path = write(
            tmp_path,
            sinks,
            # What would keep the event out of a live run.
            buffer={"max_age_s": 60.0},
            agency={"agency_id": "ABC", "author": "me"},
        )
        done = selftest(path, "--timeout", "100")
        assert done.returncode == 0, done
        arrived = every.arrived()
    assert done.stdout.endswith("passed: P and S arrived at every sink\n")
    for sink in sinks:
        assert re.search(rf"^sink +{sink['name']} +delivered ", done.stdout, re.MULTILINE), sink
        assert all(str(sink[key]) in done.stdout for key in ("path", "folder") if key in sink)
    text = (tmp_path / "picks.jsonl").read_text(encoding="utf-8")
    documents = [json.loads(line) for line in text.splitlines()]
    assert arrived == dict.fromkeys(arrived, sorted(document["id"] for document in documents))
    assert [document["phase"] for document in documents] == ["P", "S"]
    for document in documents:
        jsonschema.validate(document, schema())
        assert (document["station"], document["author"], document["agency_id"]) == (
            "RJOB",
            "me-selftest",
            "ABC",
        )
        assert "-selftest-2" in document["id"]
        assert document["time"].startswith("2009-08-24T00:20:0")
        assert "latency_s" not in document
    assert len(list((tmp_path / "quakeml").iterdir())) == 1
    assert done.stdout.count("BW.RJOB..EH") >= 2
    # The daemon's store is left alone.
    assert not (tmp_path / "var").exists()


def test_sinks_of_the_process_that_makes_events_are_tried_too(tmp_path: Path) -> None:
    sinks = [
        {"kind": "nats"},
        {"kind": "jsonl", "path": str(tmp_path / "events.jsonl"), "of": "events"},
        {"kind": "jsonl", "name": "both", "path": str(tmp_path / "both-{shard}.jsonl"), "of": "all"},
    ]
    path = write(tmp_path, sinks, events={"enabled": True, "bus": "nats"})
    done = selftest(path, "--sink", "jsonl", "--sink", "both", "--timeout", "100")
    assert done.returncode == 0, done
    assert re.search(r"^sink +jsonl +delivered ", done.stdout, re.MULTILINE)
    events, both = (
        [json.loads(line) for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()]
        for name in ("events.jsonl", "both-0.jsonl")
    )
    assert [one.get("type") for one in both] == [None, None, "event"]
    [event] = events
    jsonschema.validate(event, event_schema())
    assert [(one["station"], one["phase"]) for one in event["picks"]] == [("RJOB", "P"), ("RJOB", "S")]
    assert re.search(r"-E-BW\.RJOB\.\.EH-selftest-2\d{7}T\d{6}Z$", event["event_id"])
    assert event["author"].endswith("-selftest")


def test_pictures_are_sent_along_and_those_of_the_daemon_stay_as_they_are(tmp_path: Path) -> None:
    with Endpoint() as phone, Endpoint() as hook:
        sinks = [
            {"kind": "notify", "url": f"json://127.0.0.1:{phone.port}/", "of": "all", "attach": ["picture"]},
            {"kind": "webhook", "url": hook.url, "stage": "final", "attach": ["picture", "miniseed"]},
        ]
        folder = tmp_path / "snippets"
        path = write(
            tmp_path,
            sinks,
            events={"enabled": True},
            snippets={"enabled": True, "folder": str(folder), "after_s": 5.0},
        )
        done = selftest(path, "--timeout", "100")
        assert done.returncode == 0, done
    told = [json.loads(request.body) for request in phone.requests]
    assert [one["title"].partition(":")[0] for one in told] == ["Test"] * 3
    attached = [one["attachments"][0] for one in told]
    # That of an event is the picture of its first pick.
    assert attached[2] == attached[0]
    assert all("-selftest-2" in one["filename"] for one in attached)
    picture = base64.b64decode(attached[0]["base64"])
    assert picture[:4] == b"\x89PNG"
    assert picture in hook.requests[0].body
    assert all(b'name="miniseed"; filename="20090824.00200' in request.body for request in hook.requests)
    assert not folder.exists()


def test_what_events_need_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, [], events={"enabled": True, "method": "pyocto"}, stations_file="stations.csv")
    done = run_without("pyocto", "selftest", "--config", str(path), folder=tmp_path)
    assert done.returncode == 2
    assert re.search(
        r"^\S+config\.yaml:\d+: events\.method: method pyocto needs the package pyocto", done.stderr
    )
    assert "Traceback" not in done.stderr


def test_sinks_that_refuse_or_hang_are_named(
    tmp_path: Path, full_pipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    path = write(
        tmp_path,
        [
            {"kind": "jsonl", "name": "good", "path": "good.jsonl"},
            {"kind": "jsonl", "name": "bad", "path": "file/picks.jsonl"},
            {"kind": "jsonl", "name": "stuck", "path": str(full_pipe)},
        ],
    )
    done = selftest(path, "--timeout", str(TIMEOUT_S), "--format", "json")
    assert done.returncode == 1, done
    found = json.loads(done.stdout)
    assert not found["ok"]
    steps = {step["name"]: step for step in found["steps"]}
    assert (steps["good"]["result"], steps["bad"]["result"], steps["stuck"]["result"]) == (
        "delivered",
        "refused",
        "hung",
    )
    assert "file/picks.jsonl" in steps["bad"]["detail"]
    assert str(full_pipe) in steps["stuck"]["detail"]
    assert steps["stuck"]["took_s"] >= TIMEOUT_S - 1
    assert len((tmp_path / "good.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    monkeypatch.chdir(tmp_path)
    assert main(["selftest", "--config", str(path), "--sink", "good", "--timeout", "100"]) == 0
    assert "stuck" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "sink", [{"kind": "mqtt", "server": "127.0.0.1:1"}, {"kind": "webhook", "url": "http://127.0.0.1:1/"}]
)
def test_a_server_that_does_not_run_is_told_with_what_helps(tmp_path: Path, sink: dict[str, str]) -> None:
    done = selftest(write(tmp_path, [sink]), "--timeout", "100")
    assert done.returncode == 1
    assert "; is the server running, and does it listen there?" in done.stdout


def test_what_the_engine_does_not_pick_no_sink_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path,
        [{"kind": "jsonl", "path": "picks.jsonl"}],
        picker={"threshold_s": 0.999999, "early_threshold_s": 0.999999},
        windows={"length_s": 30.0},
    )
    done = selftest(path, "--timeout", "4")
    assert done.returncode == 1, done
    assert "no S within 4 s" in done.stdout
    assert "failed: micro" in done.stdout
    assert not (tmp_path / "picks.jsonl").exists()
    path = write(tmp_path, [{"kind": "jsonl", "path": "picks.jsonl"}], windows={"length_s": 30.0})
    arguments = ["selftest", "--config", str(path), "--no-deliver", "--timeout", "100", "--format", "json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert [step["part"] for step in found["steps"]] == ["source", "engine"]
    assert not (tmp_path / "picks.jsonl").exists()

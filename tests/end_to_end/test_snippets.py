"""Waveforms around final picks: what the daemon got, written once, whatever is killed, full or missing."""

import io
import json
import os
import random
import shutil
import signal
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import obspy
import pytest
from matplotlib.image import imread

from tests.end_to_end.harness import Daemon, Server, assert_event_picked, streaming, wait_until, write_event
from tests.end_to_end.test_durability import at_rest
from tests.endpoint import Endpoint
from tests.ports import free_port
from tests.unit.sinks.test_webhook import SECRET, SECRET_TEXT, verified
from xiaod.cli.main import main
from xiaod.domain.document import schema
from xiaod.replay import ReplayConfig

BEFORE_S, AFTER_S = 10.0, 20.0
KILLS = 4
TOLERANCE_S = 1e-4
"""A hundredth of a sample."""


@pytest.fixture
def event(tmp_path: Path) -> Path:
    path = tmp_path / "event.mseed"
    write_event(path)
    return path


def kept(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "enabled": True,
        "folder": str(folder / "snippets"),
        "before_s": BEFORE_S,
        "after_s": AFTER_S,
        **changes,
    }


def files(folder: Path, suffix: str = "*") -> list[Path]:
    return sorted((folder / "snippets").glob(f"*.{suffix}"))


def assert_is_what_came(content: bytes, source: Path, pick: dict[str, Any], after_s: float = AFTER_S) -> None:
    """Whether a snippet has every sample around its pick, and none else, as they are in the file that was played."""
    at = obspy.UTCDateTime(datetime.fromisoformat(pick["time"]).astimezone(UTC).replace(tzinfo=None))
    found, played = obspy.read(io.BytesIO(content)), obspy.read(str(source))
    assert sorted(trace.id for trace in found) == sorted(trace.id for trace in played)
    for trace in found:
        [whole] = played.select(id=trace.id).slice(at - BEFORE_S, at + after_s, nearest_sample=False)
        assert np.array_equal(trace.data, whole.data)
        assert trace.data.dtype == whole.data.dtype
        assert trace.stats.sampling_rate == whole.stats.sampling_rate
        assert abs(trace.stats.starttime - whole.stats.starttime) < TOLERANCE_S


def test_each_final_pick_has_its_samples_and_a_picture(event: Path, tmp_path: Path) -> None:
    with streaming(tmp_path, ReplayConfig(inputs=(event,), port=0, speed="max"), snippets=kept(tmp_path)) as (
        _,
        daemon,
    ):
        wait_until(lambda: len(files(tmp_path, "png")) >= 2, "pictures of P and S")
        picks = daemon.picks()
        assert_event_picked(picks)
        near = [pick for pick in picks if (tmp_path / "snippets" / f"{pick['id']}.png").exists()]
        assert len(near) >= 2
        for pick in near:
            jsonschema.validate(pick, schema())
            assert pick["snippet"] == f"/api/snippets/{pick['id']}.mseed"
            status, content = daemon.get(pick["snippet"])
            assert status == 200
            assert_is_what_came(content, event, pick)
            status, picture = daemon.get(pick["snippet"].replace(".mseed", ".png"))
            assert (status, picture[:8]) == (200, b"\x89PNG\r\n\x1a\n")
            assert imread(io.BytesIO(picture)).shape[2] == 4
        assert daemon.metric("xiaod_snippets_written_total", file="mseed") >= 2
        assert daemon.metric("xiaod_snippet_bytes") >= sum(
            path.stat().st_size for path in files(tmp_path)[:2]
        )
        # Those that a reader could ask for and that are none.
        for wrong in (
            "none.mseed",
            "..%2fstate%2fpicks.sqlite",
            "%2e%2e%2fconfig.yaml",
            "..%5cconfig.yaml",
            f"{near[0]['id']}.sqlite",
        ):
            status, body = daemon.get(f"/api/snippets/{wrong}")
            assert (status, list(json.loads(body))) == (404, ["error"])
        status, body = daemon.get(f"/api/snippets/{near[0]['id'].replace('2009', '2010')}.png")
        assert status == 404
        assert "once the data after the pick have come" in json.loads(body)["error"]
        # A browser that asks for one too early asks again; for one that is no more it does not.
        port = daemon.wait_for("web.listening")[0]["port"]
        now = datetime.now(UTC).strftime("%Y%m%d.%H%M%S.00")
        for moment, again in ((now, "3"), (near[0]["id"][:18].replace("2009", "2010"), None)):
            missing = f"http://127.0.0.1:{port}/api/snippets/{moment}{near[0]['id'][18:]}.png"
            with pytest.raises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(
                    urllib.request.Request(missing, headers={"Accept": "text/html,*/*;q=0.8"})
                )
            assert (answer.value.code, answer.value.headers["Refresh"]) == (404, again)
            assert (b"not there yet" in answer.value.read()) == (again is not None)
        # Early picks have none.
        early = [
            one for one in json.loads(daemon.get("/api/picks?stage=early")[1])["picks"] if "snippet" in one
        ]
        assert early == []
        assert daemon.stop() == 0
    # At the end, what there is of the others is written.
    assert {path.stem for path in files(tmp_path, "mseed")} == {pick["id"] for pick in daemon.picks()}
    assert daemon.events("snippets.failed") == []


def test_a_webhook_sends_picture_and_samples_with_the_pick(event: Path, tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        hook = {
            "kind": "webhook",
            "url": endpoint.url,
            "stage": "final",
            "attach": ["picture", "miniseed"],
            "secret": SECRET_TEXT,
        }
        with streaming(
            tmp_path,
            ReplayConfig(inputs=(event,), port=0, speed="max"),
            snippets=kept(tmp_path),
            sinks=[hook],
        ) as (_, daemon):
            wait_until(lambda: len(endpoint.taken) >= 2, "P and S")
            # To wait for files is no failure.
            assert daemon.events("sink.failed") == []
            assert daemon.stop() == 0
    for request in endpoint.requests[:2]:
        assert verified(request, SECRET)
        assert list(request.parts) == ["pick", "picture", "miniseed"]
        pick = json.loads(request.parts["pick"])
        jsonschema.validate(pick, schema())
        for kind, suffix in (("picture", "png"), ("miniseed", "mseed")):
            assert request.parts[kind] == (tmp_path / "snippets" / f"{pick['id']}.{suffix}").read_bytes()
        assert_is_what_came(request.parts["miniseed"], event, pick)


def test_without_the_key_there_are_none(event: Path, tmp_path: Path) -> None:
    with streaming(tmp_path, ReplayConfig(inputs=(event,), port=0, speed="max")) as (_, daemon):
        wait_until(lambda: len(daemon.picks()) >= 2, "picks")
        assert not any("snippet" in pick for pick in daemon.picks())
        status, body = daemon.get(f"/api/snippets/{daemon.picks()[0]['id']}.mseed")
        assert status == 404
        assert "snippets.enabled" in json.loads(body)["error"]
        assert b"xiaod_snippets_written_total{" not in daemon.get("/metrics")[1]
        assert daemon.stop() == 0
    assert not (tmp_path / "var").exists()


def test_a_daemon_that_is_killed_before_it_writes_leaves_the_same_file_later(
    event: Path, tmp_path: Path
) -> None:
    """The data of 60 s, of which the first run gets so much that there are picks, and too little for their snippets."""
    begun = tmp_path / "begun.mseed"
    stream = obspy.read(str(event))
    stream.trim(endtime=stream[0].stats.starttime + 34)
    stream.write(str(begun), format="MSEED", reclen=512, encoding="STEIM2")
    near = ["P", "S"]
    snippets = kept(tmp_path, pictures=False)
    source: dict[str, Any] = {"name": "test", "begin": "resume", "reconnect_min_s": 0.1}
    with Server(ReplayConfig(inputs=(begun,), port=free_port(), speed="max")) as server:
        port = server.port
        source["server"] = f"127.0.0.1:{port}"
        with Daemon(tmp_path, sources=[source], snippets=snippets) as daemon:
            wait_until(lambda: sorted(pick["phase"] for pick in daemon.picks()) == near, "P and S")
            wait_until(lambda: daemon.metric("xiaod_snippets_waiting") == 2, "picks that wait")
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
    assert files(tmp_path) == []
    with (
        Server(ReplayConfig(inputs=(event,), port=port, speed="max")),
        Daemon(tmp_path, sources=[source], snippets=snippets) as daemon,
    ):
        wait_until(lambda: len(files(tmp_path, "mseed")) >= 2, "the snippets of both")
        picks = [pick for pick in daemon.stored() if (tmp_path / "snippets" / f"{pick['id']}.mseed").exists()]
        written = {path: path.read_bytes() for path in files(tmp_path, "mseed")[:2]}
        for pick, content in zip(picks[:2], written.values(), strict=True):
            assert_is_what_came(content, event, pick)
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
    times = {path: path.stat().st_mtime_ns for path in written}
    # Once more: the files stay as they are.
    with (
        Server(ReplayConfig(inputs=(event,), port=port, speed="max")),
        Daemon(tmp_path, sources=[source], snippets=snippets) as daemon,
    ):
        daemon.wait_for_records(1)
        assert daemon.stop() == 0
    assert {path: path.stat().st_mtime_ns for path in written} == times
    # And a run that nobody kills writes the same.
    with streaming(
        tmp_path / "other",
        ReplayConfig(inputs=(event,), port=0, speed="max"),
        snippets=kept(tmp_path / "other", pictures=False),
    ) as (_, other):
        wait_until(lambda: len(files(tmp_path / "other", "mseed")) >= 2, "snippets")
        assert other.stop() == 0
    for path, content in written.items():
        assert (tmp_path / "other" / "snippets" / path.name).read_bytes() == content


def troubles(daemon: Daemon) -> list[str]:
    problems = json.loads(daemon.get("/api/stations")[1])["problems"]
    return [one["text"] for one in problems if one["code"] == "snippets_failing"]


def test_a_folder_that_cannot_be_written_costs_snippets_and_no_picks(event: Path, tmp_path: Path) -> None:
    config = ReplayConfig(inputs=(event,), port=0, speed=20.0, loop=True)
    with streaming(tmp_path, config, snippets=kept(tmp_path, pictures=False)) as (_, daemon):
        daemon.wait_for("source.streaming")
        wait_until((tmp_path / "snippets").is_dir, "the folder")
        shutil.rmtree(tmp_path / "snippets")
        (tmp_path / "snippets").write_text("in the way")
        wait_until(
            lambda: daemon.metric("xiaod_snippets_lost_total", reason="disk") >= 2, "snippets that are lost"
        )
        assert len(daemon.events("snippets.failed")) == 1
        # It is said while it is so, and hinders nothing.
        [said] = wait_until(lambda: troubles(daemon), "what is wrong")
        assert said.startswith("waveforms around picks are not kept: ")
        status, ready = daemon.get("/readyz")
        # The data are of 2009, which is said too.
        told = {one["code"]: one["text"] for one in json.loads(ready)["problems"]}
        assert (status, set(told)) == (200, {"data_late", "snippets_failing"})
        assert told["snippets_failing"] == said
        before = len(daemon.picks())
        assert before >= 2
        (tmp_path / "snippets").unlink()
        wait_until(lambda: files(tmp_path, "mseed"), "a snippet of a later pick")
        daemon.wait_for("snippets.recovered")
        wait_until(lambda: not troubles(daemon), "that nothing is wrong any more")
        assert len(daemon.picks()) > before
        assert daemon.stop() == 0


def test_the_oldest_go_when_there_are_too_many(event: Path, tmp_path: Path) -> None:
    config = ReplayConfig(inputs=(event,), port=0, speed=100.0, loop=True)
    with streaming(tmp_path, config, snippets=kept(tmp_path, max_mb=1.0)) as (_, daemon):
        wait_until(lambda: daemon.metric("xiaod_snippets_deleted_total") >= 4, "files that are deleted")
        assert daemon.stop() == 0
    sizes = [path.stat().st_size for path in (*files(tmp_path, "mseed"), *files(tmp_path, "png"))]
    assert 500_000 < sum(sizes) <= 1_000_000
    assert len(sizes) > 4


def test_pictures_without_the_package_are_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "config_version: 2\nsources:\n  - server: a\nsnippets:\n  enabled: true\n  pictures: true\n"
    )
    monkeypatch.setattr("xiaod.pipeline.factory.DRAWING", "matplotlib_that_is_not_there")
    assert main(["check", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}:6: snippets.pictures: a picture needs the package" in said
    assert "xiaod[plot]" in said
    assert "pictures: false" in said
    path.write_text(path.read_text().replace("pictures: true", "pictures: false"))
    assert main(["check", "--config", str(path)]) == 0


def test_a_folder_that_is_a_file_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    (tmp_path / "file").touch()
    text = f"config_version: 2\nsources:\n  - server: a\nsnippets:\n  enabled: true\n  folder: {tmp_path}/file/snippets\n"
    path.write_text(text)
    assert main(["check", "--config", str(path)]) == 2
    assert f"{path}:6: snippets.folder: {tmp_path}/file: is no folder" in capsys.readouterr().err


def test_a_disk_that_does_not_answer_holds_up_nothing(event: Path, tmp_path: Path) -> None:
    with streaming(tmp_path / "first", ReplayConfig(inputs=(event,), port=free_port(), speed="max")) as (
        server,
        daemon,
    ):
        wait_until(lambda: len(daemon.picks()) >= 2, "picks")
        ids = [pick["id"] for pick in daemon.picks()]
    folder = tmp_path / "snippets"
    folder.mkdir()
    (folder / f"{ids[0].replace('2009', '2008')}.mseed").write_bytes(b"older")
    source = {
        "name": "test",
        "server": f"127.0.0.1:{server.port}",
        "reconnect_min_s": 0.1,
        "reconnect_max_s": 0.5,
    }
    with Daemon(tmp_path, sources=[source], snippets=kept(tmp_path), grace_s=5.0) as daemon:
        wait_until(lambda: daemon.metric("xiaod_snippet_bytes") == 5, "the folder")
        # The first picks have the same ids. Who opens a pipe to write waits for a reader, for ever.
        for one in ids:
            os.mkfifo(folder / f"{one}.mseed.partial")
        with Server(ReplayConfig(inputs=(event,), port=server.port, speed=30.0, loop=True)):
            wait_until(lambda: len(daemon.picks()) >= 8, "picks of later cycles")
            assert daemon.get("/healthz")[0] == 200
            assert len(files(tmp_path, "mseed")) == 1
            assert daemon.stop() == 0
    assert [event for event in daemon.events() if event["level"] == "error"] == []


def test_what_cannot_be_drawn_costs_its_picture_alone(event: Path, tmp_path: Path) -> None:
    config = ReplayConfig(inputs=(event,), port=0, speed=50.0, loop=True)
    # matplotlib is there when the daemon starts, and cannot be loaded when a picture is drawn.
    (tmp_path / "broken" / "matplotlib").mkdir(parents=True)
    (tmp_path / "broken" / "matplotlib" / "__init__.py").write_text(
        "raise RuntimeError('cannot be loaded')\n"
    )
    with (
        Server(config) as server,
        Daemon(
            tmp_path,
            environment={"PYTHONPATH": str(tmp_path / "broken")},
            sources=[{"name": "test", "server": f"127.0.0.1:{server.port}"}],
            snippets=kept(tmp_path),
        ) as daemon,
    ):
        wait_until(lambda: daemon.metric("xiaod_snippets_lost_total", reason="picture") >= 3, "pictures lost")
        [failed] = daemon.events("snippets.failed")
        assert failed["what"] == "picture"
        assert "cannot be loaded" in failed["error"]
        assert len(files(tmp_path, "mseed")) >= 3
        assert files(tmp_path, "png") == []
        assert len(daemon.picks()) >= 3
        assert daemon.stop() == 0


def test_killed_at_any_moment_each_pick_has_the_file_of_an_undisturbed_run(
    tmp_path: Path, busy: tuple[Path, list[dict[str, Any]]]
) -> None:
    path, expected = busy
    rng = random.Random(7)
    with Server(ReplayConfig(inputs=(path,), port=0, speed=20.0)) as server:
        settings: dict[str, Any] = {
            "sources": [{"name": "test", "server": f"127.0.0.1:{server.port}", "begin": "resume"}],
            "state": {"folder": str(tmp_path / "state"), "save_interval_s": 0.3},
            "snippets": kept(tmp_path, pictures=False),
        }
        for number in range(KILLS):
            with Daemon(tmp_path, **settings) as daemon:
                if not number:
                    daemon.wait_for_records(1)
                wait_until(lambda: len(files(tmp_path, "mseed")) > 2 * number, "another file")  # noqa: B023
                time.sleep(rng.uniform(0, 1.0))
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
        with Daemon(tmp_path, **settings) as daemon:
            wait_until(lambda: server.played and at_rest(daemon), "the end of the data")
            assert daemon.stop() == 0
    with streaming(
        tmp_path / "other",
        ReplayConfig(inputs=(path,), port=0, speed="max"),
        snippets=kept(tmp_path / "other", pictures=False),
    ) as (_, other):
        wait_until(lambda: at_rest(other) and len(other.picks()) > len(expected) / 2, "the end of the data")
        assert other.stop() == 0
    undisturbed = {file.name: file.read_bytes() for file in files(tmp_path / "other", "mseed")}
    found = {file.name: file.read_bytes() for file in files(tmp_path, "mseed")}
    assert found.keys() == {f"{pick['id']}.mseed" for pick in daemon.stored()}
    assert {name for name, content in found.items() if undisturbed.get(name) != content} == set()

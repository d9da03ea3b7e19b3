"""A real Prometheus reads the real daemon with the shipped rules: every query of alerts and dashboard means a metric that there is."""

import csv
import http
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from obspy import Trace, UTCDateTime
from prometheus_client.parser import text_string_to_metric_families
from scipy.signal import butter, sosfilt

from tests.end_to_end.harness import LIMIT_S, Daemon, Server, streaming, wait_until
from tests.end_to_end.test_faults import source_at
from tests.monitoring import DEPLOY, alerts, metrics_of, queries
from tests.ports import free_port
from xiaod.domain.rsam import rsam_schema
from xiaod.replay.config import ReplayConfig

ROOT = DEPLOY.parent


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that streams, one source of which is never there."""
    folder = tmp_path_factory.mktemp("daemon")
    with socket.socket() as closed:
        # Bound, and nobody listens.
        closed.bind(("127.0.0.1", 0))
        sources = [
            {"name": "demo", "server": "replay:example"},
            {"name": "gone", "server": f"127.0.0.1:{closed.getsockname()[1]}"},
        ]
        with Daemon(folder, sources=sources) as daemon:
            daemon.wait_for_records(5)
            yield daemon


def names_of(exposition: str) -> set[str]:
    """Names that a query may use."""
    found = set()
    for family in text_string_to_metric_families(exposition):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
        found |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    return found


def test_every_query_names_a_metric_that_there_is(daemon: Daemon) -> None:
    exposition = daemon.get("/metrics")[1].decode()
    # An Info is exposed as a gauge with its suffix in the name.
    there = names_of(exposition)
    missing = {place: metrics_of(query) - there for place, query in queries().items()}
    assert {place: names for place, names in missing.items() if names} == {}


METRIC = re.compile(r"^\| `(xiaod_\w+)` \| ([\w, ]*) \| (.*) \|$", re.MULTILINE)
"""A line of the table: name, labels, meaning."""
OF_THE_LIBRARY = re.compile(r"process_\w+|python_info|\w+_created")


def test_what_is_exposed_is_what_is_documented(daemon: Daemon) -> None:
    exposition = daemon.get("/metrics")[1].decode()
    found = re.findall(r"^# HELP (\w+) (.*)$", exposition, re.MULTILINE)
    documented = METRIC.findall((ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    told = [(name, meaning) for name, _, meaning in documented]
    assert told == sorted((name, meaning) for name, meaning in found if not OF_THE_LIBRARY.fullmatch(name))
    # No series has another name or other labels; of what has not happened yet there is none.
    labels_of = {name: set(filter(None, labels.split(", "))) for name, labels, _ in documented}
    for name, labels in daemon.metrics():
        if not OF_THE_LIBRARY.fullmatch(name):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert {label for label, _ in labels} - {"le"} == labels_of[family], name


def test_series_are_there_before_anything_happens(daemon: Daemon) -> None:
    found = daemon.metrics()
    for name, labels in (
        ("xiaod_source_connected", {"source": "gone"}),
        ("xiaod_received_bytes_total", {"source": "gone"}),
        ("xiaod_sink_errors_total", {"sink": "jsonl"}),
        ("xiaod_sink_refused_total", {"sink": "jsonl"}),
        ("xiaod_sink_backlog", {"sink": "jsonl"}),
        ("xiaod_reloads_total", {"result": "refused"}),
        ("xiaod_picks_total", {"phase": "S", "stage": "early"}),
        ("xiaod_picks_total", {"phase": "S", "stage": "final"}),
        ("xiaod_pick_latency_seconds_count", {"phase": "S", "stage": "early"}),
        ("xiaod_pick_latency_seconds_count", {"phase": "S", "stage": "final"}),
        ("xiaod_pick_revision_seconds_count", {"phase": "S"}),
        ("xiaod_picks_withdrawn_total", {"phase": "S"}),
        ("xiaod_store_errors_total", {}),
    ):
        assert found[name, tuple(sorted(labels.items()))] == 0
    for name in ("xiaod_config_last_reload_successful", "xiaod_store_available"):
        assert found[name, ()] == 1
    assert 0 < found["xiaod_state_disk_free_bytes", ()] <= found["xiaod_state_disk_size_bytes", ()]
    started_s = found["xiaod_start_time_seconds", ()]
    assert started_s <= found["xiaod_config_last_reload_success_timestamp_seconds", ()]


def test_what_a_reload_does_to_the_metrics(daemon: Daemon) -> None:
    good = daemon.config_path.read_text(encoding="utf-8")
    accepted_s = daemon.metric("xiaod_config_last_reload_success_timestamp_seconds")
    daemon.config_path.write_text("sources: 1\n", encoding="utf-8")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload.refused")
    wait_until(lambda: daemon.metric("xiaod_config_last_reload_successful") == 0, "the failure")
    assert daemon.metric("xiaod_config_last_reload_success_timestamp_seconds") == accepted_s
    daemon.config_path.write_text(good, encoding="utf-8")
    more = {"kind": "jsonl", "name": "more", "path": str(daemon.folder / "more.jsonl")}
    daemon.write_config(sinks=[*daemon.content["sinks"], more])
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload.done")
    assert daemon.metric("xiaod_config_last_reload_successful") == 1
    assert daemon.metric("xiaod_config_last_reload_success_timestamp_seconds") > accepted_s
    assert ("xiaod_sink_backlog", (("sink", "more"),)) in daemon.metrics()
    daemon.write_config(sinks=daemon.content["sinks"][:1])
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("reload.done", 2)
    assert ("xiaod_sink_backlog", (("sink", "more"),)) not in daemon.metrics()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_likes_the_metrics(daemon: Daemon) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=daemon.get("/metrics")[1],
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stdout.decode() + done.stderr.decode()) == (0, "")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_a_real_prometheus(daemon: Daemon, tmp_path: Path) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    port = daemon.wait_for("web.listening")[0]["port"]
    [job] = config["scrape_configs"]
    [job["static_configs"][0]["targets"]] = [[f"127.0.0.1:{port}"]]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    own_port = free_port()

    def ask(question: str, **keys: str) -> Any:
        url = f"http://127.0.0.1:{own_port}/api/v1/{question}?{urllib.parse.urlencode(keys)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:
                return None  # it starts
            raise AssertionError(f"{keys}: {error.read().decode()}") from error
        except OSError:
            return None

    command = [
        "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{own_port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as prometheus:
        try:
            wait_until(lambda: (ask("query", query='up{job="xiaod"} == 1') or {}).get("result"), "a scrape")
            rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
            assert {rule["name"] for rule in rules} == set(alerts())
            wait_until(
                lambda: all(
                    rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]
                ),
                "all rules evaluated",
            )
            for query in queries().values():
                ask("query", query=query)
            wait_until(
                lambda: (
                    "XiaodSourceDown" in {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]}
                ),
                "an alert for the source that is never there",
            )
        finally:
            prometheus.kill()


def test_the_mean_amplitude_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    # A sine of 5 Hz on an offset, of which the mean absolute value is known: two minutes and more until now.
    wave = (1000 * np.sin(2 * np.pi * 5 * np.arange(13_000) / 100) + 5000).astype(np.int32)
    begin = UTCDateTime() - 130
    for letter in "ZNE":
        header = {"network": "XX", "station": "VOLC", "channel": f"HH{letter}", "sampling_rate": 100.0}
        Trace(wave, {**header, "starttime": begin}).write(str(data / f"{letter}.mseed"), format="MSEED")
    config = ReplayConfig(inputs=(data,), port=0, speed="max")
    with streaming(tmp_path, config, rsam={"enabled": True}) as (_, daemon):
        key = ("xiaod_station_rsam_counts", (("minutes", "1"), ("station", "XX.VOLC..HH")))
        measured = wait_until(lambda: daemon.metrics().get(key), "a mean amplitude")
        assert measured == pytest.approx(1000 * 2 / np.pi, rel=0.01)


def test_a_table_of_mean_amplitudes_survives_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    minutes = 13
    # Noise on an offset, from a whole ten minutes on.
    begin_s = int(time.time()) // 600 * 600 - 1200
    rng = np.random.default_rng(3)
    wave = (rng.normal(0, 300, minutes * 6000 + 2000) + 5000).astype(np.int32)
    for letter in "ZNE":
        header = {"network": "XX", "station": "VOLC", "channel": f"HH{letter}", "sampling_rate": 100.0}
        Trace(wave, {**header, "starttime": UTCDateTime(begin_s)}).write(
            str(data / f"{letter}.mseed"), format="MSEED"
        )
    raw = wave.astype(np.float64) - wave[0]
    for corner_hz, kind in ((1.0, "highpass"), (20.0, "lowpass")):
        raw = sosfilt(butter(4, corner_hz, kind, fs=100, output="sos"), raw)
    whole = np.abs(raw)
    table, lines = tmp_path / "rsam.csv", tmp_path / "rsam.jsonl"
    sinks = [
        {"kind": "table", "of": "rsam", "path": str(table)},
        {"kind": "jsonl", "of": "rsam", "path": str(lines)},
    ]

    def rows() -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(table.read_text()))) if table.exists() else []

    config = ReplayConfig(inputs=(data,), port=0, speed=120.0)
    with Server(config) as server:
        source = source_at(server.port, streams=["XX.VOLC..HH?"], begin="resume")
        daemon = Daemon(
            tmp_path, sources=[source], sinks=sinks, rsam={"enabled": True}, buffer={"max_age_s": None}
        )
        with daemon:
            wait_until(lambda: len(rows()) >= 4, "some minutes")
            daemon.process.kill()
            daemon.process.wait()
        with daemon:
            wait_until(
                lambda: any(row["time"].startswith(iso(begin_s + 60 * (minutes - 1))) for row in rows()),
                "the last minute",
            )
            assert daemon.stop() == 0
    documents = [json.loads(line) for line in lines.read_text().splitlines()]
    for document in documents:
        jsonschema.validate(document, rsam_schema())
    made = rows()
    assert sorted(row["id"] for row in made) == sorted(document["id"] for document in documents)
    assert len({row["id"] for row in made}) == len(made)
    ones = {row["time"]: row for row in made if row["minutes"] == "1"}
    assert len(ones) == minutes
    for number in range(minutes):
        row = ones[f"{iso(begin_s + 60 * number)}.000000Z"]
        assert float(row["share"]) > 0.95
        expected = float(whole[number * 6000 + (200 if number == 0 else 0) : (number + 1) * 6000].mean())
        # The minute of the kill is that of the data behind it, in a filter that begins anew.
        assert float(row["value"]) == pytest.approx(expected, rel=1e-3 if row["share"] == "1.0" else 0.03)


def iso(time_s: int) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%S}"

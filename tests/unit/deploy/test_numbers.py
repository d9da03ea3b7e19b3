"""Numbers that the documents and the descriptions of keys give are those of the code."""

import re
from collections import Counter
from pathlib import Path

import pytest

import xiaod
from distill import draft
from distill.config import DataSection, OptimiserSection, load_train_config
from distill.datasets import miniseed
from xiaod.acquisition.seedlink import unserved
from xiaod.config import Config, HttpConfig, SeedLinkConfig
from xiaod.config.sinks import kafka
from xiaod.config.sinks.datalink import DATALINK_PORT, DATALINK_TLS_PORT, MAX_STREAM_ID, DataLinkConfig
from xiaod.config.sinks.mqtt import MQTT_PORT, MQTT_TLS_PORT, MqttConfig
from xiaod.config.sinks.nats import DEFAULT_PORT, NatsConfig
from xiaod.config.sinks.webhook import WebhookConfig
from xiaod.daemon.web import api, connection_limit
from xiaod.domain import resumption, seedlink
from xiaod.domain.sharding import shard_of
from xiaod.domain.timegrid import GRID_RATE_HZ
from xiaod.inference import model_file
from xiaod.picking import diagnosis
from xiaod.pipeline import envelopes, problems, trace
from xiaod.pipeline.settings import INSTRUMENTS_PER_STATION
from xiaod.pipeline.sink_runner import BOUND, MAX_DELIVERY
from xiaod.replay.records import load
from xiaod.replay.schedule import Schedule
from xiaod.sinks import webhook
from xiaod.sinks.datalink.connection import LEAST_PACKET, UNDER_WAY
from xiaod.sinks.datalink.sink import REMEMBERED
from xiaod.sinks.mqtt import connection
from xiaod.tools.archive import workers
from xiaod.waveform import channel, resample
from xiaod.waveform.schedule import FIRST_STEP

ROOT = Path(__file__).parents[3]
CONFIG = Config.model_validate({"sources": [{"server": "localhost"}]})
WINDOWS, PICKER, HTTP = CONFIG.windows, CONFIG.picker, CONFIG.http
BIN_S = trace.Trace().part(0).bin_s
NOT_FINAL_S = resumption.not_final_s(WINDOWS.length_s, CONFIG.buffer.max_lead_s)
EARLIEST_S, LATEST_S = PICKER.early_lookahead_s, PICKER.early_lookahead_s + WINDOWS.early_hop_s
FINAL_S, FINAL_LATEST_S = PICKER.final_lookahead_s, PICKER.final_lookahead_s + WINDOWS.final_hop_s
ADDRESS = f"http://{HTTP.host}:{HTTP.port}/"
RATES = f"ates from {resample.MIN_RATE_HZ:g} to {resample.MAX_RATE_HZ:g} Hz"
SECRET = f"{webhook.SECRET_BYTES.start} to {webhook.SECRET_BYTES.stop - 1} bytes in base64"
STEPS = load_train_config(draft.RECIPE).optimiser.steps


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("README.md", f"The first window takes {WINDOWS.length_s:g} s to fill"),
        ("README.md", f"an early pick needs {EARLIEST_S:g} to {LATEST_S:g} s of data after the onset"),
        ("README.md", f"and the final one {FINAL_S:g} to {FINAL_LATEST_S:g} s"),
        ("README.md", ADDRESS),
        ("README.md", f"(port {seedlink.PORT} by custom)"),
        ("docs/api.md", ADDRESS),
        ("docs/page.md", ADDRESS),
        ("docs/api.md", f"wait for more than {problems.WAITING_S:g} s"),
        ("docs/page.md", f"the last {trace.SPAN_S:g} s of its components"),
        ("docs/api.md", f"bins of {1000 * BIN_S:g} ms"),
        ("docs/api.md", f'"bin_s":{BIN_S:g},'),
        ("docs/api.md", f"of the last {diagnosis.HALF_S:g} to {2 * diagnosis.HALF_S:g} s"),
        ("docs/api.md", f"`limit` ({api.DEFAULT_PICKS}; at most {api.MOST_PICKS})"),
        ("docs/api.md", f"`http.max_clients` and {connection_limit.CONNECTIONS} more"),
        ("docs/api.md", f"asks for nothing for {connection_limit.IDLE_S:g} s"),
        ("docs/architecture.md", f"served on `{HTTP.host}:{HTTP.port}`"),
        ("docs/architecture.md", f"R{RATES}, to {100 * resample.RATE_TOLERANCE:g} %"),
        ("docs/architecture.md", f"more than {INSTRUMENTS_PER_STATION} instruments for each station"),
        ("docs/architecture.md", f"{trace.TRACE_BYTES / 1000:g} kB for each of at most `http.traces` stations"),
        ("docs/architecture.md", f"its envelopes {envelopes.DAY_BYTES / 1000:g} kB for each of at most `http.days`"),
        ("docs/architecture.md", f"{envelopes.WALL_BYTES / 1000:g} kB for each station while somebody looks"),
        ("docs/api.md", f"`bin_s` ({envelopes.WALL_BIN_S:g} s on the wall, {envelopes.DAY_BIN_S:g} s of a day)"),
        ("docs/api.md", f"envelopes of the last {envelopes.WALL_S:g} s of all stations"),
        ("docs/api.md", f"for {envelopes.KEPT_S / 60:g} minutes more"),
        ("docs/archives.md", f"picked again up to {workers.MAX_LOSSES} times"),
        ("docs/archives.md", f"up to {channel.DRIFT_SAMPLES:g} samples differently"),
        ("docs/guarantees.md", f"({NOT_FINAL_S + resumption.warm_up_s(WINDOWS.length_s):g} s with the defaults)"),
        ("docs/guarantees.md", f"of its server for {resumption.ABANDONED_S / 60:g} minutes only"),
        ("docs/library.md", f"R{RATES}, each trace its own"),
        ("docs/library.md", f"Lengths from {WINDOWS.length_s + FIRST_STEP / GRID_RATE_HZ:g} s without a gap"),
        ("docs/library.md", f"the network sees windows of {WINDOWS.length_s:g} s"),
        ("docs/sinks.md", f"`early_lookahead_s` + `early_hop_s` ({EARLIEST_S:g} to {LATEST_S:g} s)"),
        ("docs/sinks.md", f"in the first {WINDOWS.length_s:g} s after a start or a gap"),
        ("docs/sinks.md", f"at most the {connection.INFLIGHT} messages"),
        ("docs/sinks.md", f"twice, up to {MAX_DELIVERY} picks"),
        ("docs/sinks.md", f"at most the {UNDER_WAY} packets"),
        ("docs/sinks.md", f"{LEAST_PACKET['json']} at least, {LEAST_PACKET['quakeml']} for QuakeML"),
        ("docs/sinks.md", f"keeps the newest {REMEMBERED:,} packets"),
        ("docs/sinks.md", f"down the newest {BOUND:,} wait in memory"),
        ("docs/sinks.md", f"in time, {', '.join(map(str, sorted(webhook.WAIT)))} and 5xx"),
        ("docs/sinks.md", f"configuration: {', '.join(map(str, webhook.MISCONFIGURED))}."),
        ("docs/training.md", f"checkpoint every {OptimiserSection().checkpoint_steps:,} steps"),
        ("docs/training.md", f"{draft.STEPS:,} steps are set; `micro` had {STEPS:,}"),
        ("docs/training.md", f"of {miniseed.LEAST_S:g} to {miniseed.PIECE_S:g} s are cut from each instrument"),
        ("docs/training.md", f"{100 * draft.LEAST_HELD_OUT:g} % by default"),
        ("docs/training.md", f"windows of {WINDOWS.length_s:g} s, as the daemon does"),
        ("CHANGELOG.md", f"R{RATES} are accepted to {100 * resample.RATE_TOLERANCE:g} %"),
        ("CHANGELOG.md", f"More than {SeedLinkConfig(server='a').max_stations:,} stations at one source"),
        ("CHANGELOG.md", f"above {model_file.MAX_BYTES / 1e6:g} MB, or that needs more than {model_file.MAX_MEMORY_BYTES / 1e6:g} MB"),
        ("CHANGELOG.md", f"for {unserved.UNSERVED_S / 60:g} minutes is named"),
    ],
)  # fmt: skip
def test_documents(document: str, said: str) -> None:
    assert said in plain((ROOT / document).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        (SeedLinkConfig, "server", f"port {seedlink.PORT}"),
        (HttpConfig, "traces", f"{trace.TRACE_BYTES / 1000:g} kB each"),
        (HttpConfig, "days", f"{envelopes.DAY_BYTES / 1000:g} kB each"),
        (MqttConfig, "server", f"{MQTT_PORT}, with tls {MQTT_TLS_PORT}"),
        (NatsConfig, "servers", f"port is {DEFAULT_PORT}"),
        (kafka.KafkaConfig, "brokers", f"port is {kafka.DEFAULT_PORT}"),
        (DataLinkConfig, "server", f"{DATALINK_PORT}, with tls {DATALINK_TLS_PORT}"),
        (
            DataLinkConfig,
            "server",
            f"{LEAST_PACKET['json']} bytes, with quakeml of {LEAST_PACKET['quakeml']}",
        ),
        (DataLinkConfig, "stream_id", f"at most {MAX_STREAM_ID} bytes"),
        (WebhookConfig, "secret", f"{webhook.SECRET_PREFIX} and {SECRET}"),
    ],
)
def test_descriptions_of_keys(model: type[Config], key: str, said: str) -> None:
    assert said in plain(model.model_fields[key].description or "")


def test_held_out_stations() -> None:
    assert DataSection.model_fields["validation_fraction"].default == draft.LEAST_HELD_OUT


def test_stations_of_four_shards() -> None:
    [said] = re.findall(
        r"Of 500 stations on 4 shards they get ([\d, and]+)", plain((ROOT / "docs/shards.md").read_text())
    )
    streams = Schedule(load(["example"]), copies=500).streams
    stations = {(stream.network, stream.station) for stream in streams}
    assert len(stations) == 500
    counts = Counter(shard_of(*station, 4) for station in stations)
    assert [int(number) for number in re.findall(r"\d+", said)] == [counts[index] for index in range(4)]


def test_the_changes_are_those_of_this_version() -> None:
    newest = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    version, _, development = xiaod.__version__.partition(".dev")
    assert newest[1] == version
    assert (newest[2] == "unreleased") == bool(development)

"""What ``xiaod events`` and the daemons make of one configuration with a bus."""

from pathlib import Path

import pytest
import yaml

from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.config.events_process import load_events
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.per_shard import load_placed
from xiaod.config.sinks.nats import NatsConfig

BUS = "events: {enabled: true, bus: nats}"
NATS = "  - {kind: nats}"


def parsed(*sinks: str, events: str = BUS) -> Config:
    text = "\n".join(["sources: [{server: a}]", events, "sinks:", *sinks])
    return parse_config(text, "f")


@pytest.mark.parametrize(
    ("sinks", "events", "said"),
    [
        (["  - {kind: console}"], BUS, "events.bus: 'nats': must be the name of a sink of kind nats, mqtt or kafka: there is none"),
        (["  - {kind: nats, name: other}"], BUS, "must be the name of a sink of kind nats, mqtt or kafka: other"),
        ([NATS], "events: {bus: nats}", "events.bus: there are no events; write events: {enabled: true, bus: ...}"),
        (["  - {kind: nats, of: events}"], BUS, "events.bus: final picks do not come to sink 'nats'"),
        (["  - {kind: nats, stage: early}"], BUS, "events.bus: final picks do not come to sink 'nats'"),
        (["  - {kind: mqtt, name: nats, server: b, qos: 0}"], BUS, "with qos: 0 picks may be lost; write qos: 1"),
        ([NATS, "  - {kind: jsonl, path: x.jsonl, of: all}"], BUS, "x.jsonl would be written by two processes"),
        ([NATS], "events: {enabled: true, bus: 'a b'}", "events.bus"),
    ],
)  # fmt: skip
def test_a_bus_that_cannot_be_one(sinks: list[str], events: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        parsed(*sinks, events=events)
    assert said in str(told.value)


def test_each_process_has_its_sinks(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "sources": [{"server": "a"}],
                "shard": {"count": 3, "index": 1},
                "events": {"enabled": True, "bus": "bus"},
                "sinks": [
                    {"kind": "jsonl", "name": "events", "path": "events.jsonl", "of": "events"},
                    {"kind": "mqtt", "name": "bus", "server": "b", "of": "all"},
                    {"kind": "jsonl", "name": "both", "path": "all-{shard}.jsonl", "of": "all"},
                    {"kind": "console", "stage": "final"},
                ],
            }
        )
    )
    daemon = load_placed(path)
    assert [(sink.name, getattr(sink, "of", None)) for sink in daemon.sinks] == [
        ("bus", "picks"), ("both", "picks"), ("console", "picks"),
    ]  # fmt: skip
    assert not daemon.events.enabled
    events, bus = load_events(path)
    assert [(sink.name, getattr(sink, "of", None)) for sink in events.sinks] == [
        ("events", "events"), ("bus", "events"), ("both", "events"),
    ]  # fmt: skip
    assert events.events.enabled
    assert str(getattr(events.sinks[2], "path", "")) == "all-events.jsonl"
    # Two clients of a broker must not have one name.
    names = [getattr(sink, "client_id", "") for sink in (daemon.sinks[0], events.sinks[1], bus)]
    assert len(set(names)) == 3
    assert (str(events.state.folder), str(daemon.state.folder)) == ("var/state/events", "var/state/shard-1")
    assert (events.http.port, daemon.http.port) == (9811, 9809)
    # Lines are those of the file, though sinks are left out.
    lines = path.read_text().splitlines()
    for config in (daemon, events):
        for number, sink in enumerate(config.sinks):
            line = int(config.origin.where("sinks", number, "kind").split(":")[1])
            entry = "\n".join(lines[line - 1 : line + 5])
            assert f"kind: {sink.kind}" in entry


def test_without_a_bus_there_is_nothing_to_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sources: [{server: a}]\nevents: {enabled: true}\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: events.bus: is missing: name the sink"):
        load_events(path)
    path.write_text(
        "sources: [{server: a}]\nhttp: {port: 65535}\nevents: {enabled: true, bus: nats}\nsinks: [{kind: nats}]\n"
    )
    with pytest.raises(ConfigError, match=r"config.yaml:2: http.port: 65535 \+ 1"):
        load_events(path)


def test_the_stream_of_nats_takes_what_each_process_brings(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    sink = {
        "kind": "nats",
        "of": "all",
        "stream": {"create": True},
        "subject": "p.{shard}",
        "event_subject": "e.{shard}.{stage}",
    }
    content = {
        "sources": [{"server": "a"}],
        "shard": {"count": 2, "index": 0},
        "events": {"enabled": True, "bus": "nats"},
    }
    path.write_text(yaml.safe_dump({**content, "sinks": [sink]}))
    placed, bus = load_events(path)
    for one in (*load_placed(path).sinks, *placed.sinks, bus):
        assert isinstance(one, NatsConfig)
        assert one.stream_subjects == ("p.*", "e.*.*")


def test_what_only_the_events_process_needs_keeps_no_daemon_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = "{kind: webhook, url: 'https://a', secret_file: none, of: events}"
    sources = "sources: [{server: 'replay:example'}]"
    Path("config.yaml").write_text(f"{sources}\n{BUS}\nsinks:\n{NATS}\n  - {sink}\nstate: {{folder: s}}\n")
    assert main(["check"]) == 0
    told = capsys.readouterr()
    assert "valid" in told.out
    assert told.err.startswith("config.yaml:5: sinks[0].secret_file: ")
    assert "only where xiaod events runs" in told.err
    Path("s/events").mkdir(parents=True)
    assert main(["check"]) == 2
    assert "secret_file" in capsys.readouterr().err

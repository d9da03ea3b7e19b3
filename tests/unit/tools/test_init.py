"""``xiaod init``: what is chosen of what a server has, and a file that says all and is read as what it means."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.end_to_end.harness import Server
from xiaod.acquisition.patterns import matcher
from xiaod.cli.commands.options import called
from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.config.loader import load_config, parse_config
from xiaod.config.sinks import SINKS
from xiaod.config.tls import TlsConfig
from xiaod.domain.types import Channel
from xiaod.replay import ReplayConfig
from xiaod.tools.init.instruments import choose_instruments, largest_network
from xiaod.tools.init.text import commented

ROOT = Path(__file__).parents[3]
OFF = re.compile(r"^(\s*)#(?=\w+:)", re.MULTILINE)
"""How a key is commented out."""


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("00.EHZ", "EH? Z"),
        ("00.EHZ 00.EHN 00.EHE", "EH? ZNE"),
        ("00.EHZ 00.ENZ 00.ENN 00.ENE", "EH? Z"),
        ("00.BHZ 00.BHN 00.BHE 00.HHZ 00.HHN 00.HHE 00.LHZ", "HH? ZNE"),
        ("00.BHZ 00.BHN 00.BHE 00.HHZ", "BH? ZNE"),
        ("00.HN1 00.HN2 00.HNZ", "HN? Z12"),
        ("00.HH1 00.HH2 00.HH3", "HH? 123"),
        ("00.LHZ 00.VHZ 00.HDF 00.LCE 00.EH", ""),
        ("00.HHN 00.HHE", ""),
        ("10.HHZ 00.HHZ .HHZ", "HH? Z"),
    ],
)
def test_one_instrument_of_a_station_is_chosen(codes: str, expected: str) -> None:
    offered = [Channel("XX", "ABC", *code.split(".")) for code in codes.split()]
    chosen = [(choice.pattern.split(".")[3], choice.components) for choice in choose_instruments(offered)]
    assert " ".join(" ".join(one) for one in chosen) == expected


def test_the_first_location_is_chosen_and_named() -> None:
    offered = [Channel("XX", "A", location, "HHZ") for location in ("10", "00", "")]
    offered += [Channel("XX", "B", "20", "HHZ")]
    assert [choice.pattern for choice in choose_instruments(offered)] == ["XX.A.--.HH?", "XX.B.20.HH?"]


def test_everything_is_written_and_what_is_off_is_the_default() -> None:
    given = {
        "sources": [{"server": "a", "streams": ["XX.A.--.HH?", "XX.B.*.*"]}, {"server": "b"}],
        "sinks": [{"kind": "jsonl", "path": "p", "rotate": "size"}, {"kind": "quakeml", "folder": "f"}],
        "picker": {"stations": {"AM.R1": {"threshold_p": 0.5}}, "final_lookahead_s": 5.0},
        "grace_s": 5.0,
    }
    config = Config.model_validate(given)
    text = commented(config, {"XX.B.*.*": "note"})
    assert parse_config(text, "written") == config
    # With every key switched on it is the same: each is there, with its default.
    switched = OFF.sub(r"\1", text)
    assert parse_config(switched, "switched") == config
    assert len(OFF.findall(text)) > 20
    assert re.search(r'- "?XX\.B\.\*\.\*"? +# note', text)
    for section, model in (("windows", config.windows), ("buffer", config.buffer)):
        for key in type(model).model_fields:
            explained = rf"^ +#{key}: .+ # \S|^ +# \S.*\n +#{key}: "
            assert re.search(explained, text, re.MULTILINE), f"{section}.{key}"


def test_a_real_server_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    with Server(ReplayConfig(inputs=("example",), port=0, copies=3)) as server:
        arguments = ["init", f"127.0.0.1:{server.port}", "--output", str(path)]
        assert main(arguments) == 0
        assert "3 station(s)" in capsys.readouterr().out
        config = load_config(path)
        [source] = config.sources
        assert (source.server, source.begin, len(source.streams)) == (f"127.0.0.1:{server.port}", "resume", 3)
        assert all(re.fullmatch(r"BW\.\w{5}\.--\.EH\?", pattern) for pattern in source.streams)
        assert main(["stations", "--config", str(path)]) == 0
        assert "9 of 9 streams selected" in capsys.readouterr().out
        before = path.read_text(encoding="utf-8")
        assert main(arguments) == 2
        assert "--force" in capsys.readouterr().err
        assert path.read_text(encoding="utf-8") == before
        assert main([*arguments, "--force", "--streams", "BW.*.*.EHZ"]) == 0
        assert load_config(path).sources[0].streams == ("BW.*.*.EHZ",)
        assert main([*arguments, "--force", "--streams", "XX.*.*.*"]) == 1
        assert "it has BW." in capsys.readouterr().err
        assert load_config(path).sources[0].streams == ("BW.*.*.EHZ",)
    assert main([*arguments, "--force", "--timeout", "30"]) == 1
    assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["3", "4", "auto"])
def test_a_server_behind_tls_is_asked_as_the_daemon_asks_it(
    protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.yaml"
    pem, key = certificate(tmp_path)
    with Server(ReplayConfig(inputs=("example",), port=0, tls_certificate=pem, tls_key=key)) as server:
        arguments = ["init", f"127.0.0.1:{server.port}", "--output", str(path), "--protocol", protocol]
        assert main(arguments) == 1
        assert "option --tls" in capsys.readouterr().err
        assert main([*arguments, "--tls"]) == 1
        assert "--ca-file" in capsys.readouterr().err
        assert main([*arguments, "--ca-file", str(pem)]) == 0
        [source] = load_config(path).sources
        assert source.tls == TlsConfig(ca_file=pem)
        assert str(source.protocol) == protocol
        assert main(["stations", "--config", str(path)]) == 0
        assert "3 of 3 streams selected" in capsys.readouterr().out
    assert main(["init", "replay:example", "--tls", "--output", str(tmp_path / "more.yaml")]) == 2
    assert capsys.readouterr().err == "--tls: tls is for a real server, not for replay:\n"


def test_two_configurations_share_neither_state_nor_picks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = load_config(ROOT / "config.yaml")
    monkeypatch.chdir(tmp_path)
    places = {
        demo.state.folder,
        demo.snippets.folder,
        *(sink.written_to for sink in demo.sinks if sink.written_to is not None),
    }
    for name in ("my.yaml", "other.yaml"):
        assert main(["init", "replay:example", "--output", name]) == 0
        own = load_config(Path(name))
        mine = {
            own.state.folder,
            own.snippets.folder,
            *(sink.written_to for sink in own.sinks if sink.written_to is not None),
        }
        assert len(mine) == 3
        assert mine.isdisjoint(places)
        places |= mine
    assert "next: xiaod check --config other.yaml; " in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_told_before_the_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").touch()
    for output, told in (
        ([], "config.yaml: exists; --output my.yaml writes another file (--force overwrites this one)"),
        (["--output", "."], ".: is a folder; name a file, such as --output my.yaml"),
        (["--output", "no/x.yaml"], "no/x.yaml: there is no folder no; make it first"),
    ):
        # Nothing listens there, which would be said otherwise.
        assert main(["init", "127.0.0.1:1", *output]) == 2
        assert capsys.readouterr().err == f"{told}\n"
    assert main(["init", "127.0.0.1:1", "--force", "--output", "."]) == 2


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        (".venv/bin/xiaod", ".venv/bin/xiaod"),
        ("/a b/xiaod", "'/a b/xiaod'"),
        ("/x/xiaod/__main__.py", f"{shlex.quote(sys.executable)} -m xiaod"),
        ("/usr/bin/pytest", "xiaod"),
    ],
)
def test_advice_names_the_program_as_it_was_called(
    program: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    assert called() == shown


def test_a_program_on_the_path_is_named_shortly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "xiaod"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert called() == "xiaod"


def test_many_stations_are_not_taken_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    with Server(ReplayConfig(inputs=("example",), port=0, copies=101)) as server:
        arguments = ["init", f"127.0.0.1:{server.port}", "--output", str(path)]
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert "has 101 stations; --all takes all of them" in said
        assert not path.exists()
        assert main([*arguments, "--all"]) == 0
        stations = {pattern.split(".")[1] for pattern in load_config(path).sources[0].streams}
        assert len(stations) == 101
        # As it is advised.
        assert main([*arguments, "--force", *shlex.split(said.rpartition(": ")[2])]) == 0
        assert "101 station(s)" in capsys.readouterr().out
        assert load_config(path).sources[0].streams == ("BW.*.*.EH?",)


def test_the_advice_loses_no_station() -> None:
    offered = [Channel("II", f"A{number}", "", "BHZ") for number in range(3)]
    offered += [
        Channel("GE", f"B{number}", "10" if number % 2 else "", code + "Z")
        for number, code in enumerate(["BH", "HH", "EH", "HN", "BH"])
    ]
    choices = choose_instruments(offered)
    assert len(choices) == 8
    network, count, patterns = largest_network(choices)
    assert (network, count) == ("GE", 5)
    wanted = matcher(patterns)
    assert {channel.network for channel in offered if wanted(channel)} == {"GE"}
    assert sum(map(wanted, offered)) == 5


def test_the_kind_of_a_sink_comes_first() -> None:
    sinks = [{"kind": model.kind_name(), **model.EXAMPLE} for model in SINKS]
    events = {"enabled": True}
    config = Config.model_validate({"sources": [{"server": "a"}], "sinks": sinks, "events": events})
    assert [next(iter(sink.model_dump())) for sink in config.sinks] == ["kind"] * len(SINKS)
    text = commented(config)
    written = text[text.index("\nsinks:") : text.index("\n# Over HTTP")]
    assert re.findall(r"^  - (\w+): (\w+)", written, re.MULTILINE) == [
        ("kind", sink["kind"]) for sink in sinks
    ]

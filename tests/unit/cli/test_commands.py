"""Every command says what is wrong with its arguments, and ends with the status that ``docs/commands.md`` gives."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import obspy
import pytest

from distill.cli import main as distill_main
from xiaod.cli.commands import COMMANDS
from xiaod.cli.main import main
from xiaod.process.exit_status import ExitCode
from xiaod.storage.pick_store import STORE, PickStore

README = Path(__file__).parents[3] / "README.md"

REFUSED: dict[str, list[tuple[list[str], str]]] = {
    "": [([], r"^xiaod: give a command, or --config FILE, which runs the daemon.*\n$"), (["--config", "/no.yaml"], "/no.yaml"),
         (["fly"], "fly"), (["--fly"], "COMMAND|--fly")],
    "init": [([], "SERVER"), (["a b"], "SERVER: must be HOST"), (["localhost", "--streams", "BW"], "--streams: must be NET"),
             (["localhost", "--timeout", "0"], "--timeout"), (["replay:/nowhere"], "/nowhere"),
             (["localhost", "--output", str(README)], "exists"), (["replay:example", "--output", "/no/c.yaml"], "/no/c.yaml")],
    "check": [(["--config", "/no.yaml"], "/no.yaml"), (["more"], "more"),
              (["my.yaml"], "arguments: my.yaml; a configuration is given as --config my.yaml")],
    "show": [(["--config", "/no.yaml"], "/no.yaml"), (["--format", "toml"], "--format")],
    "pick": [([], "INPUT"), (["/nowhere"], "/nowhere"), (["/", "--format", "xml"], "--format"),
             (["/", "--model", "huge"], "huge"), (["/", "--config", "/no.yaml"], "/no.yaml"),
             (["/", "--workers", "0"], "--workers"), (["/", "--since", "noon"], "--since: 'noon': must be a time such as"),
             (["/", "--until", "9999-12-31T00:00:00Z"], "--until: .* year 9999: must be 1700 to 2249"),
             (["/", "--stations", "RJOB"], "--stations"),
             (["/", "--dask", "scheduler"], "--dask scheduler"),
             (["/", "--workers", "2", "--dask", "tcp://127.0.0.1:1"], "--dask"), (["/", "--workers", "2", "--plots", "p"], "--plots")],
    "plot": [([], "STREAM"), (["A.B.C.D", "T"], "--input"), (["A.B.C.D", "now", "--input", "/"], "TIME: 'now'"),
             (["A", "2026-01-31T12:00:00Z", "--input", "/nowhere"], "STREAM: 'A'"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--input", "/nowhere"], "/nowhere"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--input", "/", "--after", "0"], "--after"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--input", "/nowhere", "--server", "a"], "--server"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--server", "a b"], "--server a b"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--server", "replay:example"], "--server replay:example"),
             (["A", "2026-01-31T12:00:00Z", "--server", "a"], "STREAM A"),
             (["A.B.C.D", "2026-01-31T12:00:00Z", "--input", "/nowhere", "--model", "huge"], "huge")],
    "replay": [([], "PATH"), (["/nowhere"], "/nowhere"), (["example", "--speed", "0"], "--speed"),
               (["example", "--speed", "fast"], "--speed"), (["example", "--port", "70000"], "port"),
               (["example", "--copies", "0"], "copies")],
    "stations": [(["--config", "/no.yaml"], "/no.yaml"), (["--timeout", "soon"], "--timeout"), (["--timeout", "0"], "--timeout")],
    "events": [(["--config", "/no.yaml"], "/no.yaml"), (["--shard", "0"], "--shard")],
    "status": [(["--config", "/no.yaml"], "/no.yaml"), (["--timeout", "0"], "--timeout"), (["--format", "xml"], "--format"),
               (["--state", "bad"], "--state"), (["--sort", "size"], "--sort"), (["--watch", "0"], "--watch"),
               (["--url", "ftp://a"], "--url: 'ftp://a'"), (["--url", "http://a:b"], "--url: 'http://a:b'"),
               (["--url", "http://[::1"], "--url"), (["--url", "http://a b"], "--url"), (["--url", "http://"], "--url")],
    "picks": [(["--config", "/no.yaml"], "/no.yaml"), (["--format", "xml"], "--format")],
    "bench": [(["--stations", "-1"], "--stations"), (["--stations", "many"], "--stations"), (["--seconds", "0"], "--seconds"),
              (["--model", "huge", "--stations", "0"], "huge"), (["--output", "/no/file"], "/no/file")],
    "soak": [(["--hours", "long"], "--hours"), (["--hours", "0"], "--hours"), (["--stations", "0"], "--stations"),
             (["--faults", "-1"], "--faults"), (["--hop", "0"], "--hop"),
             (["--output", "/no/file"], "/no/file")],
    "selftest": [(["--config", "/no.yaml"], "/no.yaml"), (["--timeout", "0"], "--timeout"),
                 (["--config", str(README.with_name("config.yaml")), "--sink", "pigeon"], "no sink is named 'pigeon'")],
    "schema": [(["more"], "more")],
    "completion": [([], "shell"), (["csh"], "csh")],
    "version": [(["more"], "more")],
}  # fmt: skip
"""For each command, and for none: arguments that are wrong, and what of them the message names."""


def test_no_command_is_forgotten() -> None:
    assert set(REFUSED) == {"", *COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param([command, *wrong] if command else wrong, named, id=" ".join([command, *wrong]))
        for command, table in REFUSED.items()
        for wrong, named in table
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    status: object
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr()
    assert status == ExitCode.CONFIGURATION
    assert re.search(named, said.err or said.out), said
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_be_asked_does_not_keep_the_others_from_being_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    servers = ["replay:/nowhere", "127.0.0.1:1", "replay:example"]
    path.write_text("sources:\n" + "".join(f"  - server: {server}\n" for server in servers), encoding="utf-8")
    assert main(["stations", "--config", str(path)]) == ExitCode.FAILURE
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert "/nowhere" in first
    assert second.startswith("Connection refused: nothing listens on 127.0.0.1:1; is the server running?")
    assert second.count("127.0.0.1:1") == 1
    assert re.search(r" 2\d{3}-\d\d-\d\dT[\d:.]+Z to 2\d{3}-\d\d-\d\dT[\d:.]+Z$", rest[1], re.MULTILINE), (
        rest[1]
    )
    assert "3 of 3 streams selected" in rest[-1]


@pytest.mark.parametrize("more", [[], ["--workers", "1"]])
def test_an_input_that_is_named_as_output_is_not_lost(
    tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.mseed"
    obspy.read().write(str(path), format="MSEED")
    content = path.read_bytes()
    assert main(["pick", str(tmp_path), "--output", str(path), *more]) == ExitCode.CONFIGURATION
    assert f"--output {path}: holds miniSEED" in capsys.readouterr().err
    assert path.read_bytes() == content
    # What was written before is written anew.
    for _ in range(2):
        assert main(["pick", str(path), "--output", str(tmp_path / "picks.jsonl"), *more]) == ExitCode.OK


@pytest.mark.parametrize("command", ["schema", "show", "completion bash", "--help"])
def test_a_reader_that_has_seen_enough_is_no_failure(command: str) -> None:
    code = f"set -o pipefail; '{sys.executable}' -m xiaod {command} | head -c 1"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=README.parent
    )
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, "", 1)


@pytest.mark.parametrize(
    ("command", "unbuffered"), [("schema", ""), ("version", ""), ("version", "1"), ("--help", "")]
)
def test_a_full_disk_is_said_in_one_line(command: str, unbuffered: str) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = subprocess.run(
            [sys.executable, "-m", "xiaod", command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            check=False, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (ExitCode.FAILURE, "standard output: No space left on device\n")


def test_the_statuses_are_documented() -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([^|]+) \|$",
        (README.parent / "docs" / "commands.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert rows == [(str(code.value), code.meaning.replace("grace_s", "`grace_s`")) for code in ExitCode]


def documented(program: str) -> dict[str, set[str]]:
    """Command -> its options, as ``docs/commands.md`` gives them; "" is the program without a command."""
    text = (README.parent / "docs" / "commands.md").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for name, options in re.findall(
        rf"^\| `{program}(?: ([a-z]+))?[^`]*` \| .+ \| (.*)\|$", text, re.MULTILINE
    ):
        found.setdefault(name, set()).update(re.findall(r"--[a-z-]+", options))
    return found


@pytest.mark.parametrize(("program", "run"), [("xiaod", main), ("xiao-distill", distill_main)])
def test_every_command_and_option_is_documented_and_no_other(
    program: str, run: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def options(command: list[str]) -> set[str]:
        with contextlib.suppress(SystemExit):
            run([*command, "--help"])
        return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}

    with contextlib.suppress(SystemExit):
        run(["--help"])
    commands = re.findall(r"^    ([a-z]+)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    offered = {name: options([name]) for name in commands}
    if program == "xiaod":
        assert set(commands) == set(COMMANDS)
        offered[""] = options([])
    assert documented(program) == offered


def test_a_port_that_is_taken_may_be_free_later(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["replay", "example", "--port", str(port)]) == ExitCode.FAILURE
    assert f"cannot listen on 127.0.0.1:{port}: " in capsys.readouterr().err


def test_one_shard_has_all_stations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sources: [{server: 'replay:example'}]\n", encoding="utf-8")
    for options, said in (
        (["--shards"], "--shards: one shard has all stations"),
        (["--shards", "2"], ""),
        ([], ""),
    ):
        assert main(["stations", "--config", str(path), *options]) == ExitCode.OK
        told = capsys.readouterr()
        assert told.err.startswith(said)
        assert bool(told.err) is bool(said)
        assert ("shard 0/2: " in told.out) is (options[1:] == ["2"])


def test_whoever_has_no_data_picks_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--workers", "1"]):
        assert main(["pick", "example", "--format", "csv", *options]) == ExitCode.OK
        told = capsys.readouterr()
        assert re.findall(r"^.*BW.*2009-08-24T00:20:0[78].*$", told.out, re.MULTILINE)
        # Standard error is no terminal: no bar.
        assert told.err == ""
    Path("example").touch()
    assert main(["pick", "example"]) == ExitCode.FAILURE


def test_no_picks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = PickStore(tmp_path / "state" / STORE)
    store.close()
    path = tmp_path / "config.yaml"
    path.write_text(
        f"sources: [{{server: localhost}}]\nstate: {{folder: {tmp_path / 'state'}}}\n", encoding="utf-8"
    )
    assert main(["picks", "--config", str(path)]) == ExitCode.OK
    assert capsys.readouterr() == ("", f"0 final picks in {tmp_path / 'state'}\n")


@pytest.mark.parametrize(
    ("stream", "time", "had"),
    [
        ("BW.RJOB..HH?", "2009-08-24T00:20:07Z", "nothing; there is BW.RJOB..EH"),
        ("BW.RJOB..EH?", "2019-08-24T00:20:07Z", "nothing; there is, at other times, BW.RJOB..EH"),
    ],
)
def test_a_stream_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, stream: str, time: str, had: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.mseed"
    obspy.read().write(str(path), format="MSEED")
    assert main(["plot", stream, time, "--input", str(path)]) == ExitCode.FAILURE
    assert capsys.readouterr().err.endswith(f"; it matches {had}\n")

"""Which shard a process is, where it has its files, and what it says when that is not clear."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tests.unit.sinks.file.test_jsonl import files_end_at
from tests.unit.storage.test_pick_store import pick_of
from xiaod.cli.main import main
from xiaod.config import Config, Origin
from xiaod.config.loader import ConfigError
from xiaod.config.per_shard import chosen_shard, load_placed, load_placed_anew
from xiaod.config.sinks import SINKS
from xiaod.config.sinks.kind import SinkModel
from xiaod.domain.sharding import Shard
from xiaod.storage.folder_lock import LOCK, FolderLock, Holder, LockedError, holder
from xiaod.storage.pick_store import STORE, PickStore

SOURCES = "sources: [{server: localhost}]\n"


def config_of(**shard: int) -> Config:
    config = Config.model_validate({"sources": [{"server": "localhost"}], "shard": shard})
    return config.read_from(Origin("f", {("shard",): 2}))


@pytest.mark.parametrize(
    ("shard", "option", "variable", "expected"),
    [
        ({}, None, None, Shard(0, 1)),
        ({}, "0/3", None, Shard(0, 3)),
        ({"index": 1, "count": 3}, None, None, Shard(1, 3)),
        ({"count": 3}, None, "2", Shard(2, 3)),
        ({"count": 3}, "1", "2", Shard(1, 3)),
        ({"index": 0, "count": 3}, "1", "2/4", Shard(1, 4)),
        ({"index": 0, "count": 3}, "1/2", "2/4", Shard(1, 2)),
        ({"index": 0, "count": 3}, None, "", Shard(0, 3)),
    ],
)
def test_option_before_environment_before_file(
    shard: dict[str, int], option: str | None, variable: str | None, expected: Shard
) -> None:
    environment = {} if variable is None else {"XIAOD_SHARD": variable}
    assert chosen_shard(config_of(**shard), option, environment) == expected


@pytest.mark.parametrize(
    ("shard", "option", "variable", "expected"),
    [
        ({"count": 3}, None, None, "f:2: shard.index: is missing: which of the 3 shards is this? Give it with --shard INDEX"),
        ({}, "3/3", None, "--shard: 3: the index must be 0 to 2, since there are 3 shards"),
        ({"count": 3}, None, "3", "XIAOD_SHARD: 3 of 3 (f:2: shard): the index must be 0 to 2"),
        ({"count": 3}, "one", None, "--shard: 'one': must be INDEX or INDEX/COUNT, for example 0/4"),
        ({"count": 3}, None, "1/", "XIAOD_SHARD: '1/': must be INDEX or INDEX/COUNT"),
        ({"count": 3}, None, "0/0", "XIAOD_SHARD: '0/0': COUNT must be 1 to 1024"),
        ({"index": 2, "count": 3}, "/2", None, "--shard: '/2': must be INDEX or INDEX/COUNT"),
    ],
)  # fmt: skip
def test_errors_name_where_the_shard_was_given(
    shard: dict[str, int], option: str | None, variable: str | None, expected: str
) -> None:
    environment = {} if variable is None else {"XIAOD_SHARD": variable}
    with pytest.raises(ConfigError) as caught:
        chosen_shard(config_of(**shard), option, environment)
    assert str(caught.value).startswith(expected)


def test_files_that_two_shards_would_write_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    sinks = "sinks: [{kind: jsonl, path: var/picks.jsonl}, {kind: quakeml, folder: var/quakeml}]\n"
    path.write_text(SOURCES + sinks)
    assert load_placed(path, None, {}).state.folder == Path("var/state")
    with pytest.raises(ConfigError) as caught:
        load_placed(path, "0/2", {})
    said = [
        ("sinks[0].path: var/picks.jsonl", "var/picks-{shard}.jsonl"),
        ("sinks[1].folder: var/quakeml", "var/quakeml-{shard}"),
    ]
    assert caught.value.problems == [
        f"{path}:2: {place} would be written by each of the 2 shards; put {{shard}} into it, for example {better}"
        for place, better in said
    ]


def test_a_shard_has_files_and_a_port_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    sinks = "sinks: [{kind: jsonl, path: '{shard}/a-{shard}.jsonl'}]\nhttp: {port: 9000}\n"
    path.write_text(SOURCES + sinks)
    placed = load_placed(path, "2/3", {})
    assert (placed.sinks[0].model_dump()["path"], placed.http.port) == (Path("2/a-2.jsonl"), 9002)
    assert placed.state.folder == Path("var/state/shard-2")
    assert placed.snippets.folder == Path("var/snippets/shard-2")
    # The same file serves one process too.
    alone = load_placed(path, None, {})
    assert (alone.sinks[0].model_dump()["path"], alone.http.port) == (Path("0/a-0.jsonl"), 9000)
    assert alone.state.folder == Path("var/state")
    assert alone.snippets.folder == Path("var/snippets")
    path.write_text(SOURCES + "http: {port: 65535}\n")
    with pytest.raises(ConfigError, match=r"http\.port: 65535 \+ 1 \(the shard\) is above 65535"):
        load_placed(path, "1/2", {})


def test_a_shard_is_put_into_paths_and_templates_only(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        SOURCES
        + """
sinks:
  - {kind: mqtt, server: a, username: "u{shard}", password_file: "p{shard}", topic: "t/{shard}/{phase}", tls: {ca_file: "c{shard}"}}
  - {kind: nats, username: "u{shard}", password: "p{shard}", subject: "s.{shard}.{phase}"}
  - {kind: anss, path: "a{shard}", stations_file: "s{shard}"}
agency: {author: "a{shard}"}
engine: {model: "m{shard}"}
"""
    )
    placed = load_placed(path, "1/2", {})
    mqtt, nats, anss = (sink.model_dump() for sink in placed.sinks)
    assert (mqtt["username"], mqtt["password_file"], mqtt["topic"]) == ("u{shard}", Path("p1"), "t/1/{phase}")
    assert (mqtt["client_id"], mqtt["tls"]["ca_file"]) == ("xiaod-{host}-{name}-1", Path("c1"))
    assert (nats["username"], nats["subject"]) == ("u{shard}", "s.1.{phase}")
    assert (anss["path"], anss["stations_file"]) == (Path("a1"), Path("s1"))
    assert (placed.agency.author, placed.engine.model) == ("a{shard}", "m{shard}")


def takes(field: FieldInfo, text: str) -> bool:
    annotation: Any = Annotated[field.annotation, None, *field.metadata]
    try:
        TypeAdapter(annotation).validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("model", SINKS, ids=lambda model: model.kind_name())
def test_every_text_whose_braces_mean_something_is_known_as_a_template(model: type[SinkModel]) -> None:
    found = {
        key
        for key, field in model.model_fields.items()
        if takes(field, "a-{shard}") and not takes(field, "a-{nothing}")
    }
    assert found == set(model.TEMPLATES)


def test_a_free_port_stays_a_free_port(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCES + "http: {port: 0}\n")
    assert load_placed(path, "1/2", {}).http.port == 0


def test_a_process_that_runs_keeps_its_files_when_its_shard_changes(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCES + "shard: {index: 2, count: 4}\nsinks: [{kind: jsonl, path: 'a-{shard}'}]\n")
    placed = load_placed_anew(path, Shard(1, 3))
    assert placed.state.folder == Path("var/state/shard-1")
    assert placed.sinks[0].model_dump()["path"] == Path("a-1")
    assert (placed.shard.index, placed.shard.count) == (2, 4)


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration for four shards that does not say which this is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XIAOD_SHARD", raising=False)
    path = tmp_path / "config.yaml"
    path.write_text("sources: [{server: 'replay:example'}]\nshard: {count: 4}\n")
    return path


def test_commands_speak_of_all_shards_or_of_one(four: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(four)]) == 0
    assert main(["check", "--config", str(four), "--shard", "4"]) == 2
    assert "--shard: 4 of 4 " in capsys.readouterr().err
    assert main(["stations", "--config", str(four)]) == 0
    assert "shard 0/4: 1 of 1 stations, 100 %" in capsys.readouterr().out
    assert main(["stations", "--config", str(four), "--shards", "2"]) == 0
    assert "shard 1/2: 0 of 1 stations, 0 %" in capsys.readouterr().out
    assert main(["stations", "--config", str(four), "--shard", "1"]) == 0
    assert "0 of 3 streams selected (+) by *.*.*.* on shard 1/4" in capsys.readouterr().out


def test_what_is_shown_for_a_shard_can_be_read_again(four: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--config", str(four), "--shard", "3"]) == 0
    shown = capsys.readouterr().out
    assert "# Shard 3 of 4: state in var/state/shard-3, HTTP on port 9811, {shard} is 3." in shown
    again = four.with_name("shown.yaml")
    again.write_text(shown)
    assert load_placed(again, None, {}) == load_placed(four, "3", {})


def test_picks_of_all_shards_or_of_one_are_printed(four: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["picks", "--config", str(four)]) == 2
    assert "no picks have been stored there" in capsys.readouterr().err
    for index, numbers in ((0, (1, 3)), (2, (2, 3))):
        store = PickStore(Path("var/state") / f"shard-{index}" / STORE)
        store.add([pick_of(number) for number in numbers], {})
        store.close()
    for arguments, expected in (([], (1, 2, 3)), (["--shard", "2"], (2, 3)), (["--shard", "0/4"], (1, 3))):
        assert main(["picks", "--config", str(four), *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [json.loads(line)["id"] for line in lines] == [f"RJOB-{number}" for number in expected]


@pytest.mark.parametrize("model", SINKS, ids=lambda model: model.kind_name())
def test_every_path_of_a_sink_is_known_as_written_or_read(model: type[SinkModel]) -> None:
    for key, field in model.model_fields.items():
        if field.annotation is Path or Path in get_args(field.annotation):
            assert key == model.DESTINATION or key.endswith("_file"), key


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    lock = FolderLock(folder, Shard(1, 3))
    with pytest.raises(LockedError, match=f"process {os.getpid()} uses this folder already"):
        FolderLock(folder, Shard(0, 2))
    lock.release()
    FolderLock(folder, Shard(0, 2)).release()
    assert holder(folder) is None
    assert holder(tmp_path / "nowhere") is None


def test_a_folder_is_locked_on_a_full_disk_too(tmp_path: Path) -> None:
    with files_end_at(0):
        lock = FolderLock(tmp_path, Shard(0, 1))
        with pytest.raises(LockedError, match="another process uses"):
            FolderLock(tmp_path, Shard(0, 1))
    lock.release()
    FolderLock(tmp_path, Shard(100, 1024)).release()
    lock = FolderLock(tmp_path, Shard(1, 2))
    assert holder(tmp_path) == Holder(os.getpid(), "1/2")
    lock.release()


def test_who_removes_the_file_lets_nobody_in(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, Shard(1, 3))
    (tmp_path / LOCK).unlink()
    with pytest.raises(LockedError, match="another process uses this folder already"):
        FolderLock(tmp_path, Shard(1, 3))
    assert holder(tmp_path) == Holder(0, "")
    lock.release()
    lock = FolderLock(tmp_path, Shard(1, 3))
    assert holder(tmp_path) == Holder(os.getpid(), "1/3")
    lock.release()
    assert holder(tmp_path) is None


def test_a_file_that_alone_is_locked_counts_too(tmp_path: Path) -> None:
    """As on a file system that locks no folders, or by an earlier version."""
    with (tmp_path / LOCK).open("w") as file:
        file.write("4711 2/3\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="process 4711 uses this folder already"):
            FolderLock(tmp_path, Shard(2, 3))
        assert holder(tmp_path) == Holder(4711, "2/3")


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from xiaod.storage.folder_lock import FolderLock; from xiaod.domain.sharding import ALONE;"
        "lock = FolderLock(Path(sys.argv[1]), ALONE); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.shard) == (process.pid, "0/1")
        process.kill()
        process.wait(60)
        FolderLock(tmp_path, Shard(0, 1)).release()

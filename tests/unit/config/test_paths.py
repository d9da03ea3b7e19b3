"""Paths of a configuration that cannot be used are told before anything runs: with line, key and what helps."""

from pathlib import Path

import pytest

from xiaod.cli.main import main
from xiaod.config.loader import parse_config
from xiaod.config.paths import path_problems

MINIMAL = "sources:\n  - server: localhost\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sources:\n  - server: replay:nofile\n", ("f:2: sources[0].server: replay:nofile: no such file or folder; "
         "name miniSEED files, a folder, or replay:example")),
        (MINIMAL + "sinks:\n  - kind: jsonl\n    path: folder\n",
         "f:5: sinks[0].path: folder: is a folder; name a file, such as folder/picks"),
        (MINIMAL + "sinks:\n  - kind: table\n    path: file/picks\n",
         "f:5: sinks[0].path: file: is no folder; name another path, or move what is there"),
        (MINIMAL + "sinks:\n  - kind: quakeml\n    folder: file\n",
         "f:5: sinks[0].folder: file: is no folder; name another path, or move what is there"),
        (MINIMAL + "state:\n  folder: file\n", "f:4: state.folder: file: is no folder; name another path, or move what is there"),
        (MINIMAL + "state:\n  folder: file/a/b\n", "f:4: state.folder: file: is no folder; name another path, or move what is there"),
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_used_is_told(text: str, told: str) -> None:
    assert path_problems(parse_config(text, "f")) == [told]


@pytest.mark.parametrize(
    "text",
    [
        "sources: [{server: 'replay:folder'}, {server: 'replay:file'}, {server: 'replay:example'}]\n",
        MINIMAL
        + "sinks: [{kind: jsonl, path: a/b}, {kind: table, path: /dev/null}, {kind: anss, path: file}]\n",
        MINIMAL + "sinks: [{kind: quakeml, folder: folder}, {kind: scml, folder: a/b}, {kind: console}]\n",
        MINIMAL + "state: {folder: folder}\n",
    ],
)
def test_what_is_there_or_is_made_is_no_problem(text: str) -> None:
    assert path_problems(parse_config(text, "f")) == []


def test_check_tells_all_problems_and_the_daemon_those_of_paths(capsys: pytest.CaptureFixture[str]) -> None:
    Path("f").write_text(
        "sources:\n  - server: replay:nofile\nengine: {model: none}\nsinks:\n  - {kind: jsonl, path: folder}\n"
        "  - {kind: anss, path: a, stations_file: none}\n  - {kind: webhook, url: 'https://a', secret_file: none}\n"
    )
    assert main(["check", "--config", "f"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[:3] for line in told] == [
        ["f", "2", " sources[0].server"],
        ["f", "5", " sinks[0].path"],
        ["f", "3", " engine.model"],
        ["f", "6", " sinks[1].stations_file"],
        ["f", "7", " sinks[2].secret_file"],
    ]
    assert main(["--config", "f"]) == 2
    assert capsys.readouterr().err.splitlines() == told[:2]
    assert sorted(path.name for path in Path().iterdir()) == ["f", "file", "folder"]

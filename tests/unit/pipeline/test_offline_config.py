"""Early picks of files: only with ``--early``, as the configuration makes them."""

from pathlib import Path

import pytest

from xiaod.cli.main import main
from xiaod.config.loader import ConfigError
from xiaod.pipeline.offline import offline_config
from xiaod.replay.example import example_records

SOURCES = "sources: [{server: localhost}]\n"
LATE = "early: off\npicker: {early_lookahead_s: 4.0}\n"
"""Early picks would come after the final ones, if there were any."""


@pytest.mark.parametrize(
    ("text", "given", "early"),
    [
        ("", False, "off"),
        ("", True, "scout"),
        ("early: windows\n", False, "off"),
        ("early: windows\n", True, "windows"),
        ("early: off\n", False, "off"),
        ("early: off\n", True, "scout"),
        (LATE, False, "off"),
    ],
)
def test_early_picks_are_made_when_they_are_asked_for(
    tmp_path: Path, text: str, given: bool, early: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCES + text, "utf-8")
    config = offline_config(path, None, early=given)
    assert config.early == early
    assert offline_config(path, "small", early=given).early == early


def test_without_a_file_there_are_final_picks_only() -> None:
    assert offline_config(None, None).early == "off"
    assert offline_config(None, None, early=True).early == "scout"


def test_early_picks_that_would_come_too_late_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SOURCES + LATE, "utf-8")
    with pytest.raises(
        ConfigError, match=rf"\A{path}:2: early: scout does not fit: picker.early_lookahead_s"
    ):
        offline_config(path, None, early=True)


@pytest.mark.parametrize("others", [[], ["--workers", "1"], ["--plots", "plots"]])
def test_the_option_is_heard_in_each_kind_of_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    others: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(SOURCES + LATE, "utf-8")
    Path("event.mseed").write_bytes(example_records())
    command = ["pick", "event.mseed", "--config", "config.yaml", *others]
    assert main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2
    assert main([*command, "--early"]) == 2
    assert "early: scout does not fit" in capsys.readouterr().err
    assert main([*command[:2], *others, "--early"]) == 0

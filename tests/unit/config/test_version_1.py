"""A file of version 1 is told what to write instead, all at once; what is told makes it a file of version 2."""

import re

import pytest

from xiaod.config import Config
from xiaod.config.loader import ConfigError, parse_config

MINIMAL = "sources:\n  - server: localhost\n"
OLD = f"""\
config_version: 1
{MINIMAL}windows:
  length_s: 20.0
  hop_s: 1.0
engine:
  kind: stateful
  model: micro-stream
picker:
  threshold_p: 0.4
  lookahead_s: 6
  stations: {{AM.R1: {{threshold_s: 0.6}}}}
"""
NEW = f"""\
config_version: 2
{MINIMAL}windows:
  length_s: 20.0
  early_hop_s: 1.0
engine:
  model: micro
  scout: scout
picker:
  threshold_p: 0.4
  early_threshold_p: 0.4
  final_lookahead_s: 6
  stations: {{AM.R1: {{threshold_s: 0.6, early_threshold_s: 0.6}}}}
"""
STREAMS = "a model that streams no longer picks, it notices onsets; move it to engine.scout, and write engine.model: micro"
GONE = "micro-stream has gone; engine.scout: scout, the default, notices onsets in its place; write engine.model: micro"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f")
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("config_version: 1\n", ["f:3: config_version: is 1, a file of an earlier xiaod; write config_version: 2"]),
        ("windows: {hop_s: 0.5}\n", ["f:3: windows.hop_s: is of version 1; write windows.early_hop_s: 0.5"]),
        ("windows:\n  hop_s: 5\n", ["f:4: windows.hop_s: is of version 1; write windows.final_hop_s: 5"]),
        ("windows:\n  hop_s: 1\n  early_hop_s: 0.5\n",
         ["f:4: windows.hop_s: is of version 1; delete it, windows.early_hop_s is in line 5"]),
        ("picker:\n  lookahead_s: 1.5\n", ["f:4: picker.lookahead_s: is of version 1; write picker.early_lookahead_s: 1.5"]),
        ("picker:\n  lookahead_s: 3\n", ["f:4: picker.lookahead_s: is of version 1; write picker.final_lookahead_s: 4.0"]),
        ("picker: {lookahead_s: 6.0}\n", ["f:3: picker.lookahead_s: is of version 1; write picker.final_lookahead_s: 6.0"]),
        ("engine: {kind: onnx}\n", ["f:3: engine.kind: is of version 1; delete it"]),
        ("engine: {kind: torch, model: small}\n", ["f:3: engine.kind: is of version 1; delete it"]),
        ("engine: {kind: stateful}\n", ["f:3: engine.kind: is of version 1; delete it"]),
        ("engine:\n  model: micro-stream\n", [f"f:4: engine.model: {GONE}"]),
        ("engine:\n  kind: stateful\n  model: my.stateful.onnx\n",
         ["f:4: engine.kind: is of version 1; delete it", f"f:5: engine.model: {STREAMS}"]),
    ],
)  # fmt: skip
def test_each_old_key_is_told_with_its_line(text: str, told: list[str]) -> None:
    assert problems(MINIMAL + text) == told


def test_all_changes_are_told_at_once_and_lead_to_a_file_that_is_read() -> None:
    assert problems(OLD) == [
        "f:1: config_version: is 1, a file of an earlier xiaod; write config_version: 2 and change it as said here",
        "f:6: windows.hop_s: is of version 1; write windows.early_hop_s: 1.0",
        "f:8: engine.kind: is of version 1; delete it",
        f"f:9: engine.model: {GONE}",
        "f:11: picker.threshold_p: holds for final picks only; write early_threshold_p beside it, for early picks",
        "f:12: picker.lookahead_s: is of version 1; write picker.final_lookahead_s: 6",
        "f:13: picker.stations.AM.R1.threshold_s: holds for final picks only; write early_threshold_s beside it, for early picks",
    ]
    config = parse_config(NEW, "f")
    assert (config.early, config.engine.scout) == ("scout", "scout")


def test_other_mistakes_are_told_beside_them() -> None:
    """What remains is checked as it will be: with the new keys."""
    assert problems(MINIMAL + "windows: {hop_s: fast, length_s: 12.0}\npicker: {lookahead_s: 9}\nlogs: {levle: info}\n") == [
        "f:3: windows.early_hop_s: must be a number at least 0.05 and at most 30 seconds; got 'fast'",
        "f:3: windows.hop_s: is of version 1; write windows.early_hop_s",
        "f:4: picker.lookahead_s: is of version 1; write picker.final_lookahead_s: 9",
        "f:5: logs.levle: unknown key; did you mean 'level'? allowed here: format, level",
    ]  # fmt: skip
    told = problems(MINIMAL + "windows:\n  hop_s: 1\npicker:\n  lookahead_s: 9\n")
    assert told[1].startswith(
        "f:6: picker.final_lookahead_s + windows.final_hop_s must be at most half of windows.length_s; 9 + 4 s"
    )


@pytest.mark.parametrize("hop_s", [0.05, 0.5, 2.0, 2.1, 3.9, 5.0])
@pytest.mark.parametrize("lookahead_s", [0.1, 0.5, 2.0, 2.1, 3.9, 5.0])
def test_what_is_told_can_be_read(hop_s: float, lookahead_s: float) -> None:
    """Every hop and lookahead that a window of 20 s could have in version 1 has a place in version 2."""
    old = f"config_version: 1\n{MINIMAL}windows: {{hop_s: {hop_s}}}\npicker: {{lookahead_s: {lookahead_s}}}\n"
    [version, *told] = problems(old)
    assert "config_version: 2" in version
    new = old.replace("config_version: 1", "config_version: 2")
    for problem in told:
        section, key, value = re.search(r"write (\w+)\.(\w+): (\S+)", problem).groups()  # type: ignore[union-attr]
        new = re.sub(rf"{section}: .*", f"{section}: {{{key}: {value}}}", new)
    config = parse_config(new, "f")
    assert hop_s == (config.windows.early_hop_s if hop_s <= 2 else config.windows.final_hop_s)
    assert config.picker.early_lookahead_s == lookahead_s or config.picker.final_lookahead_s >= lookahead_s


@pytest.mark.parametrize(
    "text", ["windows: 1\n", "engine:\n", "picker: []\n", "picker: {stations: []}\n", "config_version: one\n"]
)
def test_what_is_no_section_is_told_as_such(text: str) -> None:
    [problem] = problems(MINIMAL + text)
    assert "must be" in problem


@pytest.mark.parametrize("written", ["off", "'off'", "false", '"off"'])
def test_no_early_picks_however_yaml_reads_the_word(written: str) -> None:
    assert parse_config(f"{MINIMAL}early: {written}\n", "f").early == "off"
    assert Config.model_validate({"sources": [{"server": "a"}], "early": False}).early == "off"

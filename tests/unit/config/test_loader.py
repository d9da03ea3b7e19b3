"""The configuration file: every problem with its line, whatever was done to it."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from xiaod.config import Config
from xiaod.config.loader import MAX_BYTES, MAX_PROBLEMS, ConfigError, load_config, parse_config
from xiaod.config.sinks import SINKS

REFERENCE = Path(__file__).parents[3] / "config.yaml"
TEXT = REFERENCE.read_text(encoding="utf-8")
BOMB = b"a: &a [b,b]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c]\n" % (n + 1, n + 1, n, n, n, n) for n in range(97, 120)
)
MINIMAL = "sources:\n  - server: localhost\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f:1: is empty; must be a mapping of keys, at least 'sources'"),
        ("# only\n\n- a", "f:3: is not a mapping; must be a mapping of keys"),
        ("a: [", "f:1: not valid YAML"),
        ("sources: []", "f:1: sources: must have at least one entry"),
        ("logs: {}", "f:1: sources: is missing"),
        (MINIMAL + "picker:\n  treshold_p: 0.5\n", "f:4: picker.treshold_p: unknown key; did you mean 'threshold_p'?"),
        (MINIMAL + "picker:\n  threshold_p: 2\n", "f:4: picker.threshold_p: must be a number above 0 and below 1, or null; got 2"),
        (MINIMAL + "picker:\n  early_lookahead_s: fast\n", "f:4: picker.early_lookahead_s: must be a number at least 0.1 and"),
        (MINIMAL + "engine: {threads: 1.5}\n", "f:3: engine.threads: must be"),
        (MINIMAL + "windows: {early_hop_s: 9.0}\n", "f:3: windows.early_hop_s must be at most a quarter of length_s, 5 s, "),
        (MINIMAL + "windows:\n  length_s: 15.0\n  final_hop_s: 4.0\n", "f:5: windows.final_hop_s must be at most a quarter"),
        (MINIMAL + "windows: {final_hop_s: 5.0}\npicker:\n  final_lookahead_s: 6\n", ("f:5: picker.final_lookahead_s + windows.final_hop_s "
         "must be at most half of windows.length_s; 6 + 5 s is more than 10 s")),
        (MINIMAL + "picker:\n  settle_s: 19.5\n", ("f:4: picker.settle_s is 19.5 s, which leaves nothing to pick in windows of 20 s; "
         "it must be at most 12 s (windows.length_s - windows.final_hop_s - picker.final_lookahead_s)")),
        (MINIMAL + "windows: {early_hop_s: 4.0}\npicker:\n  early_lookahead_s: 4\n", ("f:5: picker.early_lookahead_s + "
         "windows.early_hop_s, 8 s, must be at most picker.final_lookahead_s, 4 s, or early picks come after the final ones; shorten")),
        (MINIMAL + "early: no\n", "f:3: early: must be 'scout', 'windows' or 'off'; got 'no'"),
        (MINIMAL + "early: on\n", "f:3: early: must be 'scout' or 'windows', or 'off'; got 'on'"),
        (MINIMAL + "early: true\n", "f:3: early: must be 'scout' or 'windows', or 'off'; got true"),
        (MINIMAL + "config_version: 3\n", "f:3: config_version: must be 2; got 3"),
        (MINIMAL + "windows: {length_s: 10.0, final_hop_s: 1}\npicker: {settle_s: 6}\n", "f:4: picker.settle_s is 6 s, which leaves"),
        (MINIMAL + "buffer:\n  max_component_wait_s: 40\n", ("f:4: buffer.max_component_wait_s is 40 s, and nothing is waited for that "
         "is further than max_lead_s (30 s) behind; shorten it, or raise max_lead_s")),
        (MINIMAL + "buffer:\n  forget_after_s: 5\n", ("f:4: buffer.forget_after_s is 5 s: an instrument would be forgotten while it is "
         "waited for; it must be above max_component_wait_s (5 s)")),
        (MINIMAL + "    begin: resume\nbuffer:\n  max_age_s: 89\n", ("f:5: buffer.max_age_s is 89 s, and 'localhost:18000' has begin: "
         "resume, which requests data that are 90 s old and more; write null or at least 90, or begin: now")),
        (MINIMAL + "state:\n  keep_days: 0.009\n", ("f:4: state.keep_days is 0.009, which is 778 s: the next run must know the picks of "
         "815 s, or it makes them again; write at least 0.01, or 0 to keep all")),
        (MINIMAL + "state: {save_interval_s: 86400, keep_days: 1}\n", "f:3: state.keep_days is 1, which is 86400 s: the next run"),
        (MINIMAL + "windows: {early_hop_s: .nan}\n",
         "f:3: windows.early_hop_s: must be a number at least 0.05 and at most 30 seconds; got '.nan'"),
        (MINIMAL + "grace_s: 1e999\n", "f:3: grace_s: must be a number above 0 seconds; got '1e999'"),
        (MINIMAL + "grace_s: yes\n", "f:3: grace_s: must be a number above 0 seconds; got 'yes'"),
        (MINIMAL + "grace_s: true\n", "f:3: grace_s: must be a number above 0 seconds; got true"),
        (MINIMAL + "buffer: {max_age_s: 0}\n", "f:3: buffer.max_age_s: must be a number above 0 seconds, or null; got 0"),
        (MINIMAL + "engine: {threads: 0777}\n", "f:3: engine.threads: must be a whole number at least 1 and at most 64; got '0777'"),
        (MINIMAL + "http: {enabled: yes}\n", "f:3: http.enabled: must be true or false; got 'yes'"),
        (MINIMAL + "http:\n", "f:3: http: must be a mapping of keys; got nothing"),
        (MINIMAL + "agency: {agency_id: 7}\n", "f:3: agency.agency_id: must be text (put it in quotes); got 7"),
        (MINIMAL + "sinks: [{name: x}]\n", "f:3: sinks[0].kind: must be one of console, jsonl, quakeml, scml, "),
        (MINIMAL + "sinks: [{kind: jsonl, path: a, rotate_mb: 0}]\n", "sinks[0].rotate_mb: must be a number above 0 megabytes; got 0"),
        (MINIMAL + "sinks:\n  - {kind: console}\n  - {kind: console}\n", "f:3: sinks: the name 'console' is given twice"),
        (MINIMAL + "sinks: [{kind: quakeml, folder: /a}, {kind: scml, folder: /a/}]\n", "sinks: 'quakeml' and 'scml' both write to /a;"),
        (MINIMAL + "sinks:\n  - {kind: jsonl, path: a}\n  - {kind: table, path: ./a}\n", "f:3: sinks: 'jsonl' and 'table' both write to /"),
        (MINIMAL + "picker: {stations: {AM.R1: {threshold_s: 1}}}\n", "AM.R1.threshold_s: must be a number above 0 and below 1"),
        (MINIMAL + 'state: {folder: "a\\0b"}\n', "f:3: state.folder: must not hold the character"),
        (MINIMAL + 'agency: {author: "\\uffff"}\n', "f:3: agency.author: must not hold the character"),
        (MINIMAL + '"\\ud800": 1\n', "f:3: a key must be a word"),
        (MINIMAL + "\n\ngrace_s: \a1\n", "f:5: not valid YAML: the character '\\x07' is not allowed"),
        (MINIMAL + "logs: !!python/object/apply:os.system [ls]\n", "f:3: logs: tags are not used here"),
        (MINIMAL + "grace_s: !!int many\n", "f:3: grace_s: 'many' is not what !!int stands for"),
        (MINIMAL + "? [a]\n: 1\n", "f:3: a key must be a word"),
        (MINIMAL + "\tlogs: {}\n", "f:3: not valid YAML"),
        (MINIMAL + "sinks:\n  - kind: rss\n", f"{SINKS[-1].kind_name()}; got 'rss'"),
        (MINIMAL + "sinks:\n  - kind: jsonl\n", "f:4: sinks[0].path: is missing; for example path: var/picks.jsonl"),
        (MINIMAL + "sinks:\n  - kind: jsonl\n    path: a\n    rotat: day\n", "f:6: sinks[0].rotat: unknown key; did you mean 'rotate'?"),
        (MINIMAL + "sinks:\n  - kind: scml\n    folder: a\n    schema_version: '0.13'\n",
         "f:6: sinks[0]: schema_version is no key any more: remove it; version 0.12 is written, which newer SeisComP reads"),
        (MINIMAL + "http: {port: 70000}\n", "f:3: http.port: must be a number at least 0 and at most 65535; got 70000"),
        (MINIMAL + "logs: {level: loud}\n", "f:3: logs.level: must be 'debug', 'info', 'warning' or 'error'; got 'loud'"),
        (MINIMAL + "logs: {}\nlogs: {}\n", "f:4: logs: given twice, first in line 3"),
        ("sources:\n  - server: 'a b'\n", "f:2: sources[0].server: must be HOST, HOST:PORT"),
        ("sources:\n  - server: rs..local\n", "f:2: sources[0].server: must be HOST, HOST:PORT"),
        ("sources:\n  - server: '2001:db8::1'\n", "f:2: sources[0].server: must be HOST, HOST:PORT"),
        ("sources:\n  - server: a\n    streams: [BW.RJOB]\n", "f:3: sources[0].streams[0]: must be NET.STA.LOC.CHA"),
        ("sources:\n  - server: a\n    begin: soon\n", "f:3: sources[0].begin: must be 'now', 'resume' or a time"),
        (MINIMAL + "sinks: [{kind: jsonl, path: a, of: events}]\n", "sinks: jsonl: of: there are no events; write events: {enabled: true}"),
        (MINIMAL + "sinks: [{kind: jsonl, path: a, of: rsam}]\n", "sinks: jsonl: of: there are no amplitudes; write rsam: {enabled: true}"),
        (MINIMAL + "sinks: [{kind: table, path: a, of: rsam, style: gamma}]\n", "style: gamma has columns of picks; write of: picks"),
        (MINIMAL + "sinks: [{kind: nats, of: rsam}]\n", "f:3: sinks[0].of: must be 'picks', 'events' or 'all'; got 'rsam'"),
        (MINIMAL + "sinks: [{kind: table, path: a, of: events}]\n", "f:3: sinks[0].of: must be 'picks' or 'rsam'; got 'events'"),
        (MINIMAL + "sinks: [{kind: anss, path: a, of: events}]\n", "f:3: sinks[0].of: unknown key"),
        (MINIMAL + "events: {s_velocity_km_s: 6}\n", "P is always faster than S: write less than p_velocity_km_s (5.9)"),
        ("sources:\n  - server: a\n  - server: a\n", "the name 'a:18000' is given twice"),
        ("sources:\n  - server: a\n    keepalive_s: 90.0\n", "keepalive_s must be below network_timeout_s"),
        (MINIMAL + "state: {keep_days: 1.0e6}\n", "f:3: state.keep_days: must be a number at least 0 and at most 36500; got"),
        (MINIMAL + "    connect_timeout_s: 1.0e10\n", "f:3: sources[0].connect_timeout_s: must be a number above 0 and at most 1e+09"),
        (MINIMAL + "    max_catch_up_s: 1.0e10\n", "f:3: sources[0].max_catch_up_s: must be a number above 0 and at most 1e+09"),
        ("a: &a [1]\nb: *b\n", "f:2: not valid YAML: found undefined alias"),
        (MINIMAL + "picker: {stations: {RJOB: {threshold_p: 0.5}}}\n", "f:3: picker.stations.RJOB: must be NET.STA, for example AM.R0E05"),
        (MINIMAL + "picker:\n  stations:\n    AM.R1: {}\n    am.r2: {}\n", "f:6: picker.stations.am.r2: must be in upper case: AM.R2"),
        (MINIMAL + 'picker:\n  stations: {"A\\nB": {}}\n', r"f:4: picker.stations.A\nB: must be NET.STA"),
        (MINIMAL + "grace_s: '0.5'\n", "f:3: grace_s: must be a number above 0 seconds; got '0.5'; remove the quotes"),
        (MINIMAL + "engine: {threads: '2'}\n", "got '2'; remove the quotes"),
        (MINIMAL + "http: {enabled: 'true'}\n", "f:3: http.enabled: must be true or false; got 'true'; remove the quotes"),
        (MINIMAL + "    streams: A.B.C.D\n", "f:3: sources[0].streams: must be a list; got 'A.B.C.D'; write ['A.B.C.D']"),
        ("sources:\n  server: localhost\n", "f:1: sources: must be a list; got a mapping; begin each entry with \"- \""),
        ("sources:\n  - server:localhost\n", ("f:2: sources[0]: must be a mapping of keys; got 'server:localhost'; "
         "put a blank behind the colon")),
        (MINIMAL + "    streams: [am.r1.00.ehz]\n", "f:3: sources[0].streams[0]: must be in upper case: 'AM.R1.00.EHZ'"),
        ("sources:\n  - server: a:99999\n", "f:2: sources[0].server: the port must be 1 to 65535; got 'a:99999'"),
    ],
)  # fmt: skip
def test_problems_are_named_with_their_line(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "picker: {settle_s: 12.0}\n",
        "windows: {length_s: 16.0, early_hop_s: 3.5}\n",
        "early: off\nwindows: {early_hop_s: 4.0}\n",
        "buffer: {max_component_wait_s: 30, forget_after_s: 31}\n",
        "buffer: {max_age_s: 89}\n",
        "    begin: resume\nbuffer: {max_age_s: 90}\n",
        "state: {keep_days: 0.01}\n",
        "state: {keep_days: 0, save_interval_s: 86400}\n",
    ],
)
def test_what_just_fits_together_is_read(text: str) -> None:
    parse_config(MINIMAL + text, "f")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL + "grace_s: -1\nwindow: {}\npicker: {settle_s: a}\n", "f")
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
        (b"a: " + b"[" * 5000, "not valid YAML|nested"),
        (BOMB, "more than 100000 values"),
        (b"a: &a {b: *a}\nsources: 1", "alias|nested"),
        (b"a: " + b"9" * 8000, "unknown key"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\tstreams: []\n", r"f:3: .*; a tab stands where YAML takes blanks only"),
        ("    streams:\n\t- A.B..EHZ\n", r"f:4: .*; a tab stands where YAML takes blanks only"),
        ("    begin:\tnow\n", r"f:3: .*; a tab stands where YAML takes blanks only"),
        ("    streams: [*.*.*.*]\n", r"f:3: .*; put text that begins with \* in quotes"),
        ("    streams:\n    - *.B..EHZ\n", r"f:4: .*; put text that begins with \* in quotes"),
        ("    streams: [*abc]\n", r"f:3: .*; put text that begins with ! or \* in quotes"),
        ("    streams: [A.B..EH?]\n", r"f:3: .*; put text with \? in quotes within \[...\], for example "),
        ("    streams: [A?.B..EHZ]\n", r"f:3: .*; put text with \? in quotes within \[...\], for example "),
        ("    streams: [?.B..EHZ]\n", r"f:3: sources\[0\].streams\[0\]: must be text \(put it in quotes\)"),
        ("    streams: [A.B..EH[ZNE]]\n", r"f:3: .*; put text with \[ in quotes within "),
        ("    streams:\n    - [AB].B..EHZ\n", r"f:4: .*; .* put text that begins with \[ or \{ in quotes"),
        ("    name: @a\n", r"f:3: .*; put text that begins with it in quotes"),
        ("    name: a: b\n", r"f:3: .*; put text with ': ' in quotes"),
        ("  - server:b\n    name: a\n", r"f:4: .* put a blank behind each colon"),
        ("    name: 'a\nhttp: {}\n", r"f:3: .*; the quote that begins here is not closed"),
        ("http: {port: 1\nlogs: {}\n", r"f:[34]: .*"),
        ("logs: {level: info\n", r"f:3: .*; the bracket that begins here is not closed"),
        ("   name: a\n", r"f:3: .*; let the keys or entries of one part begin in one column"),
        ("    name=a\nlogs: {}\n", r"f:3: .*; write KEY: VALUE"),
        ("    streams: - A.B..EHZ\n", r"f:3: .*; write each entry in a line of its own"),
    ],
)
def test_what_yaml_does_not_take_is_told_with_what_helps(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"\A{expected}"):
        parse_config(MINIMAL + text, "f")


@pytest.mark.parametrize(
    "text",
    [
        "sources:\n  - server: LONG\n",
        MINIMAL + "sinks:\n  - {kind: webhook, url: LONG}\n",
        MINIMAL + "sinks:\n  - {kind: webhook, url: 'https://a', secret: LONG}\n",
        MINIMAL + "sinks:\n  - {kind: webhook, url: 'https://a', headers: {? LONG : a}}\n",
        MINIMAL + "sinks:\n  - {kind: mqtt, server: a, topic: LONG}\n",
        MINIMAL + "? LONG\n: 1\n",
    ],
)
@pytest.mark.parametrize("letter", ["a", "@", "[", "{", "1"])
def test_long_texts_are_refused_before_anything_looks_at_them(text: str, letter: str) -> None:
    with pytest.raises(ConfigError, match=r"\Af:\d: .* of 60000 letters; at most 8192 are read\Z"):
        parse_config(text.replace("LONG", '"' + letter * 60_000 + '"'), "f")


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL + "sinks:\n  - {kind: KEEP}\n",
        MINIMAL + "sinks:\n  - {kind: jsonl, path: KEEP}\n  - {kind: table, path: KEEP}\n",
        MINIMAL + "? KEEP\n: 1\n",
    ],
)
def test_a_problem_is_told_in_a_line_that_can_be_read(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.replace("KEEP", "a" * 8000), "f")
    assert max(map(len, caught.value.problems)) <= 1010


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("abc@host", "'***@host'"),
        ("a@b@host", "'***@host'"),
        ("http://me:hush@host/a", "'http://***@host/a'"),
        ("say http://me:hush@host/a", "'***@host/a'"),
        ("no-user", "'no-user'"),
    ],
)
def test_what_may_be_a_password_is_not_told(given: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL + f"grace_s: '{given}'\n", "f")
    assert str(caught.value).endswith(f"; got {shown}")


def test_problems_are_told_up_to_a_limit() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL + "more: 1\n" * 1000, "f")
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert caught.value.problems[-1] == f"f: and {999 - MAX_PROBLEMS} more"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r": cannot be read: Is a directory; give a file; xiaod init SERVER writes one\Z"
    ):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r": cannot be read: embedded null"):
        load_config(tmp_path / "a\0b")


def test_relative_paths_stay_as_they_are_and_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode() + b"state: {folder: here}\n")
    assert load_config(path).state.folder == Path("here")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"nowhere\.yaml: cannot be read: No such file or directory; give a file; xiaod init ",
    ):
        load_config(tmp_path / "nowhere.yaml")


def test_times_and_words_that_yaml_would_change_are_text() -> None:
    config = parse_config(
        "sources:\n  - server: no\n    begin: 2026-01-31T12:00:00Z\nagency: {agency_id: on}\n", "f"
    )
    assert (config.sources[0].server, config.sources[0].begin) == ("no:18000", "2026-01-31T12:00:00Z")
    assert config.agency.agency_id == "on"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rs.local", "rs.local:18000"),
        ("seedlink://rs.local:18001/", "rs.local:18001"),
        ("replay:example", "replay:example"),
    ],
)
def test_addresses_in_every_form(text: str, expected: str) -> None:
    assert parse_config(f"sources:\n  - server: {text}\n", "f").sources[0].server == expected


def models_of(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = [model for entry in annotation.model_fields.values() for model in models_of(entry.annotation)]
        return [annotation, *inner]
    return [model for part in get_args(annotation) for model in models_of(part)]


def test_the_reference_names_every_key_with_its_default() -> None:
    config = load_config(REFERENCE)
    defaults = Config.model_validate({"sources": [{"server": "replay:example", "name": "demo"}]})
    for section in ("buffer", "windows", "engine", "picker", "http", "state", "logs", "agency", "grace_s"):
        assert getattr(config, section) == getattr(defaults, section), section
    assert config.sources == defaults.sources
    for model in models_of(Config):
        for key in model.model_fields:
            assert re.search(rf"\b{key}:", TEXT), f"{model.__name__}.{key} is not in config.yaml"
    for sink in config.sinks:
        required = {"kind", "path", "folder"}
        plain = type(sink).model_validate(sink.model_dump(include=required))
        assert sink == plain


def test_the_reference_shows_every_key_of_the_other_sinks_with_its_default() -> None:
    lines = TEXT.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  # - kind:"))
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("  #"))
    entries = yaml.safe_load("\n".join(line[4:] for line in lines[first:last]))
    models = {model.kind_name(): model for model in SINKS}
    assert len(entries) >= 3
    for entry in entries:
        model = models[entry["kind"]]
        assert entry.keys() == model.model_fields.keys()
        fields = model.model_fields.items()
        needed = {key: entry[key] for key, field in fields if field.is_required() or key in model.EXAMPLE}
        assert model.model_validate(entry) == model.model_validate(needed)


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_refused_with_a_line_or_loads(data: st.DataObject) -> None:
    lines = TEXT.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        damage = data.draw(st.sampled_from(["drop", "double", "cut", "insert", "swap"]))
        if damage == "drop":
            lines[place] = ""
        elif damage == "double":
            lines[place] *= 2
        elif damage == "cut":
            lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
        elif damage == "insert":
            at = data.draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:at] + data.draw(st.text(max_size=5)) + lines[place][at:]
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
    try:
        parse_config("".join(lines), "f")
    except ConfigError as error:
        for line in str(error).splitlines():
            assert re.match(r"f:\d+: ", line), line


def test_codes_with_dashes_are_codes() -> None:
    """As FDSN source identifiers allow them."""
    config = parse_config(MINIMAL + "picker: {stations: {XX.AB-1: {threshold_p: 0.5}}}\n", "f")
    assert config.picker.stations["XX.AB-1"].threshold_p == 0.5

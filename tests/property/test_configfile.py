"""Files of any bytes: a configuration or a clear refusal, never another exception."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.config.loader import ConfigError, load_config, parse_config

REFERENCE = (Path(__file__).parents[2] / "config.yaml").read_bytes()
VERSION_1 = b"""\
config_version: 1
sources:
  - server: localhost
windows:
  hop_s: 0.5
engine:
  kind: stateful
  model: micro-stream
picker:
  lookahead_s: 0.5
  threshold_p: 0.3
  stations: {AM.R1: {threshold_s: 0.4}}
"""
PAIR = re.compile(rb"^( *(?:- )?[a-z_]+: )([^#\n]+?)( *(?:#.*)?)$", re.MULTILINE)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "config.yaml"


def loads_or_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    problems: list[str] = []
    try:
        load_config(path)
    except ConfigError as error:
        problems = error.problems or ["no problem is told"]
    for problem in problems:
        assert re.match(rf"{re.escape(str(path))}:(\d+| and)", problem), problem
        number = re.match(r"\d+", problem.removeprefix(f"{path}:"))
        assert number is None or 1 <= int(number.group()) <= content.count(b"\n") + 1


@settings(max_examples=200)
@given(data=st.data())
def test_bytes_put_in_taken_out_or_changed(path: Path, data: st.DataObject) -> None:
    content = bytearray(REFERENCE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content)))
        taken = data.draw(st.integers(0, 8))
        put = data.draw(
            st.binary(max_size=4)
            | st.sampled_from([b"*a", b"&a ", b"!!int ", b"{", b"[", b"'", b"\n- ", b": ", b"<<"])
        )
        content[at : at + taken] = put
    loads_or_is_refused(path, bytes(content))


@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize(("reference", "least"), [(REFERENCE, 40), (VERSION_1, 7)], ids=["now", "version 1"])
def test_values_of_other_keys(path: Path, data: st.DataObject, reference: bytes, least: int) -> None:
    pairs = list(PAIR.finditer(reference))
    assert len(pairs) >= least
    chosen = data.draw(st.sampled_from(pairs))
    other = data.draw(
        st.sampled_from([pair.group(2) for pair in pairs])
        | st.sampled_from(
            [
                b"null",
                b"-1",
                b"0",
                b"1e300",
                b".inf",
                b"010",
                b"2026-01-31",
                b"no",
                b"[]",
                b"{}",
                b'"\\0"',
                b"[[1]]",
            ]
        )
    )
    loads_or_is_refused(path, reference[: chosen.start(2)] + other + reference[chosen.end(2) :])


@settings(max_examples=200)
@given(text=st.text(max_size=200) | st.text("abs:-[]{}&*!|>'\"\\#%@`, \n\t0", max_size=60))
def test_any_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\Af:\d+: "):
        # Nobody names a server by accident.
        parse_config(text, "f")

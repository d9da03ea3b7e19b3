"""What a kind of sink declares is where people look for it: in the manual, in the reference, and among the extras."""

import re
import tomllib
from pathlib import Path

import pytest

from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks import SINKS
from xiaod.config.sinks.kind import SinkModel
from xiaod.config.sinks.login import LoginModel

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "config.yaml").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

every_kind = pytest.mark.parametrize("model", SINKS, ids=[model.kind_name() for model in SINKS])


def what(model: type[SinkModel]) -> str:
    """What the description of ``kind`` says."""
    said = model.model_fields["kind"].description
    assert said, "write a docstring under kind"
    return said.removesuffix(".")


@every_kind
def test_the_manual_has_its_row(model: type[SinkModel]) -> None:
    cells = (f"`{model.kind_name()}`", what(model), model.READERS, model.DELIVERED, model.REPEATED)
    assert f"| {' | '.join(cells)} |" in MANUAL.splitlines(), "put this row into the table of docs/sinks.md"


@every_kind
def test_the_manual_tells_its_stages(model: type[SinkModel]) -> None:
    cells = (f"`{model.kind_name()}`", f"`{model.model_fields['stage'].default}`", model.TOLD_APART)
    assert f"| {' | '.join(cells)} |" in MANUAL.splitlines(), (
        "put this row into the second table of docs/sinks.md"
    )


@every_kind
def test_the_reference_has_its_entry(model: type[SinkModel]) -> None:
    assert re.search(rf"^  (# )?- kind: {model.kind_name()}\b", REFERENCE, re.MULTILINE)


@every_kind
def test_its_extra_exists_and_is_told(model: type[SinkModel]) -> None:
    if model.EXTRA:
        assert model.EXTRA in EXTRAS
        assert f"extra {model.EXTRA}" in what(model)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("password: hush", "username is missing beside the password"),
        ("password_file: a", "username is missing beside the password"),
        ("username: me, password: hush, password_file: a", "password_file and password are both given; give one"),
        ("username: me", "username and password belong together; give both or none"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [model.kind_name() for model in SINKS if issubclass(model, LoginModel)])
def test_a_login_has_a_name_and_one_password(kind: str, keys: str, said: str) -> None:
    where = ", server: a" if kind in ("mqtt", "datalink") else ""
    text = f"sources: [{{server: a}}]\nsinks:\n- {{kind: {kind}{where}, {keys}}}\n"
    if kind == "mqtt" and keys == "username: me":
        # Brokers can know a client by a token as its name.
        parse_config(text, "f")
        return
    with pytest.raises(ConfigError) as told:
        parse_config(text, "f")
    assert f"f:3: sinks[0].{said}" in str(told.value)
    assert "hush" not in str(told.value)


def test_no_two_kinds_have_one_name() -> None:
    names = [model.kind_name() for model in SINKS]
    assert len(set(names)) == len(names)


def test_files_take_final_picks_and_what_is_watched_takes_all() -> None:
    defaults = {model.kind_name(): model.model_fields["stage"].default for model in SINKS}
    final = {"jsonl", "anss", "table", "quakeml", "scml"}
    assert {kind for kind, stages in defaults.items() if stages == "final"} == final
    assert {kind for kind, stages in defaults.items() if stages == "all"} == {
        "console",
        "kafka",
        "datalink",
        "mqtt",
        "nats",
        "notify",
        "webhook",
    }

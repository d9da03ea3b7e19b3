"""What a changed configuration means while the daemon runs."""

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from xiaod.config import Config
from xiaod.config.diff import RELOADED, Changes, ReloadPlan, plan_reload
from xiaod.config.loader import ConfigError

OLD: dict[str, Any] = {
    "sources": [{"name": "a", "server": "a"}, {"name": "b", "server": "b"}],
    "sinks": [{"kind": "jsonl", "path": "x"}, {"kind": "console"}],
}
NOTHING = Changes()
COMMANDS = Path(__file__).parents[3] / "docs" / "commands.md"


def plan(**changes: Any) -> ReloadPlan:
    return plan_reload(Config.model_validate(OLD), Config.model_validate({**OLD, **changes}))


def test_nothing_has_changed() -> None:
    found = plan()
    assert (found.sources, found.sinks, found.needs_restart) == (NOTHING, NOTHING, ())
    assert found.config == Config.model_validate(OLD)


def test_sources_begin_end_and_change() -> None:
    sources = [{"name": "a", "server": "a", "streams": ["BW.*.*.*"]}, {"name": "c", "server": "c"}]
    found = plan(sources=sources)
    assert found.sources == Changes(added=("c",), removed=("b",), changed=("a",))
    assert found.sinks == NOTHING


def test_sinks_change_with_what_signs_them() -> None:
    assert plan(agency={"author": "me"}).sinks == Changes(changed=("jsonl", "console"))
    assert plan(sinks=[{"kind": "jsonl", "path": "y"}]).sinks == Changes(
        removed=("console",), changed=("jsonl",)
    )


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"windows": {"length_s": 25.0}}, ("windows.length_s",)),
        (
            {"windows": {"final_hop_s": 2.0, "early_hop_s": 1.0}},
            ("windows.final_hop_s", "windows.early_hop_s"),
        ),
        ({"early": "off"}, ("early",)),
        ({"engine": {"model": "small", "scout": "a"}}, ("engine.model", "engine.scout")),
        ({"buffer": {"max_age_s": 5.0}}, ("buffer.max_age_s",)),
        ({"http": {"port": 1, "stale_after_s": 5.0}}, ("http.port",)),
        ({"http": {"traces": 1, "page": False}}, ("http.page", "http.traces")),
        ({"state": {"folder": "elsewhere"}}, ("state.folder",)),
    ],
)
def test_what_waits_for_a_restart_is_named_and_stays(changes: dict[str, Any], keys: tuple[str, ...]) -> None:
    found = plan(**changes)
    assert found.needs_restart == keys
    old = Config.model_validate(OLD)
    for section in ("early", "windows", "engine", "buffer"):
        assert getattr(found.config, section) == getattr(old, section)
    assert (found.config.http.port, found.config.state.folder) == (old.http.port, old.state.folder)


def test_the_rest_changes_at_once() -> None:
    found = plan(
        picker={"threshold_p": 0.9, "early_threshold_p": 0.8},
        http={"stale_after_s": 5.0},
        state={"keep_days": 1.0},
        grace_s=3.0,
    )
    assert found.needs_restart == ()
    config = found.config
    assert (config.picker.threshold_p, config.picker.early_threshold_p) == (0.9, 0.8)
    assert (config.http.stale_after_s, config.state.keep_days) == (5.0, 1.0)
    assert config.grace_s == 3.0


def test_new_values_that_do_not_fit_what_waits_for_a_restart_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"picker.final_lookahead_s .*restart .*windows.length_s keeps its value"
    ):
        plan(windows={"length_s": 40.0}, picker={"final_lookahead_s": 15.0})


def test_a_source_with_the_same_server_goes_on_behind_its_last_packet() -> None:
    sources = [{"name": "a", "server": "a", "streams": ["BW.*.*.*"]}, {"name": "b", "server": "elsewhere"}]
    found = plan(sources=sources)
    assert found.sources.changed == ("a", "b")
    assert found.continued == ("a",)


def test_the_documents_name_what_a_reload_changes_and_nothing_else() -> None:
    [table] = re.findall(
        r"\| key \| what a reload does \|\n\|---\|---\|\n((?:\|.*\n)+)", COMMANDS.read_text("utf-8")
    )
    assert table.splitlines() == [f"| `{key}` | {effect} |" for key, effect in RELOADED.items()]


def test_every_key_that_a_reload_changes_exists() -> None:
    config = Config.model_validate(OLD)
    for key in RELOADED:
        attrgetter(key)(config)

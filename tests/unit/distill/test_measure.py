"""What ``--only`` measures anew, and what it keeps."""

from dataclasses import replace

import pytest

from distill.config import ConfigError
from distill.measure import main, renewed
from distill.measurements import Measurements
from distill.report.scoring import Number


def held(code: str, value: float, names: tuple[str, ...]) -> Measurements:
    provenance = {
        "command": "c",
        "made": "2026-01-01T00:00:00Z",
        "code": code,
        "contenders": dict.fromkeys(names, code),
    }
    return Measurements(
        provenance,
        "PhaseNet",
        dict.fromkeys(names, code),
        [Number("accuracy", name, "P", "0.1 s", "f1", value, 10) for name in names],
        costs=[{"model": name, "batch": 1, "times_cheaper": value} for name in names],
        students={name: {"code": code} for name in names if name != "PhaseNet"},
    )


def test_what_is_measured_anew_replaces_itself_alone() -> None:
    old = held("old", 0.5, ("small", "micro", "scout", "gone", "PhaseNet"))
    new = held("new", 0.9, ("small", "PhaseNet"))
    found = renewed(old, new, ["small"])
    assert {one.contender: one.value for one in found.numbers} == {
        "small": 0.9, "micro": 0.5, "scout": 0.5, "PhaseNet": 0.5,
    }  # fmt: skip
    assert {name: facts["code"] for name, facts in found.students.items()} == {
        "small": "new", "micro": "old", "scout": "old",
    }  # fmt: skip
    # The reference was measured again, but what texts show of it is of the whole run.
    assert found.pickers == {"small": "new", "micro": "old", "scout": "old", "PhaseNet": "old"}
    assert {row["model"] for row in found.costs} == {"small", "micro", "scout", "PhaseNet"}
    assert found.provenance["code"] == "old"
    assert found.provenance["renewed"] == {"small": {"made": "2026-01-01T00:00:00Z", "code": "new"}}
    again = renewed(found, held("newer", 0.7, ("micro", "PhaseNet")), ["micro"])
    assert {name: one["code"] for name, one in again.provenance["renewed"].items()} == {
        "small": "new", "micro": "newer",
    }  # fmt: skip


def test_all_pickers_are_measured_on_the_same_noise() -> None:
    def counted(hours: float, names: tuple[str, ...]) -> Measurements:
        numbers = [Number("noise", name, "P", f"{hours:.2f} h", "picks_per_hour", 1.0, 4) for name in names]
        return replace(held(f"{hours}", 0.5, (*names, "scout")), numbers=numbers)

    old = counted(4.0, ("small", "micro", "PhaseNet", "AR-AIC"))
    with pytest.raises(ConfigError, match=r"the noise is 3\.00 h and 4\.00 h: measure those too"):
        renewed(old, counted(3.0, ("small", "PhaseNet")), ["small"])
    # The classic pickers have names of their own.
    found = renewed(
        old, counted(3.0, ("small", "micro", "PhaseNet", "AR-AIC")), ["small", "micro", "PhaseNet", "classic"]
    )
    assert {one.condition for one in found.numbers} == {"3.00 h"}
    assert len(found.numbers) == 4


def test_a_student_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(
        ConfigError,
        match=r"--only: nobody: there are PhaseNet, PhaseNet, SeisBench, classic, micro, scout, small",
    ):
        main(["--only", "nobody"])

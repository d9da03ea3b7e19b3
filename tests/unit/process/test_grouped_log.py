"""Lines about stations: few however many facts there are, and none of them lost."""

import json

import pytest

from xiaod.process.grouped_log import BURST, FEW, LONGEST_S, QUIET_S, REFILL_S, GroupedLog
from xiaod.process.logs import configure_logs, get_logger


class Said:
    """A grouped log with a clock that is set by hand, and the lines it has written."""

    def __init__(self, capsys: pytest.CaptureFixture[str], most: int = 1_000_000) -> None:
        configure_logs("info", "json")
        self.now_s = 0.0
        self._capsys = capsys
        self.log = GroupedLog(get_logger("test"), most, 3600.0, lambda: self.now_s)

    def gap(self, station: str) -> None:
        self.log.tell("info", "station.gap", f"XX.{station}..HH", stream=f"XX.{station}..HHZ")

    def lines(self, after_s: float = 0.0) -> list[dict[str, object]]:
        self.now_s += after_s
        self.log.flush()
        return [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]


def test_few_facts_are_told_one_by_one_once_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys)
    for number in range(FEW):
        said.gap(f"S{number}")
        assert not said.lines(after_s=QUIET_S / 2)
    told = said.lines(after_s=QUIET_S)
    assert [line["stream"] for line in told] == [f"XX.S{number}..HHZ" for number in range(FEW)]
    assert not any("together" in line for line in told)


def test_what_never_pauses_is_told_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys)
    lines: list[dict[str, object]] = []
    while not lines and said.now_s < 2 * LONGEST_S:
        said.gap("A")
        lines = said.lines(after_s=QUIET_S / 2)
    assert said.now_s == LONGEST_S
    assert lines[0]["together"] == LONGEST_S / (QUIET_S / 2)


def test_a_flood_is_a_line_a_minute_and_every_fact_is_in_one_of_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said, told = Said(capsys), list[dict[str, object]]()
    for number in range(36_000):
        said.gap(f"S{number}")
        told += said.lines(after_s=0.1)
    told += said.lines(after_s=REFILL_S)
    assert len(told) <= BURST + 3660 / REFILL_S
    assert sum(int(str(line["together"])) for line in told) == 36_000
    # Who was noisy an hour ago is heard of at once again.
    said.now_s += 3600.0
    said.gap("LATE")
    [late] = said.lines(after_s=QUIET_S)
    assert late["stream"] == "XX.LATE..HHZ"


def test_a_subject_that_falters_has_its_share(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, most=2)
    for _ in range(5):
        said.gap("A")
    assert len(said.lines(after_s=QUIET_S)) == 2
    said.now_s += 3600.0
    said.gap("A")
    [line] = said.lines(after_s=QUIET_S)
    assert line["unlogged"] == 3


def test_groups_and_events_do_not_mix(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys)
    for number in range(2 * FEW):
        for source in ("one", "two"):
            said.log.tell("warning", "record.bad", f"XX.S{number}..HH", source, source=source)
    assert [(line["source"], line["together"], line["level"]) for line in said.lines(after_s=QUIET_S)] == [
        ("one", 2 * FEW, "warning"), ("two", 2 * FEW, "warning"),
    ]  # fmt: skip

"""The line for a person, on a terminal and elsewhere."""

import io
import os
import pty
import sys

import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, early, pick
from xiaod.config.sinks.console import ConsoleConfig
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Channel
from xiaod.sinks.console import COLOURS, EARLY_COLOURS, RESET, ConsoleSink

CONFIG = ConsoleConfig(kind="console")


def test_columns_stand_below_each_other() -> None:
    out = io.StringIO()
    picks = [
        pick(1),
        pick(2, phase="S", snr=1234.5, probability=1.0, channel=Channel("AM", "R0E05", "00", "EHN")),
    ]
    ConsoleSink(CONFIG, AGENCY, out).deliver(picks, NOW_NS)
    first, second = out.getvalue().splitlines()
    for column in ("probability", "snr", "latency", "+-"):
        assert first.index(column) == second.index(column)
    assert "\033" not in out.getvalue()
    assert first.endswith("latency  3.00 s")


def test_each_stage_has_its_word_in_one_column() -> None:
    out = io.StringIO()
    ConsoleSink(CONFIG, AGENCY, out).deliver(STAGES, NOW_NS)
    lines = out.getvalue().splitlines()
    words = ["early", "early", "early", "confirmed", "revised", "withdrawn", "final"]
    assert [line.split()[3] for line in lines] == words
    assert len({line.index(word) for line, word in zip(lines, words, strict=True)}) == 1
    *_, confirmed, revised, withdrawn, final_alone = lines
    assert confirmed.endswith("latency  3.00 s  moved +0.03 s")
    assert revised.endswith("moved -0.25 s")
    assert "moved" not in "".join(lines[:3]) + final_alone
    # At the time of the early pick, and without its values: nothing may be taken for a pick.
    assert withdrawn.split() == [iso_from_ns(early(3).time_ns), "P", "BW.RJOB..EHZ", "withdrawn"]


def test_a_shift_that_rounds_to_nothing_has_no_minus() -> None:
    out = io.StringIO()
    one = pick(early_id="early", outcome="confirmed", moved_s=-0.001)
    ConsoleSink(CONFIG, AGENCY, out).deliver([one], NOW_NS)
    assert out.getvalue().endswith("moved +0.00 s\n")


def test_a_terminal_has_colours() -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:  # noqa: PTH123 - a descriptor
        ConsoleSink(CONFIG, AGENCY, terminal).deliver([pick(), early(1)], NOW_NS)
        bold, plain = os.read(ours, 10_000).decode().splitlines()
        assert f"{COLOURS['P']}P{RESET}" in bold
        assert f"{EARLY_COLOURS['P']}P{RESET}" in plain
    os.close(ours)


def test_a_full_disk_and_a_closed_output_are_errors_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: PTH123, SIM115 - closing it fails, which is what this is about
    sink = ConsoleSink(CONFIG, AGENCY, full)
    with pytest.raises(OSError, match="No space"):
        sink.deliver([pick()], NOW_NS)
    with pytest.raises(OSError, match="No space"):
        full.close()
    with pytest.raises(OSError, match="closed"):
        sink.deliver([pick()], NOW_NS)
    sink.deliver([], NOW_NS)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="closed"):
        ConsoleSink(CONFIG, AGENCY).deliver([pick()], NOW_NS)

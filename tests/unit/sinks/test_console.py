"""The line for a person, on a terminal and elsewhere."""

import io
import os
import pty
import sys

import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, pick
from xiaod.config.sinks.console import ConsoleConfig
from xiaod.domain.types import Channel
from xiaod.sinks.console import COLOURS, RESET, ConsoleSink

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


def test_a_terminal_has_colours() -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:  # noqa: PTH123 - a descriptor
        ConsoleSink(CONFIG, AGENCY, terminal).deliver([pick()], NOW_NS)
        assert f"{COLOURS['P']}P{RESET}" in os.read(ours, 10_000).decode()
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

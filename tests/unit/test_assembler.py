"""What the log says of a station that falters: enough, and not a line for each record."""

import json

import numpy as np
import pytest

from xiaod.assembler import STATION_LINES, Assembler
from xiaod.board import Board
from xiaod.buffer import BufferSettings
from xiaod.logs import configure_logs
from xiaod.metrics import Metrics
from xiaod.records import Channel, Segment
from xiaod.timebase import NS_PER_S

RECORDS = 10 * STATION_LINES
LENGTH_NS = 4 * NS_PER_S


def segment(code: str, number: int) -> Segment:
    samples = np.full(400, number, np.int32)
    return Segment(Channel("BW", "RJOB", "", code), number * LENGTH_NS, 100.0, samples, source="here")


def test_a_station_that_falters_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    board, metrics, now_ns = Board(60 * NS_PER_S), Metrics(), NS_PER_S
    assembler = Assembler(BufferSettings(), metrics, board, lambda: now_ns)
    for number in range(RECORDS):
        now_ns += LENGTH_NS
        # Every other record is lost, and what comes between is from a component that has no row.
        assembler.take(segment("EHU" if number % 2 else "EHZ", number), now_ns)
        assembler.expire(now_ns)
    [entry] = board
    assert entry.gaps > 2 * STATION_LINES
    said = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert {event: said.count(event) for event in said} == {
        "record.component": STATION_LINES, "station.gap": STATION_LINES,
    }  # fmt: skip

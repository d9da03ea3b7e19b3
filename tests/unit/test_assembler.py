"""What the log says of a station that falters: enough, and not a line for each record."""

import json

import numpy as np
import pytest

from xiaod.assembler import STATION_LINES, Assembler
from xiaod.board import Board
from xiaod.buffer import BufferSettings
from xiaod.logs import configure_logs
from xiaod.metrics import Metrics
from xiaod.records import BadRecord, Channel, Segment
from xiaod.timebase import NS_PER_S

RECORDS = 10 * STATION_LINES
LENGTH_NS = 4 * NS_PER_S


def segment(code: str, number: int, station: str = "RJOB") -> Segment:
    samples = np.full(400, number, np.int32)
    return Segment(Channel("BW", station, "", code), number * LENGTH_NS, 100.0, samples, source="here")


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
    assembler.flush_log(everything=True)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["event"]: line["together"] for line in said} == {
        "record.component": STATION_LINES, "station.gap": STATION_LINES,
    }  # fmt: skip
    assert len(said) == 2


def test_a_gap_of_hundreds_of_stations_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    board, now_ns = Board(60 * NS_PER_S), NS_PER_S
    assembler = Assembler(BufferSettings(), Metrics(), board, lambda: now_ns)
    stations = [f"S{number:03}" for number in range(300)]
    for number in (0, 3):
        for station in stations:
            for code in ("EHZ", "EHN", "EHE"):
                assembler.take(segment(code, number, station), now_ns)
        now_ns += 10 * NS_PER_S
        assembler.expire(now_ns)
    assert sum(entry.gaps for entry in board) == 900
    assembler.flush_log(everything=True)
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["gap_s"]) == ("station.gap", 8.0)
    assert (line["together"], line["stations"]) == (900, 300)
    assert {name.split(".")[1] for name in line["some"]} <= set(stations)


def test_a_record_that_cannot_be_used_is_named_however_many_kinds_there_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("info", "json")
    assembler = Assembler(BufferSettings(), Metrics(), Board(60 * NS_PER_S), lambda: 0)
    for number in range(2000):
        assembler.take(BadRecord("here", "decode", "damaged", f"XX.S{number:04}..HHZ"), 0)
    assembler.flush_log(everything=True)
    for _ in range(2):
        assembler.take(BadRecord("here", "decode", "damaged", "XX.NEW..HHZ"), 0)
    assembler.flush_log(everything=True)
    first, last = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["together"], first["stations"], first["stream"]) == (2000, 2000, "XX.S0000..HHZ")
    assert (last["stream"], "together" in last) == ("XX.NEW..HHZ", False)

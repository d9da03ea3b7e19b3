"""Inputs that were once picked wrongly, most of them silently: see ``tests/cases/README.md``. Each is picked as it is and as an archive."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import write_event
from xiaod.cli.main import main

CASES = Path(__file__).parents[1] / "cases"
Onset = tuple[str, float]
"""Phase and second of the hour."""
EVENT: list[Onset] = [("P", 1207.71), ("S", 1208.69)]
"""ObsPy's example event, 2009-08-24T00:20."""
SEAM: list[Onset] = [("P", 1232.97)]
"""Where some inputs begin their noise anew, behind the event."""
LATER: list[Onset] = [("P", 4.72), ("S", 5.69)]
"""The event dated to the beginning of an hour."""
Fact = tuple[str, dict[str, Any]]
"""A line in the log: its event, and some of what it says."""


@dataclass(frozen=True)
class Case:
    """What is right."""

    onsets: Sequence[Onset] = (*EVENT, *SEAM)
    components: str = "ZNE"
    said: Fact | None = None
    archive_said: Fact | None = None


def too_little(data_s: float, longest_s: float) -> Case:
    facts = {"instrument": "XX.A01..EH", "data_s": data_s, "longest_s": longest_s, "needed_s": 20.5}
    fact = ("pick.too_little_data", facts)
    return Case([], said=fact, archive_said=fact)


EXPECTED = {
    "arch21": Case(
        said=("station.time_jump", {"stream": "XX.A01..EHZ", "stop_ns": 4_122_749_954_230_000_000}),
        archive_said=("pick.too_little_data", {"instrument": "XX.A01..EH", "first_day": "2100-08-24"}),
    ),
    # The record is missing where it should be, so P is on the horizontals.
    "arch70": Case(
        [*EVENT, *LATER],
        said=("station.time_jump", {"stream": "XX.A01..EHZ", "start_ns": -263_691_579_490_000_000}),
        archive_said=("pick.too_little_data", {"instrument": "XX.A01..EH", "first_day": "1961-08-24"}),
    ),
    "dash.mseed": Case(EVENT),
    # Without horizontals S is seen later.
    "dead.mseed": Case([EVENT[0], ("S", 1208.75), *SEAM], components="Z--"),
    "flip.mseed": Case(
        said=("record.bad", {"reason": "integrity", "stream": "FDSN:XX_A01__E_H_Z"}),
        archive_said=("archive.damaged", {"file": str(CASES / "flip.mseed")}),
    ),
    "flutter20.mseed": Case([("P", 1207.58), ("S", 1208.55), ("P", 1232.91)]),
    "holes15.mseed": too_little(100.67, 13.81),
    "pre1970.mseed": Case(LATER),
    "r19.9998.mseed": Case([("P", 1207.58), ("S", 1208.55), ("P", 1232.91)]),
    "short.mseed": too_little(15.0, 15.0),
    "si32.mseed": Case(EVENT),
}


@pytest.mark.parametrize("as_archive", [False, True], ids=["plain", "archive"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_case_is_picked_right(name: str, as_archive: bool, capfd: pytest.CaptureFixture[str]) -> None:
    case, options = EXPECTED[name], ["--workers", "1"] if as_archive else []
    assert main(["pick", str(CASES / name), "--no-progress", *options]) == 0
    out, err = capfd.readouterr()
    picks = sorted(map(json.loads, out.splitlines()), key=lambda pick: str(pick["time"])[11:])
    onsets = [(pick["phase"], 60 * float(pick["time"][14:16]) + float(pick["time"][17:-1])) for pick in picks]
    assert [phase for phase, _ in onsets] == [phase for phase, _ in case.onsets]
    assert [second for _, second in onsets] == pytest.approx([second for _, second in case.onsets], abs=0.04)
    if name != "arch70":
        assert {pick["components"] for pick in picks} <= {case.components}
    assert all(pick["snr"] > 1 and pick["amplitude"] > 0 for pick in picks)
    fact = case.archive_said if as_archive else case.said
    lines = [json.loads(line) for line in err.splitlines()]
    if fact is None:
        assert lines == []
    else:
        event, facts = fact
        told = [line for line in lines if line["event"] == event]
        assert len(told) == 1, lines
        assert {key: told[0][key] for key in facts} == facts


def one_second_early(record: bytearray) -> None:
    hour_at = 24
    hour, minute, second = record[hour_at : hour_at + 3]
    assert second
    record[hour_at : hour_at + 3] = bytes((hour, minute, second - 1))


def half_a_century_later(record: bytearray) -> None:
    struct.pack_into(">H", record, 20, 2059)


def of_no_rate(record: bytearray) -> None:
    struct.pack_into(">hh", record, 32, 0, 1)


def at_10_hz(record: bytearray) -> None:
    struct.pack_into(">hh", record, 32, 10, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_second_early, "record.contradicting"),
        (half_a_century_later, "station.time_jump"),
        (at_10_hz, "record.rate"),
        (of_no_rate, "record.bad"),
    ],
)
def test_one_record_with_a_wrong_header_takes_nothing_else_away(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], change: Callable[[bytearray], None], said: str
) -> None:
    """Of Z, long before the event: its picks are those of the whole data, and the record is named, by archives as well."""
    path = tmp_path / "event.mseed"
    write_event(path, quiet_s=60)
    options = ["pick", str(path), "--no-progress"]
    assert main(options) == 0
    whole = capfd.readouterr().out
    assert {json.loads(line)["components"] for line in whole.splitlines()} == {"ZNE"}
    content = bytearray(path.read_bytes())
    places = [at for at in range(0, len(content), 512) if content[at + 15 : at + 18] == b"EHZ"]
    record = content[places[4] : places[4] + 512]
    change(record)
    content[places[4] : places[4] + 512] = record
    path.write_bytes(content)
    for more in ([], ["--workers", "1"]):
        assert main([*options, *more]) == 0
        out, err = capfd.readouterr()
        assert out == whole
        events = {json.loads(line)["event"] for line in err.splitlines()}
        # Of another day, where there are no windows, or damage to a file: in an archive's words.
        in_archive = {"record.bad": "archive.damaged", "station.time_jump": "pick.too_little_data"}
        assert (in_archive.get(said, said) if more else said) in events


def test_every_case_is_tried() -> None:
    assert {path.name for path in CASES.iterdir()} - {"README.md", "epochs.xml"} == EXPECTED.keys()

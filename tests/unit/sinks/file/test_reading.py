"""What the manual says of reading the files is run, one example after the other, on picks whose codes look like numbers and nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import obspy
import pandas as pd
import pytest

from tests.notebooks import DOCS, examples, run
from xiaod.config import AgencyConfig
from xiaod.domain.onsets import settled
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Channel, Pick
from xiaod.sinks.file.formats import FORMATS, render

P = Pick(
    "20231114.221320.00-P-NA.007.00.HH-micro-0.1.0",
    Channel("NA", "007", "00", "HHZ"),
    *("P", 1_700_000_000_010_123_000, 0.05, 0.87, 12.5, 4321.0, "ZNE", "micro-0.1.0", "0" * 64),
)
EARLY = replace(P, id=f"{P.id}-early", stage="early")
# On the second, where a time is written without need for a fraction; and nothing is known of its strength.
S = replace(P, id="20231114.221325.00-S-BW.RJOB..HH-micro-0.1.0", channel=Channel("BW", "RJOB", "", "HHN"))
S = replace(S, phase="S", time_ns=1_700_000_005_000_000_000, snr=math.nan, amplitude=math.nan)
PICKS = [settled(P, EARLY), S]
TIMES = [iso_from_ns(pick.time_ns) for pick in PICKS]
MOMENTS = [pd.Timestamp(text) for text in TIMES]


def of_jsonl(names: dict[str, Any]) -> None:
    assert [pick["id"] for pick in names["final"]] == [pick.id for pick in PICKS]
    assert [pick["location"] for pick in names["picks"]] == ["00", ""]


def of_csv(names: dict[str, Any]) -> None:
    read = names["picks"]
    assert read.network.tolist() == ["NA", "BW"]
    assert read.station.tolist() == ["007", "RJOB"]
    assert read.location.tolist() == ["00", ""]
    assert read.time.tolist() == MOMENTS
    assert read.probability.tolist() == [0.87, 0.87]
    assert read.moved_s.tolist()[0] == 0.0
    assert read[["snr", "amplitude", "moved_s"]].isna().to_numpy().tolist() == [[False] * 3, [True] * 3]
    assert read.outcome.tolist() == ["confirmed", ""]


def of_quakeml(names: dict[str, Any]) -> None:
    assert [str(pick.time) for pick in names["picks"]] == TIMES
    assert [pick.waveform_id.get_seed_string() for pick in names["picks"]] == [
        "NA.007.00.HHZ",
        "BW.RJOB..HHN",
    ]


def of_scml(names: dict[str, Any]) -> None:
    assert names["times"] == TIMES
    assert names["streams"] == ["NA.007.00.HHZ", "BW.RJOB..HHN"]
    assert len(obspy.read_events("picks.scml")) == 0


def of_anss(names: dict[str, Any]) -> None:
    assert [pick.id for pick in names["picks"]] == [pick.id for pick in PICKS]
    assert names["picks"][0].channel.properties.location == "00"


def of_associators(
    station: str, time: str, zone: Callable[[Any], pd.Timestamp]
) -> Callable[[dict[str, Any]], None]:
    def check(names: dict[str, Any]) -> None:
        read = names["picks"]
        names_of = ["NA.007.00", "BW.RJOB."]
        assert [text.removesuffix(".HH") for text in read[station]] == names_of
        assert [zone(moment) for moment in read[time]] == MOMENTS
        assert read.pick_id.tolist() == [pick.id for pick in PICKS]

    return check


def in_utc(moment: Any) -> pd.Timestamp:
    return pd.Timestamp(moment).tz_localize("UTC")


def from_seconds(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(round(seconds * 1e6) * 1000, tz="UTC")


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "jsonl": of_jsonl,
    "csv": of_csv,
    "quakeml": of_quakeml,
    "scml": of_scml,
    "anss": of_anss,
    "pyocto": of_associators("station", "time", from_seconds),
    "gamma": of_associators("id", "timestamp", in_utc),
    "quakeflow": of_associators("station_id", "phase_time", in_utc),
}


def test_each_format_is_read_as_the_manual_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manual = (DOCS / "sinks.md").read_text(encoding="utf-8")
    section = manual.partition("## Reading the files in Python\n")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    found = [code for code, _ in examples(section)]
    for code, name in zip(found, CHECKS, strict=True):
        path = Path(f"picks.{name}")
        assert f'"{path}"' in code
        path.write_bytes(render(name, PICKS, AgencyConfig()))
        run(code, names)
        CHECKS[name](names)
    assert CHECKS.keys() == set(FORMATS)

"""The short form of the soak: hours of data, every kind of fault, the same account at the end."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.end_to_end.harness import wait_until
from xiaod.process.exit_status import ExitCode
from xiaod.tools.soak.report import Sample, SoakReport
from xiaod.tools.soak.run import HARD, SOFT, SoakSettings, soak


def test_hours_of_data_with_every_fault(tmp_path: Path) -> None:
    settings = SoakSettings(stations=2, hours=9.0, hop_s=1.0, faults=18)
    said: list[str] = []
    found = asyncio.run(soak(settings, tmp_path / "soak", said.append))
    assert found.failures == [], found.text()
    assert found.expected_picks == 2 * 54 * 2
    assert sum(found.faults.values()) >= 12
    assert {"kill -9", "cut", "freeze", "refuse"} <= set(found.faults) <= {*HARD, *SOFT}
    assert found.accounted["good"] > 10_000
    assert found.accounted["duplicate"] > 0
    assert found.accounted["bad: decode"] > 0
    assert "as promised" in found.text()


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "soak"
    log = folder / "log.jsonl"
    command = [
        sys.executable,
        "-m",
        "xiaod",
        "soak",
        "--hours",
        "9",
        "--stations",
        "1",
        "--folder",
        str(folder),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(
                lambda: log.exists() and "service.started" in log.read_text(encoding="utf-8"), "the daemon"
            )
        finally:
            process.terminate()
        assert process.wait(60) == ExitCode.TERMINATED
    lines = log.read_text(encoding="utf-8").splitlines()
    [started] = [event for event in map(json.loads, lines) if event["event"] == "service.started"]
    with pytest.raises(ProcessLookupError):
        os.kill(started["pid"], 0)


SAMPLES = [Sample(float(at), at * 86_400.0, 200.0 + 0.1 * at, 15, 8) for at in range(5)]
GOOD = SoakReport(
    stations=1, hours=1.0, wall_s=1.0, faults=Counter(cut=1), samples=SAMPLES, packets=10, accounted={"good": 9, "late": 1},
    expected_picks=4, missing=0, unexpected=0, twice=0, sink_missing=0, status=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("worse", "complaint"),
    [
        (replace(GOOD, missing=1), "1 picks are missing"),
        (replace(GOOD, unexpected=1), "not expected"),
        (replace(GOOD, twice=2), "twice"),
        (replace(GOOD, sink_missing=3), "sink"),
        (replace(GOOD, status=3), "status 3"),
        (replace(GOOD, packets=11), "11 packets received, 10 accounted for"),
        (replace(GOOD, samples=[], missing=1), "1 picks are missing"),
        (
            replace(GOOD, samples=[replace(s, resident_mb=200 + 3 * s.wall_s) for s in SAMPLES]),
            "grew by 12.0 MB",
        ),
        (
            replace(GOOD, samples=[replace(s, files=15 + int(s.wall_s)) for s in SAMPLES]),
            "files grew from 15 to 19",
        ),
        (replace(GOOD, samples=[replace(s, threads=8 + int(s.wall_s)) for s in SAMPLES]), "threads grew"),
    ],
)
def test_what_is_not_as_promised_is_said(worse: SoakReport, complaint: str) -> None:
    assert GOOD.failures == []
    assert any(complaint in failure for failure in worse.failures)


def test_a_short_run_without_failures_is_not_decided() -> None:
    short = replace(GOOD, samples=[], faults=Counter())
    assert (short.failures, short.decided, GOOD.decided) == ([], False, True)
    first, *_, last = short.text().splitlines()
    assert first.endswith(" min: no faults")
    assert last.startswith("not decided: too short to measure memory")
    assert GOOD.text().splitlines()[-1] == "as promised"

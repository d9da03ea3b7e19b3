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

from tests.contract.test_sinks import pick
from tests.end_to_end.harness import wait_until
from xiaod.domain.onsets import settled, withdrawal
from xiaod.domain.timegrid import NS_PER_S
from xiaod.process.exit_status import ExitCode
from xiaod.tools.soak.report import EarlyPicks, Sample, SoakReport, followed
from xiaod.tools.soak.run import HARD, SOFT, SoakSettings, soak


def test_hours_of_data_with_every_fault(tmp_path: Path) -> None:
    settings = SoakSettings(stations=2, hours=12.0, faults=18)
    said: list[str] = []
    found = asyncio.run(soak(settings, tmp_path / "soak", said.append))
    assert found.failures == [], found.text()
    assert found.expected_picks == 2 * 72 * 2
    assert sum(found.faults.values()) >= 12
    assert {"kill -9", "cut", "freeze", "refuse"} <= set(found.faults) <= {*HARD, *SOFT}
    # An early P and an early S of each event, unless the final one was there before it.
    assert found.early.picks > found.expected_picks / 2
    assert found.early.confirmed + found.early.revised + found.early.withdrawn == found.early.picks
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
        (
            replace(GOOD, early=EarlyPicks(9, unsettled=2)),
            "2 early picks are neither confirmed, revised nor withdrawn, of 9",
        ),
        (replace(GOOD, early=EarlyPicks(9, twice=1)), "1 early picks have more than one outcome"),
        (replace(GOOD, early=EarlyPicks(9, unknown=1)), "1 outcomes are of early picks that are not there"),
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


def test_what_became_of_each_early_pick_is_counted() -> None:
    early = [
        replace(pick(), id=f"{name}-early", time_ns=number * NS_PER_S, stage="early")
        for number, name in enumerate("abcdef")
    ]
    a, b, c, d, e, _ = early
    finals = [
        settled(replace(one, id=one.id[0], stage="final"), one) for one in (a, c, d, replace(e, id="z-early"))
    ]
    finals[1] = settled(replace(finals[1], time_ns=c.time_ns + NS_PER_S // 2), c)
    # Neither e, which is in time, nor f, which is not, is followed by anything; d by two, and one that is not there by one.
    found = followed([*early, *finals, withdrawal(b), withdrawal(d)], until_ns=5 * NS_PER_S)
    assert found == EarlyPicks(5, confirmed=2, revised=1, withdrawn=2, unsettled=1, twice=1, unknown=1)
    assert len(found.failures) == 3

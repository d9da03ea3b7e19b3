"""A station-day offline: ``xiaod pick`` over a file, and PhaseNet by ``classify`` of SeisBench over the same file, if it is installed.

CPU time is that of whole processes, as the kernel counts it. What a program takes for a minute of data is given too: nearly all of that
is its start.

>>> compared(10.0, 2.0, 30.0, 6.0)
0.333
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xiaod.tools.bench.daemon import BenchError
from xiaod.tools.bench.others import has_phasenet
from xiaod.tools.bench.station import day_records

AFTERSHOCKS_S = 120.0
"""Between two events, as on the first day after a large earthquake."""
EVERY_S = {"quiet": None, "aftershocks": AFTERSHOCKS_S}
MINUTE_H = 1 / 60
XIAOD, PHASENET = "xiaod pick", "PhaseNet (SeisBench classify)"


@dataclass(frozen=True, slots=True)
class _Run:
    """What one process took."""

    cpu_s: float
    wall_s: float
    picks: int


def offline_costs(
    hours: float, model: str, say: Callable[[str], None] = lambda _: None, others: bool = True
) -> list[dict[str, Any]]:
    """Cost of so many hours of one station, for each kind of data and each program.

    Returns:
        Rows with ``program``, ``data``, ``hours``, ``cpu_s``, ``start_cpu_s``, ``wall_s`` and ``picks``; those of xiaod also
        with ``of_phasenet``, its CPU time in parts of PhaseNet's, both without their starts.

    Raises:
        BenchError: when a program fails.
    """
    programs: dict[str, Callable[[Path], Sequence[str]]] = {
        XIAOD: lambda path: ("xiaod", "pick", str(path), "--model", model, "--format", "csv", "--no-progress")
    }
    if others and has_phasenet():
        programs[PHASENET] = lambda path: ("xiaod.tools.bench.others", str(path))
    rows = []
    with TemporaryDirectory() as scratch:
        minute, file = Path(scratch) / "minute.mseed", Path(scratch) / "day.mseed"
        minute.write_bytes(b"".join(day_records(MINUTE_H, None)))
        starts = {name: _run(command(minute)).cpu_s for name, command in programs.items()}
        for data, every_s in EVERY_S.items():
            file.write_bytes(b"".join(day_records(hours, every_s)))
            taken = {}
            for name, command in programs.items():
                say(f"{hours:g} h of a station, {data}: {name}")
                taken[name] = _run(command(file))
            for name, one in taken.items():
                row: dict[str, Any] = {
                    "program": name,
                    "data": data,
                    "hours": hours,
                    "cpu_s": round(one.cpu_s, 2),
                    "start_cpu_s": round(starts[name], 2),
                    "wall_s": round(one.wall_s, 2),
                    "picks": one.picks,
                }
                if name == XIAOD and PHASENET in taken:
                    row["of_phasenet"] = compared(
                        one.cpu_s, starts[XIAOD], taken[PHASENET].cpu_s, starts[PHASENET]
                    )
                rows.append(row)
    return rows


def compared(cpu_s: float, start_s: float, other_s: float, other_start_s: float) -> float | None:
    """CPU time in parts of another's, both without their starts; None where the other has taken no more than its start."""
    return round((cpu_s - start_s) / (other_s - other_start_s), 3) if other_s > other_start_s else None


def _run(arguments: Sequence[str]) -> _Run:
    begun = time.monotonic()
    process = subprocess.Popen(  # noqa: S603  this very program
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None  # noqa: S101  it is piped
    with process.stdout as stdout:
        lines = stdout.read().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(arguments)} ended with status {process.returncode}")
    # PhaseNet says a number, xiaod a line for each pick below the head of the table.
    picks = int(lines[-1]) if arguments[0] != "xiaod" else len(lines) - 1
    return _Run(used.ru_utime + used.ru_stime, time.monotonic() - begun, picks)

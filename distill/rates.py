"""Picks on continuous data.

MiniSEED is picked by an offline run of the daemon and by SeisBench's ``classify``. The data contain earthquakes, so a student's picks
are compared with those of the teacher at a low threshold.

>>> unconfirmed([10.0, 50.0], [10.3, 90.0])
1
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.datasets.miniseed import read_miniseed
from distill.progress import SILENT, Progress
from xiaod.domain.timegrid import NS_PER_S
from xiaod.process.file_tree import files_below

NEAR_S = 0.5
TEACHER_THRESHOLD = 0.3
LOW_THRESHOLD = 0.1
"""Probability from which a pick of the teacher confirms one of the student."""

Timed = Mapping[tuple[str, str], Sequence[tuple[float, float]]]
"""Station and phase -> seconds since 1970 and probability of each pick."""


def unconfirmed(picks_s: Sequence[float], others_s: Sequence[float]) -> int:
    """Count picks without one of the others nearby."""
    others = np.sort(np.asarray(others_s, np.float64))
    if not len(others):
        return len(picks_s)
    places = np.searchsorted(others, picks_s)
    before = np.abs(others[np.clip(places - 1, 0, len(others) - 1)] - picks_s)
    after = np.abs(others[np.clip(places, 0, len(others) - 1)] - picks_s)
    return int((np.minimum(before, after) > NEAR_S).sum())


def student_picks(folder: Path, model: Path) -> Timed:
    """Picks of a student through the daemon's offline run."""
    from xiaod.pipeline.offline import offline_config, picks_of

    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for pick in picks_of([folder], offline_config(None, str(model))):
        station = f"{pick.channel.network}.{pick.channel.station}"
        found.setdefault((station, pick.phase), []).append((pick.time_ns / NS_PER_S, pick.probability))
    return found


def teacher_picks(folder: Path, model: Any) -> Timed:
    """Picks of a SeisBench model through its ``classify``, with a low threshold."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    stream = read_miniseed(files_below(folder))
    stream.merge(-1)
    for pick in model.classify(stream, P_threshold=LOW_THRESHOLD, S_threshold=LOW_THRESHOLD).picks:
        network, station, *_ = pick.trace_id.split(".")
        found.setdefault((f"{network}.{station}", pick.phase), []).append(
            (pick.peak_time.timestamp, pick.peak_value)
        )
    return found


def compared(student: Timed, teacher: Timed, station_hours: float) -> dict[str, Any]:
    """Rates of both, and of picks that the other does not have."""
    result: dict[str, Any] = {"station_hours": round(station_hours, 2)}
    for phase in ("P", "S"):
        stations = {station for station, of in [*student, *teacher] if of == phase}
        ours = {station: [time_s for time_s, _ in student.get((station, phase), ())] for station in stations}
        low = {station: [time_s for time_s, _ in teacher.get((station, phase), ())] for station in stations}
        sure = {
            station: [
                time_s for time_s, sure in teacher.get((station, phase), ()) if sure >= TEACHER_THRESHOLD
            ]
            for station in stations
        }
        counts = {
            "student": sum(map(len, ours.values())),
            "teacher": sum(map(len, sure.values())),
            "student_unconfirmed": sum(unconfirmed(ours[station], low[station]) for station in stations),
            "teacher_not_picked_by_student": sum(
                unconfirmed(sure[station], ours[station]) for station in stations
            ),
        }
        result[phase] = counts | {
            f"{name}_per_hour": round(count / station_hours, 2) for name, count in counts.items()
        }
    return result


def continuous_rates(
    root: Path, students: Mapping[str, Callable[[Path], Timed]], model: Any, progress: Progress = SILENT
) -> dict[str, Any]:
    """Compare students with a SeisBench model on every folder that ``index.csv`` lists.

    Raises:
        FileNotFoundError: when the index does not exist.
    """
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    results: dict[str, Any] = {}
    for entry in progress.over(entries, "continuous data", len(entries)):
        folder = root / entry["name"]
        hours = float(entry["channel_hours"]) * int(entry["stations"]) / int(entry["channels"])
        teacher = teacher_picks(folder, model)
        results[entry["name"]] = {
            name: compared(pick(folder), teacher, hours) for name, pick in students.items()
        }
    return results

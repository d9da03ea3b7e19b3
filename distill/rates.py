"""How often pickers pick where there is nothing, and what they pick on continuous data.

Noise: records of the training corpus that hold noise; every pick counts as false. Continuous: miniSEED through the daemon's own
offline run; earthquakes are in it, so picks are also held against those that the teacher makes with a low threshold.

>>> unconfirmed([10.0, 50.0], [10.3, 90.0])
1
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from distill.corpus import Record
from distill.scores import RATE_HZ
from xiaod.filetree import files_below

NEAR_S = 0.5
TEACHER_THRESHOLD = 0.3
LOW_THRESHOLD = 0.1
"""From which probability the teacher confirms."""
MIN_TRACE_S = 31.0

Timed = Mapping[tuple[str, str], Sequence[tuple[float, float]]]
"""Station and phase -> seconds since 1970 and probability of each pick."""


def unconfirmed(picks_s: Sequence[float], others_s: Sequence[float]) -> int:
    """Count picks that none of the others is near."""
    others = np.sort(np.asarray(others_s, np.float64))
    if not len(others):
        return len(picks_s)
    places = np.searchsorted(others, picks_s)
    before = np.abs(others[np.clip(places - 1, 0, len(others) - 1)] - picks_s)
    after = np.abs(others[np.clip(places, 0, len(others) - 1)] - picks_s)
    return int((np.minimum(before, after) > NEAR_S).sum())


def classify_rates(
    model: Any, records: Sequence[Record], threshold: float = TEACHER_THRESHOLD
) -> dict[str, float]:
    """Picks per station-hour of noise of a SeisBench model through its ``classify``."""
    from obspy import Stream, Trace

    counts = {"P": 0, "S": 0}
    for record in records:
        stream = Stream(
            [
                Trace(
                    row.astype(np.float32),
                    {"network": "XX", "station": "A", "channel": f"HH{letter}", "sampling_rate": RATE_HZ},
                )
                for letter, row in zip("ZNE", record.waves, strict=True)
            ]
        )
        for pick in model.classify(stream, P_threshold=threshold, S_threshold=threshold).picks:
            counts[pick.phase] += 1
    hours = sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600
    return {phase: round(count / hours, 2) if hours else 0.0 for phase, count in counts.items()}


def student_picks(folder: Path, model: Path, config: Path | None = None) -> Timed:
    """Picks of a student through ``xiaod pick``."""
    from xiaod.offline import pick_files

    with TemporaryDirectory() as scratch:
        output = Path(scratch) / "picks.jsonl"
        pick_files([folder], config, str(model), "jsonl", output, progress=False)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for line in output.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            time_s = np.datetime64(entry["time"].rstrip("Z")).astype("datetime64[us]").astype(float) / 1e6
            station = f"{entry['network']}.{entry['station']}"
            found.setdefault((station, entry["phase"]), []).append((time_s, entry["probability"]))
    return found


def teacher_picks(folder: Path, model: Any) -> Timed:
    """Picks of a SeisBench model through its ``classify``, with a low threshold."""
    import obspy

    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    stream = obspy.Stream()
    for path in files_below(folder):
        stream += obspy.read(path)
    stream.merge(-1)
    for pick in model.classify(stream, P_threshold=LOW_THRESHOLD, S_threshold=LOW_THRESHOLD).picks:
        network, station, *_ = pick.trace_id.split(".")
        found.setdefault((f"{network}.{station}", pick.phase), []).append(
            (pick.peak_time.timestamp, pick.peak_value)
        )
    return found


def compared(student: Timed, teacher: Timed, station_hours: float) -> dict[str, Any]:
    """Rates of both, and how much each has that the other has not."""
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
    root: Path, students: Mapping[str, Callable[[Path], Timed]], model: Any
) -> dict[str, Any]:
    """Compare students with a SeisBench model on every folder that ``index.csv`` lists.

    Raises:
        FileNotFoundError: when there is no index.
    """
    with (root / "index.csv").open(encoding="utf-8", newline="") as file:
        entries = list(csv.DictReader(file))
    results: dict[str, Any] = {}
    for entry in entries:
        folder = root / entry["name"]
        hours = float(entry["channel_hours"]) * int(entry["stations"]) / int(entry["channels"])
        teacher = teacher_picks(folder, model)
        results[entry["name"]] = {
            name: compared(pick(folder), teacher, hours) for name, pick in students.items()
        }
    return results

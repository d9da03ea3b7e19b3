"""The model card: what a shipped student is, written from the run, the data table and the evaluation.

>>> row("a", 1, 0.5)
'| a | 1 | 0.5 |'
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.config import TrainConfig
from distill.corpus import held_out_stations

ATTRIBUTION = ("source", "licence", "data_attribution")
EXAMPLE_START = "2009-08-24T00:20:03"
"""Start of ObsPy's example event."""
COLUMNS = ("P 0.1 s", "P 0.5 s", "S 0.1 s", "S 0.5 s")
"""Scores that are shown: phase and tolerance."""

TEMPLATE = """# {name} {version}

A first student: a small U-Net (`models/small_phasenet.py`) that gives the probability of noise, P and S at each
sample of 10 s of three components (Z N E, 100 Hz), taught by PhaseNet. It is for local and regional
earthquakes in overlapping windows, as `xiaod` runs it.

| | |
|---|---|
| Parameters | {parameters} (widths {widths}, kernels {kernels}) |
| Receptive field | {receptive_field_samples} samples |
| Front end | `{front_end}` |
| Thresholds | P {threshold_p:g}, S {threshold_s:g} |
| SHA-256 of the ONNX file | `{sha256}` |
| Configuration | `distill/{name}.yaml`, SHA-256 `{config_sha256}` |
| Code at export | {code} |
| Created | {created} |
| Training | {steps} steps of {batch} windows, {minutes:.0f} minutes, one thread, {machine}, torch {torch} |

```
XIAO_SHARED=... xiao-distill train --config distill/{name}.yaml
XIAO_SHARED=... xiao-distill export --config distill/{name}.yaml --output models/weights
XIAO_SHARED=... xiao-distill card --config distill/{name}.yaml --output models/weights
```

## Teacher

PhaseNet, the original weights of Zhu & Beroza (2019, doi:10.1093/gji/ggy423; MIT licence), padded as in its
training, SHA-256 `{teacher_sha256}`.
It labelled whole records in windows of 30 s; the student saw only its
own 10 s, which in {ends:.0%} of the cases ended {ends_from:g} to {ends_to:g} s after an onset. Within a second
of an analyst's pick {analyst:.0%} of the label is a Gaussian there.

## Data

{records} records of {hours:.1f} h from {stations} stations (table SHA-256 `{data_sha256}`), noise and unlabelled
continuous records included; {held_out} stations were held out to choose thresholds. The evaluation data share no
station with them. Waveforms are not distributed with the weights.

{sources}

## Figures

Measured by the last command above on {evaluated} labelled records of stations that are not in the training data.
The teacher's threshold is 0.3.

F1, tolerance behind the phase:

{scores}

*30 s*: windows of 30 s, the student in overlapping windows of 10 s; *10 s*: single windows; *n s after*: single
windows that end so long after the onset.

Picks per station-hour (and number of picks) on {noise_hours:g} h of noise, through the daemon's picker. These
records belong to the training corpus; those of the held-out stations ({held_hours:g} h) were not trained on, but had
their part in the choice of the thresholds.

{noise}

Stability, windows that end 0.5 to 1.0 s after an onset against windows that have it in their middle:

{stability}

ObsPy's example event (BW.RJOB), {example_trained}seen in all windows
that end 0.5 to 4.0 s after the onset:

{example}

One window takes {speed_1:g} µs alone and {speed_16:g} µs in a batch of 16 ({machine}, one thread, front end included).

## Limits

- Taught for {minutes:.0f} minutes on {hours:.0f} h of data, a good part of them from a few stations: a beginning.
- Not looked at: teleseisms, regional events whose S comes long after P, explosions, clipped strong motion.
- False picks were counted on a few hours of noise only, chosen automatically; months of it will hold other noise.
- A component that is missing must be zeros. Horizontals that are not oriented north and east are taken as if they were.
- The teacher's own mistakes are learned with the rest.
"""


def card(
    results: Mapping[str, Any], spec: Mapping[str, Any], config: TrainConfig, folder: Path, data: Path
) -> str:
    """Write a model's card.

    Args:
        results: what :func:`distill.evaluate.evaluate` gave for the exported file.
        spec: the file's specification.
        config: the run's configuration.
        folder: the run's folder.
        data: folder of the training data.
    """
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    table = _table(data / "metadata.csv")
    stations = {(entry["network"], entry["station"]) for entry in table}
    held_out = held_out_stations({f"{network}.{station}" for network, station in stations}, config)
    provenance = spec["provenance"]
    example = "\n".join(f"- {phase}: {_seen(found)}" for phase, found in results["example"].items())
    trained = any(entry.get("trace_start_time", "").startswith(EXAMPLE_START) for entry in table)
    return TEMPLATE.format(
        **{key: spec[key] for key in ("name", "version", "front_end", "receptive_field_samples")},
        parameters=facts["parameters"],
        widths=" ".join(map(str, spec["net"]["widths"])),
        kernels=" ".join(map(str, spec["net"]["kernels"])),
        threshold_p=spec["thresholds"]["P"],
        threshold_s=spec["thresholds"]["S"],
        sha256=results["model"]["sha256"],
        config_sha256=provenance["config_sha256"],
        code=provenance["code"] or "unknown",
        created=provenance["created"],
        teacher_sha256=provenance["teacher_sha256"],
        data_sha256=provenance["data_table_sha256"],
        steps=config.optimiser.steps,
        batch=config.optimiser.batch,
        minutes=training_s(folder / "log.csv") / 60,
        machine=facts["machine"],
        torch=facts["torch"],
        ends=config.sampling.ends_after_onset,
        ends_from=config.sampling.ends_after_s[0],
        ends_to=config.sampling.ends_after_s[1],
        analyst=config.labels.analyst_weight,
        records=len(table),
        hours=sum(float(entry["duration_s"]) for entry in table) / 3600,
        stations=len(stations),
        held_out=len(held_out),
        sources=_sources(table),
        evaluated=results["records"],
        scores=_scores(results),
        noise=_noise(results["noise"]),
        noise_hours=results["noise"]["student"]["hours"],
        held_hours=results["noise"]["student, stations held out"]["hours"],
        stability=_tabulate(results["stability"]),
        example=example,
        example_trained="which is among the training records, " if trained else "",
        speed_1=results["speed_us_per_window"]["batch 1"],
        speed_16=results["speed_us_per_window"]["batch 16"],
    )


def training_s(log: Path) -> float:
    """Seconds that a run took, with all its continuations."""
    total, last = 0.0, 0.0
    with log.open(encoding="utf-8") as file:
        for entry in csv.DictReader(file):
            seconds = float(entry["seconds_since_start"])
            # A run that is gone on with counts from nothing again.
            total += seconds - last if seconds > last else seconds
            last = seconds
    return total


def row(*cells: object) -> str:
    """One row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def _rows(head: Sequence[object], body: Sequence[Sequence[object]]) -> str:
    return "\n".join([row(*head), "|" + "---|" * len(head), *(row(*cells) for cells in body)])


def _tabulate(table: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for values in table.values() for key in values))
    body = [[name, *(values.get(key, "") for key in columns)] for name, values in table.items()]
    return _rows(["", *(column.replace("_", " ") for column in columns)], body)


def _scores(results: Mapping[str, Any]) -> str:
    views = {
        "30 s, student": results["30 s"]["student"],
        "30 s, teacher": results["30 s"]["teacher"],
        "10 s": results["10 s"],
    } | {f"{early} after": scores for early, scores in results["early"].items()}
    body = [[name, *(f"{scores[key]['f1']:.3f}" for key in COLUMNS)] for name, scores in views.items()]
    return _rows(["", *COLUMNS], body)


def _noise(noise: Mapping[str, Mapping[str, Any]]) -> str:
    hours = {name: values["hours"] for name, values in noise.items() if "hours" in values}
    body = []
    for name, values in noise.items():
        length = hours[name.replace("teacher", "student")]
        body.append([name, *(f"{values[phase]:g} ({round(values[phase] * length)})" for phase in "PS")])
    return _rows(["", "P", "S"], body)


def _seen(found: Mapping[str, Any]) -> str:
    if not found["seen"]:
        return "in none"
    return (
        f"in {found['seen']:.0%} of them, its time within a range of {found['time_range_s']:g} s and its probability "
        f"at least {found['probability_min']:g}"
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _sources(table: Sequence[Mapping[str, str]]) -> str:
    counts: dict[tuple[str, ...], int] = {}
    for entry in table:
        key = tuple(entry.get(column, "") for column in ATTRIBUTION)
        counts[key] = counts.get(key, 0) + 1
    body = [[count, *key] for key, count in sorted(counts.items(), key=lambda item: -item[1])]
    return _rows(["Records", "Found at", "Licence there", "Network, DOI"], body)

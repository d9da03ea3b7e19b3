"""The model card: what a shipped student is, written from the run, the data table and the evaluation.

>>> row("a", 1, 0.5)
'| a | 1 | 0.5 |'
"""

import csv
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.config import TrainConfig
from distill.corpus import held_out_stations
from distill.cost import markdown
from distill.scores import RATE_HZ
from models.geometry import NetConfig
from models.small_phasenet import SmallPhaseNet, parameter_count

ATTRIBUTION = ("source", "licence", "data_attribution")
EXAMPLE_START = "2009-08-24T00:20:03"
"""Start of ObsPy's example event."""
COLUMNS = ("P 0.1 s", "P 0.5 s", "S 0.1 s", "S 0.5 s")
"""Scores that are shown: phase and tolerance."""

TEMPLATE = """# {name} {version}

A small U-Net (`models/small_phasenet.py`) that gives the probability of noise, P and S at each sample of three components
(Z N E, 100 Hz), taught by PhaseNet. It is for local and regional earthquakes, as `xiaod` runs it.

| | |
|---|---|
| Parameters | {parameters} (widths {widths}, kernels {kernels}) |
| Receptive field, of it after a sample | {receptive_field_samples} samples, {lookahead_samples} |
| Front end | `{front_end}` |
| Windows in service | {window_s:g} s; trained on {lengths} s |
| Thresholds | P {threshold_p:g}, S {threshold_s:g}{vertical} |
| Files | ONNX {bytes} bytes{stateful} |
| SHA-256 of the ONNX file | `{sha256}` |
| Configuration | `distill/{name}.yaml`, SHA-256 `{config_sha256}` |
| Code at export | {code} |
| Created | {created} |
| Training | {steps} steps of {batch} windows of {nominal_s:g} s; {training} |

```
XIAO_SHARED=... xiao-distill train --config distill/{name}.yaml
XIAO_SHARED=... xiao-distill export --config distill/{name}.yaml --output models/weights
XIAO_SHARED=... xiao-distill card --config distill/{name}.yaml --output models/weights
```

## Teacher

PhaseNet, the original weights of Zhu & Beroza (2019, doi:10.1093/gji/ggy423; MIT licence), padded as in its
training, SHA-256 `{teacher_sha256}`.
{taught} Within a second of an analyst's pick {analyst:.0%} of the label is a Gaussian there.

## Data

{records} records of {hours:.1f} h from {stations} stations (table SHA-256 `{data_sha256}`), noise and unlabelled
continuous records included; {held_out} stations were held out to choose thresholds and to calibrate. The evaluation data share
no station with them. Waveforms are not distributed with the weights.

{sources}

## Figures

Measured by the last command above on {evaluated} labelled records of stations that are not in the training data, windows of
30 s with P placed at random 2 to 15 s from the start. Thresholds of the student were chosen on the training corpus, PhaseNet's
is 0.3; settings of the classic pickers were tuned on training records ({classic}).

F1, tolerance behind the phase, with 95 % intervals (bootstrap by event):

{scores}

Difference of F1 to PhaseNet as trained (95 % intervals, same draws of events):

{differences}

Residuals (pick minus analyst) of those within 0.5 s, precision and recall:

{residuals}
{early}
### False picks

Picks per station-hour (and number of picks) on {noise_hours:g} h of noise, through the daemon's picker. These records belong to the
training corpus; those of the held-out stations ({held_hours:g} h) were not trained on, but had their part in the choice of the
thresholds.

{noise}
{continuous}
### Calibration

Of picks whose probability lies in a bin, the part that an onset is near (0.5 s), on the evaluation data. Labels there are not
complete, so what is not near a label need not be wrong.

{reliability}

Expected calibration error: {errors}. Residuals within one and two standard deviations of the time uncertainty given with
the pick (0.683 and 0.954 are wanted): {coverage}.
{stability}
### Cost

CPU time, one thread of {machine}, ONNX Runtime, front end included, windows every 0.5 s:

{cost}

## Limits

- Taught on {hours:.0f} h of data, a good part of them from a few stations.
- Not looked at: teleseisms, regional events whose S comes long after P, explosions, clipped strong motion.
- False picks were counted on a few hours of noise only, chosen automatically; months of it will hold other noise.
- A component that is missing must be zeros. Horizontals that are not oriented north and east are taken as if they were.
- The teacher's own mistakes are learned with the rest.
"""
EARLY = """
F1 when only so much data after the onset are there, windows of {window_s:g} s, PhaseNet's of 30 s, all on the same onsets:

{table}
"""
CONTINUOUS = """
Continuous data, which hold earthquakes (and share stations with the training data): picks per station-hour of the student through
the daemon's offline run and of PhaseNet through SeisBench's `classify` at 0.3; *not confirmed*: picks of the student that PhaseNet
does not have within 0.5 s even at 0.1; *not picked*: the reverse, PhaseNet at 0.3.

{table}
"""
STABILITY = """
### Stability

Windows of 10 s that end 0.5 to 1.0 s after an onset against windows that have it in their middle:

{table}

ObsPy's example event (BW.RJOB), {trained}seen in all windows of 10 s that end 0.5 to 4.0 s after the onset:

{example}
"""


def card(results: Mapping[str, Any], spec: Mapping[str, Any], config: TrainConfig, data: Path) -> str:
    """Write a model's card.

    Args:
        results: what :func:`distill.evaluate.evaluate` gave for the exported file.
        spec: the file's specification.
        config: the run's configuration.
        data: folder of the training data.
    """
    records = _table(data / "metadata.csv")
    stations = {(entry["network"], entry["station"]) for entry in records}
    held_out = held_out_stations({f"{network}.{station}" for network, station in stations}, config)
    provenance = spec["provenance"]
    trained = any(entry.get("trace_start_time", "").startswith(EXAMPLE_START) for entry in records)
    beside = results["model"].get("stateful_bytes")
    return TEMPLATE.format(
        **{
            key: spec[key]
            for key in ("name", "version", "front_end", "receptive_field_samples", "lookahead_samples")
        },
        parameters=parameter_count(SmallPhaseNet(config=NetConfig.from_dict(dict(spec["net"])))),
        widths=" ".join(map(str, spec["net"]["widths"])),
        kernels=" ".join(map(str, spec["net"]["kernels"])),
        window_s=spec["window_samples"] / RATE_HZ,
        lengths=", ".join(f"{length / RATE_HZ:g}" for length in spec["lengths"]),
        threshold_p=spec["thresholds"]["P"],
        threshold_s=spec["thresholds"]["S"],
        vertical=_vertical(spec),
        bytes=results["model"]["bytes"],
        stateful=f", stateful form {beside} bytes" if beside else "",
        sha256=results["model"]["sha256"],
        config_sha256=provenance["config_sha256"],
        code=provenance["code"] or "unknown",
        created=provenance["created"],
        teacher_sha256=provenance["teacher_sha256"],
        taught=_taught(config),
        data_sha256=provenance["data_table_sha256"],
        steps=config.optimiser.steps,
        batch=config.optimiser.batch,
        nominal_s=config.sampling.window_samples / RATE_HZ,
        training=_training(provenance.get("training", {})),
        machine=platform.machine(),
        analyst=config.labels.analyst_weight,
        records=len(records),
        hours=sum(float(entry["duration_s"]) for entry in records) / 3600,
        stations=len(stations),
        held_out=len(held_out),
        sources=_sources(records),
        evaluated=results["records"],
        classic="; ".join(f"{name}: {setting}" for name, setting in results["classic_settings"].items())
        or "not run",
        scores=_scores(results["30 s"]),
        differences=_differences(results["difference"]),
        residuals=_residuals(results["30 s"]),
        early=_early(results, spec["window_samples"] / RATE_HZ),
        noise=_noise(results["noise"]),
        noise_hours=results["noise"]["student"]["hours"],
        held_hours=results["noise"]["student, stations held out"]["hours"],
        continuous=_continuous(results),
        reliability=_reliability(results["calibration"]["evaluation data"]["reliability"]),
        errors=_by_set(results["calibration"], lambda found, phase: found["error"][phase]),
        coverage=_by_set(
            results["calibration"],
            lambda found, phase: (
                f"{found['time'][phase]['within_1_sigma']:g} and {found['time'][phase]['within_2_sigma']:g} of "
                f"{found['time'][phase]['picks']}"
            ),
        ),
        stability=_stability(results, trained),
        cost=markdown(results["cost"], "PhaseNet"),
    )


def row(*cells: object) -> str:
    """One row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def _rows(head: Sequence[object], body: Sequence[Sequence[object]]) -> str:
    return "\n".join([row(*head), "|" + "---|" * len(head), *(row(*cells) for cells in body)])


def _tabulate(table: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for values in table.values() for key in values))
    body = [[name, *(values.get(key, "") for key in columns)] for name, values in table.items()]
    return _rows(["", *(column.replace("_", " ") for column in columns)], body)


def _training(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "how long it took was not recorded"
    return (
        f"{facts['seconds'] / 60:.0f} minutes in {facts['processes']} process of {facts['threads']} thread on "
        f"{facts['machine']}, torch {facts['torch']}"
    )


def _vertical(spec: Mapping[str, Any]) -> str:
    thresholds = spec["vertical_thresholds"]
    return (
        f"; where both horizontals are missing P {thresholds['P']:g}, S {thresholds['S']:g}"
        if thresholds
        else ""
    )


def _taught(config: TrainConfig) -> str:
    sampling = config.sampling
    ends = (
        f"in {sampling.ends_after_onset:.0%} of the cases it ended {sampling.ends_after_s[0]:g} to "
        f"{sampling.ends_after_s[1]:g} s after an onset"
    )
    hard = config.loss.hard_weight
    if hard:
        ends += f"; {hard:.0%} of each label is a Gaussian at each onset that its curve has"
    if config.scenes.relabel:
        return f"It labelled augmented scenes of {config.scenes.samples / RATE_HZ:g} s; the student saw windows cut from them; {ends}."
    return f"It labelled whole records in windows of 30 s; the student saw only its own window; {ends}."


def _scores(views: Mapping[str, Any]) -> str:
    body = [
        [
            name,
            *(
                f"{scores[key]['f1']:.3f} ({scores[key]['f1_interval'][0]:.2f} to {scores[key]['f1_interval'][1]:.2f})"
                for key in COLUMNS
            ),
        ]
        for name, scores in views.items()
    ]
    labels = next(iter(views.values()))
    counts = ["labels (events)", *(f"{labels[key]['labels']} ({labels[key]['events']})" for key in COLUMNS)]
    return _rows(["", *COLUMNS], [*body, counts])


def _differences(views: Mapping[str, Any]) -> str:
    body = [
        [name, *(f"{scores[key][0]:+.3f} to {scores[key][1]:+.3f}" for key in COLUMNS)]
        for name, scores in views.items()
    ]
    return _rows(["", *COLUMNS], body)


def _residuals(views: Mapping[str, Any]) -> str:
    body = []
    for name, scores in views.items():
        cells: list[object] = [name]
        for phase in ("P", "S"):
            values = scores[f"{phase} 0.5 s"]
            cells += [
                f"{values['residual_mean_s'] * 1e3:+.0f} ± {values['residual_std_s'] * 1e3:.0f} ms",
                f"{values['precision']:.3f}",
                f"{values['recall']:.3f}",
            ]
        body.append(cells)
    return _rows(["", "P mean ± std", "precision", "recall", "S mean ± std", "precision", "recall"], body)


def _early(results: Mapping[str, Any], window_s: float) -> str:
    if "early" not in results:
        return ""
    body = [
        [f"{who}, {after}", *(f"{scores[key]['f1']:.3f} ({scores[key]['labels']})" for key in COLUMNS)]
        for who, key in (("student", "early"), ("PhaseNet", "early, teacher"))
        for after, scores in results[key].items()
    ]
    return EARLY.format(window_s=window_s, table=_rows(["", *COLUMNS], body))


def _noise(noise: Mapping[str, Mapping[str, Any]]) -> str:
    hours = {
        held: noise["student, stations held out" if held else "student"]["hours"] for held in (False, True)
    }
    body = []
    for name, values in noise.items():
        length = hours[name.endswith("held out")]
        body.append([name, *(f"{values[phase]:g} ({round(values[phase] * length)})" for phase in "PS")])
    return _rows(["", "P", "S"], body)


def _continuous(results: Mapping[str, Any]) -> str:
    if "continuous" not in results:
        return ""
    body = []
    for name, by_student in results["continuous"].items():
        found = by_student["student"]
        for phase in ("P", "S"):
            values = found[phase]
            body.append(
                [
                    name,
                    f"{found['station_hours']:g}",
                    phase,
                    f"{values['student_per_hour']:g}",
                    f"{values['teacher_per_hour']:g}",
                    f"{values['student_unconfirmed_per_hour']:g}",
                    f"{values['teacher_not_picked_by_student_per_hour']:g}",
                ]
            )
    head = ["", "station-hours", "", "student", "PhaseNet", "not confirmed", "not picked"]
    return CONTINUOUS.format(table=_rows(head, body))


def _reliability(table: Sequence[Mapping[str, Any]]) -> str:
    body = [
        [
            row["phase"],
            f"{row['from']:g} to {row['to']:g}",
            row["picks"],
            row["mean_probability"],
            row["right"],
        ]
        for row in table
    ]
    return _rows(["", "probability", "picks", "mean", "right"], body)


def _by_set(found: Mapping[str, Any], value: Callable[[Any, str], object]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{phase} {value(values, phase)}" for phase in ("P", "S"))
        for name, values in found.items()
    )


def _stability(results: Mapping[str, Any], trained: bool) -> str:
    if "stability" not in results:
        return ""
    return STABILITY.format(
        table=_tabulate(results["stability"]),
        trained="which is among the training records, " if trained else "",
        example="\n".join(f"- {phase}: {_seen(found)}" for phase, found in results["example"].items()),
    )


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

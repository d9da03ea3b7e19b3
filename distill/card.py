"""The model card of a student, made from its file, its training configuration and the measurements.

>>> row("a", 1, 0.5)
'| a | 1 | 0.5 |'
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.annotators import onnx_annotator
from distill.config import TrainConfig
from distill.cost import REFERENCE, looks
from distill.measurements import TOLERANCES, Measurements
from distill.onset_loss import LATEST_S
from models.conventions import FRONT_ENDS, ONSET, PHASES, RATE_HZ
from models.small_phasenet import net_of, parameter_count
from models.spec import ModelSpec

PHASENET_SHA256 = "36f74477064039743fae3df779f4db0dd67dcd6b377e3bf7661068441a064feb"
"""Of the teacher of the shipped students."""
PHASENET = (
    "PhaseNet, the original weights of Zhu & Beroza (2019, doi:10.1093/gji/ggy423; MIT licence), padded as in its\n"
    "training"
)
COLUMNS = tuple((phase, tolerance) for phase in PHASES for tolerance in TOLERANCES)
"""Scores that are shown."""
HEAD = ("", *(f"{phase} {tolerance}" for phase, tolerance in COLUMNS))

TEMPLATE = """# {name} {version}

A small U-Net (`models/small_phasenet.py`). It gives the probabilities of noise, P and S at each sample of three components
(Z N E, 100 Hz). `xiaod` uses it for local and regional earthquakes.

| | |
|---|---|
| Parameters | {parameters} (widths {widths}, kernels {kernels}) |
| Receptive field; its part after the sample | {receptive_field_samples} samples, {lookahead_samples} |
| Front end | `{front_end}` |
| Windows in service | {window_s:g} s; trained on {lengths} s |
| Thresholds of final picks | P {threshold_p:g}, S {threshold_s:g}{vertical} |
| Of early picks | {early_thresholds} |
| File | {bytes} bytes |
| SHA-256 of the ONNX file | `{sha256}` |
| Configuration | `{config}`; SHA-256 of its keys that are not defaults, without `export`: `{config_sha256}` |
| Code at export | {code} |
| Created | {created} |
| Training | {steps} steps of {batch} windows of {nominal_s:g} s; {training} |

```
XIAO_SHARED=... xiao-distill train --config {config}
XIAO_SHARED=... xiao-distill export --config {config} --output {folder}
```

## Teacher

{teacher}, SHA-256 `{teacher_sha256}`.
{taught} Within a second of an analyst's pick, {analyst:.0%} of the label is a Gaussian at that pick.

## Data

{records} records with {hours:.1f} h of data from {stations} stations (table SHA-256 `{data_sha256}`), including noise and continuous
records without labels. {held_out} stations were held out, to choose thresholds and to calibrate. The weights are distributed without
waveforms.
{sources}
## Figures

Measured on {evaluated} labelled records of {evaluated_stations} stations{where}, in windows of
{window}. P lies at a random place 2 to 15 s after the start of the window. The thresholds of the student were chosen on the training
corpus, for final picks by F1 and for early ones by F0.5, where recall counts half, and those of other networks are 0.3. The settings of
the classic pickers were tuned on training records ({classic}). Command, date, code, libraries: {measured}.

F1 for each phase and tolerance, with 95 % intervals (bootstrap over events):

{scores}

F1 of the other pickers minus that of {reference} (95 % intervals, same draws of events):

{differences}
{origins}
Residuals (pick minus analyst) of picks within 0.5 s; precision and recall:

{residuals}
{early}{noise}{continuous}
### Calibration

For each bin of probability, the fraction of picks that have a label within 0.5 s, on the evaluation data. Some onsets there have no
label, so a pick without a label is not always wrong.

{reliability}

Expected calibration error: {errors}. Fraction of residuals within one and two times the time uncertainty of the pick (ideally 0.683
and 0.954): {coverage}.
{stability}{cost}
## Limits

- Trained on {hours:.0f} h of data, much of it from a few stations.
- Not tested on teleseisms, regional events whose S comes long after P, explosions and clipped strong motion.
- False picks were counted on a few hours of noise that were chosen automatically. Months of data contain other noise.
- A missing component must be zeros. Horizontal components are treated as north and east, whatever their orientation.
- The student also learns the mistakes of the teacher.
"""
SCOUT = """# {name} {version}

A small U-Net (`models/small_phasenet.py`) that streams: each sample is computed once. It gives the probability of an onset, P or S, every
{step_s:g} s of three components (Z N E, 100 Hz), {delay_s:g} s late, in chunks of {chunk_s:g} s. It *notices* onsets, which another network
then picks or not (`engine.scout`): its probabilities are not calibrated, and its curve is no pick.

| | |
|---|---|
| Parameters | {parameters} (widths {widths}, kernels {kernels}) |
| Receptive field; its part after the sample | {receptive_field_samples} samples, {lookahead_samples} |
| Front end | `{front_end}` |
| Threshold, from which it notices | {threshold:g}; without horizontals {vertical:g} |
| File, of the stateful form | {bytes} bytes |
| SHA-256 of the file | `{sha256}` |
| Configuration | `{config}`; SHA-256 of its keys that are not defaults, without `export`: `{config_sha256}` |
| Code at export | {code} |
| Created | {created} |
| Training | {steps} steps of {batch} windows of {nominal_s:g} s; {training} |

```
XIAO_SHARED=... xiao-distill train --config {config}
XIAO_SHARED=... xiao-distill export --config {config} --output {folder}
```

## Teacher

{teacher}, SHA-256 `{teacher_sha256}`.
{taught} Within a second of an analyst's pick, {analyst:.0%} of the label is a Gaussian at that pick.

## Data

{records} records with {hours:.1f} h of data from {stations} stations (table SHA-256 `{data_sha256}`), including noise and continuous
records without labels. {held_out} stations were held out. The weights are distributed without waveforms.
{sources}
## Figures

Part of the analysts' picks that it notices: its curve reaches the threshold within 0.5 s of the pick, in output that is there at most 1 s
after it. *Delay*: data after the pick by then, median. Candidates: how often it calls in an hour of noise (and how often it did). The data
are from stations that are in no training data. The threshold was chosen on noise of stations on which it was not trained, the lowest that
calls there at most {most:g} times an hour.
Command, date, code, libraries: {measured}.

{noticed}
{cost}
## Limits

- Trained on {hours:.0f} h of data, much of it from a few stations.
- Not tested on teleseisms, regional events whose S comes long after P, explosions and clipped strong motion.
- Candidates were counted on a few hours of noise that were chosen automatically. Restless stations call more often.
- A missing component must be zeros. Horizontal components are treated as north and east, whatever their orientation.
"""
SOURCES = """
{table}
"""
EARLY = """
F1 (number of labels) with only so much data after the onset, on the same onsets. Windows have {window_s:g} s, those of the teacher 30 s:

{table}
"""
ORIGINS = """
F1 by where the records were published (labels), and without each of these parts. Of all together, the interval is by bootstrap over origins
and events, otherwise over events:

{table}
"""
STAGES = """
F1 of whole records through the daemon's picker, final picks and early ones, each with its thresholds; every other pick from 5 s before P to
3 s after S (8 s after P where there is no S) is false:

{table}
"""
NOISE = """
### False picks

Picks per station-hour (and number of picks) on {hours} of noise. Students pick with the daemon's picker, other networks by the
peaks of their probabilities. {trained}

{table}
"""
CONTINUOUS = """
Picks per station-hour on continuous data with earthquakes, from stations that are also in the training data. The student picks in an
offline run of the daemon, PhaseNet with SeisBench's `classify` at 0.3. *Not confirmed*: picks of the student without one of PhaseNet
within 0.5 s, even at 0.1. *Not picked*: picks of PhaseNet at 0.3 without one of the student.

{table}
"""
STABILITY = """
### Stability

Windows of 10 s that end 0.5 to 1.0 s after an onset, compared with windows that have the onset in the middle:

{table}

Results for ObsPy's example event (BW.RJOB{trained}) in all windows of 10 s that end 0.5 to 4.0 s after the onset:

{example}
"""
COST = """
### Cost

CPU time of {reference} in windows of 30 s, divided by that of this network: one thread, ONNX Runtime, front end included, a window every
0.5 s, both measured in turn in one process:

{table}
"""


def card(model: Path, config: TrainConfig, source: str, held: Measurements, name: str) -> str:
    """Write a model's card.

    Args:
        model: the exported file.
        config: of its training.
        source: path of the configuration, as the card shows it.
        held: the measurements.
        name: of the student in the measurements.

    Raises:
        FileNotFoundError, SpecError: when the file does not exist, or is not a model.
    """
    _, spec = onnx_annotator(model)
    facts, provenance = held.students[name], spec.provenance
    trained, evaluated = facts["training_data"], held.evaluation_data
    others = [one for one in held.pickers if one == name or one not in held.students]
    said = {
        "name": spec.name,
        "version": spec.version,
        "front_end": spec.front_end,
        "receptive_field_samples": spec.receptive_field_samples,
        "lookahead_samples": spec.lookahead_samples,
        "parameters": parameters_of(spec),
        "widths": " ".join(map(str, spec.net["widths"])),
        "kernels": " ".join(map(str, spec.net["kernels"])),
        "window_s": spec.window_samples / RATE_HZ,
        "lengths": ", ".join(f"{length / RATE_HZ:g}" for length in spec.lengths),
        "bytes": model.stat().st_size,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "config": source,
        "config_sha256": provenance["config_sha256"],
        "folder": "models/weights" if source.startswith("distill/") else "FOLDER",
        "code": _code(str(provenance["code"])),
        "created": provenance["created"],
        "teacher": PHASENET if provenance["teacher_sha256"] == PHASENET_SHA256 else provenance["teacher"],
        "teacher_sha256": provenance["teacher_sha256"],
        "taught": _taught(config),
        "data_sha256": provenance["data_table_sha256"],
        "steps": config.optimiser.steps,
        "batch": config.optimiser.batch,
        "nominal_s": config.sampling.window_samples / RATE_HZ,
        "training": _training(provenance.get("training", {})),
        "analyst": config.labels.analyst_weight,
        "records": trained["records"],
        "hours": trained["hours"],
        "stations": trained["stations"],
        "held_out": trained["held_out"],
        "sources": SOURCES.format(table=sources_table(trained)) if trained["sources"] else "",
        "evaluated": evaluated["records"],
        "evaluated_stations": evaluated["stations"],
        "where": " that are in no training data ([where they come from](../../docs/training.md#the-data-behind-the-shipped-networks))"
        if evaluated["sources"]
        else "",
        "window": f"{held.provenance['windows'].split(' of ')[1]}",
        "classic": "; ".join(
            f"{one}: {held.pickers[one]}" for one in others if held.pickers[one].startswith("band")
        )
        or "not run",
        "measured": measured_by(held) + _early_again(facts),
        "cost": _cost(held, name),
    }
    if spec.form == "stateful":
        return SCOUT.format(
            **said,
            threshold=spec.thresholds[ONSET],
            vertical=spec.thresholds_of("final", vertical_alone=True)[ONSET],
            step_s=FRONT_ENDS[spec.front_end].step / RATE_HZ,
            delay_s=spec.delay_samples / RATE_HZ,
            chunk_s=spec.chunk_samples / RATE_HZ,
            most=config.export.max_candidates_per_hour,
            noticed=_noticed(held, name),
        )
    return TEMPLATE.format(
        **said,
        threshold_p=spec.thresholds["P"],
        threshold_s=spec.thresholds["S"],
        vertical=_vertical(spec.vertical_thresholds),
        early_thresholds=_early_thresholds(spec),
        scores=_scores(held, others),
        reference=held.reference,
        differences=_differences(held, [one for one in others if one != held.reference]),
        origins=_origins(held, name) + _stages(held, name),
        residuals=_residuals(held, others),
        early=_early(facts, spec.window_samples / RATE_HZ),
        noise=_noise(held, others, name),
        continuous=_continuous(held, name),
        reliability=_reliability(facts["calibration"]["evaluation data"]["reliability"]),
        errors=_by_set(facts["calibration"], lambda found, phase: found["error"][phase]),
        coverage=_by_set(
            facts["calibration"],
            lambda found, phase: (
                f"{found['time'][phase]['within_1_sigma']:g} and {found['time'][phase]['within_2_sigma']:g} of "
                f"{found['time'][phase]['picks']}"
            ),
        ),
        stability=_stability(facts, trained["holds_example"]),
    )


def parameters_of(spec: ModelSpec) -> int:
    """Parameters of the network that a file holds."""
    return parameter_count(net_of(spec))


def measured_by(held: Measurements) -> str:
    """How the measurements were made: command, date, code, libraries."""
    made = held.provenance
    said = f"`{made['command']}`, {made['made'][:10]}, {made['code']}, {made['libraries']}"
    again: dict[str, list[str]] = {}
    for name, one in made.get("renewed", {}).items():
        again.setdefault(f"{one['made'][:10]}, {one['code']}", []).append(name)
    for when, names in again.items():
        said += f"; again `python -m distill.measure --only {' '.join(names)}`, {when}"
    return said


def _early_again(facts: Mapping[str, Any]) -> str:
    """What a change of the early thresholds alone made anew."""
    made = facts.get("early made")
    if made is None:
        return ""
    return f"; with less than 4 s of data after the onset, and stability, again {made['made'][:10]}, {made['code']}"


def sources_table(facts: Mapping[str, Any]) -> str:
    """Table of the sources of data."""
    return rows(["Records", "Found at", "Licence there", "Network, DOI"], facts["sources"])


def row(*cells: object) -> str:
    """One row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def rows(head: Sequence[object], body: Sequence[Sequence[object]]) -> str:
    """A table."""
    return "\n".join([row(*head), "|" + "---|" * len(head), *(row(*cells) for cells in body)])


def _tabulate(table: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for values in table.values() for key in values))
    body = [[name, *(values.get(key, "") for key in columns)] for name, values in table.items()]
    return rows(["", *(column.replace("_", " ") for column in columns)], body)


def _code(described: str) -> str:
    """The commit, and whether there were uncommitted changes, which ``git describe`` marks."""
    commit, mark, _ = described.partition("-dirty")
    return (f"{commit} with uncommitted changes" if mark else commit) or "unknown"


def _training(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "duration not recorded"
    return (
        f"{facts['seconds'] / 60:.0f} minutes with processes: {facts['processes']}, threads of each: {facts['threads']}, on "
        f"{facts['machine']}, torch {facts['torch']}"
    )


def _early_thresholds(spec: ModelSpec) -> str:
    if not spec.early_thresholds:
        return "the same"
    own = spec.early_thresholds
    return f"P {own['P']:g}, S {own['S']:g}{_vertical(spec.early_vertical_thresholds)}"


def _vertical(thresholds: Mapping[str, float]) -> str:
    return f"; without horizontals P {thresholds['P']:g}, S {thresholds['S']:g}" if thresholds else ""


def _taught(config: TrainConfig) -> str:
    sampling = config.sampling
    if config.notices:
        scenes_s = config.scenes.samples / RATE_HZ
        return (
            f"It labelled augmented scenes of {scenes_s:g} s. The student learnt to call within {LATEST_S:g} s of an onset of them, "
            "P or S, and to be silent in every second without one."
        )
    ends = (
        f"{sampling.ends_after_onset:.0%} of these windows end {sampling.ends_after_s[0]:g} to "
        f"{sampling.ends_after_s[1]:g} s after an onset"
    )
    hard = config.loss.hard_weight
    if hard:
        ends += f". {hard:.0%} of each label is a Gaussian at each onset of the teacher's curve"
    if config.scenes.relabel:
        scenes_s = config.scenes.samples / RATE_HZ
        return f"It labelled augmented scenes of {scenes_s:g} s, and the student saw windows of these scenes; {ends}."
    return f"It labelled whole records in windows of 30 s, and the student saw only its own window; {ends}."


def score(held: Measurements, picker: str, phase: str, tolerance: str) -> str:
    """F1 with its interval."""
    number = held.number("accuracy", picker, phase, tolerance, "f1")
    if number is None or number.low is None or number.high is None:
        return ""
    return f"{number.value:.3f} ({number.low:.2f} to {number.high:.2f})"


def labels(held: Measurements) -> list[object]:
    """Number of labels of each column."""
    found = [held.number("accuracy", held.reference, *column, "f1") for column in COLUMNS]
    return ["" if number is None else number.count for number in found]


def _scores(held: Measurements, pickers: Sequence[str]) -> str:
    body = [[one, *(score(held, one, *column) for column in COLUMNS)] for one in pickers]
    return rows(HEAD, [*body, ["labels", *labels(held)]])


def _differences(held: Measurements, pickers: Sequence[str]) -> str:
    body = [
        [
            one,
            *(
                "" if number is None else f"{number.low:+.3f} to {number.high:+.3f}"
                for number in (held.number("difference", one, *column, "f1") for column in COLUMNS)
            ),
        ]
        for one in pickers
    ]
    return rows(HEAD, body)


def _origins(held: Measurements, name: str) -> str:
    """Scores of the student and of the reference by origin; empty where the data have one origin alone."""
    table = _parts(held, "origin", (name, held.reference))
    return ORIGINS.format(table=table) if table else ""


def _stages(held: Measurements, name: str) -> str:
    """Scores of the picks of each stage."""
    table = _parts(held, "stages", (name,))
    return STAGES.format(table=table) if table else ""


def _parts(held: Measurements, table: str, pickers: Sequence[str]) -> str:
    """Table of the scores of some pickers on parts of the data; empty if there are none."""
    parts = dict.fromkeys(one.condition.rpartition(", ")[0] for one in held.numbers if one.table == table)
    body = []
    for part in parts:
        for picker in pickers:
            found = [held.number(table, picker, phase, f"{part}, {at}", "f1") for phase, at in COLUMNS]
            cells = [
                "" if one is None else f"{one.value:.3f} ({one.low:.2f} to {one.high:.2f}; {one.count})"
                for one in found
            ]
            if any(cells):
                body.append([part, picker, *cells])
    return rows(["", "", *HEAD[1:]], body) if body else ""


def _residuals(held: Measurements, pickers: Sequence[str]) -> str:
    body = []
    for one in pickers:
        cells: list[object] = [one]
        for phase in PHASES:
            mean, deviation, precision, recall = (
                held.number("accuracy", one, phase, "0.5 s", metric)
                for metric in ("residual_mean_s", "residual_std_s", "precision", "recall")
            )
            if mean and deviation and precision and recall:
                cells += [
                    f"{mean.value * 1e3:+.0f} ± {deviation.value * 1e3:.0f} ms",
                    f"{precision.value:.3f}",
                    f"{recall.value:.3f}",
                ]
        body.append(cells)
    return rows(["", "P mean ± std", "precision", "recall", "S mean ± std", "precision", "recall"], body)


def _early(facts: Mapping[str, Any], window_s: float) -> str:
    if not any(scores["labels"] for view in facts.get("early", {}).values() for scores in view.values()):
        return ""
    body = [
        [
            f"{who}, {after}",
            *(
                f"{scores[f'{phase} {tolerance}']['f1']:.3f} ({scores[f'{phase} {tolerance}']['labels']})"
                for phase, tolerance in COLUMNS
            ),
        ]
        for who, key in (("student", "early"), ("teacher", "early, teacher"))
        for after, scores in facts[key].items()
    ]
    return EARLY.format(window_s=window_s, table=rows(HEAD, body))


def false_picks(held: Measurements, picker: str) -> list[str]:
    """Rates of P and S on noise, with their counts."""
    hours = {one.condition for one in held.numbers if one.table == "noise"}
    found = [
        held.number("noise", picker, phase, condition, "picks_per_hour")
        for phase in PHASES
        for condition in hours
    ]
    return ["" if number is None else f"{number.value:.2f} ({number.count})" for number in found]


def _noise(held: Measurements, pickers: Sequence[str], name: str) -> str:
    hours = next((one.condition for one in held.numbers if one.table == "noise"), None)
    if hours is None:
        return ""
    body: list[list[object]] = [[one, *false_picks(held, one)] for one in pickers]
    alone = held.students[name]["vertical_alone"]
    body.insert(
        1,
        [
            f"{name}, vertical alone",
            *(f"{alone[phase]:.2f} ({round(alone[phase] * alone['hours'])})" for phase in PHASES),
        ],
    )
    unseen = held.provenance.get("noise")
    trained = f"It is from {unseen}." if unseen else "These records are part of the training corpus."
    return NOISE.format(hours=hours, table=rows(["", "P", "S"], body), trained=trained)


def _continuous(held: Measurements, name: str) -> str:
    body = []
    found = [one for one in held.numbers if (one.table, one.contender) == ("continuous", name)]
    for condition in dict.fromkeys(one.condition for one in found):
        folder, _, hours = condition.partition(", ")
        for phase in PHASES:
            values = {
                one.metric: one.value for one in found if (one.condition, one.phase) == (condition, phase)
            }
            body.append(
                [
                    folder,
                    hours,
                    phase,
                    *(
                        f"{values[f'{metric}_per_hour']:g}"
                        for metric in (
                            "student",
                            "teacher",
                            "student_unconfirmed",
                            "teacher_not_picked_by_student",
                        )
                    ),
                ]
            )
    if not body:
        return ""
    head = ["", "station-hours", "", "student", "PhaseNet", "not confirmed", "not picked"]
    return CONTINUOUS.format(table=rows(head, body))


def _noticed(held: Measurements, name: str) -> str:
    found = [one for one in held.numbers if (one.table, one.contender) == ("noticing", name)]
    body = []
    for condition in dict.fromkeys(one.condition for one in found):
        for phase in dict.fromkeys(one.phase for one in found if one.condition == condition):
            values = {one.metric: one for one in found if (one.condition, one.phase) == (condition, phase)}
            if "noticed" in values:
                share, delay = values["noticed"], values["delay_median_s"]
                body.append(
                    [condition, phase, f"{share.value:.3f} of {share.count}", f"{delay.value:.2f} s", ""]
                )
            else:
                rate = values["candidates_per_hour"]
                body.append([condition, phase, "", "", f"{rate.value:.1f} ({rate.count})"])
    return rows(["", "", "noticed", "delay", "candidates an hour"], body)


def _reliability(table: Sequence[Mapping[str, Any]]) -> str:
    body = [
        [
            entry["phase"],
            f"{entry['from']:g} to {entry['to']:g}",
            entry["picks"],
            entry["mean_probability"],
            entry["right"],
        ]
        for entry in table
    ]
    return rows(["", "probability", "picks", "mean", "right"], body)


def _by_set(found: Mapping[str, Any], value: Callable[[Any, str], object]) -> str:
    return "; ".join(
        f"{name}: " + ", ".join(f"{phase} {value(values, phase)}" for phase in PHASES)
        for name, values in found.items()
    )


def _stability(facts: Mapping[str, Any], trained: bool) -> str:
    if "stability" not in facts:
        return ""
    return STABILITY.format(
        table=_tabulate(facts["stability"]),
        trained=", one of the training records" if trained else "",
        example="\n".join(f"- {phase}: {_seen(found)}" for phase, found in facts["example"].items()),
    )


def _seen(found: Mapping[str, Any]) -> str:
    if not found["seen"]:
        return "picked in no window"
    return (
        f"picked in {found['seen']:.0%} of the windows, with times in a range of {found['time_range_s']:g} s and probabilities of "
        f"at least {found['probability_min']:g}"
    )


def _cost(held: Measurements, name: str) -> str:
    found = [one for one in held.costs if one["model"] == name and "times_cheaper" in one]
    if not found:
        return ""
    body = [[looks(one), one["batch"], f"{one['times_cheaper']:g}"] for one in found]
    return COST.format(reference=REFERENCE, table=rows(["", "batch", "times cheaper"], body))

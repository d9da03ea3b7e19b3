r"""Fills the texts that show measurements: README, cards, ``docs``.

In README and ``docs`` a part between ``<!-- measured: NAME -->`` and ``<!-- end -->`` is filled; a card is written as a whole.

>>> print(filled("a\n<!-- measured: x -->\n<!-- end -->\nb", {"x": "1"}))
a
<!-- measured: x -->
1
<!-- end -->
b
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from distill.annotators import onnx_annotator
from distill.card import (
    COLUMNS,
    card,
    false_picks,
    labels,
    measured_by,
    parameters_of,
    rows,
    score,
    sources_table,
)
from distill.config import load_train_config
from distill.cost import REFERENCE, looks
from distill.measurements import Measurements
from models.weights import shipped, stateful_path, weights_path

ROOT = Path(__file__).parents[1]
"""Root of the checkout; an installed package has no texts."""
FILLED = ("README.md", "docs/benchmarks.md", "docs/training.md")
PART = re.compile(r"(<!-- measured: (\w+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)
MEMORY_ALERT = re.compile(r"process_resident_memory_bytes\S* > (\S+)")
"""The limit of the alert rules, in bytes."""
NETWORKS = {
    "micro": ("`micro`, the default", "windows of 20 s, one every 4 s, and for early picks", "everything"),
    "small": ("`small`", "the same", "where there is CPU time for it; a little more accurate"),
    "scout": (
        "`scout`",
        "each sample once (`engine.scout`)",
        "noticing onsets early, which another one picks",
    ),
}
LOOKAHEAD_S = HOP_S = 0.5
"""Defaults of the daemon."""


def texts_of(held: Measurements, root: Path) -> dict[Path, str]:
    """All texts, filled with the measurements."""
    parts = {name: part(held) for name, part in PARTS.items()}
    texts = {root / name: filled((root / name).read_text(encoding="utf-8"), parts) for name in FILLED}
    for name in shipped():
        config = load_train_config(root / "distill" / f"{name}.yaml")
        path = weights_path(name)
        texts[path.with_suffix(".md")] = card(path, config, f"distill/{name}.yaml", held, name)
    for name in shipped(stateful=True):
        config = load_train_config(root / "distill" / f"{name}.yaml")
        text = card(stateful_path(name), config, f"distill/{name}.yaml", held, name)
        texts[weights_path(name).with_suffix(".md")] = text
    return texts


def filled(text: str, parts: Mapping[str, str]) -> str:
    """A text with its parts filled.

    Raises:
        KeyError: when a part does not exist.
    """
    return PART.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", text)


def _networks(held: Measurements) -> str:
    body = []
    for name, (called, look, purpose) in NETWORKS.items():
        served = stateful_path(name) if stateful_path(name).is_file() else weights_path(name)
        _, spec = onnx_annotator(served)
        body.append(
            [called, f"{parameters_of(spec):,}", f"{served.stat().st_size / 1e3:.0f} kB", look, purpose]
        )
    return rows(["", "parameters", "file", "input", "for"], body)


def _accuracy(held: Measurements) -> str:
    body = [
        [
            f"`{one}`" if one in held.students else one,
            *(score(held, one, *column) for column in COLUMNS),
            *false_picks(held, one),
        ]
        for one in held.pickers
    ]
    head = ["", *(f"{phase}, {tolerance}" for phase, tolerance in COLUMNS), "noise: P", "S"]
    windows, data = held.provenance["windows"].replace(" of ", " windows of "), held.evaluation_data
    hours = next(one.condition for one in held.numbers if one.table == "noise")
    if unseen := held.provenance.get("noise"):
        hours += f" from {unseen}"
    return (
        f"F1 on analysts' picks of {data['records']} records from {data['stations']} stations that no student has seen, {windows};\n"
        "thresholds chosen on training data (other networks: 0.3); with 95 % intervals by bootstrap over events. Noise: picks per\n"
        f"station-hour (and number of picks) on {hours}. Measured by {measured_by(held)}.\n\n"
        + rows(head, [*body, ["labels", *labels(held), "", ""]])
        + "\n\n"
        + _different(held)
    )


def _different(held: Measurements) -> str:
    """A sentence on the students that differ from the reference."""
    found = [
        f"`{name}` {phase} {tolerance}"
        for name in held.students
        for phase, tolerance in COLUMNS
        if (number := held.number("difference", name, phase, tolerance, "f1")) is not None
        and not (number.low or 0.0) <= 0.0 <= (number.high or 0.0)
    ]
    said = ", ".join(found) if found else "none of them"
    return (
        f"Students whose F1 differs from that of {held.reference} by more than the choice of earthquakes explains "
        f"(95 % interval of the\ndifference, same draws of events): {said}."
    )


def _delay(held: Measurements) -> str:
    ours = next(one for one in held.trade_offs if (one["lookahead_s"], one["hop_s"]) == (LOOKAHEAD_S, HOP_S))
    best = max(held.trade_offs, key=lambda one: one["f1_05"])
    return (
        "With the default lookahead and hop of early picks, `micro` picks P "
        f"{ours['delay_median_s']:.2f} s after the onset (median; 95 % within {ours['delay_p95_s']:.2f} s),\n"
        f"with an F1 of {ours['f1_05']:.3f} at 0.5 s. The best F1 in the table of the report is "
        f"{best['f1_05']:.3f}, after {best['delay_median_s']:.2f} s ({best['labels']} labels).\nThese are seconds of data after the "
        "onset, without the time of computing."
    )


def _costs(held: Measurements) -> str:
    batches = list(dict.fromkeys(one["batch"] for one in held.costs))
    body = []
    for model in dict.fromkeys(one["model"] for one in held.costs if one["model"] != REFERENCE):
        found = {one["batch"]: one for one in held.costs if one["model"] == model}
        look = looks(found[batches[0]])
        body.append([f"`{model}`, {look}", *(f"{found[batch]['times_cheaper']:g}" for batch in batches)])
    table = rows(["times cheaper than PhaseNet", *(f"batch {batch}" for batch in batches)], body)
    load = held.provenance.get("load")
    return table if load is None else f"{table}\n\nThe load average was {load}."


def _daemon(held: Measurements) -> str:
    [limit] = MEMORY_ALERT.findall((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    body = []
    for one in held.daemon:
        notes = [] if one["kept_up"] else ["fell behind"]
        if one["resident_mb"] * 1e6 > float(limit):
            notes.append("above the limit of the shipped alert: raise that limit and those of the unit")
        if "caught_up_s" in one:
            notes.append(
                f"after a stop caught up in {one['caught_up_s']:g} s, with {one['catching_up_peak_mb']} MB at most"
            )
        own = one.get("own_latency_s", {})
        body.append(
            [
                f"{one['stations']:,}",
                one.get("data", "events"),
                one.get("early", ""),
                one.get("us_per_station_s", ""),
                one["resident_mb"],
                *(_own(own.get(kind)) for kind in ("early P", "final P")),
                "; ".join(notes),
            ]
        )
    head = [
        "stations",
        "data",
        "early picks by",
        "µs",
        "resident MB",
        "early P: s",
        "final P: s",
        "",
    ]
    parts = [rows(head, body)]
    if held.offline:
        parts.append(_offline(held))
    parts += [
        f"Data after the onset until an early P can be made, `early: {one['early']}`, the example event at {one['places']} places: "
        f"{one['data_s']['median']:.2f} s (median; 95 %\nwithin {one['data_s']['p95']:.2f} s)."
        for one in held.early
        if one["data_s"]["count"]
    ]
    if held.machine:
        parts.append("Machine: " + ", ".join(f"{key} {value}" for key, value in held.machine.items()) + ".")
    return "\n\n".join(parts)


def _own(latency: Mapping[str, float] | None) -> str:
    return f"{latency['median']:.2f}, {latency['p99']:.2f}" if latency else ""


def _offline(held: Measurements) -> str:
    head = [
        "a station offline",
        "data",
        "hours",
        "CPU s",
        "of it to start",
        "picks",
        "of PhaseNet's CPU time",
    ]
    return rows(
        head,
        [
            [
                one["program"],
                one["data"],
                f"{one['hours']:g}",
                one["cpu_s"],
                one["start_cpu_s"],
                one["picks"],
                f"{one['of_phasenet']:.0%}" if one.get("of_phasenet") is not None else "",
            ]
            for one in held.offline
        ],
    )


def _evaluation_data(held: Measurements) -> str:
    return sources_table(held.evaluation_data)


PARTS: Mapping[str, Callable[[Measurements], str]] = {
    "networks": _networks,
    "accuracy": _accuracy,
    "delay": _delay,
    "costs": _costs,
    "daemon": _daemon,
    "evaluation_data": _evaluation_data,
}

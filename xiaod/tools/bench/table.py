"""The results of a benchmark as Markdown.

>>> print(markdown({"hardware": {"model": "StationTable", "cores": 4}, "stages": [{"stage": "decode", "us_per_station_s": 15.0}]}))
**StationTable**
<BLANKLINE>
cores 4
<BLANKLINE>
| part of the daemon | µs per station-second |
|---|---|
| decode | 15.0 |
"""

from collections.abc import Mapping, Sequence
from typing import Any

HARDWARE = ("processor", "architecture", "cores", "usable_cores", "memory_mb", "system", "python", "governor")


def markdown(found: Mapping[str, Any]) -> str:
    """All parts of the results."""
    hardware = found.get("hardware", {})
    facts = [f"{key} {hardware[key]}" for key in HARDWARE if hardware.get(key) is not None]
    parts = [f"**{hardware.get('model', 'machine unknown')}**", ", ".join(facts)]
    if versions := found.get("versions"):
        parts.append(", ".join(f"{name} {value}" for name, value in versions.items()))
    for moment in ("before", "after"):
        if said := found.get("condition", {}).get(moment):
            facts = [f"{key} {value if value != [] else 'none'}" for key, value in said.items()]
            parts.append(f"{moment}: {', '.join(facts)}")
    if model := found.get("model"):
        parts.append(", ".join(f"{key} {value}" for key, value in model.items()))
    if start := found.get("start"):
        parts.append(", ".join(f"{key} {value}" for key, value in start.items()))
    if stages := found.get("stages"):
        rows = [(row["stage"], row["us_per_station_s"]) for row in stages]
        parts.append(_table(("part of the daemon", "µs per station-second"), rows))
    if others := found.get("others"):
        rows = [(f"{row['picker']}, {row['form']}", row["us_per_station_s"]) for row in others]
        parts.append(_table(("picker", "µs per station-second"), rows))
    if load := found.get("load"):
        parts.append(_table(LOAD_HEAD, [_load_row(row) for row in load]))
    if "stations_per_core" in found:
        parts.append(
            f"Stations that one core carries, by the CPU time of the largest load: {found['stations_per_core']}"
        )
    return "\n\n".join(part for part in parts if part)


LOAD_HEAD = (
    "stations",
    "% of a core",
    "µs per station-second",
    "resident MB",
    "windows in a call",
    "windows of those due",
    "picks",
    "latency median, 95 %, s",
    "of it the daemon's own, median, 95 %, s",
)


def _load_row(row: Mapping[str, Any]) -> Sequence[object]:
    return (
        row["stations"],
        row["cpu_percent_of_a_core"],
        row["us_per_station_s"],
        row["resident_mb"],
        row["mean_batch"],
        f"{row['windows_of_due']:.1%}" + ("" if row["kept_up"] else " (behind)"),
        row["picks"],
        _two(row["latency_s"]),
        _two(row["own_latency_s"]),
    )


def _two(values: Mapping[str, float]) -> str:
    return f"{values['median']:g}, {values['p95']:g}" if values["count"] else "no picks"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    text[1] = "|" + "---|" * len(head)
    return "\n".join(text)

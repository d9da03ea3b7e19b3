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

from collections.abc import Iterator, Mapping, Sequence
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
    parts += [*_measured(found)]
    return "\n\n".join(part for part in parts if part)


def _measured(found: Mapping[str, Any]) -> Iterator[str]:
    """What early picks need, what a day offline costs, and the loads."""
    for early in found.get("early", []):
        yield (
            f"Data after the onset of P until it can be picked early ({early['early']}; {early['places']} places of an event), "
            f"median, 95 %, s: {_two(early['data_s'])}"
        )
    if offline := found.get("offline"):
        yield _table(OFFLINE_HEAD, [_offline_row(row) for row in offline])
    if load := found.get("load"):
        yield _table(LOAD_HEAD, [_load_row(row) for row in load])
        yield _table(THREADS_HEAD, [row for one in load for row in _thread_rows(one)])
        if latencies := [row for one in load for row in _latency_rows(one)]:
            yield _table(LATENCY_HEAD, latencies)
    for row in load or []:
        if "caught_up_s" in row:
            yield (
                f"{row['stations']} stations after a stop of the daemon: caught up in {row['caught_up_s']:g} s, resident at most "
                f"{row['catching_up_peak_mb']} MB"
            )
    for data, stations in found.get("stations_per_core", {}).items():
        yield f"Stations that one core carries, {data}, by the CPU time of the largest load: {stations}"


LOAD_HEAD = (
    "stations",
    "data",
    "early picks by",
    "% of a core",
    "µs per station-second",
    "resident MB",
    "at most",
    "windows in a call",
    "windows of those due",
    "picks",
)
LATENCY_HEAD = (
    "stations",
    "data",
    "picks",
    "number",
    "latency median, 95 %, s",
    "of it the daemon's own, median, 99 %, s",
)
THREADS_HEAD = ("stations", "data", "thread", "µs per station-second")
OFFLINE_HEAD = (
    "offline",
    "data",
    "hours",
    "CPU s",
    "of it to start",
    "picks",
    "of PhaseNet's CPU time",
)


def _load_row(row: Mapping[str, Any]) -> Sequence[object]:
    return (
        row["stations"],
        row["data"],
        row["early"],
        row["cpu_percent_of_a_core"],
        row["us_per_station_s"],
        row["resident_mb"],
        row["peak_mb"],
        row["mean_batch"],
        f"{row['windows_of_due']:.1%}" + ("" if row["kept_up"] else " (behind)"),
        row["picks"],
    )


def _latency_rows(row: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for kind, whole in row["latency_s"].items():
        own = row["own_latency_s"][kind]
        yield row["stations"], row["data"], kind, whole["count"], _two(whole), _two(own, "p99")


def _thread_rows(row: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for thread, us in row["threads_us_per_station_s"].items():
        if us:
            yield row["stations"], row["data"], thread, us


def _offline_row(row: Mapping[str, Any]) -> Sequence[object]:
    share = row.get("of_phasenet")
    return (
        row["program"],
        row["data"],
        f"{row['hours']:g}",
        row["cpu_s"],
        row["start_cpu_s"],
        row["picks"],
        "" if share is None else f"{share:.0%}",
    )


def _two(values: Mapping[str, float], second: str = "p95") -> str:
    return f"{values['median']:g}, {values[second]:g}" if values["count"] else "no picks"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    text[1] = "|" + "---|" * len(head)
    return "\n".join(text)

"""The daemon under load: a replay server with an increasing number of stations, and ``xiaod --config``, connected by a real socket.

All stations send the same data at the same moment: nothing but noise (``quiet``), or an event a minute (``events``,
:mod:`xiaod.tools.bench.station`), the worst case, since all work comes at once. Latencies are those in the picks; CPU time and memory are
those that the kernel counts for the daemon's process.

>>> spread([1.0, 2.0, 3.0])
{'count': 3, 'median': 2.0, 'p95': 2.9, 'p99': 2.98, 'max': 3.0}
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from xiaod.config import Early, WindowConfig
from xiaod.tools.bench.daemon import START_LIMIT_S, BenchError, DaemonProcess, Use, stop, sums
from xiaod.tools.bench.station import quiet_records, station_records

OWN_WORK = ("component_wait_s", "processing_s")
"""Parts of the latency that are the daemon's own."""
RECORD_S = 8.0
"""Most data of one record: the windows of so much may be missing when counting stops."""
KEPT_UP_S = 5.0
"""Own latency of a pick, at the 95th percentile, above which the daemon has not kept up; and how much older the newest data may become."""

Data = Literal["quiet", "events"]


@dataclass(frozen=True)
class LoadSettings:
    """How the daemon is loaded."""

    model: str = "micro"
    window_s: float = 20.0
    early: Early = "scout"
    data: Data = "events"
    seconds: float = 60.0
    """Duration of the measurement, after all stations are running."""
    warm_up_s: float = 30.0
    """Wait after the first windows."""
    stopped_s: float = 0.0
    """After the measurement the daemon is stopped for so long, and catches up; 0: it is not."""


def run_load(stations: int, settings: LoadSettings) -> dict[str, Any]:
    """Run one daemon with a number of stations.

    Raises:
        BenchError: when it does not start, or ends.
    """
    with TemporaryDirectory() as scratch:
        folder, data = Path(scratch), Path(scratch) / "station.mseed"
        make = quiet_records if settings.data == "quiet" else station_records
        data.write_bytes(b"".join(make(_minutes(settings))))
        server = subprocess.Popen(  # noqa: S603  this very program
            [sys.executable, "-m", "xiaod", "replay", str(data), "--port", "0", "--loop", "--shift-to-now",
             "--copies", str(stations)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            port = _port(server)
            begun = time.monotonic()
            daemon = _start(folder, port, stations, settings)
            try:
                found = {
                    "stations": stations,
                    "data": settings.data,
                    "early": settings.early,
                    **_measure(daemon, folder, stations, begun, settings),
                }
            finally:
                daemon.stop()
            if settings.stopped_s:
                time.sleep(settings.stopped_s)
                found |= _catch_up(folder, port, found, settings)
            return found
        finally:
            stop(server)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th and 99th percentile, and maximum."""
    if not values:
        return {"count": 0}
    found = np.percentile(values, (50, 95, 99, 100))
    names = ("median", "p95", "p99", "max")
    return {
        "count": len(values),
        **{name: round(float(value), 3) for name, value in zip(names, found, strict=True)},
    }


def _minutes(settings: LoadSettings) -> int:
    """Minutes of data that are needed, so that nothing is played twice."""
    spent_s = START_LIMIT_S + settings.warm_up_s + settings.seconds + settings.stopped_s
    if settings.stopped_s:
        spent_s += START_LIMIT_S
    return math.ceil(spent_s / 60) + 1


def _start(folder: Path, port: int, stations: int, settings: LoadSettings) -> DaemonProcess:
    return DaemonProcess(folder, configuration(folder, port, stations, settings))


def configuration(folder: Path, port: int, stations: int, settings: LoadSettings) -> dict[str, Any]:
    """Configuration of a daemon that picks all stations of a local server."""
    return {
        "sources": [
            {"name": "load", "server": f"127.0.0.1:{port}", "begin": "resume", "max_stations": stations}
        ],
        "early": settings.early,
        "windows": {"length_s": settings.window_s},
        "engine": {"model": settings.model},
        "sinks": [{"kind": "jsonl", "path": str(folder / "picks.jsonl"), "stage": "all"}],
        "state": {"folder": str(folder / "state")},
        "buffer": {"max_future_s": None},
    }


def _measure(
    daemon: DaemonProcess, folder: Path, stations: int, begun: float, settings: LoadSettings
) -> dict[str, Any]:
    daemon.metrics()
    ready_s = time.monotonic() - begun
    daemon.until_metrics(_has_windows, "windows")
    first_window_s = time.monotonic() - begun
    time.sleep(settings.warm_up_s)
    before, start = _moment(daemon), time.time()
    time.sleep(settings.seconds)
    after = _moment(daemon)
    daemon.check("the end of the measurement")
    picks = [pick for pick in _picks(folder / "picks.jsonl") if _created(pick) >= start]
    return {
        "seconds": round(after.at_s - before.at_s, 1),
        "ready_s": round(ready_s, 2),
        "first_window_s": round(first_window_s, 2),
        **summary(before, after, stations, settings.early, picks),
    }


@dataclass(frozen=True, slots=True)
class Moment:
    """The daemon at one moment."""

    at_s: float
    """Monotonic time."""
    use: Use
    metrics: Mapping[str, float]
    """Sum of all samples of each metric's name."""
    threads_s: Mapping[str, float]
    """CPU time of each thread."""


def _moment(daemon: DaemonProcess) -> Moment:
    at_s, use, text = time.monotonic(), daemon.use(), daemon.text()
    threads_s = {
        sample.labels["thread"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "xiaod_thread_cpu_seconds_total"
    }
    return Moment(at_s, use, sums(text), threads_s)


def summary(
    before: Moment, after: Moment, stations: int, early: Early, picks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Results from two moments, and from the picks between them.

    Args:
        before: when counting began.
        after: when it ended.
        stations: number of stations.
        early: what makes early picks.
        picks: documents of the picks made in this time, of all stages.
    """
    spent_s = after.at_s - before.at_s
    station_s = stations * spent_s
    cpu_s = after.use.cpu_s - before.use.cpu_s
    windows = after.metrics["xiaod_windows_total"] - before.metrics["xiaod_windows_total"]
    calls = _risen(before, after, "xiaod_batch_windows_count")
    hops_s = WindowConfig()
    each_s = 1 / hops_s.final_hop_s + (1 / hops_s.early_hop_s if early == "windows" else 0)
    late = (RECORD_S + hops_s.final_hop_s) * each_s * stations
    delay_s, delay_before_s = (
        one.metrics.get("xiaod_data_delay_seconds", 0.0) / stations for one in (after, before)
    )
    own_s = _by_kind(picks, lambda pick: sum(pick["latency"][part] or 0.0 for part in OWN_WORK))
    slowest_s = max((found.get("p95", 0.0) for found in own_s.values()), default=0.0)
    return {
        "cpu_percent_of_a_core": round(100 * cpu_s / spent_s, 1),
        "us_per_station_s": round(cpu_s / station_s * 1e6, 1),
        "threads_us_per_station_s": {
            name: round((used_s - before.threads_s.get(name, 0.0)) / station_s * 1e6, 1)
            for name, used_s in after.threads_s.items()
        },
        "resident_mb": after.use.resident_mb,
        "peak_mb": after.use.peak_mb,
        "windows": round(windows),
        "windows_of_due": round(windows / (station_s * each_s), 3),
        "data_delay_s": round(delay_s, 2),
        "kept_up": windows >= station_s * each_s - late
        and delay_s - delay_before_s <= KEPT_UP_S
        and slowest_s <= KEPT_UP_S,
        "mean_batch": round(windows / calls, 2) if calls else None,
        "picks": len([pick for pick in picks if pick.get("outcome") != "withdrawn"]),
        "latency_s": _by_kind(picks, lambda pick: pick["latency_s"]),
        "own_latency_s": own_s,
    }


def _by_kind(
    picks: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> dict[str, dict[str, float]]:
    """Spread of a value of picks that have a latency, by stage and phase."""
    found: dict[str, list[float]] = {}
    for pick in picks:
        if pick.get("latency"):
            found.setdefault(f"{pick['stage']} {pick['phase']}", []).append(value(pick))
    return {kind: spread(values) for kind, values in sorted(found.items())}


def _has_windows(metrics: Mapping[str, float]) -> bool:
    return metrics.get("xiaod_windows_total", 0.0) > 0


def _risen(before: Moment, after: Moment, name: str) -> float:
    return after.metrics.get(name, 0.0) - before.metrics.get(name, 0.0)


def _catch_up(folder: Path, port: int, found: Mapping[str, Any], settings: LoadSettings) -> dict[str, Any]:
    """Start the daemon again after it was stopped; how long it takes until its data are as new as before, and its memory meanwhile."""
    begun = time.monotonic()
    daemon = _start(folder, port, found["stations"], settings)
    try:
        daemon.until_metrics(_has_windows, "windows")
        daemon.until_metrics(
            lambda metrics: (
                metrics.get("xiaod_data_delay_seconds", math.inf) / found["stations"]
                <= found["data_delay_s"] + KEPT_UP_S
            ),
            "the newest data",
        )
        return {
            "caught_up_s": round(time.monotonic() - begun, 1),
            "catching_up_peak_mb": daemon.use().peak_mb,
        }
    finally:
        daemon.stop()


def _port(server: "subprocess.Popen[str]") -> int:
    line = server.stdout.readline() if server.stdout is not None else ""
    _, colon, port = line.rpartition(":")
    if not colon:
        raise BenchError(f"the replay server did not start: {line.strip() or 'see above'}")
    return int(port)


def _picks(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def _created(pick: dict[str, Any]) -> float:
    moment = np.datetime64(str(pick["created"]).rstrip("Z")).astype("datetime64[us]").astype(float)
    return float(moment) / 1e6

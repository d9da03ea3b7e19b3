"""The daemon under load: a replay server with an increasing number of stations, and ``xiaod --config``, connected by a real socket.

All stations send the same data at the same moment (:mod:`xiaod.tools.bench.station`): the worst case, since all work comes at once.
Latencies are those in the picks; memory and CPU time are those in the metrics.

>>> spread([1.0, 2.0, 3.0])
{'count': 3, 'median': 2.0, 'p95': 2.9, 'max': 3.0}
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from xiaod.tools.bench.daemon import START_LIMIT_S, BenchError, DaemonProcess, stop
from xiaod.tools.bench.station import station_records

OWN_WORK = ("component_wait_s", "processing_s")
"""Parts of the latency that are the daemon's own."""
RECORD_S = 8.0
"""Most data of one record: the windows of so much may be missing when counting stops."""
KEPT_UP_S = 5.0
"""Own latency of a pick, at the 95th percentile, above which the daemon has not kept up."""


@dataclass(frozen=True)
class LoadSettings:
    """How the daemon is loaded."""

    model: str = "micro"
    window_s: float = 20.0
    hop_s: float = 0.5
    seconds: float = 60.0
    """Duration of the measurement, after all stations are running."""
    warm_up_s: float = 30.0
    """Wait after the first windows."""


def run_load(stations: int, settings: LoadSettings) -> dict[str, Any]:
    """Run one daemon with a number of stations.

    Raises:
        BenchError: when it does not start, or ends.
    """
    with TemporaryDirectory() as scratch:
        folder, data = Path(scratch), Path(scratch) / "station.mseed"
        data.write_bytes(b"".join(station_records(_periods(settings))))
        server = subprocess.Popen(  # noqa: S603  this very program
            [sys.executable, "-m", "xiaod", "replay", str(data), "--port", "0", "--loop", "--shift-to-now",
             "--copies", str(stations)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            port = _port(server)
            begun = time.monotonic()
            daemon = _start(folder, port, settings)
            try:
                return {"stations": stations, **_measure(daemon, folder, stations, begun, settings)}
            finally:
                daemon.stop()
        finally:
            stop(server)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 95th percentile and maximum."""
    if not values:
        return {"count": 0}
    found = np.percentile(values, (50, 95, 100))
    names = ("median", "p95", "max")
    return {
        "count": len(values),
        **{name: round(float(value), 3) for name, value in zip(names, found, strict=True)},
    }


def _periods(settings: LoadSettings) -> int:
    """Minutes of data that are needed, so that nothing is played twice."""
    return math.ceil((START_LIMIT_S + settings.warm_up_s + settings.seconds) / 60) + 1


def _start(folder: Path, port: int, settings: LoadSettings) -> DaemonProcess:
    return DaemonProcess(
        folder,
        {
            "sources": [{"name": "load", "server": f"127.0.0.1:{port}"}],
            "windows": {"length_s": settings.window_s, "early_hop_s": settings.hop_s},
            "engine": {"model": settings.model},
            "sinks": [{"kind": "jsonl", "path": str(folder / "picks.jsonl")}],
            "state": {"folder": str(folder / "state")},
            "buffer": {"max_future_s": None},
        },
    )


def _measure(
    daemon: DaemonProcess, folder: Path, stations: int, begun: float, settings: LoadSettings
) -> dict[str, Any]:
    daemon.metrics()
    ready_s = time.monotonic() - begun
    daemon.until(lambda: daemon.metrics().get("xiaod_windows_total", 0.0) > 0, "windows")
    first_window_s = time.monotonic() - begun
    time.sleep(settings.warm_up_s)
    before, start, start_s = daemon.metrics(), time.time(), time.monotonic()
    time.sleep(settings.seconds)
    after, spent_s = daemon.metrics(), time.monotonic() - start_s
    daemon.check("the end of the measurement")
    picks = [pick for pick in _picks(folder / "picks.jsonl") if _created(pick) >= start]
    return {
        "seconds": round(spent_s, 1),
        "ready_s": round(ready_s, 2),
        "first_window_s": round(first_window_s, 2),
        **summary(before, after, spent_s, stations, settings.hop_s, picks),
    }


def summary(
    before: Mapping[str, float],
    after: Mapping[str, float],
    spent_s: float,
    stations: int,
    hop_s: float,
    picks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Results from the metrics before and after, and from the picks between.

    Args:
        before: sum of all samples of each metric's name.
        after: the same, ``spent_s`` later.
        spent_s: time between them.
        stations: number of stations.
        hop_s: time between windows of a station.
        picks: documents of the picks made in this time.
    """
    used = {key: value - before.get(key, 0.0) for key, value in after.items()}
    windows = used["xiaod_windows_total"]
    station_s = stations * spent_s
    due = station_s / hop_s
    own_s = spread(
        [sum(pick["latency"][part] or 0.0 for part in OWN_WORK) for pick in picks if pick.get("latency")]
    )
    calls = used.get("xiaod_batch_windows_count", 0.0)
    return {
        "cpu_percent_of_a_core": round(100 * used["process_cpu_seconds_total"] / spent_s, 1),
        "us_per_station_s": round(used["process_cpu_seconds_total"] / station_s * 1e6, 1),
        "resident_mb": round(after["process_resident_memory_bytes"] / 1e6, 1),
        "windows_of_due": round(windows / due, 3),
        "kept_up": windows >= due - stations * RECORD_S / hop_s and own_s.get("p95", 0.0) <= KEPT_UP_S,
        "mean_batch": round(windows / calls, 2) if calls else None,
        "picks": len(picks),
        "latency_s": spread([pick["latency_s"] for pick in picks]),
        "own_latency_s": own_s,
    }


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

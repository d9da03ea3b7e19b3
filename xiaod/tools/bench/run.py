"""Runs one benchmark.

>>> from xiaod.tools.bench.load import LoadSettings
>>> found = run_bench((), LoadSettings(), hours=0, batches=(1,), others=False, least_s=0.01, places=1)
>>> found["model"]["name"].startswith("micro"), found["load"]
(True, [])
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from models.weights import resolve
from xiaod import __version__
from xiaod.config import WindowConfig
from xiaod.domain.timegrid import samples_from_s
from xiaod.tools.bench.early import PLACES, data_until_early
from xiaod.tools.bench.hardware import condition, describe
from xiaod.tools.bench.load import Data, LoadSettings, run_load
from xiaod.tools.bench.offline import offline_costs
from xiaod.tools.bench.others import phasenet_cost, sta_lta_cost
from xiaod.tools.bench.stages import engine_of, time_stages
from xiaod.tools.bench.timer import LEAST_S

STATIONS = (1, 10, 100, 1000)
KINDS: Sequence[Data] = ("quiet", "events")
HOP_S = WindowConfig().final_hop_s
"""Of the windows of final picks."""
BATCHES = (1, 4, 16, 64, 128)
OTHERS_BATCH = 16
PACKAGES = ("numpy", "obspy", "onnxruntime")


def run_bench(
    stations: Sequence[int],
    settings: LoadSettings,
    kinds: Sequence[Data] = KINDS,
    hours: float = 24.0,
    batches: Sequence[int] = BATCHES,
    others: bool = True,
    least_s: float = LEAST_S,
    places: int = PLACES,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        stations: numbers of stations of the loads, one after the other.
        settings: of the loads. The daemon is stopped for ``stopped_s`` after the last of them alone.
        kinds: data of the loads.
        hours: data of one station that is picked offline; 0: none.
        batches: windows in one call of the network.
        others: whether STA/LTA and PhaseNet are also timed.
        least_s: least CPU time of each measurement.
        places: events of which it is measured how much data an early pick needs.
        say: called with each stage.

    Raises:
        BenchError: when the daemon fails.
        ModelError, FileNotFoundError: when the model cannot be used.
    """
    found: dict[str, Any] = {
        "hardware": describe(),
        "versions": {"xiaod": __version__, **{name: version(name) for name in PACKAGES}},
        "condition": {"before": condition()},
    }
    path = resolve(settings.model)
    begun = time.perf_counter()
    engine = engine_of(settings.model)
    load_s = time.perf_counter() - begun
    found["model"] = {
        "name": engine.spec.label,
        "kB": round(path.stat().st_size / 1e3, 1),
        "loaded_in_s": round(load_s, 3),
    }
    say("starting the program")
    found["start"] = {"xiaod version, s": _cold_start()}
    say("parts of the daemon")
    found["stages"] = time_stages(
        engine, samples_from_s(settings.window_s), samples_from_s(HOP_S), batches, least_s
    )
    if settings.early != "off":
        say("data that an early pick needs")
        found["early"] = [data_until_early(settings.model, settings.early, places)]
    found["others"] = []
    if others:
        say("other pickers")
        rows = [sta_lta_cost(least_s), phasenet_cost(HOP_S, OTHERS_BATCH, least_s)]
        found["others"] = [row for row in rows if row is not None]
    found["offline"] = offline_costs(hours, settings.model, say, others) if hours else []
    load: list[dict[str, Any]] = []
    found["load"] = load
    loads = [(data, count) for data in kinds for count in stations]
    for data, count in loads:
        say(f"{count} station(s), {data}, {settings.warm_up_s + settings.seconds:g} s and more")
        stopped_s = settings.stopped_s if (data, count) == loads[-1] else 0.0
        load.append(run_load(count, replace(settings, data=data, stopped_s=stopped_s)))
    found["condition"]["after"] = condition()
    if found["load"]:
        found["start"]["daemon ready, s"] = found["load"][0]["ready_s"]
        # One that is behind has not done all of its work.
        kept_up = {data: [row for row in load if row["data"] == data and row["kept_up"]] for data in kinds}
        found["stations_per_core"] = {data: stations_per_core(rows) for data, rows in kept_up.items() if rows}
    return found


def stations_per_core(load: Sequence[Mapping[str, Any]]) -> int:
    """Number of stations for one core, by the CPU time of a station in the largest load.

    >>> stations_per_core([{"stations": 1, "us_per_station_s": 9000.0}, {"stations": 100, "us_per_station_s": 500.0}])
    2000
    """
    largest = max(load, key=lambda row: row["stations"])
    return round(1e6 / float(largest["us_per_station_s"]))


def _cold_start() -> float:
    """Duration of ``xiaod version`` in a new process, in seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "xiaod", "version"], capture_output=True, check=True)
    return round(time.perf_counter() - begun, 2)

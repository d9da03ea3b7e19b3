"""The cost of a picker: CPU time for one second of data of one station, one thread, ONNX Runtime, front end included.

``python -m distill.cost`` prints the table for PhaseNet (if its file is there) and all students, shipped and preset, as overlapping
windows and in the stateful form. The ratio to PhaseNet is measured in pairs, in turn in one process, so that other load on the machine
affects both alike. Times in microseconds are valid for this machine and moment only.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.progress import SILENT, Progress
from models.chunks import StatefulNet
from models.frontend import bands, fresh_state, prepare, standardise
from models.runtime import onnx_runtime
from models.spec import METADATA_KEY, ModelSpec
from models.weights import shipped, stateful_path, weights_path

RATE_HZ = 100.0
HOP_S = 0.5
BATCHES = (1, 16, 128)
RUNS = 40
FEW_RUNS = 10
"""From this number of runs on, each model is also measured for a least time."""
LEAST_S = 0.3
"""Least CPU time of a measurement."""
TEACHER_WINDOW = 3000
UNTRAINED_SAMPLES = 2000
REFERENCE = "PhaseNet"
"""Name of the model to which others are compared."""


@dataclass(frozen=True)
class Work:
    """One call of a picker."""

    call: Callable[[], None]
    station_s: float
    """Seconds of data of one station that a call serves."""
    facts: Mapping[str, Any]
    """Form, length, batch."""


def window_cost(path: Path, batch: int, samples: int = 0, runs: int = RUNS) -> dict[str, Any]:
    """Cost of a window in a batch, and of a second of data in windows half a second apart."""
    work = _windows(path, batch, samples)
    call_us = _median_us(work.call, runs)
    return {
        **work.facts,
        "us_per_window": round(call_us / batch, 1),
        "us_per_station_s": round(call_us / work.station_s, 1),
    }


def costs(
    models: Mapping[str, Path],
    batches: Sequence[int] = BATCHES,
    runs: int = RUNS,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Cost of every model in every batch, with ``times_cheaper`` where :data:`REFERENCE` is among the models."""
    reference = models.get(REFERENCE)
    rows = []
    for batch in batches:
        base = None if reference is None else _windows(reference, batch)
        for name, path in progress.over(models.items(), f"cost, batch {batch}", len(models)):
            _, spec = _open(path)
            work = (_chunks if spec is not None and spec.form == "stateful" else _windows)(path, batch)
            row = {"model": name, **work.facts}
            if base is None:
                rows.append(
                    {**row, "us_per_station_s": round(_median_us(work.call, runs) / work.station_s, 1)}
                )
                continue
            ours_us, times = paired(work, base, runs)
            rows.append({**row, "us_per_station_s": round(ours_us, 1), "times_cheaper": round(times, 1)})
    return rows


def paired(work: Work, base: Work, runs: int) -> tuple[float, float]:
    """CPU time per second of data of a station in microseconds, and the ratio of the base's CPU time to it.

    Each turn is one call of the base, and as many of the other as take about as long. The result is the median of the ratios.
    """
    calls = max(1, round(_median_us(base.call, 3) / _median_us(work.call, 3)))
    ours_us, times = [], []
    for _ in range(runs):
        base_us = _cpu_us(base.call, 1) / base.station_s
        ours_us.append(_cpu_us(work.call, calls) / work.station_s)
        times.append(base_us / ours_us[-1])
    return float(np.median(ours_us)), float(np.median(times))


def _windows(path: Path, batch: int, samples: int = 0) -> Work:
    session, spec = _open(path)
    length = samples or (spec.window_samples if spec else TEACHER_WINDOW)
    name = session.get_inputs()[0].name
    waves = np.random.default_rng(0).normal(size=(batch, 3, length)).astype(np.float32)

    def call() -> None:
        prepared = prepare(spec.front_end, waves) if spec else standardise(waves)
        session.run(None, {name: prepared})

    return Work(call, batch * HOP_S, {"form": "windows", "window_s": length / RATE_HZ, "batch": batch})


def _chunks(path: Path, batch: int) -> Work:
    session, spec = _open(path)
    if spec is None:
        raise ValueError(f"{path}: carries no specification")
    chunk = spec.chunk_samples
    waves = np.random.default_rng(0).normal(size=(batch, 3, chunk)).astype(np.float32)
    held: list[NDArray[Any]] = [fresh_state(batch), np.zeros((batch, spec.state_size), np.float32)]
    net, one_each = StatefulNet(session), np.ones(batch, np.int64)

    def call() -> None:
        prepared, held[0] = bands(waves, held[0])
        _, held[1] = net(prepared, held[1], one_each)

    chunk_s = chunk / RATE_HZ
    return Work(call, batch * chunk_s, {"form": "stateful", "chunk_s": chunk_s, "batch": batch})


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Table of costs."""
    lines = [
        f"| model | form | batch | µs per station-second | times cheaper than {REFERENCE} |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {looks(row)} | {row['batch']} | {row['us_per_station_s']:g} | {row.get('times_cheaper', '')} |"
        for row in rows
    ]
    return "\n".join(lines)


def looks(row: Mapping[str, Any]) -> str:
    """How a model reads the data, as tables show it."""
    return (
        f"windows of {row['window_s']:g} s" if row["form"] == "windows" else f"chunks of {row['chunk_s']:g} s"
    )


def _median_us(run: Callable[[], None], runs: int) -> float:
    """Median CPU time; a run is repeated until it is much longer than a step of the clock."""
    run()
    times: list[float] = []
    begun = time.process_time()
    while len(times) < runs or (runs >= FEW_RUNS and time.process_time() - begun < LEAST_S):
        times.append(_cpu_us(run, 1))
    return float(np.median(times))


def _cpu_us(call: Callable[[], None], calls: int) -> float:
    """CPU time of a call, averaged over several."""
    begun = time.process_time_ns()
    for _ in range(calls):
        call()
    return (time.process_time_ns() - begun) / 1e3 / calls


def _open(path: Path) -> tuple[Any, ModelSpec | None]:
    onnxruntime = onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, ModelSpec.from_metadata(metadata) if METADATA_KEY in metadata else None


def known_models(teacher: Path | None, scratch: Path | None = None) -> dict[str, Path]:
    """All shipped students, and PhaseNet if its file exists; with a folder for their files, also untrained presets."""
    models = {} if teacher is None or not teacher.is_file() else {REFERENCE: teacher}
    models |= {name: weights_path(name) for name in shipped()}
    if scratch is not None:
        from models.export import export_onnx
        from models.small_phasenet import PRESETS, fresh_net

        for name in sorted(set(PRESETS) - set(models)):
            net = fresh_net(PRESETS[name], seed=0).eval()
            spec = ModelSpec(name, "0.0.0", window_samples=UNTRAINED_SAMPLES, net=net.config.to_dict())
            models[f"{name}, untrained"] = export_onnx(net, spec, scratch / f"{name}.onnx")
    return models | {f"{name}, stateful": stateful_path(name) for name in shipped(stateful=True)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m distill.cost", description="CPU cost of the pickers.")
    shared = os.environ.get("XIAO_SHARED")
    parser.add_argument(
        "--teacher",
        type=Path,
        default=shared and Path(shared) / "teacher/phasenet_aligned.onnx",
        help="PhaseNet as ONNX (default: teacher/phasenet_aligned.onnx below the folder that XIAO_SHARED names)",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        rows = costs(known_models(options.teacher, Path(scratch)))
    print(json.dumps(rows, indent=2) if options.json else markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

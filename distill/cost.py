"""What a picker costs: CPU time of a station's second of data, one thread, ONNX Runtime, front end included.

``python -m distill.cost`` prints the table for PhaseNet (where its file is) and all students, shipped and preset, as overlapping
windows and in the stateful form.

>>> from models.weights import weights_path
>>> row = window_cost(weights_path("micro"), batch=1, runs=3)
>>> row["us_per_station_s"] > 0
True
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.frontend import fresh_state, prepare, standardise, stream
from models.runtime import onnx_runtime
from models.spec import METADATA_KEY, ModelSpec
from models.weights import shipped, stateful_path, weights_path

RATE_HZ = 100.0
HOP_S = 0.5
BATCHES = (1, 16, 128)
RUNS = 40
FEW_RUNS = 10
"""From so many runs on, each model is measured for a least time too."""
LEAST_S = 0.3
"""CPU time to measure for, at least."""
TEACHER_WINDOW = 3000
UNTRAINED_SAMPLES = 2000


def window_cost(path: Path, batch: int, samples: int = 0, runs: int = RUNS) -> dict[str, Any]:
    """Cost of a window in a batch, and of a second of data in windows half a second apart."""
    session, spec = _open(path)
    length = samples or (spec.window_samples if spec else TEACHER_WINDOW)
    name = session.get_inputs()[0].name
    waves = np.random.default_rng(0).normal(size=(batch, 3, length)).astype(np.float32)

    def run() -> None:
        prepared = prepare(spec.front_end, waves) if spec else standardise(waves)
        session.run(None, {name: prepared})

    each_us = _median_us(run, runs) / batch
    return {
        "form": "windows",
        "window_s": length / RATE_HZ,
        "batch": batch,
        "us_per_window": round(each_us, 1),
        "us_per_station_s": round(each_us / HOP_S, 1),
        "us_per_station_s_not_overlapping": round(each_us / (length / RATE_HZ), 1),
    }


def stateful_cost(path: Path, batch: int, runs: int = RUNS) -> dict[str, Any]:
    """Cost of a second of data in the stateful form."""
    session, spec = _open(path)
    if spec is None:
        raise ValueError(f"{path}: carries no specification")
    chunk = spec.chunk_samples
    waves = np.random.default_rng(0).normal(size=(batch, 3, chunk)).astype(np.float32)
    held: list[NDArray[Any]] = [fresh_state(batch), np.zeros((batch, spec.state_size), np.float32)]

    def run() -> None:
        prepared, held[0] = stream(waves, held[0])
        _, held[1] = session.run(None, {"wave": prepared, "state": held[1]})

    each_us = _median_us(run, runs) / batch
    return {
        "form": "stateful",
        "chunk_s": chunk / RATE_HZ,
        "batch": batch,
        "us_per_chunk": round(each_us, 1),
        "us_per_station_s": round(each_us / (chunk / RATE_HZ), 1),
    }


def costs(
    models: dict[str, Path], batches: Sequence[int] = BATCHES, runs: int = RUNS
) -> list[dict[str, Any]]:
    """Cost of every model in every batch, in one run, so that they can be compared."""
    rows = []
    for name, path in models.items():
        _, spec = _open(path)
        measure = stateful_cost if spec is not None and spec.form == "stateful" else window_cost
        rows += [{"model": name, **measure(path, batch, runs=runs)} for batch in batches]
    return rows


def markdown(rows: Sequence[dict[str, Any]], reference: str) -> str:
    """Table of costs; ``reference`` names the model that others are compared with, batch by batch."""
    lines = ["| model | form | batch | µs per station-second | times cheaper |", "|---|---|---|---|---|"]
    base = {row["batch"]: row["us_per_station_s"] for row in rows if row["model"] == reference}
    for row in rows:
        times = f"{base[row['batch']] / row['us_per_station_s']:.1f}" if row["batch"] in base else ""
        form = (
            f"{row['window_s']:g} s windows" if row["form"] == "windows" else f"{row['chunk_s']:g} s chunks"
        )
        lines.append(f"| {row['model']} | {form} | {row['batch']} | {row['us_per_station_s']:g} | {times} |")
    return "\n".join(lines)


def _median_us(run: Callable[[], None], runs: int) -> float:
    """Median CPU time; a run is repeated until it is long against the clock's step."""
    run()
    times: list[float] = []
    begun = time.process_time()
    while len(times) < runs or (runs >= FEW_RUNS and time.process_time() - begun < LEAST_S):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times)) * 1e6


def _open(path: Path) -> tuple[Any, ModelSpec | None]:
    onnxruntime = onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, ModelSpec.from_metadata(metadata) if METADATA_KEY in metadata else None


def known_models(teacher: Path | None, scratch: Path | None = None) -> dict[str, Path]:
    """All shipped students, and PhaseNet where its file is; with a folder for them, presets that are not shipped, untrained."""
    models = {} if teacher is None or not teacher.is_file() else {"PhaseNet": teacher}
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
    shared = Path(os.environ.get("XIAO_SHARED", "../shared"))
    parser.add_argument("--teacher", type=Path, default=shared / "teacher/phasenet_aligned.onnx")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        rows = costs(known_models(options.teacher, Path(scratch)))
    print(json.dumps(rows, indent=2) if options.json else markdown(rows, "PhaseNet"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

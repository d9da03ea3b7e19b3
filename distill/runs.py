"""The folder of a run, ``RUNS/NAME-VERSION-HASH``: configuration, environment, log and weights.

``config.yaml`` the configuration, ``run.json`` code, data and environment, ``log.csv`` losses, ``curves.png`` their plot,
``checkpoint.safetensors`` to resume from, ``metrics.json`` and ``weights.safetensors`` of a finished run. The hash is that of the
configuration.

>>> run_folder(Path("runs"), TrainConfig(name="example", version="0.0.1", seed=3)).name
'example-0.0.1-cbe6c85d'
"""

import csv
import hashlib
import json
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from distill.config import TrainConfig
from distill.corpus import Corpus
from models.small_phasenet import net_behind, parameter_count

WEIGHTS = "weights.safetensors"
CONFIG, FACTS, LOG, METRICS = "config.yaml", "run.json", "log.csv", "metrics.json"
COLUMNS = (
    "step",
    "loss",
    "validation_loss",
    "validation_f1",
    "seconds_since_start",
    "learning_rate",
    "steps_per_s",
)
LIBRARIES = ("torch", "numpy", "scipy", "onnx", "onnxruntime", "seisbench", "obspy")


@dataclass(frozen=True)
class LogRow:
    """One line of the log."""

    step: int
    loss: float
    validation_loss: float
    validation_f1: float
    """Of the picks on windows held out, at the threshold that suits them best."""
    seconds: float
    """Since this process began, not the run."""
    learning_rate: float
    steps_per_s: float


def run_folder(runs: Path, config: TrainConfig) -> Path:
    """Folder of a run."""
    return runs / f"{config.name}-{config.version}-{config.sha256[:8]}"


def describe(
    folder: Path, config: TrainConfig, corpus: Corpus, processes: int, step: int
) -> list[dict[str, Any]]:
    """Write the facts of a run before it begins, or continues at a step.

    Returns:
        parts of the run so far, each with its first step (``from_step``) and the ``code`` that made it: a run continues by its
        configuration alone, also with other code. Two states of a ``-dirty`` code count as one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(folder, step)
    values = config.model_dump(mode="json")
    (folder / CONFIG).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    facts = {
        "config": values,
        "config_sha256": config.sha256,
        "code": parts[-1]["code"],
        "parts": parts,
        "data_table_sha256": corpus.sha256,
        "start_sha256": _start_sha256(config),
        "records": {
            "training": len(corpus.training),
            "validation": len(corpus.validation),
            "noise": len(corpus.noise),
        },
        "parameters": parameter_count(net_behind(config.sampling.front_end, config.net.config())),
        "processes": processes,
        "threads": config.threads,
        "python": platform.python_version(),
        "torch": version("torch"),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return parts


def _parts(folder: Path, step: int) -> list[dict[str, Any]]:
    """The parts that were made before a step, and the one that begins with it if its code is another."""
    path, code, parts = folder / FACTS, code_version(), []
    if path.exists():
        facts = json.loads(path.read_text(encoding="utf-8"))
        # A record of an earlier version names the last code alone.
        known = facts.get("parts", [{"from_step": 0, "code": facts["code"]}])
        parts = [part for part in known if part["from_step"] < step]
    return parts if parts and parts[-1]["code"] == code else [*parts, {"from_step": step, "code": code}]


def log(folder: Path, row: LogRow) -> None:
    """Append a line; a log that began with fewer columns keeps its columns."""
    path = folder / LOG
    columns = list(COLUMNS)
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), columns)
    values = dict(
        zip(
            COLUMNS,
            (
                row.step,
                f"{row.loss:.6f}",
                f"{row.validation_loss:.6f}",
                f"{row.validation_f1:.4f}",
                f"{row.seconds:.1f}",
                f"{row.learning_rate:.3e}",
                f"{row.steps_per_s:.1f}",
            ),
            strict=True,
        )
    )
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(values)


def read_log(folder: Path) -> list[dict[str, float]]:
    """All lines of a run's log."""
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def training_facts(folder: Path) -> dict[str, Any]:
    """Facts about a finished run for the provenance of its weights."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    names = ("code", "parts", "start_sha256", "processes", "threads", "torch", "machine")
    kept = {name: facts[name] for name in names if name in facts}
    return {"run": folder.name, "seconds": round(training_s(folder)), **kept}


def training_s(folder: Path) -> float:
    """Duration of a run in seconds, with all its continuations."""
    total, last = 0.0, 0.0
    for row in read_log(folder):
        seconds = row["seconds_since_start"]
        # A run that is gone on with counts from nothing again.
        total += seconds - last if seconds > last else seconds
        last = seconds
    return total


def finish(folder: Path, step: int, loss: float, best: float, stopped_early: bool) -> None:
    """Write the results of a finished run."""
    metrics = {
        "steps": step,
        "validation_loss": round(loss, 6),
        "best_validation_f1": round(best, 4),
        "stopped_early": stopped_early,
    }
    (folder / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def shown(folder: Path) -> dict[str, Any]:
    """Facts and progress of a run.

    Raises:
        FileNotFoundError: when the folder is not that of a run.
    """
    if not (folder / FACTS).exists():
        raise FileNotFoundError(f"{folder}: not the folder of a run: it holds no {FACTS}")
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    rows = read_log(folder) if (folder / LOG).exists() else []
    facts["progress"] = rows[-1] if rows else {}
    facts["finished"] = (folder / WEIGHTS).exists()
    if (folder / METRICS).exists():
        facts["metrics"] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    return facts


CODE = (":(top,glob)**/*.py", ":(top,glob)**/*.yaml", ":(top)pyproject.toml")
"""The files on which a run depends; weights, cards and measurements that a run writes do not count."""


def code_version(folder: Path = Path(__file__).parent) -> str:
    """The commit of the checked-out code, and ``-dirty`` if code was changed since; empty outside a checkout."""
    try:
        commit, changed = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=False).stdout
            for command in (
                ("describe", "--always"),
                ("status", "--porcelain", "--untracked-files=no", "--", *CODE),
            )
        )
    except OSError:
        return ""
    return commit.strip() + ("-dirty" if changed else "")


def _start_sha256(config: TrainConfig) -> str:
    """Hash of the file of the first weights: its path can hold others later."""
    start = config.optimiser.start
    return sha256_of(start) if start else ""


def sha256_of(path: str) -> str:
    """Hash of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

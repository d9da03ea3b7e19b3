"""From a configuration to everything that the report says: looks at all windows with all contenders, once each.

What networks that are not students said is kept on disk, by the hash of data and network.

>>> ranked([0.3, None, -0.01, 0.02])
{'best': 2, 'median': 0, 'worst': 1}
"""

import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.cache import TeacherCache
from distill.config import ConfigError, TrainConfig, load_train_config
from distill.corpus import Corpus, Record, load_corpus
from distill.cost import costs, known_models
from distill.evaluate import Student, training_windows
from distill.report.config import ReportConfig
from distill.report.contenders import Bench, Contender, contenders_of
from distill.report.latency import trade_off
from distill.report.outcome import Example, Outcome
from distill.report.scoring import (
    PHASES,
    SPREAD_WITHIN_S,
    Looked,
    Number,
    accuracy,
    best_f1,
    by_condition,
    calibration,
    found_of,
    precision_recall,
)
from distill.report.sizes import lengths_of, sizes_of
from distill.report.trials import close_pairs, noise_rates, pair_recall, robustness
from distill.report.windows import LabelledWindow, cut_windows, load_labelled
from distill.runs import code_version
from distill.scores import RATE_HZ, residuals_of
from distill.teachers import open_teacher
from models.spec import SpecError
from models.weights import resolve
from xiaod.bench.hardware import describe

SIZES = "sizes"
LIBRARIES = ("xiaod", "numpy", "scipy", "obspy", "torch", "seisbench", "onnxruntime")
COST_BATCHES = (1, 16, 128)
COST_RUNS = 10
PHASENET = "teacher/phasenet_aligned.onnx"
SPARE_SAMPLES = 1
"""SeisBench's PhaseNet looks at one sample more than the window."""


def run_evaluation(
    config: ReportConfig, source: Path, shared: Path, cache: Path, command: str, progress: bool = True
) -> Outcome:
    """Do everything.

    Args:
        config: what is asked for.
        source: file that the configuration came from: its relative paths are below that folder.
        shared: folder of data and teachers.
        cache: where the teachers' output is kept.
        command: how this can be done again, for the report.
        progress: whether steps are shown on standard error.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something is not there or not what it should be.
    """
    from tqdm import tqdm

    outcome = Outcome(config.title)
    records, data_sha256 = load_labelled(config.data, shared)
    corpus = _corpus(config, source, shared, cache, outcome)
    windows = cut_windows(
        records,
        {record.name: record.event for record in records if record.event},
        config.window_samples + SPARE_SAMPLES,
    )
    if not windows:
        raise FileNotFoundError(
            f"{config.data.path or config.data.name}: holds no labelled record as long as a window"
        )
    bench = Bench(shared, source.parent, training_windows(corpus), config.threads)
    contenders = _contenders(config, bench, outcome)
    outcome.contenders = {one.name: one.described for one in contenders}
    outcome.reference = config.reference or contenders[0].name
    pairs = close_pairs(windows)
    noise = [record for record in (*corpus.training, *corpus.validation) if record.kind == "noise"]
    for one in tqdm(contenders, desc="contenders", disable=not progress):
        looked = look(one, windows, data_sha256, cache)
        outcome.numbers += [
            *accuracy(one, looked, config.tolerances_s),
            *calibration(one, looked),
            *by_condition(one, looked),
            *robustness(one, windows),
            *pair_recall(one, pairs),
            *noise_rates(one, noise),
        ]
        curves = precision_recall(one, looked)
        outcome.curves += curves
        outcome.numbers += _best(curves, looked)
        for phase in PHASES:
            found = found_of(one, looked, phase, one.thresholds[phase])
            outcome.residuals_s[one.name, phase] = residuals_of(found, SPREAD_WITHIN_S)
        if one.probabilistic:
            outcome.examples += _examples(one, looked)
    _continuous(config, contenders, shared, outcome)
    _research(config, source, records, windows, outcome)
    models = known_models(shared / PHASENET)
    outcome.costs = costs(models, COST_BATCHES, COST_RUNS)
    outcome.provenance = _provenance(command, data_sha256, corpus, contenders, windows)
    return outcome


def look(contender: Contender, windows: Sequence[LabelledWindow], data_sha256: str, cache: Path) -> Looked:
    """Curves of all windows, from the cache where a network that is no student has been asked before."""
    if contender.serve is not None or not contender.probabilistic:
        return Looked(windows, [contender.curves(window.waves) for window in windows])
    known = TeacherCache(cache, data_sha256, contender.fingerprint, f"windows of {windows[0].waves.shape[1]}")
    curves: list[NDArray[np.floating]] = []
    for window in windows:
        key = f"{window.record}:{window.number}"
        found: NDArray[np.floating] | None = known.get(key)
        if found is None:
            found = contender.curves(window.waves).astype(np.float32)
            known.put(key, found)
        curves.append(found)
    known.save()
    return Looked(windows, curves)


def ranked(residuals: Sequence[float | None]) -> dict[str, int]:
    """Places of the best, the median and the worst; what was not picked at all is the worst."""
    order = sorted(range(len(residuals)), key=lambda place: _distance(residuals[place]))
    return {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]} if order else {}


def _distance(residual: float | None) -> float:
    return float("inf") if residual is None else abs(residual)


def _corpus(config: ReportConfig, source: Path, shared: Path, cache: Path, outcome: Outcome) -> Corpus:
    """The training corpus: classic pickers are tuned on it and noise comes from it; empty where it is not there."""
    training = _training(config, source)
    try:
        teacher = open_teacher(training.teacher, shared, config.threads)
        return load_corpus(shared, training, teacher, cache)
    except (ConfigError, FileNotFoundError) as error:
        outcome.skipped.append(f"classic pickers and noise, which need the training data: {error}")
        return Corpus((), (), "")


def _contenders(config: ReportConfig, bench: Bench, outcome: Outcome) -> list[Contender]:
    """All that can be had; the rest is left out, with the reason.

    Raises:
        ConfigError: when there is none.
    """
    found: list[Contender] = []
    for section in config.contenders:
        if section.kind == "classic" and not bench.training:
            continue
        try:
            found += contenders_of(section, bench)
        except (ConfigError, SpecError, FileNotFoundError) as error:
            outcome.skipped.append(f"{section.name}: {error}")
    if not found:
        raise ConfigError("contenders: none that can be had: " + "; ".join(outcome.skipped))
    return found


def _training(config: ReportConfig, source: Path) -> TrainConfig:
    given = source.parent / config.training if config.training else Path(__file__).parents[1] / "micro.yaml"
    return load_train_config(given)


def _best(curves: Sequence[Any], looked: Looked) -> Iterator[Number]:
    for curve in curves:
        value, threshold = best_f1(curve)
        labels = sum(window.labels[curve.phase] is not None for window in looked.windows)
        condition = f"{curve.tolerance_s:g} s"
        yield Number("best threshold", curve.contender, curve.phase, condition, "f1", value, labels)
        yield Number(
            "best threshold", curve.contender, curve.phase, condition, "threshold", threshold, labels
        )


def _examples(contender: Contender, looked: Looked) -> list[Example]:
    residuals: list[float | None] = []
    kept = []
    for window, curves in zip(looked.windows, looked.curves, strict=True):
        label = window.labels["P"]
        if window.number or label is None:
            continue
        picks = {
            phase: contender.peaks(curves[row], contender.thresholds[phase])
            for row, phase in enumerate(PHASES)
        }
        near = [
            (pick - label) / RATE_HZ for pick in picks["P"] if abs(pick - label) <= SPREAD_WITHIN_S * RATE_HZ
        ]
        residuals.append(min(near, key=abs, default=None))
        kept.append((window, curves, picks))
    return [
        Example(
            contender.name,
            rank,
            kept[place][0].record,
            kept[place][0].waves,
            kept[place][1],
            kept[place][0].labels,
            kept[place][2],
            residuals[place],
        )
        for rank, place in ranked(residuals).items()
    ]


def _continuous(
    config: ReportConfig, contenders: Sequence[Contender], shared: Path, outcome: Outcome
) -> None:
    """Picks per station-hour of continuous data: students through the daemon's offline run, PhaseNet through SeisBench."""
    from distill.rates import continuous_rates, student_picks
    from distill.seisbench_form import load_phasenet

    root = shared / config.continuous
    students = {
        one.name: one.path
        for one in contenders
        if one.serve is not None and one.path is not None and one.path.suffix == ".onnx"
    }
    if not config.continuous or not students:
        return
    if not (root / "index.csv").is_file() or not (shared / "teacher" / "models").is_dir():
        outcome.skipped.append(
            f"continuous data: {root / 'index.csv'} or {shared / 'teacher' / 'models'} is not there"
        )
        return
    served = {
        name: (lambda folder, path=path: student_picks(folder, path))
        for name, path in students.items()
        if not path.with_name(f"{path.stem}.stateful.onnx").exists()
    }
    for folder, by_student in continuous_rates(root, served, load_phasenet(shared / "teacher")).items():
        for name, found in by_student.items():
            for phase in PHASES:
                values = found[phase]
                for metric in ("student", "teacher", "student_unconfirmed", "teacher_not_picked_by_student"):
                    outcome.numbers.append(
                        Number(
                            "continuous",
                            name,
                            phase,
                            f"{folder}, {found['station_hours']:g} h",
                            f"{metric}_per_hour",
                            values[f"{metric}_per_hour"],
                            values[metric],
                        )
                    )


def _research(
    config: ReportConfig,
    source: Path,
    records: Sequence[Record],
    windows: Sequence[LabelledWindow],
    outcome: Outcome,
) -> None:
    """Accuracy against delay, size and length of window."""
    latency = config.latency
    if latency.model:
        student = Student.load(resolve(latency.model), config.threads)
        thresholds = (student.spec.thresholds["P"], student.spec.thresholds["S"])
        for hop_s in latency.hops_s:
            for lookahead_s in latency.lookaheads_s:
                outcome.trade_offs += trade_off(
                    student.annotate, records, student.spec.window_samples, thresholds, lookahead_s, hop_s
                )
    folder = source.parent / config.sizes if config.sizes else Path(__file__).parents[1] / SIZES
    if folder.is_dir():
        outcome.sizes = sizes_of(folder, windows, config.threads)
    if config.lengths_of:
        fitting = [length for length in config.lengths_samples if length <= config.window_samples]
        outcome.lengths = lengths_of(resolve(config.lengths_of), windows, fitting, config.threads)


def _provenance(
    command: str,
    data_sha256: str,
    corpus: Corpus,
    contenders: Sequence[Contender],
    windows: Sequence[LabelledWindow],
) -> dict[str, Any]:
    return {
        "command": command,
        "made": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "code": code_version() or "unknown",
        "machine": f"{describe()['processor']}, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "data": f"SHA-256 of its table {data_sha256}",
        "training data": f"SHA-256 of its table {corpus.sha256}",
        "windows": f"{len(windows)} of {windows[0].waves.shape[1]} samples",
        "labels": ", ".join(
            f"{sum(window.labels[phase] is not None for window in windows)} {phase} of "
            f"{len({window.record for window in windows if window.labels[phase] is not None})} records"
            for phase in PHASES
        ),
        "contenders": {
            one.name: f"{one.fingerprint[:16]}, P {one.thresholds['P']:g}, S {one.thresholds['S']:g}"
            for one in contenders
        },
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

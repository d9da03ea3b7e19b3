"""Runs an evaluation: every picker on every window once, and all numbers of the report.

The output of networks that are not students is cached on disk, by the hash of data and network.

>>> ranked([0.3, None, -0.01, 0.02])
{'best': 2, 'median': 0, 'worst': 1}
"""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.bootstrap import Counts
from distill.cache import TeacherCache
from distill.config import ConfigError, SourceSection, TrainConfig, load_train_config
from distill.corpus import Corpus, Record, load_corpus, noise_of
from distill.cost import REFERENCE, costs
from distill.evaluate import Student, thresholds_at, training_windows
from distill.noticing import open_scout
from distill.progress import SILENT, Progress, peak_memory_mb
from distill.report.config import ReportConfig
from distill.report.contenders import Bench, Contender, contenders_of
from distill.report.latency import trade_offs
from distill.report.result import EvaluationResult
from distill.report.scoring import (
    SPREAD_WITHIN_S,
    Looked,
    Number,
    accuracy,
    best_f1,
    by_condition,
    by_origin,
    calibration,
    counts_by_tolerance,
    differences,
    found_of,
    precision_recall,
)
from distill.report.scouts import scout_numbers
from distill.report.sizes import lengths_of, sizes_of
from distill.report.stages import stage_numbers
from distill.report.trials import close_pairs, noise_rates, pair_recall, robustness
from distill.report.windows import LabelledWindow, cut_windows, load_labelled
from distill.runs import code_version
from distill.scores import residuals_of
from distill.teachers import open_teacher
from models.conventions import ONSET, PHASES, RATE_HZ
from models.spec import SpecError
from models.weights import SUFFIX, resolve
from xiaod.domain.figure import OnsetFigure, PickLine, Waveforms
from xiaod.tools.bench.hardware import describe

MICRO = Path(__file__).parents[1] / "micro.yaml"
SIZES = "sizes"
LIBRARIES = ("xiaod", "numpy", "scipy", "obspy", "torch", "seisbench", "onnxruntime")
COST_BATCHES = (1, 16, 128)
COST_RUNS = 10
PHASENET = "teacher/phasenet_aligned.onnx"
UNSEEN = "stations that no network was trained on"
"""Where the noise is from, if some is set apart."""
SPARE_SAMPLES = 1
"""SeisBench's PhaseNet takes one sample more than the window."""


@dataclass(frozen=True)
class Material:
    """The data for a comparison."""

    records: Sequence[Record]
    """Records with labels."""
    data_sha256: str
    windows: Sequence[LabelledWindow]
    """Of these records."""
    corpus: Corpus
    """The training data of the students; empty if they are not available."""


def noise_for(config: ReportConfig, corpus: Corpus) -> list[Record]:
    """Records of noise that every contender can look at: some teachers take no shorter ones. See :func:`distill.corpus.noise_of`."""
    least = max((one.teacher.window_samples for one in config.contenders if one.kind == "teacher"), default=0)
    return [record for record in noise_of(corpus) if record.waves.shape[1] >= least]


def run_evaluation(
    config: ReportConfig,
    source: Path,
    shared: Path,
    cache: Path,
    command: str,
    progress: Progress = SILENT,
) -> EvaluationResult:
    """Make all measurements.

    Args:
        config: of the report.
        source: file of the configuration; relative paths are below its folder.
        shared: folder of data and teachers.
        cache: folder of the teachers' output.
        command: with which to repeat it, for the report.
        progress: shows the stage.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something does not exist or is not valid.
    """
    result, began_s, began_cpu_s = EvaluationResult(config.title), time.monotonic(), time.process_time()
    material = gather(config, training_of(config, source), shared, cache, result, progress)
    contenders = compare(config, material, shared, source.parent, cache, result, progress)
    _continuous(config, contenders, shared, result, progress)
    scouts = _noticing(config, material, shared, result, progress)
    _research(config, source, material, result, progress)
    result.costs = costs(_costed(contenders, shared) | scouts, COST_BATCHES, COST_RUNS, progress)
    result.provenance = _provenance(command, material, contenders)
    if hasattr(os, "getloadavg"):
        result.provenance["load"] = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    result.provenance["took"] = (
        f"{time.monotonic() - began_s:.0f} s, {time.process_time() - began_cpu_s:.0f} s of CPU, at most "
        f"{peak_memory_mb():.0f} MB of memory"
    )
    return result


def training_of(config: ReportConfig, source: Path) -> TrainConfig:
    """The training configuration of a comparison."""
    return load_train_config(source.parent / config.training if config.training else MICRO)


def gather(
    config: ReportConfig,
    training: TrainConfig,
    shared: Path,
    cache: Path,
    result: EvaluationResult,
    progress: Progress = SILENT,
) -> Material:
    """Read the data for a comparison.

    Raises:
        ConfigError, FileNotFoundError: when no labelled record is as long as a window.
    """
    progress.say("reading the labelled data")
    records, data_sha256 = load_labelled(config.data, shared, progress)
    windows = cut_windows(
        records,
        {record.name: record.event for record in records if record.event},
        config.window_samples + SPARE_SAMPLES,
    )
    if not windows:
        raise FileNotFoundError(
            f"{config.data.path or config.data.name}: holds no labelled record as long as a window"
        )
    corpus = _corpus(training, config.threads, shared, cache, result, progress)
    return Material(records, data_sha256, windows, corpus)


def compare(
    config: ReportConfig,
    material: Material,
    shared: Path,
    base: Path,
    cache: Path,
    result: EvaluationResult,
    progress: Progress = SILENT,
) -> list[Contender]:
    """Run every contender on all windows and on the noise; returns the contenders.

    Args:
        config: contenders and settings.
        material: windows and noise.
        shared: folder of data and teachers.
        base: folder below which relative paths of runs are.
        cache: folder of the teachers' output.
        result: receives the numbers.
        progress: shows the stage.
    """
    windows, noise = material.windows, noise_for(config, material.corpus)
    bench = Bench(shared, base, training_windows(material.corpus), config.threads, progress)
    contenders = _contenders(config, bench, result)
    result.contenders = {one.name: one.described for one in contenders}
    result.reference = config.reference or contenders[0].name
    pairs = close_pairs(windows)
    counts: dict[str, dict[tuple[str, str], Counts]] = {}
    for one in contenders:
        looked = look(one, windows, material.data_sha256, cache, progress)
        result.numbers += [
            *accuracy(one, looked, config.tolerances_s),
            *calibration(one, looked),
            *by_condition(one, looked),
            *by_origin(one, looked),
            *robustness(one, windows, progress),
            *pair_recall(one, pairs, progress),
            *noise_rates(one, noise, progress),
        ]
        if one.serve is not None and one.path is not None and one.path.suffix == SUFFIX:
            result.numbers += stage_numbers(one.name, one.path, material.records, config.threads, progress)
        counts[one.name] = counts_by_tolerance(one, looked, config.tolerances_s)
        curves = precision_recall(one, looked)
        result.curves += curves
        result.numbers += _best(curves, looked)
        for phase in PHASES:
            found = found_of(one, looked, phase, one.thresholds[phase])
            result.residuals_s[one.name, phase] = residuals_of(found, SPREAD_WITHIN_S)
        if one.probabilistic:
            result.examples |= _examples(one, looked)
    for name, own in counts.items():
        if name != result.reference:
            result.numbers += differences(name, own, counts[result.reference])
    return contenders


def _costed(contenders: Sequence[Contender], shared: Path) -> dict[str, Path]:
    """Files of PhaseNet, if available, and of the students as they are served."""
    teacher = shared / PHASENET
    models = {REFERENCE: teacher} if teacher.is_file() else {}
    for one in contenders:
        if one.serve is not None and one.path is not None and one.path.suffix == SUFFIX:
            models[one.name] = one.path
    return models


def look(
    contender: Contender,
    windows: Sequence[LabelledWindow],
    data_sha256: str,
    cache: Path,
    progress: Progress = SILENT,
) -> Looked:
    """Curves of all windows; those of networks that are not students come from the cache if they are there."""
    said = progress.over(windows, contender.name, len(windows))
    if contender.serve is not None or not contender.probabilistic:
        return Looked(windows, [contender.curves(window.waves) for window in said])
    known = TeacherCache(cache, data_sha256, contender.fingerprint, f"windows of {windows[0].waves.shape[1]}")
    curves: list[NDArray[np.floating]] = []
    for window in said:
        key = f"{window.record}:{window.number}"
        found: NDArray[np.floating] | None = known.get(key)
        if found is None:
            found = contender.curves(window.waves).astype(np.float32)
            known.put(key, found)
        curves.append(found)
    known.save()
    return Looked(windows, curves)


def ranked(residuals: Sequence[float | None]) -> dict[str, int]:
    """Indices of the best, the median and the worst; a window without a pick is the worst."""
    order = sorted(range(len(residuals)), key=lambda place: _distance(residuals[place]))
    return {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]} if order else {}


def _distance(residual: float | None) -> float:
    return float("inf") if residual is None else abs(residual)


def _corpus(
    training: TrainConfig,
    threads: int,
    shared: Path,
    cache: Path,
    result: EvaluationResult,
    progress: Progress,
) -> Corpus:
    """The training corpus, for tuning classic pickers and as noise; empty if it is not available."""
    try:
        teacher = open_teacher(training.teacher, shared, threads)
        return load_corpus(shared, training, teacher, cache, progress)
    except (ConfigError, FileNotFoundError) as error:
        result.skipped.append(f"classic pickers and noise, which need the training data: {error}")
        return Corpus((), (), "")


def _contenders(config: ReportConfig, bench: Bench, result: EvaluationResult) -> list[Contender]:
    """All contenders that are available; the others are left out, with the reason.

    Raises:
        ConfigError: when there are none.
    """
    found: list[Contender] = []
    for section in config.contenders:
        if section.kind == "classic" and not bench.training:
            continue
        try:
            found += contenders_of(section, bench)
        except (ConfigError, SpecError, FileNotFoundError) as error:
            result.skipped.append(f"{section.name}: {error}")
    if not found:
        raise ConfigError("contenders: none that can be had: " + "; ".join(result.skipped))
    return found


def _best(curves: Sequence[Any], looked: Looked) -> Iterator[Number]:
    for curve in curves:
        value, threshold = best_f1(curve)
        labels = sum(window.labels[curve.phase] is not None for window in looked.windows)
        condition = f"{curve.tolerance_s:g} s"
        yield Number("best threshold", curve.contender, curve.phase, condition, "f1", value, labels)
        yield Number(
            "best threshold", curve.contender, curve.phase, condition, "threshold", threshold, labels
        )


def _examples(contender: Contender, looked: Looked) -> dict[tuple[str, str], OnsetFigure]:
    """Figures of the windows with the best, median and worst residual of P."""
    residuals: list[float | None] = []
    windows = []
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
        windows.append((window, curves, picks))
    return {
        (contender.name, rank): _example(contender, rank, *windows[place], residuals[place])
        for rank, place in ranked(residuals).items()
    }


def _example(
    contender: Contender,
    rank: str,
    window: LabelledWindow,
    curves: NDArray[np.floating],
    picks: Mapping[str, Sequence[float]],
    residual_s: float | None,
) -> OnsetFigure:
    found = "no P picked within 1 s" if residual_s is None else f"P {residual_s:+.3f} s"
    analyst = [
        PickLine(phase, label / RATE_HZ, analyst=True)
        for phase, label in window.labels.items()
        if label is not None
    ]
    picked = [PickLine(phase, pick / RATE_HZ) for phase in PHASES for pick in picks[phase]]
    waves = window.waves.astype(np.float64)
    return OnsetFigure(
        f"{contender.name}, {rank}: {window.record}, {found} (dotted: analyst)",
        Waveforms(0, 1, waves, waves, curves[:, : waves.shape[1]], "ZNE"),
        [*analyst, *picked],
        contender.thresholds,
        curve_label="probability" if contender.probabilistic else "curve",
    )


def _continuous(
    config: ReportConfig,
    contenders: Sequence[Contender],
    shared: Path,
    result: EvaluationResult,
    progress: Progress,
) -> None:
    """Picks per station-hour of continuous data: students in an offline run of the daemon, PhaseNet in SeisBench."""
    from distill.rates import continuous_rates, student_picks
    from distill.teachers.seisbench import load_model

    root = shared / config.continuous
    students = {
        one.name: one.path
        for one in contenders
        if one.serve is not None and one.path is not None and one.path.suffix == ".onnx"
    }
    if not config.continuous or not students:
        return
    if not (root / "index.csv").is_file() or not (shared / "teacher" / "models").is_dir():
        result.skipped.append(
            f"continuous data: {root / 'index.csv'} or {shared / 'teacher' / 'models'} is not there"
        )
        return
    served = {
        name: (lambda folder, path=path: student_picks(folder, path)) for name, path in students.items()
    }
    phasenet = load_model("PhaseNet/original", shared / "teacher")
    for folder, by_student in continuous_rates(root, served, phasenet, progress).items():
        for name, found in by_student.items():
            for phase in PHASES:
                values = found[phase]
                for metric in ("student", "teacher", "student_unconfirmed", "teacher_not_picked_by_student"):
                    result.numbers.append(
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


def _noticing(
    config: ReportConfig,
    material: Material,
    shared: Path,
    result: EvaluationResult,
    progress: Progress,
) -> dict[str, Path]:
    """What networks that stream notice; returns their files by their names."""
    if not config.noticing.models:
        return {}
    labelled = {_data_name(config.data): material.records}
    for source in config.noticing.data:
        try:
            labelled[_data_name(source)] = load_labelled(source, shared, progress)[0]
        except FileNotFoundError as error:
            result.skipped.append(f"noticing: {error}")
    files = {}
    for model in config.noticing.models:
        path = resolve(model, stateful=True)
        scout, spec = open_scout(path, config.threads)
        noise = noise_for(config, material.corpus)
        result.numbers += scout_numbers(scout, spec.thresholds[ONSET], labelled, noise, progress)
        files[scout.name] = path
    return files


def _data_name(source: SourceSection) -> str:
    return Path(source.path).name or source.name or source.kind


def _research(
    config: ReportConfig, source: Path, material: Material, result: EvaluationResult, progress: Progress
) -> None:
    """Accuracy against delay, size and length of window."""
    latency = config.latency
    if latency.model:
        student = Student.load(resolve(latency.model), config.threads)
        own = {at: thresholds_at(student.spec, at) for at in latency.lookaheads_s}
        thresholds = {at: (of["P"], of["S"]) for at, of in own.items()}
        for hop_s in latency.hops_s:
            length = student.spec.window_samples
            result.trade_offs += trade_offs(
                student.annotate, material.records, length, thresholds, hop_s, progress
            )
    folder = source.parent / config.sizes if config.sizes else Path(__file__).parents[1] / SIZES
    if config.sizes is not None and folder.is_dir():
        result.sizes = sizes_of(folder, material.windows, config.threads, progress)
    if config.lengths_of:
        fitting = [length for length in config.lengths_samples if length <= config.window_samples]
        result.lengths = lengths_of(
            resolve(config.lengths_of), material.windows, fitting, config.threads, progress
        )


def _provenance(command: str, material: Material, contenders: Sequence[Contender]) -> dict[str, Any]:
    windows = material.windows
    return {
        "command": command,
        "made": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "code": code_version() or "unknown",
        "machine": f"{describe()['processor']}, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
        "data": f"SHA-256 of its table {material.data_sha256}",
        "training data": f"SHA-256 of its table {material.corpus.sha256}",
        "noise": UNSEEN if material.corpus.noise else "",
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

"""The pickers of an evaluation, all with one interface: a window in, a curve for P and one for S out, and picks from a curve.

>>> from distill.report.config import ContenderSection
>>> [one] = contenders_of(ContenderSection(name="micro", kind="student", model="micro"), Bench(Path(), Path(), ()))
>>> one.curves(np.zeros((3, 3001), np.float32)).shape, one.probabilistic, one.parameters > 20_000
((2, 3001), True, True)
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.annotators import Annotate, net_annotator, overlapped
from distill.baselines import (
    NAMES,
    ON_SCORES,
    ONS,
    Z_DETECT,
    Labelled,
    Tuned,
    characteristic,
    triggers,
    tuned,
)
from distill.config import ConfigError, load_train_config
from distill.corpus import onsets_of
from distill.evaluate import Student
from distill.progress import SILENT, Progress
from distill.report.config import ContenderSection
from distill.report.onnxpicker import OnnxPicker
from distill.runs import CONFIG, WEIGHTS
from distill.serving import PHASE_ROWS, Serve, windowed
from distill.teachers import open_teacher
from models.small_phasenet import net_of, parameter_count
from models.weights import resolve

THRESHOLD = 0.3
"""SeisBench's default, for networks without a threshold of their own."""
LEVELS = tuple(round(0.02 * step, 2) for step in range(1, 50))
"""Thresholds of precision-recall curves."""
SPARE = 10
"""Samples by which a window may be longer than a network's own; they are left out, without a second window."""

Curves = Callable[[NDArray[np.generic]], NDArray[np.floating]]
"""A window ``(3, n)``, Z N E, counts -> curves of P and S ``(2, n)``."""
Peaks = Callable[[NDArray[np.floating], float], list[float]]
"""A curve and a threshold -> samples of picks."""


@dataclass(frozen=True)
class Bench:
    """What contenders need."""

    shared: Path
    """Folder of data and teachers."""
    base: Path
    """Base of relative paths of runs."""
    training: Labelled
    """Windows for tuning classic pickers."""
    threads: int = 1
    progress: Progress = SILENT
    """Shows long stages."""


@dataclass(frozen=True)
class Contender:
    """One picker of an evaluation."""

    name: str
    described: str
    """Description, with its settings."""
    curves: Curves
    peaks: Peaks
    thresholds: Mapping[str, float]
    levels: tuple[float, ...]
    """Thresholds of its precision-recall curve; one: it has no curve."""
    fingerprint: str
    """Hash of the picker; with that of the data it identifies the output."""
    probabilistic: bool = True
    """Whether its curves are probabilities."""
    parameters: int | None = None
    path: Path | None = None
    """File of the network, if any."""
    serve: Serve | None = None
    """The daemon's own picker, for students."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def look(self, waves: NDArray[np.generic]) -> dict[str, list[float]]:
        """Picks at the contender's own thresholds."""
        curves = self.curves(waves)
        return {phase: self.peaks(curves[row - 1], self.thresholds[phase]) for row, phase in PHASE_ROWS}


def contenders_of(section: ContenderSection, bench: Bench) -> list[Contender]:
    """Make the contenders of a section: one, or all classic ones.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something does not exist or is not valid.
    """
    return {"student": _student, "run": _run, "teacher": _teacher, "onnx": _onnx, "classic": _classic}[
        section.kind
    ](section, bench)


def network_peaks(curve: NDArray[np.floating], threshold: float) -> list[float]:
    """Peaks of a curve of probability, at least half a second apart."""
    return [float(peak) for peak in onsets_of(curve, threshold)]


def _student(section: ContenderSection, bench: Bench) -> list[Contender]:
    path = resolve(section.model)
    student = Student.load(path, bench.threads)
    spec = student.spec
    length = section.window_samples or spec.window_samples
    inside = section.overlapping
    net = net_of(spec)
    look = f"windows of {length / 100:g} s every 0.5 s" if inside else "the window as a whole"
    return [
        Contender(
            section.name,
            f"{spec.name} {spec.version}, {look}",
            windowed_curves(student.annotate, length if inside else 0),
            network_peaks,
            _thresholds(section, spec.thresholds),
            LEVELS,
            f"{_sha256(path)}-{length if inside else 0}",
            parameters=parameter_count(net),
            path=path,
            serve=windowed(student.annotate, length),
        )
    ]


def _run(section: ContenderSection, bench: Bench) -> list[Contender]:
    from safetensors.torch import load_file

    from distill.train import averaged_net

    folder = bench.base / section.model
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder / WEIGHTS}: not there: the run is not finished")
    config = load_train_config(folder / CONFIG)
    net = averaged_net(config, load_file(folder / WEIGHTS))
    annotate = net_annotator(net, config.sampling.front_end)
    length = section.window_samples or config.service_samples
    inside = section.overlapping and not config.notices
    return [
        Contender(
            section.name,
            f"run {folder.name}",
            windowed_curves(annotate, length if inside else 0),
            network_peaks,
            _thresholds(section, {}),
            LEVELS,
            f"{_sha256(folder / WEIGHTS)}-{length if inside else 0}",
            parameters=parameter_count(net),
            path=folder / WEIGHTS,
            serve=windowed(annotate, length) if inside else None,
        )
    ]


def _teacher(section: ContenderSection, bench: Bench) -> list[Contender]:
    teacher = open_teacher(section.teacher, bench.shared, bench.threads)
    length = section.teacher.window_samples
    settings = section.teacher.model_dump_json(exclude_defaults=True)

    def curves(waves: NDArray[np.generic]) -> NDArray[np.floating]:
        samples = waves.shape[1]
        if samples < length:
            raise ConfigError(
                f"contenders: {section.name}: looks at {length} samples; window_samples of the evaluation is {samples}"
            )
        kept = length if samples - length <= SPARE else samples
        values = teacher.annotate(waves[:, :kept].astype(np.float64))[1:]
        return np.pad(values, ((0, 0), (0, samples - kept)))

    return [
        Contender(
            section.name,
            teacher.description,
            curves,
            network_peaks,
            _thresholds(section, {}),
            LEVELS,
            f"{teacher.fingerprint}-{settings}",
            path=bench.shared / section.teacher.onnx if section.teacher.kind == "onnx" else None,
        )
    ]


def _onnx(section: ContenderSection, bench: Bench) -> list[Contender]:
    path = bench.shared / section.model
    picker = OnnxPicker(path, section, bench.threads)
    return [
        Contender(
            section.name,
            f"ONNX file {path.name}",
            picker.curves,
            network_peaks,
            _thresholds(section, {}),
            LEVELS,
            f"{_sha256(path)}-{section.model_dump_json(exclude_defaults=True)}",
            path=path,
        )
    ]


def _classic(section: ContenderSection, bench: Bench) -> list[Contender]:
    if section.model and section.model not in NAMES:
        raise ConfigError(
            f"contenders: {section.name}: no classic picker {section.model!r}; there are {list(NAMES)}"
        )
    wanted = (section.model,) if section.model else NAMES
    return [_classic_one(one) for one in tuned(bench.training, bench.progress, wanted).values()]


def _classic_one(one: Tuned) -> Contender:
    setting = one.setting

    def spikes(waves: NDArray[np.generic]) -> NDArray[np.floating]:
        curves = np.zeros((2, waves.shape[1]))
        for row, phase in enumerate("PS"):
            for sample in one.picker(waves)[phase]:
                curves[row, min(round(sample), waves.shape[1] - 1)] = 1.0
        return curves

    name = f"{one.name}-{one.described}"
    if setting is None:
        half = {"P": 0.5, "S": 0.5}
        return Contender(
            one.name, one.described, spikes, network_peaks, half, (0.5,), name, probabilistic=False
        )
    levels = ON_SCORES if one.name == Z_DETECT else ONS
    return Contender(
        one.name,
        one.described,
        lambda waves: characteristic(waves, setting),
        triggers,
        one.ons,
        levels,
        name,
        probabilistic=False,
    )


def windowed_curves(annotate: Annotate, length: int) -> Curves:
    """Curves of a student in overlapping windows, or of the window as a whole with a length of 0."""

    def curves(waves: NDArray[np.generic]) -> NDArray[np.floating]:
        if length and waves.shape[1] > length:
            return overlapped(waves.astype(np.float64), annotate, length)[1:]
        values: NDArray[np.floating] = annotate(waves[None].astype(np.float32))[0, 1:]
        return values

    return curves


def _thresholds(section: ContenderSection, own: Mapping[str, float]) -> dict[str, float]:
    given = {"P": section.threshold_p, "S": section.threshold_s}
    return {phase: value or own.get(phase, THRESHOLD) for phase, value in given.items()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Accuracy against size, cost and length of window: students of several sizes with the same training.

>>> from models.geometry import NetConfig
>>> multiplications(SmallPhaseNet(config=NetConfig(widths=(6, 10, 16))))
31283
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.annotators import onnx_annotator
from distill.cost import window_cost
from distill.evaluate import Student
from distill.progress import SILENT, Progress
from distill.report.contenders import LEVELS, Contender, network_peaks, windowed_curves
from distill.report.scoring import Looked, best_f1, f1_of, found_of, precision_recall
from distill.report.windows import LabelledWindow
from distill.scores import score
from models.conventions import PHASES, RATE_HZ
from models.small_phasenet import SmallPhaseNet, net_of, parameter_count
from models.spec import ModelSpec
from models.weights import OTHER_FORMS, SUFFIX

COUNTED_SAMPLES = 3000
COST_BATCH = 16


@dataclass(frozen=True)
class Size:
    """Cost and best accuracy of one student."""

    name: str
    note: str
    parameters: int
    multiplications_per_s: int
    """Per second of data, for a window as a whole."""
    us_per_window: float
    """CPU time of a window of 20 s, in a batch of 16."""
    best_f1: dict[str, float]
    """Phase and tolerance, at the best threshold on these data."""
    residual_std_s: dict[str, float]
    """Phase -> scatter of residuals within 0.5 s, at that threshold."""
    labels: dict[str, int]


def multiplications(net: SmallPhaseNet) -> int:
    """Count multiplications of all convolutions for a second of data, when a window of 30 s is computed as a whole."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * output.shape[-1]

    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, nn.Conv1d)]
    with torch.no_grad():
        net.eval()(torch.zeros(1, net.in_channels, COUNTED_SAMPLES))
    for hook in hooks:
        hook.remove()
    return round(total / (COUNTED_SAMPLES / RATE_HZ))


def students_in(folder: Path) -> list[Path]:
    """Files of students for windows in a folder, without their other forms."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.endswith(OTHER_FORMS))


def sizes_of(
    folder: Path, windows: Sequence[LabelledWindow], threads: int, progress: Progress = SILENT
) -> list[Size]:
    """Measure every student of a folder, the smallest first."""
    paths = students_in(folder)
    found = [_measure(path, windows, threads) for path in progress.over(paths, "sizes", len(paths))]
    return sorted(found, key=lambda size: size.parameters)


def _measure(path: Path, windows: Sequence[LabelledWindow], threads: int) -> Size:
    annotate, spec = onnx_annotator(path, threads)
    net = net_of(spec)
    contender = Contender(
        path.stem,
        "",
        windowed_curves(annotate, 0),
        network_peaks,
        {"P": 0.3, "S": 0.3},
        LEVELS,
        path.stem,
    )
    looked = Looked(windows, [contender.curves(window.waves) for window in windows])
    best: dict[str, float] = {}
    scatter: dict[str, float] = {}
    labels: dict[str, int] = {}
    for curve in precision_recall(contender, looked):
        best[f"{curve.phase} {curve.tolerance_s:g} s"], threshold = best_f1(curve)
        if curve.tolerance_s == 0.5:
            values = score(found_of(contender, looked, curve.phase, threshold), 0.5)
            scatter[curve.phase], labels[curve.phase] = values["residual_std_s"], values["labels"]
    return Size(
        path.stem,
        str(spec.provenance.get("note", "")),
        parameter_count(net),
        multiplications(net),
        window_cost(path, COST_BATCH, 2000)["us_per_window"],
        best,
        scatter,
        labels,
    )


@dataclass(frozen=True)
class Length:
    """One length of window."""

    window_s: float
    f1: dict[str, float]
    """Phase and tolerance, at the student's own thresholds."""
    labels: dict[str, int]
    us_per_station_s: float


def lengths_of(
    path: Path,
    windows: Sequence[LabelledWindow],
    lengths: Sequence[int],
    threads: int,
    progress: Progress = SILENT,
) -> list[Length]:
    """Score a student in overlapping windows of several lengths."""
    student = Student.load(path, threads)
    spec: ModelSpec = student.spec
    result = []
    for length in progress.over(lengths, "lengths of window", len(lengths)):
        contender = Contender(
            spec.name,
            "",
            windowed_curves(student.annotate, length),
            network_peaks,
            dict(spec.thresholds),
            LEVELS,
            "",
        )
        looked = Looked(windows, [contender.curves(window.waves) for window in windows])
        scores = {
            f"{phase} {tolerance_s:g} s": f1_of(contender, looked, phase, tolerance_s)
            for phase in PHASES
            for tolerance_s in (0.1, 0.5)
        }
        result.append(
            Length(
                length / RATE_HZ,
                {key: value for key, (value, _) in scores.items()},
                {key: count for key, (_, count) in scores.items()},
                window_cost(path, COST_BATCH, length)["us_per_station_s"],
            )
        )
    return result

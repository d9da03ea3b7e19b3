"""The figures of the report, each as PNG and PDF.

>>> from tempfile import TemporaryDirectory
>>> result = EvaluationResult("Example", residuals_s={("a", "P"): [0.01, -0.02, 0.0], ("a", "S"): [0.1]})
>>> with TemporaryDirectory() as folder:
...     [path.name for path in draw_all(result, Path(folder))]
['residuals.png']
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from distill.progress import SILENT, Progress
from distill.report.result import EvaluationResult
from models.conventions import PHASES
from xiaod.domain.figure import PHASE_STYLES
from xiaod.tools.plot.png import drawn

DPI = 130
WIDTH = 9.0
BINS_S = np.arange(-0.5, 0.5001, 0.02)
MARKERS = "osD^vPX*"
"""Hollow, so that a curve is seen below another one."""
TOLERANCE_TICKS_S = (0.05, 0.1, 0.2, 0.5, 1.0)
DELAY_TICKS_S = (0.25, 0.5, 1.0, 2.0, 4.0)


def draw_all(result: EvaluationResult, folder: Path, progress: Progress = SILENT) -> list[Path]:
    """Draw all figures that have data; returns the PNG files."""
    drawings: Mapping[str, tuple[bool, Callable[[EvaluationResult], Any]]] = {
        "residuals": (bool(result.residuals_s), _residuals),
        "tolerance": (_has(result, "accuracy"), _tolerance),
        "precision_recall": (bool(result.curves), _precision_recall),
        "calibration": (_has(result, "calibration"), _calibration),
        "snr": (_has(result, "snr"), lambda found: _conditions(found, "snr", "signal-to-noise ratio")),
        "s_minus_p": (_has(result, "s_minus_p"), lambda found: _conditions(found, "s_minus_p", "S minus P")),
        "latency": (bool(result.trade_offs), _latency),
        "sizes": (bool(result.sizes), _sizes),
        "lengths": (bool(result.lengths), _lengths),
        "costs": (bool(result.costs), _costs),
    }
    wanted = [(name, draw) for name, (there, draw) in drawings.items() if there]
    paths = [
        _save(draw(result), folder / f"{name}.png")
        for name, draw in progress.over(wanted, "drawing", len(wanted))
    ]
    examples = result.examples.items()
    for (contender, rank), figure in progress.over(examples, "drawing examples", len(examples)):
        name = "".join(letter if letter.isalnum() else "_" for letter in contender)
        paths.append(_save(drawn(figure), folder / f"example_{name}_{rank}.png"))
    return paths


def draw_tolerance(result: EvaluationResult, path: Path) -> None:
    """Draw F1 against tolerance alone, with its intervals, as PNG and PDF."""
    _save(_tolerance(result), path)


def _has(result: EvaluationResult, table: str) -> bool:
    return any(number.table == table for number in result.numbers)


def _figure(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.grid(visible=True, alpha=0.25)
    return figure, axes


def _plain_log(axes: Any, ticks: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    figure.savefig(path.with_suffix(".pdf"))
    return path


def _residuals(result: EvaluationResult) -> Any:
    names = list(dict.fromkeys(name for name, _ in result.residuals_s))
    figure, axes = _figure(len(names), 2, 1.5 * len(names) + 0.6)
    for row, name in enumerate(names):
        for column, phase in enumerate(PHASES):
            values = np.asarray(result.residuals_s.get((name, phase), []))
            one = axes[row, column]
            one.hist(values, bins=BINS_S, color=PHASE_STYLES[phase].colour)
            one.axvline(0, color="black", linewidth=0.8)
            near = values[np.abs(values) <= 0.5]
            said = f"{name}, {phase}: n = {len(near)}"
            if len(near):
                said += f", {near.mean() * 1e3:+.0f} ± {near.std() * 1e3:.0f} ms"
            one.set_title(said, fontsize=8)
            one.tick_params(labelsize=7)
    for one in axes[-1]:
        one.set_xlabel("pick minus analyst, s")
    return figure


def _tolerance(result: EvaluationResult) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        for name, marker in zip(result.contenders, cycle(MARKERS), strict=False):
            points = [
                (float(number.condition.split()[0]), number)
                for number in result.numbers
                if (number.table, number.contender, number.phase, number.metric)
                == ("accuracy", name, phase, "f1")
            ]
            if not points:
                continue
            [line] = axes[0, column].plot(
                [at for at, _ in points],
                [one.value for _, one in points],
                marker=marker,
                markersize=6,
                fillstyle="none",
                label=name,
            )
            axes[0, column].fill_between(
                [at for at, _ in points],
                [one.low if one.low is not None else one.value for _, one in points],
                [one.high if one.high is not None else one.value for _, one in points],
                color=line.get_color(),
                alpha=0.1,
            )
        axes[0, column].set(xlabel="tolerance, s", ylabel="F1", title=phase, ylim=(-0.03, 1.03))
        _plain_log(axes[0, column], TOLERANCE_TICKS_S)
    axes[0, 1].legend(fontsize=7)
    return figure


def _precision_recall(result: EvaluationResult) -> Any:
    tolerances = sorted({curve.tolerance_s for curve in result.curves})
    figure, axes = _figure(len(tolerances), 2, 3.8 * len(tolerances))
    for row, tolerance_s in enumerate(tolerances):
        for column, phase in enumerate(PHASES):
            one = axes[row, column]
            for curve in result.curves:
                if (curve.phase, curve.tolerance_s) != (phase, tolerance_s):
                    continue
                kept = [point for point in zip(curve.recall, curve.precision, strict=True) if point[0] > 0]
                [line] = one.plot(
                    [recall for recall, _ in kept],
                    [precision for _, precision in kept],
                    "-" if len(kept) > 1 else "s",
                    markersize=4,
                    label=curve.contender,
                )
                one.plot(*curve.chosen, "o", color=line.get_color(), markersize=5)
            one.set(
                xlabel="recall",
                ylabel="precision",
                title=f"{phase}, {tolerance_s:g} s",
                xlim=(0, 1.02),
                ylim=(0, 1.02),
            )
    axes[0, 0].legend(fontsize=7, loc="lower left")
    return figure


def _calibration(result: EvaluationResult) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        one.plot((0, 1), (0, 1), color="grey", linewidth=0.8)
        for name in result.contenders:
            points = [
                (sum(float(edge) for edge in number.condition.split(" to ")) / 2, number.value)
                for number in result.numbers
                if (number.table, number.contender, number.phase, number.metric)
                == ("calibration", name, phase, "right")
            ]
            if points:
                one.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        one.set(xlabel="probability", ylabel="part that a label is near", title=phase)
    axes[0, 0].legend(fontsize=7)
    return figure


def _conditions(result: EvaluationResult, table: str, label: str) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        bins = list(
            dict.fromkeys(
                (number.condition, number.count)
                for number in result.numbers
                if number.table == table and number.phase == phase
            )
        )
        names = [condition for condition, _ in bins]
        for name in result.contenders:
            points = [
                (names.index(number.condition), number.value)
                for number in result.numbers
                if (number.table, number.contender, number.phase, number.metric) == (table, name, phase, "f1")
            ]
            if points:
                one.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        one.set_xticks(range(len(bins)), [f"{condition}\n{count}" for condition, count in bins], fontsize=7)
        one.set(xlabel=f"{label} (and labels)", ylabel="F1 at 0.5 s", title=phase, ylim=(0, 1.02))
    axes[0, 0].legend(fontsize=7)
    return figure


def _latency(result: EvaluationResult) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        for hop_s in sorted({point.hop_s for point in result.trade_offs}):
            points = [point for point in result.trade_offs if (point.phase, point.hop_s) == (phase, hop_s)]
            [line] = one.plot(
                [point.delay_median_s for point in points],
                [point.f1_05 for point in points],
                "o-",
                markersize=4,
                label=f"hop {hop_s:g} s, 0.5 s",
            )
            one.plot(
                [point.delay_median_s for point in points],
                [point.f1_01 for point in points],
                "s--",
                markersize=3,
                color=line.get_color(),
                label=f"hop {hop_s:g} s, 0.1 s",
            )
            for point in points:
                one.annotate(
                    f"{point.lookahead_s:g}", (point.delay_median_s, point.f1_05), fontsize=6, xytext=(0, 4),
                    textcoords="offset points",
                )  # fmt: skip
        one.set(xlabel="data after the onset when the pick is out, median, s", ylabel="F1", title=phase)
        _plain_log(one, DELAY_TICKS_S)
    axes[0, 0].legend(fontsize=7)
    return figure


def _sizes(result: EvaluationResult) -> Any:
    figure, axes = _figure(2, 2, 7.0)
    floors = {
        number.contender: number.value
        for number in result.numbers
        if (number.table, number.phase, number.condition, number.metric) == ("accuracy", "P", "0.5 s", "f1")
        and "STA/LTA" in number.contender
    }
    scales: list[tuple[str, list[float]]] = [
        ("parameters", [float(size.parameters) for size in result.sizes]),
        ("µs per window of 20 s", [size.us_per_window for size in result.sizes]),
    ]
    for column, (label, values) in enumerate(scales):
        for row, phase in enumerate(PHASES):
            one = axes[row, column]
            for tolerance in ("0.1 s", "0.5 s"):
                scores = [size.best_f1[f"{phase} {tolerance}"] for size in result.sizes]
                one.plot(values, scores, "o", markersize=5, label=tolerance)
            if column == 0:
                for size, at in zip(result.sizes, values, strict=True):
                    one.annotate(
                        size.name, (at, size.best_f1[f"{phase} 0.5 s"]), fontsize=6, xytext=(2, 4),
                        textcoords="offset points",
                    )  # fmt: skip
            if phase == "P":
                for name, value in floors.items():
                    one.axhline(value, linestyle=":", color="grey")
                    one.text(values[0], value, f"{name}, 0.5 s", fontsize=6, va="bottom")
            one.set(xlabel=label, ylabel=f"best F1, {phase}", xscale="log")
    axes[0, 0].legend(fontsize=7)
    return figure


def _lengths(result: EvaluationResult) -> Any:
    figure, axes = _figure(1, 2, 3.6)
    for column, phase in enumerate(PHASES):
        for tolerance in ("0.1 s", "0.5 s"):
            axes[0, column].plot(
                [length.window_s for length in result.lengths],
                [length.f1[f"{phase} {tolerance}"] for length in result.lengths],
                "o-",
                label=tolerance,
            )
        axes[0, column].set(xlabel="length of the windows, s", ylabel="F1", title=phase)
    axes[0, 0].legend(fontsize=7)
    return figure


def _costs(result: EvaluationResult) -> Any:
    figure, axes = _figure(1, 1, 3.8)
    one = axes[0, 0]
    batches = sorted({row["batch"] for row in result.costs})
    names = list(dict.fromkeys(row["model"] for row in result.costs))
    for number, batch in enumerate(batches):
        values = {row["model"]: row["us_per_station_s"] for row in result.costs if row["batch"] == batch}
        places = [names.index(name) + 0.25 * (number - (len(batches) - 1) / 2) for name in values]
        one.barh(places, list(values.values()), height=0.22, label=f"batch {batch}")
    one.set_yticks(range(len(names)), names, fontsize=7)
    one.invert_yaxis()
    one.set(xlabel="CPU time per second of data of one station, µs", xscale="log")
    one.legend(fontsize=7)
    return figure

"""The figures of the report, each as PNG and PDF.

>>> from tempfile import TemporaryDirectory
>>> outcome = Outcome("Example", residuals_s={("a", "P"): [0.01, -0.02, 0.0], ("a", "S"): [0.1]})
>>> with TemporaryDirectory() as folder:
...     [path.name for path in draw_all(outcome, Path(folder))]
['residuals.png']
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.report.outcome import Example, Outcome
from models.conventions import PHASES, RATE_HZ

DPI = 130
WIDTH = 9.0
BINS_S = np.arange(-0.5, 0.5001, 0.02)
PHASE_COLOURS = {"P": "#1f5fbf", "S": "#c2410c"}
TOLERANCE_TICKS_S = (0.05, 0.1, 0.2, 0.5, 1.0)
DELAY_TICKS_S = (0.25, 0.5, 1.0, 2.0, 4.0)
NAMED = ("Z", "N", "E")


def draw_all(outcome: Outcome, folder: Path) -> list[Path]:
    """Draw what there is; gives the PNG files."""
    drawings: Mapping[str, tuple[bool, Callable[[Outcome], Any]]] = {
        "residuals": (bool(outcome.residuals_s), _residuals),
        "tolerance": (_has(outcome, "accuracy"), _tolerance),
        "precision_recall": (bool(outcome.curves), _precision_recall),
        "calibration": (_has(outcome, "calibration"), _calibration),
        "snr": (_has(outcome, "snr"), lambda found: _conditions(found, "snr", "signal-to-noise ratio")),
        "s_minus_p": (_has(outcome, "s_minus_p"), lambda found: _conditions(found, "s_minus_p", "S minus P")),
        "latency": (bool(outcome.trade_offs), _latency),
        "sizes": (bool(outcome.sizes), _sizes),
        "lengths": (bool(outcome.lengths), _lengths),
        "costs": (bool(outcome.costs), _costs),
    }
    paths = [
        _save(draw(outcome), folder / f"{name}.png") for name, (there, draw) in drawings.items() if there
    ]
    for example in outcome.examples:
        name = "".join(letter if letter.isalnum() else "_" for letter in example.contender)
        paths.append(_save(_example(example), folder / f"example_{name}_{example.rank}.png"))
    return paths


def _has(outcome: Outcome, table: str) -> bool:
    return any(number.table == table for number in outcome.numbers)


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
    """A logarithmic axis with numbers that people write."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    figure.savefig(path.with_suffix(".pdf"))
    return path


def _residuals(outcome: Outcome) -> Any:
    names = list(dict.fromkeys(name for name, _ in outcome.residuals_s))
    figure, axes = _figure(len(names), 2, 1.5 * len(names) + 0.6)
    for row, name in enumerate(names):
        for column, phase in enumerate(PHASES):
            values = np.asarray(outcome.residuals_s.get((name, phase), []))
            one = axes[row, column]
            one.hist(values, bins=BINS_S, color=PHASE_COLOURS[phase])
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


def _tolerance(outcome: Outcome) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        for name in outcome.contenders:
            points = [
                (float(number.condition.split()[0]), number)
                for number in outcome.numbers
                if (number.table, number.contender, number.phase, number.metric)
                == ("accuracy", name, phase, "f1")
            ]
            if not points:
                continue
            [line] = axes[0, column].plot(
                [at for at, _ in points], [one.value for _, one in points], "o-", markersize=3, label=name
            )
            axes[0, column].fill_between(
                [at for at, _ in points],
                [one.low if one.low is not None else one.value for _, one in points],
                [one.high if one.high is not None else one.value for _, one in points],
                color=line.get_color(),
                alpha=0.1,
            )
        axes[0, column].set(xlabel="tolerance, s", ylabel="F1", title=phase, ylim=(0, 1.02))
        _plain_log(axes[0, column], TOLERANCE_TICKS_S)
    axes[0, 1].legend(fontsize=7)
    return figure


def _precision_recall(outcome: Outcome) -> Any:
    tolerances = sorted({curve.tolerance_s for curve in outcome.curves})
    figure, axes = _figure(len(tolerances), 2, 3.8 * len(tolerances))
    for row, tolerance_s in enumerate(tolerances):
        for column, phase in enumerate(PHASES):
            one = axes[row, column]
            for curve in outcome.curves:
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


def _calibration(outcome: Outcome) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        one.plot((0, 1), (0, 1), color="grey", linewidth=0.8)
        for name in outcome.contenders:
            points = [
                (sum(float(edge) for edge in number.condition.split(" to ")) / 2, number.value)
                for number in outcome.numbers
                if (number.table, number.contender, number.phase, number.metric)
                == ("calibration", name, phase, "right")
            ]
            if points:
                one.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        one.set(xlabel="probability", ylabel="part that a label is near", title=phase)
    axes[0, 0].legend(fontsize=7)
    return figure


def _conditions(outcome: Outcome, table: str, label: str) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        bins = list(
            dict.fromkeys(
                (number.condition, number.count)
                for number in outcome.numbers
                if number.table == table and number.phase == phase
            )
        )
        names = [condition for condition, _ in bins]
        for name in outcome.contenders:
            points = [
                (names.index(number.condition), number.value)
                for number in outcome.numbers
                if (number.table, number.contender, number.phase, number.metric) == (table, name, phase, "f1")
            ]
            if points:
                one.plot(*zip(*points, strict=True), "o-", markersize=3, label=name)
        one.set_xticks(range(len(bins)), [f"{condition}\n{count}" for condition, count in bins], fontsize=7)
        one.set(xlabel=f"{label} (and labels)", ylabel="F1 at 0.5 s", title=phase, ylim=(0, 1.02))
    axes[0, 0].legend(fontsize=7)
    return figure


def _latency(outcome: Outcome) -> Any:
    figure, axes = _figure(1, 2, 4.0)
    for column, phase in enumerate(PHASES):
        one = axes[0, column]
        for hop_s in sorted({point.hop_s for point in outcome.trade_offs}):
            points = [point for point in outcome.trade_offs if (point.phase, point.hop_s) == (phase, hop_s)]
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


def _sizes(outcome: Outcome) -> Any:
    figure, axes = _figure(2, 2, 7.0)
    floors = {
        number.contender: number.value
        for number in outcome.numbers
        if (number.table, number.phase, number.condition, number.metric) == ("accuracy", "P", "0.5 s", "f1")
        and "STA/LTA" in number.contender
    }
    scales: list[tuple[str, list[float]]] = [
        ("parameters", [float(size.parameters) for size in outcome.sizes]),
        ("µs per window of 20 s", [size.us_per_window for size in outcome.sizes]),
    ]
    for column, (label, values) in enumerate(scales):
        for row, phase in enumerate(PHASES):
            one = axes[row, column]
            for tolerance in ("0.1 s", "0.5 s"):
                scores = [size.best_f1[f"{phase} {tolerance}"] for size in outcome.sizes]
                one.plot(values, scores, "o", markersize=5, label=tolerance)
            if column == 0:
                for size, at in zip(outcome.sizes, values, strict=True):
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


def _lengths(outcome: Outcome) -> Any:
    figure, axes = _figure(1, 2, 3.6)
    for column, phase in enumerate(PHASES):
        for tolerance in ("0.1 s", "0.5 s"):
            axes[0, column].plot(
                [length.window_s for length in outcome.lengths],
                [length.f1[f"{phase} {tolerance}"] for length in outcome.lengths],
                "o-",
                label=tolerance,
            )
        axes[0, column].set(xlabel="length of the windows, s", ylabel="F1", title=phase)
    axes[0, 0].legend(fontsize=7)
    return figure


def _costs(outcome: Outcome) -> Any:
    figure, axes = _figure(1, 1, 3.8)
    one = axes[0, 0]
    batches = sorted({row["batch"] for row in outcome.costs})
    names = list(dict.fromkeys(row["model"] for row in outcome.costs))
    for number, batch in enumerate(batches):
        values = {row["model"]: row["us_per_station_s"] for row in outcome.costs if row["batch"] == batch}
        places = [names.index(name) + 0.25 * (number - (len(batches) - 1) / 2) for name in values]
        one.barh(places, list(values.values()), height=0.22, label=f"batch {batch}")
    one.set_yticks(range(len(names)), names, fontsize=7)
    one.invert_yaxis()
    one.set(xlabel="CPU time per second of data of one station, µs", xscale="log")
    one.legend(fontsize=7)
    return figure


def _example(example: Example) -> Any:
    figure, axes = _figure(4, 1, 5.2)
    seconds = np.arange(example.waves.shape[1]) / RATE_HZ
    for row, letter in enumerate(NAMED):
        wave = example.waves[row].astype(np.float64)
        axes[row, 0].plot(seconds, wave - wave.mean(), color="black", linewidth=0.5)
        axes[row, 0].set_ylabel(letter)
        axes[row, 0].set_xticklabels([])
    for row, phase in enumerate(PHASES):
        axes[3, 0].plot(seconds, example.curves[row][: len(seconds)], color=PHASE_COLOURS[phase], label=phase)
    axes[3, 0].set(xlabel="s", ylabel="curve")
    axes[3, 0].legend(fontsize=7, loc="upper right")
    for one in axes[:, 0]:
        one.set_xlim(0, seconds[-1])
        for phase in PHASES:
            label = example.labels[phase]
            if label is not None:
                one.axvline(label / RATE_HZ, color=PHASE_COLOURS[phase], linestyle="--", linewidth=1)
            for pick in example.picks[phase]:
                one.axvline(pick / RATE_HZ, color=PHASE_COLOURS[phase], linewidth=0.8)
    said = "no P picked within 1 s" if example.residual_s is None else f"P {example.residual_s:+.3f} s"
    figure.suptitle(
        f"{example.contender}, {example.rank}: {example.record}, {said} (dashed: analyst, full: picks)",
        fontsize=9,
    )
    return figure

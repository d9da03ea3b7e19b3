"""Accuracy of a picker on labelled windows: every number with its count, and its interval by bootstrap over events.

>>> from distill.report.contenders import LEVELS, Contender, network_peaks
>>> bell = lambda place: np.exp(-0.5 * ((np.arange(3000) - place) / 10) ** 2)
>>> windows = [LabelledWindow("a", "a", 0, np.zeros((3, 3000)), {"P": 500.0, "S": None}, 20.0, None)]
>>> looked = Looked(windows, [np.stack([bell(503), 0.4 * bell(900)])])
>>> one = Contender("a", "", np.copy, network_peaks, {"P": 0.3, "S": 0.3}, LEVELS, "")
>>> row = next(row for row in accuracy(one, looked, (0.1,)) if row.metric == "residual_mean_s" and row.phase == "P")
>>> row.value, row.count
(0.03, 1)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from distill.bootstrap import Counts, interval, interval_by_origin, interval_of_difference
from distill.calibration import BINS, NEAR_S, Judged, calibration_error, reliability
from distill.report.contenders import Contender
from distill.report.windows import LabelledWindow
from distill.scores import (
    Found,
    counts_of,
    f1,
    f1_of_counts,
    hits_and_false,
    residuals_of,
    score,
    spread,
)
from models.conventions import PHASES, RATE_HZ

SPREAD_WITHIN_S = 1.0
"""Picks within this time of a label count for median, deviation and outliers."""
CURVE_TOLERANCES_S = (0.1, 0.5)
BINNED_AT_S = 0.5
SNR_EDGES_DB = (-100.0, 3.0, 10.0, 20.0, 30.0, 200.0)
S_MINUS_P_EDGES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 1000.0)


@dataclass(frozen=True)
class Looked:
    """The output of a contender for windows."""

    windows: Sequence[LabelledWindow]
    curves: Sequence[NDArray[np.floating]]
    """Of each window, ``(2, n)``."""


@dataclass(frozen=True)
class Number:
    """One number of the report."""

    table: str
    contender: str
    phase: str
    condition: str
    metric: str
    value: float
    count: int
    """Number of labels, picks or onsets behind it."""
    low: float | None = None
    """95 % interval, if there is one."""
    high: float | None = None

    def text(self, interval: bool = False, signed: bool = False) -> str:
        """The value with three decimals, and its interval with two.

        >>> Number("accuracy", "a", "P", "0.1 s", "f1", 0.5, 9, 0.25, 0.75).text(interval=True)
        '0.500 (0.25–0.75)'
        >>> Number("difference", "a", "P", "0.1 s", "f1", 0.0214, 9, -0.01, 0.05).text(interval=True, signed=True)
        '+0.021 (-0.01 to +0.05)'
        """
        sign = "+" if signed else ""
        said = f"{self.value:{sign}.3f}"
        if interval and self.low is not None and self.high is not None:
            between = " to " if signed else "–"
            said += f" ({self.low:{sign}.2f}{between}{self.high:{sign}.2f})"
        return said


@dataclass(frozen=True)
class PrecisionRecall:
    """One curve."""

    contender: str
    phase: str
    tolerance_s: float
    thresholds: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    chosen: tuple[float, float]
    """Recall and precision at the contender's own threshold."""


def found_of(
    contender: Contender,
    looked: Looked,
    phase: str,
    threshold: float,
) -> list[Found]:
    """Picks in the windows with a label of the phase."""
    row = PHASES.index(phase)
    return [
        Found(window.event, tuple(contender.peaks(curves[row], threshold)), label)
        for window, curves in zip(looked.windows, looked.curves, strict=True)
        if (label := window.labels[phase]) is not None
    ]


def accuracy(contender: Contender, looked: Looked, tolerances_s: Sequence[float]) -> Iterator[Number]:
    """Precision, recall and F1 at each tolerance, and the residuals."""
    for phase in PHASES:
        found = found_of(contender, looked, phase, contender.thresholds[phase])
        for tolerance_s in tolerances_s:
            values = score(found, tolerance_s)
            condition = f"{tolerance_s:g} s"
            low, high = values["f1_interval"]
            yield Number(
                "accuracy", contender.name, phase, condition, "f1", values["f1"], values["labels"], low, high
            )
            picks = values["hits"] + values["false"]
            for metric, count in (("precision", picks), ("recall", values["labels"])):
                yield Number("accuracy", contender.name, phase, condition, metric, values[metric], count)
            for metric in ("residual_mean_s", "residual_std_s"):
                yield Number(
                    "accuracy", contender.name, phase, condition, metric, values[metric], values["hits"]
                )
        facts = spread(residuals_of(found, SPREAD_WITHIN_S))
        matched, condition = int(facts["matched"]), f"{SPREAD_WITHIN_S:g} s"
        for metric in ("median_s", "mad_s"):
            yield Number("residuals", contender.name, phase, condition, metric, facts[metric], matched)
        outliers = round(100 * facts["outliers"] / max(matched, 1), 2)
        yield Number("residuals", contender.name, phase, condition, "outliers_percent", outliers, matched)


def counts_by_tolerance(
    contender: Contender, looked: Looked, tolerances_s: Sequence[float]
) -> dict[tuple[str, str], Counts]:
    """Phase and tolerance -> hits, false picks and labels of each event."""
    counts = {}
    for phase in PHASES:
        found = found_of(contender, looked, phase, contender.thresholds[phase])
        for tolerance_s in tolerances_s:
            counts[phase, f"{tolerance_s:g} s"] = counts_of(found, tolerance_s)
    return counts


def differences(
    name: str, own: Mapping[tuple[str, str], Counts], reference: Mapping[tuple[str, str], Counts]
) -> Iterator[Number]:
    """F1 minus that of the reference, with the interval of the difference, on the same draws of events."""
    for (phase, condition), counts in own.items():
        other = reference[phase, condition]
        low, high = interval_of_difference(counts, other)
        value = round(f1_of_counts(counts) - f1_of_counts(other), 3)
        labels = sum(count[2] for count in counts.values())
        yield Number("difference", name, phase, condition, "f1", value, labels, low, high)


def precision_recall(contender: Contender, looked: Looked) -> list[PrecisionRecall]:
    """Curves over the contender's levels."""
    curves = []
    for phase in PHASES:
        by_level = {level: found_of(contender, looked, phase, level) for level in contender.levels}
        own = found_of(contender, looked, phase, contender.thresholds[phase])
        for tolerance_s in CURVE_TOLERANCES_S:
            points = {level: _point(found, tolerance_s) for level, found in by_level.items()}
            precision, recall = _point(own, tolerance_s)
            curves.append(
                PrecisionRecall(
                    contender.name,
                    phase,
                    tolerance_s,
                    tuple(points),
                    tuple(point[0] for point in points.values()),
                    tuple(point[1] for point in points.values()),
                    (recall, precision),
                )
            )
    return curves


def best_f1(curve: PrecisionRecall) -> tuple[float, float]:
    """Best F1 on a curve, and its threshold; chosen on the same data, so only an upper limit."""
    values = [
        2 * precision * recall / max(precision + recall, 1e-9)
        for precision, recall in zip(curve.precision, curve.recall, strict=True)
    ]
    place = int(np.argmax(values))
    return round(values[place], 3), curve.thresholds[place]


def calibration(contender: Contender, looked: Looked) -> Iterator[Number]:
    """For each bin of probability, the fraction of picks with a label within 0.5 s."""
    if not contender.probabilistic:
        return
    found = []
    for (row, phase), (window, curves) in product(
        enumerate(PHASES), zip(looked.windows, looked.curves, strict=True)
    ):
        label = window.labels[phase]
        for peak in contender.peaks(curves[row], BINS[0]) if label is not None else ():
            residual_s = (peak - (label or 0.0)) / RATE_HZ
            near = residual_s if abs(residual_s) <= NEAR_S else None
            found.append(Judged(phase, float(curves[row][round(peak)]), 0.0, near))
    for entry in reliability(found):
        condition = f"{entry['from']:g} to {entry['to']:g}"
        yield Number(
            "calibration", contender.name, entry["phase"], condition, "right", entry["right"], entry["picks"]
        )
    for phase in PHASES:
        error = calibration_error(found, phase)
        if error is not None:
            count = sum(one.phase == phase for one in found)
            yield Number("calibration", contender.name, phase, "all", "expected_error", error, count)


def by_condition(contender: Contender, looked: Looked) -> Iterator[Number]:
    """Recall and F1 against signal-to-noise ratio, and against S minus P where both are known."""
    for table, edges, fact, unit in (
        ("snr", SNR_EDGES_DB, _snr, "dB"),
        ("s_minus_p", S_MINUS_P_EDGES_S, _s_minus_p, "s"),
    ):
        for phase, (number, (low, high)) in product(PHASES, enumerate(pairwise(edges))):
            inside = [
                (window, curves)
                for window, curves in zip(looked.windows, looked.curves, strict=True)
                if (value := fact(window)) is not None and low <= value < high
            ]
            part = Looked([window for window, _ in inside], [curves for _, curves in inside])
            found = found_of(contender, part, phase, contender.thresholds[phase])
            if not found:
                continue
            condition = f"{low:g} to {high:g} {unit}"
            if number == 0 and low < 0:
                condition = f"below {high:g} {unit}"
            elif number == len(edges) - 2:
                condition = f"above {low:g} {unit}"
            values = score(found, BINNED_AT_S)
            for metric in ("recall", "f1"):
                yield Number(table, contender.name, phase, condition, metric, values[metric], len(found))


def by_origin(contender: Contender, looked: Looked) -> Iterator[Number]:
    """F1 on the windows of each origin, and without each; nothing where there is one origin alone."""
    for phase in PHASES:
        parts: dict[str, list[Found]] = {}
        for origin in sorted({window.origin for window in looked.windows}):
            inside = [number for number, window in enumerate(looked.windows) if window.origin == origin]
            part = Looked(
                [looked.windows[number] for number in inside], [looked.curves[number] for number in inside]
            )
            if found := found_of(contender, part, phase, contender.thresholds[phase]):
                parts[origin] = found
        if len(parts) > 1:
            yield from by_part("origin", contender.name, phase, parts)


def by_part(
    table: str, name: str, phase: str, parts: Mapping[str, Sequence[Found]], prefix: str = ""
) -> Iterator[Number]:
    """F1 at two tolerances of all parts together and, if there are several, of each and of all but each.

    The interval of all together is by parts and events, those of the others by events: a part is where records were published.

    Args:
        table: of the report.
        name: of the picker.
        phase: P or S.
        parts: name -> picks and labels.
        prefix: before the name of a part.
    """
    for tolerance_s in CURVE_TOLERANCES_S:
        counts = {part: counts_of(found, tolerance_s) for part, found in sorted(parts.items())}
        views = {"all": list(counts.values())}
        if len(counts) > 1:
            views |= {part: [own] for part, own in counts.items()}
            views |= {
                f"without {left_out}": [own for part, own in counts.items() if part != left_out]
                for left_out in counts
            }
        for view, chosen in views.items():
            # An event may have been published in two places.
            events = {
                f"{number} {event}": own for number, part in enumerate(chosen) for event, own in part.items()
            }
            if not events:
                continue
            low, high = interval_by_origin(chosen) if view == "all" else interval(events)
            labels = sum(own[2] for own in events.values())
            condition = f"{prefix}{view}, {tolerance_s:g} s"
            yield Number(table, name, phase, condition, "f1", f1_of_counts(events), labels, low, high)


def _snr(window: LabelledWindow) -> float | None:
    return window.snr_db


def _s_minus_p(window: LabelledWindow) -> float | None:
    return window.s_minus_p_s


def _point(found: Sequence[Found], tolerance_s: float) -> tuple[float, float]:
    hits, false = hits_and_false(found, tolerance_s)
    return (hits / (hits + false) if hits + false else 1.0), hits / max(len(found), 1)


def f1_of(contender: Contender, looked: Looked, phase: str, tolerance_s: float) -> tuple[float, int]:
    """F1 at the contender's own threshold, and its labels."""
    found = found_of(contender, looked, phase, contender.thresholds[phase])
    hits, false = hits_and_false(found, tolerance_s)
    return f1(hits, false, len(found)), len(found)

r"""Tables of the report, for HTML and for LaTeX.

>>> table = Table("t", "Example", ("picker", "F1"), (("micro", "0.93"),))
>>> latex(table).splitlines()[4]
'picker & F1 \\\\'
>>> "<td>micro</td>" in html(table)
True
>>> print(markdown(table))
| picker | F1   |
|--------|------|
| micro  | 0.93 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from distill.cost import REFERENCE, looks
from distill.report.result import EvaluationResult
from distill.report.scoring import Number
from models.conventions import PHASES

LATEX_SPECIALS = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "µ": r"\textmu{}", "–": "--"}
)


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    name: str
    """Of its file."""
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def html(table: Table) -> str:
    """As HTML."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return (
        f'<figure class="table"><figcaption>{escape(table.caption)}</figcaption>\n'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div></figure>'
    )


def latex(table: Table) -> str:
    """As a table for a paper, with booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(LATEX_SPECIALS) for cell in cells) + r" \\"

    body = "\n".join(line(row) for row in table.rows)
    return (
        "\\begin{table}\n"
        f"\\caption{{{table.caption.translate(LATEX_SPECIALS)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}\n\\toprule\n"
        f"{line(table.head)}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def markdown(table: Table) -> str:
    """As Markdown, in columns."""
    rows = [list(table.head), *(list(row) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def tables_of(result: EvaluationResult) -> list[Table]:
    """All tables that have numbers."""
    made = [
        _accuracy(result),
        _detail(result),
        _origins(
            result,
            "origin",
            "F1 by where the records were published, and without each; intervals by bootstrap over events, of all over origins and events",
        ),
        _origins(
            result,
            "stages",
            "F1 of final and early picks of whole records, through the daemon's picker, by where the records were published",
        ),
        _spread(result),
        _matrix(
            result,
            "best_threshold",
            "best threshold",
            "f1",
            "F1 at the best threshold on these very data: an upper limit",
        ),
        _matrix(
            result, "noise", "noise", "picks_per_hour", "Picks per station-hour of noise (number of picks)"
        ),
        _continuous(result),
        _matrix(result, "calibration", "calibration", "expected_error", "Expected calibration error (picks)"),
        _matrix(result, "snr", "snr", "f1", "F1 at 0.5 s by signal-to-noise ratio of the vertical (labels)"),
        _matrix(
            result, "s_minus_p", "s_minus_p", "f1", "F1 at 0.5 s by S minus P, where both are known (labels)"
        ),
        _matrix(result, "robustness", "robustness", "f1", "F1 on damaged windows (labels)"),
        _matrix(
            result,
            "close_events",
            "close events",
            "both",
            "Part of pairs of events of which both P are picked (pairs)",
        ),
        _noticing(result),
        _latency(result),
        _sizes(result),
        _lengths(result),
        _costs(result),
    ]
    return [table for table in made if table.rows]


def _value(number: Number | None, interval: bool = False) -> str:
    return "" if number is None else number.text(interval)


def _accuracy(result: EvaluationResult) -> Table:
    columns = [(phase, tolerance) for phase in PHASES for tolerance in ("0.1 s", "0.5 s")]
    rows = []
    for name in result.contenders:
        found = [result.value("accuracy", name, *column, "f1") for column in columns]
        if any(found):
            rows.append([name, *(_value(number, interval=True) for number in found)])
    first = next(iter(result.contenders), "")
    counts = [result.value("accuracy", first, *column, "f1") for column in columns]
    if rows and all(counts):
        rows.append(["labels", *(str(number.count) for number in counts if number is not None)])
    head = ["F1 (95 % interval)", *(f"{phase}, {tolerance}" for phase, tolerance in columns)]
    return Table(
        "accuracy", "F1 at the pickers' own thresholds; intervals by bootstrap over events", head, rows
    )


def _detail(result: EvaluationResult) -> Table:
    rows = []
    tolerances = list(
        dict.fromkeys(number.condition for number in result.numbers if number.table == "accuracy")
    )
    for name in result.contenders:
        for phase in PHASES:
            for tolerance in tolerances:
                found = [
                    result.value("accuracy", name, phase, tolerance, metric)
                    for metric in ("precision", "recall", "f1", "residual_mean_s", "residual_std_s")
                ]
                if found[0] is not None and found[1] is not None:
                    matched = found[3].count if found[3] is not None else 0
                    rows.append(
                        [
                            name,
                            phase,
                            tolerance,
                            *map(_value, found),
                            str(found[0].count),
                            str(found[1].count),
                            str(matched),
                        ]
                    )
    head = [
        "picker",
        "phase",
        "tolerance",
        "precision",
        "recall",
        "F1",
        "mean s",
        "std s",
        "picks",
        "labels",
        "matched",
    ]
    return Table(
        "detail", "Precision, recall, F1 and residuals (pick minus analyst) by tolerance", head, rows
    )


def _origins(result: EvaluationResult, table: str, caption: str) -> Table:
    """One row for each part of the data, contender and phase."""
    numbers = [one for one in result.numbers if one.table == table]
    parts = list(dict.fromkeys(one.condition.rpartition(", ")[0] for one in numbers))
    rows = []
    for part in parts:
        for name in result.contenders:
            for phase in PHASES:
                found = [
                    result.value(table, name, phase, f"{part}, {tolerance}", "f1")
                    for tolerance in ("0.1 s", "0.5 s")
                ]
                if found[0] is not None:
                    rows.append(
                        [
                            part,
                            name,
                            phase,
                            *(_value(one, interval=True) for one in found),
                            str(found[0].count),
                        ]
                    )
    return Table(table, caption, ["records", "picker", "phase", "F1, 0.1 s", "F1, 0.5 s", "labels"], rows)


def _spread(result: EvaluationResult) -> Table:
    rows = []
    for name in result.contenders:
        for phase in PHASES:
            found = [
                result.value("residuals", name, phase, "1 s", metric)
                for metric in ("median_s", "mad_s", "outliers_percent")
            ]
            if found[0] is not None:
                rows.append([name, phase, *map(_value, found), str(found[0].count)])
    head = ["picker", "phase", "median s", "MAD s", "outliers %", "matched"]
    caption = (
        "Residuals within 1 s: median, median absolute deviation, part further than 0.3 s from the median"
    )
    return Table("residuals", caption, head, rows)


def _matrix(result: EvaluationResult, name: str, table: str, metric: str, caption: str) -> Table:
    """One row for each contender and phase, one column for each condition."""
    numbers = [one for one in result.numbers if (one.table, one.metric) == (table, metric)]
    conditions = list(dict.fromkeys(one.condition for one in numbers))
    rows = []
    for contender in result.contenders:
        for phase in PHASES:
            found = [result.value(table, contender, phase, condition, metric) for condition in conditions]
            if any(one is not None for one in found):
                cells = ["" if one is None else f"{one.value:.3g} ({one.count})" for one in found]
                rows.append([contender, phase, *cells])
    return Table(name, caption, ["picker", "phase", *conditions], rows)


def _continuous(result: EvaluationResult) -> Table:
    metrics = (
        "student_per_hour",
        "teacher_per_hour",
        "student_unconfirmed_per_hour",
        "teacher_not_picked_by_student_per_hour",
    )
    keys = dict.fromkeys(
        (one.contender, one.condition, one.phase) for one in result.numbers if one.table == "continuous"
    )
    rows = []
    for contender, condition, phase in keys:
        found = [result.value("continuous", contender, phase, condition, metric) for metric in metrics]
        rows.append(
            [
                contender,
                condition,
                phase,
                *(f"{one.value:g} ({one.count})" for one in found if one is not None),
            ]
        )
    head = ["student", "data, station-hours", "phase", "student", "PhaseNet", "not confirmed", "not picked"]
    caption = (
        "Continuous data, picks per station-hour (number): the student through the daemon's offline run; PhaseNet through "
        "SeisBench at 0.3; student's picks that PhaseNet does not have within 0.5 s even at 0.1; PhaseNet's that the student has not"
    )
    return Table("continuous", caption, head, rows)


def _noticing(result: EvaluationResult) -> Table:
    """One row for each network and phase; noticed with its delay, or candidates an hour."""
    numbers = [one for one in result.numbers if one.table == "noticing"]
    conditions = list(dict.fromkeys(one.condition for one in numbers))
    rows = []
    for name, phase in dict.fromkeys((one.contender, one.phase) for one in numbers):
        cells = []
        for condition in conditions:
            share, delay, rate = (
                result.value("noticing", name, phase, condition, metric)
                for metric in ("noticed", "delay_median_s", "candidates_per_hour")
            )
            if share is not None and delay is not None:
                cells.append(f"{share.value:.3f} of {share.count}, {delay.value:.2f} s")
            else:
                cells.append("" if rate is None else f"{rate.value:g} ({rate.count})")
        rows.append([name, phase, *cells])
    caption = (
        "Networks that stream: part of the labelled onsets noticed within 1 s, with the median of the delay; candidates an hour "
        "of noise (their number)"
    )
    return Table("noticing", caption, ["network", "phase", *conditions], rows)


def _latency(result: EvaluationResult) -> Table:
    rows = [
        [
            one.phase,
            f"{one.lookahead_s:g}",
            f"{one.hop_s:g}",
            f"{one.f1_01:.3f}",
            f"{one.f1_05:.3f}",
            str(one.labels),
            f"{one.delay_median_s:.2f}",
            f"{one.delay_p95_s:.2f}",
            str(one.picked),
        ]
        for one in result.trade_offs
    ]
    head = [
        "phase",
        "lookahead s",
        "hop s",
        "F1 0.1 s",
        "F1 0.5 s",
        "labels",
        "delay median s",
        "95 % s",
        "picked",
    ]
    return Table("latency", "Accuracy against delay: data after the onset when the pick is out", head, rows)


def _sizes(result: EvaluationResult) -> Table:
    columns = [f"{phase} {tolerance}" for phase in PHASES for tolerance in ("0.1 s", "0.5 s")]
    rows = [
        [
            one.name,
            str(one.parameters),
            f"{one.multiplications_per_s / 1e3:.0f}",
            f"{one.us_per_window:.0f}",
            *(f"{one.best_f1[column]:.3f}" for column in columns),
            *(f"{one.residual_std_s[phase] * 1e3:.0f} ({one.labels[phase]})" for phase in PHASES),
            one.note,
        ]
        for one in result.sizes
    ]
    head = [
        "student",
        "parameters",
        "thousand multiplications a second",
        "µs per window",
        *(f"{column[0]}, {column[2:]}" for column in columns),
        *(f"std {phase}, ms (labels)" for phase in PHASES),
        "how it was trained",
    ]
    return Table(
        "sizes",
        "Students of several sizes and trainings, each at its best threshold on these data",
        head,
        rows,
    )


def _lengths(result: EvaluationResult) -> Table:
    columns = [f"{phase} {tolerance}" for phase in PHASES for tolerance in ("0.1 s", "0.5 s")]
    rows = [
        [
            f"{one.window_s:g}",
            *(f"{one.f1[column]:.3f} ({one.labels[column]})" for column in columns),
            f"{one.us_per_station_s:.0f}",
        ]
        for one in result.lengths
    ]
    head = ["window s", *(f"{column[0]}, {column[2:]}" for column in columns), "µs per station-second"]
    return Table("lengths", "Length of overlapping windows, a window every 0.5 s (labels)", head, rows)


def _costs(result: EvaluationResult) -> Table:
    rows = [
        [
            row["model"],
            looks(row),
            str(row["batch"]),
            f"{row['us_per_station_s']:g}",
            f"{row['times_cheaper']:g}" if "times_cheaper" in row else "",
        ]
        for row in result.costs
    ]
    head = ["model", "form", "batch", "µs per station-second", f"times cheaper than {REFERENCE}"]
    return Table(
        "costs",
        "CPU time, one thread, ONNX Runtime, front end included, a window every 0.5 s; how many times cheaper: by turns in one process",
        head,
        rows,
    )

"""Writes the folder of a report: one self-contained HTML page, CSV, LaTeX, figures.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     page = write_report(EvaluationResult("An example"), Path(folder) / "report")
...     page.name, "<title>An example</title>" in page.read_text(encoding="utf-8")
('report.html', True)
"""

import base64
import csv
import json
from html import escape
from pathlib import Path

from distill.progress import SILENT, Progress
from distill.report.figures import draw_all
from distill.report.findings import findings
from distill.report.result import EvaluationResult
from distill.report.tables import Table, html, latex, tables_of

PAGE = "report.html"
NUMBERS, CURVES, PROVENANCE = "numbers.csv", "precision_recall.csv", "provenance.json"
FIGURES, LATEX, CSV = "figures", "latex", "csv"
SECTIONS = (
    (
        "Accuracy",
        ("accuracy", "origin", "stages", "detail", "best_threshold"),
        ("tolerance", "precision_recall"),
    ),
    ("Residuals", ("residuals",), ("residuals",)),
    ("Signal-to-noise ratio, S minus P", ("snr", "s_minus_p"), ("snr", "s_minus_p")),
    ("Calibration of probability", ("calibration",), ("calibration",)),
    ("False picks", ("noise", "continuous"), ()),
    ("Robustness and close events", ("robustness", "close_events"), ()),
    ("Delay", ("latency",), ("latency",)),
    ("Size, cost, length of window", ("sizes", "lengths", "costs"), ("sizes", "lengths", "costs")),
)
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line) }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead th { background: var(--soft) }
figure { margin: 1.2rem 0 } figcaption { font-size: 13px; opacity: .8; margin-bottom: .3rem }
.scroll { overflow-x: auto } img { max-width: 100%; background: white } pre { overflow-x: auto; background: var(--soft); padding: .6rem }
"""


def write_report(result: EvaluationResult, folder: Path, progress: Progress = SILENT) -> Path:
    """Write everything into a folder; returns the path of the page."""
    for part in (FIGURES, LATEX, CSV):
        (folder / part).mkdir(parents=True, exist_ok=True)
    tables = tables_of(result)
    for table in tables:
        (folder / LATEX / f"{table.name}.tex").write_text(latex(table), encoding="utf-8")
        _write_rows(folder / CSV / f"{table.name}.csv", [table.head, *table.rows])
    _write_numbers(result, folder)
    (folder / PROVENANCE).write_text(json.dumps(result.provenance, indent=2) + "\n", encoding="utf-8")
    figures = draw_all(result, folder / FIGURES, progress)
    page = folder / PAGE
    page.write_text(_page(result, tables, figures), encoding="utf-8")
    return page


def _write_numbers(result: EvaluationResult, folder: Path) -> None:
    head = ("table", "contender", "phase", "condition", "metric", "value", "count", "low", "high")
    _write_rows(folder / NUMBERS, [head, *([getattr(one, key) for key in head] for one in result.numbers)])
    points = [
        (curve.contender, curve.phase, curve.tolerance_s, threshold, round(precision, 4), round(recall, 4))
        for curve in result.curves
        for threshold, precision, recall in zip(curve.thresholds, curve.precision, curve.recall, strict=True)
    ]
    _write_rows(
        folder / CURVES, [("contender", "phase", "tolerance_s", "threshold", "precision", "recall"), *points]
    )


def _write_rows(path: Path, rows: list[object]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)  # type: ignore[arg-type]  # rows of anything that has a text


def _page(result: EvaluationResult, tables: list[Table], figures: list[Path]) -> str:
    by_name = {table.name: table for table in tables}
    drawn = {path.stem: path for path in figures}
    parts = [f"<h1>{escape(result.title)}</h1>", _contenders(result), *_findings(result)]
    for title, names, pictures in SECTIONS:
        inside = [html(by_name[name]) for name in names if name in by_name]
        inside += [_picture(drawn[name]) for name in pictures if name in drawn]
        if inside:
            parts += [f"<h2>{escape(title)}</h2>", *inside]
    examples = [path for name, path in drawn.items() if name.startswith("example_")]
    if examples:
        parts += ["<h2>Examples: best, median, worst</h2>", *map(_picture, examples)]
    parts.append(_provenance(result))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(result.title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _contenders(result: EvaluationResult) -> str:
    rows = [[name, said] for name, said in result.contenders.items()]
    return html(Table("contenders", "What is compared", ["picker", "what it is"], rows)) if rows else ""


def _findings(result: EvaluationResult) -> list[str]:
    parts = []
    for title, text in findings(result):
        parts += [f"<h2>{escape(title)}</h2>", *(f"<p>{escape(paragraph)}</p>" for paragraph in text)]
    return parts


def _picture(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,{content}"></figure>'


def _provenance(result: EvaluationResult) -> str:
    lines = [f"<li>{escape(line)}</li>" for line in result.skipped]
    skipped = f"<p>Left out:</p><ul>{''.join(lines)}</ul>" if lines else ""
    return (
        "<h2>How this was made</h2>\n"
        f"<pre>{escape(json.dumps(result.provenance, indent=2, ensure_ascii=False))}</pre>{skipped}"
    )

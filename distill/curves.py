"""Plots the log of a run: losses and learning rate over the steps.

>>> from tempfile import TemporaryDirectory
>>> rows = [{"step": 1.0, "loss": 0.5, "validation_loss": 0.4}, {"step": 2.0, "loss": 0.3, "validation_loss": 0.35}]
>>> with TemporaryDirectory() as folder:
...     draw_curves(rows, Path(folder) / "curves.png").stat().st_size > 1000
True
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

CURVES = "curves.png"
SIZE_INCHES = (7.0, 4.5)
DPI = 110


def draw_curves(rows: Sequence[Mapping[str, float]], path: Path) -> Path:
    """Plot a log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["loss"] for row in rows], label="training")
    axes.plot(steps, [row["validation_loss"] for row in rows], label="validation, averaged weights")
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    if all("learning_rate" in row for row in rows) and rows:
        rate = axes.twinx()
        rate.plot(
            steps, [row["learning_rate"] for row in rows], color="grey", alpha=0.5, label="learning rate"
        )
        rate.set_ylabel("learning rate")
    axes.legend()
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=DPI)
    return partial.replace(path)

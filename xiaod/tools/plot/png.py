"""Draws an :class:`~xiaod.domain.figure.OnsetFigure` with matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xiaod.domain.components import MISSING
from xiaod.domain.figure import PHASE_STYLES, OnsetFigure
from xiaod.domain.onsets import PHASES
from xiaod.process.plugins import MissingExtraError, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (10.0, 1.4)
"""Width of the picture, and height of each panel."""
DPI = 110
PACKAGE = "matplotlib"


def require_matplotlib() -> None:
    """Make sure that pictures can be drawn.

    Raises:
        MissingExtraError: when the package is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(missing("a plot", PACKAGE, "plot")) from error


def drawn(figure: OnsetFigure) -> "Figure":
    """A picture: a panel for each component, and one for the probabilities; picks are lines across all of them."""
    from matplotlib.figure import Figure

    waveforms = figure.waveforms
    rows = [row for row, letter in enumerate(waveforms.components) if letter != MISSING]
    picture = Figure(
        figsize=(SIZE_INCHES[0], SIZE_INCHES[1] * (len(rows) + 1.4)), dpi=DPI, layout="constrained"
    )
    panels = picture.subplots(len(rows) + 1, 1, sharex=True, squeeze=False)[:, 0]
    seconds = np.arange(waveforms.low.shape[1]) * waveforms.bin_s
    for panel, row in zip(panels, rows, strict=False):
        # As on the status page: from the highest to the lowest sample of each bin.
        samples = np.stack([waveforms.high[row], waveforms.low[row]], axis=1).ravel().astype(np.float64)
        panel.plot(np.repeat(seconds, 2), samples - np.nanmean(samples), color="black", linewidth=0.6)
        panel.set_ylabel(f"{figure.band}{waveforms.components[row]}\ncounts")
    last = panels[-1]
    for row, phase in enumerate(PHASES):
        style = PHASE_STYLES[phase]
        curve = waveforms.probabilities[row]
        last.plot(seconds, curve, color=style.colour, linestyle=_line(style.dash), linewidth=1.0, label=phase)
        if phase in figure.thresholds:
            last.axhline(figure.thresholds[phase], color=style.colour, linewidth=0.6, linestyle=":")
    if not (waveforms.probabilities > 1).any():
        last.set_ylim(-0.02, 1.02)
    last.set_ylabel(figure.curve_label)
    last.legend(loc="upper right", fontsize="small")
    for pick in figure.picks:
        style = PHASE_STYLES[pick.phase]
        line = ":" if pick.analyst else _line(style.dash)
        for panel in panels:
            panel.axvline(pick.at_s, color=style.colour, linewidth=1.0, linestyle=line)
            if pick.uncertainty_s:
                span = pick.at_s - pick.uncertainty_s, pick.at_s + pick.uncertainty_s
                panel.axvspan(*span, color=style.colour, alpha=0.2, linewidth=0)
        if pick.probability is not None:
            panels[0].annotate(f"{pick.phase} {pick.probability:.2f}", (pick.at_s, 1.0), xycoords=("data", "axes fraction"),
                               xytext=(2, -9), textcoords="offset points", color=style.colour, fontsize="small",
                               bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0})  # fmt: skip
    last.set_xlim(0, seconds[-1])
    last.set_xlabel(figure.time_label)
    picture.suptitle(figure.title, fontsize="medium")
    return picture


def write_png(figure: OnsetFigure, path: Path) -> None:
    """Write a picture.

    Raises:
        OSError: when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(figure).savefig(path, format="png")


def _line(dash: tuple[int, ...]) -> tuple[int, tuple[int, ...] | None]:
    return 0, dash or None

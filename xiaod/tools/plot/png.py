"""Draws an :class:`~xiaod.domain.figure.OnsetFigure` with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.components import MISSING
from xiaod.domain.figure import PHASE_STYLES, OnsetFigure, PickLine
from xiaod.domain.onsets import BAND_HZ, PHASES
from xiaod.process.plugins import MissingExtraError, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (10.0, 1.4)
"""Width of the picture, and height of each panel."""
DPI = 110
BAND_UNIT = f"counts\n{BAND_HZ[0]:g}–{BAND_HZ[1]:g} Hz"
LANE = 0.55
"""Height of the labels of picks, above the panels, in panels."""
LABEL_GAP_PX = 8.0
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
    """A picture: a panel for each component, and one for probabilities if there are any; picks are lines across all, with labels above."""
    from matplotlib.figure import Figure

    waveforms = figure.waveforms
    rows = [row for row, letter in enumerate(waveforms.components) if letter != MISSING]
    labelled = [pick for pick in figure.picks if pick.probability is not None]
    curves = bool(np.isfinite(waveforms.probabilities).any())
    heights = [LANE if labelled else 0.01, *[1.0] * (len(rows) + curves)]
    picture = Figure(
        figsize=(SIZE_INCHES[0], SIZE_INCHES[1] * (sum(heights) + 0.4)), dpi=DPI, layout="constrained"
    )
    lane, *panels = picture.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    seconds = np.arange(waveforms.low.shape[1]) * waveforms.bin_s
    for panel, row in zip(panels, rows, strict=False):
        # As on the status page: from the highest to the lowest sample of each bin.
        samples = np.stack([waveforms.high[row], waveforms.low[row]], axis=1).ravel().astype(np.float64)
        if np.isfinite(samples).any():
            samples -= np.nanmean(samples)
        panel.plot(np.repeat(seconds, 2), samples, color="black", linewidth=0.6)
        panel.set_ylabel(f"{figure.band}{waveforms.components[row]}\n{figure.unit}")
    if curves:
        _draw_curves(panels[-1], figure, seconds)
    for pick in figure.picks:
        style = PHASE_STYLES[pick.phase]
        line = ":" if pick.analyst else _line(style.dash)
        for panel in panels:
            panel.axvline(pick.at_s, color=style.colour, linewidth=1.0, linestyle=line)
            if pick.uncertainty_s:
                span = pick.at_s - pick.uncertainty_s, pick.at_s + pick.uncertainty_s
                panel.axvspan(*span, color=style.colour, alpha=0.2, linewidth=0)
    panels[-1].set_xlim(0, seconds[-1])
    panels[-1].set_xlabel(figure.time_label)
    picture.suptitle(figure.title, fontsize="medium")
    picture.align_ylabels(panels)
    lane.set_axis_off()
    lane.set_ylim(0, 1)
    _label(picture, lane, sorted(labelled, key=lambda pick: pick.at_s))
    return picture


def _draw_curves(panel: "Axes", figure: OnsetFigure, seconds: NDArray[np.floating]) -> None:
    """Probabilities and thresholds."""
    probabilities = figure.waveforms.probabilities
    for row, phase in enumerate(PHASES):
        style = PHASE_STYLES[phase]
        curve = probabilities[row]
        panel.plot(
            seconds, curve, color=style.colour, linestyle=_line(style.dash), linewidth=1.0, label=phase
        )
        if phase in figure.thresholds:
            panel.axhline(figure.thresholds[phase], color=style.colour, linewidth=0.6, linestyle=":")
    if not (probabilities > 1).any():
        panel.set_ylim(-0.02, 1.02)
    panel.set_ylabel(figure.curve_label)
    panel.legend(loc="upper right", fontsize="small")


def _label(picture: "Figure", lane: "Axes", picks: Sequence[PickLine]) -> None:
    """Write what is known of picks above them, or as near as others leave room; all of it if that has room, otherwise less."""
    if not picks:
        return
    texts = [
        lane.text(
            pick.at_s, 1.0, "", color=PHASE_STYLES[pick.phase].colour, fontsize="small", ha="left", va="top"
        )
        for pick in picks
    ]
    # The size of panels is known once the picture has been laid out.
    picture.draw_without_rendering()
    pixels = lane.transData
    left, right = lane.get_window_extent().intervalx
    for most in (3, 1, 0):
        for text, pick in zip(texts, picks, strict=True):
            text.set_text("\n".join(pick.lines[:most]) or pick.phase)
        widths = [text.get_window_extent().width for text in texts]
        if sum(widths) + LABEL_GAP_PX * (len(widths) - 1) <= right - left:
            break
    marks = [float(pixels.transform((pick.at_s, 0.0))[0]) for pick in picks]
    begins = side_by_side(marks, widths, left, right, LABEL_GAP_PX)
    for text, pick, mark, begin, width in zip(texts, picks, marks, begins, widths, strict=True):
        text.set_x(float(pixels.inverted().transform((begin, 0.0))[0]))
        foot_px = text.get_window_extent().y0
        foot = pixels.inverted().transform((min(max(mark, begin), begin + width), foot_px))
        lane.plot([pick.at_s, foot[0]], [0.0, foot[1]], color=text.get_color(), linewidth=0.6)


def side_by_side(
    centres: Sequence[float], widths: Sequence[float], left: float, right: float, gap: float
) -> list[float]:
    """Where labels begin that are to stand above their marks, in order of these, without overlapping, between two edges.

    >>> side_by_side([50.0, 52.0, 99.0], [20.0, 20.0, 20.0], 0.0, 100.0, 2.0)
    [36.0, 58.0, 80.0]
    """
    begins: list[float] = []
    edge = left - gap
    for centre, width in zip(centres, widths, strict=True):
        begins.append(max(centre - width / 2, edge + gap))
        edge = begins[-1] + width
    edge = right + gap
    for number in reversed(range(len(begins))):
        begins[number] = min(begins[number], edge - gap - widths[number])
        edge = begins[number]
    return begins


def write_png(figure: OnsetFigure, path: Path) -> None:
    """Write a picture.

    Raises:
        OSError: when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(figure).savefig(path, format="png")


def _line(dash: tuple[int, ...]) -> tuple[int, tuple[int, ...] | None]:
    return 0, dash or None

"""A scene as a PNG: the components, the probabilities of P and S with their thresholds, and the picks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xiaod.domain.components import MISSING
from xiaod.domain.onsets import PHASES
from xiaod.domain.timegrid import GRID_RATE_HZ, NS_PER_S, iso_from_ns
from xiaod.domain.types import Pick
from xiaod.process.plugins import MissingExtraError, missing
from xiaod.tools.plot.scene import Scene

COLOURS = {"P": "tab:blue", "S": "tab:red"}
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


def draw(
    scene: Scene, picks: Sequence[Pick], thresholds: tuple[float, float], title: str, path: Path
) -> None:
    """Write a picture.

    Args:
        scene: what to show; must not be empty.
        picks: of that instrument, with lines where they lie.
        thresholds: of P and of S.
        title: text above, beside the time.
        path: of the PNG.

    Raises:
        OSError: when it cannot be written.
    """
    from matplotlib.figure import Figure

    rows = [row for row, letter in enumerate(scene.letters) if letter != MISSING]
    figure = Figure(
        figsize=(SIZE_INCHES[0], SIZE_INCHES[1] * (len(rows) + 1.4)), dpi=DPI, layout="constrained"
    )
    panels = figure.subplots(len(rows) + 1, 1, sharex=True, squeeze=False)[:, 0]
    seconds = np.arange(scene.stop - scene.first) / GRID_RATE_HZ
    for panel, row in zip(panels, rows, strict=False):
        trace = scene.samples[row].astype(np.float64)
        panel.plot(seconds, trace - np.nanmean(trace), color="black", linewidth=0.6)
        panel.set_ylabel(f"{scene.instrument.band}{scene.letters[row]}\ncounts")
    last = panels[-1]
    for phase, curve, threshold in zip(PHASES, scene.probabilities, thresholds, strict=True):
        last.plot(seconds, curve, color=COLOURS[phase], linewidth=1.0, label=phase)
        last.axhline(threshold, color=COLOURS[phase], linewidth=0.6, linestyle=":")
    last.set_ylim(-0.02, 1.02)
    last.set_ylabel("probability")
    last.legend(loc="upper right", fontsize="small")
    for pick in picks:
        at_s, spread_s = (pick.time_ns - scene.start_ns) / NS_PER_S, pick.time_uncertainty_s
        for panel in panels:
            panel.axvline(at_s, color=COLOURS[pick.phase], linewidth=1.0)
            panel.axvspan(at_s - spread_s, at_s + spread_s, color=COLOURS[pick.phase], alpha=0.2, linewidth=0)
        panels[0].annotate(f"{pick.phase} {pick.probability:.2f}", (at_s, 1.0), xycoords=("data", "axes fraction"),
                           xytext=(2, -9), textcoords="offset points", color=COLOURS[pick.phase], fontsize="small",
                           bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0})  # fmt: skip
    last.set_xlim(0, seconds[-1])
    last.set_xlabel(f"seconds after {iso_from_ns(scene.start_ns)}")
    figure.suptitle(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")

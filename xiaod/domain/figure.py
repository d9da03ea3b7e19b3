"""The figure of an onset: waveforms, probabilities, thresholds and picks of one instrument, and the style of each phase.

One description for three pictures: the status page gets its waveforms as JSON (``trace`` of ``/api/stream``), ``xiaod plot`` and the
report of the trainer draw it with matplotlib (:mod:`xiaod.tools.plot.png`).

>>> Waveforms(100, 4, np.zeros((3, 5)), np.zeros((3, 5)), np.zeros((2, 5)), "Z--").start_ns
4000000000
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S, iso_from_ns


class PhaseStyle(NamedTuple):
    """How a phase is drawn."""

    colour: str
    dark_colour: str
    """On a dark background."""
    dash: tuple[int, ...]
    """Lengths of line and gap; empty: a solid line."""


PHASE_STYLES: Mapping[str, PhaseStyle] = {
    "P": PhaseStyle("#0072b2", "#56b4e9", ()),
    "S": PhaseStyle("#c24e00", "#ff9a3d", (5, 3)),
}
"""Blue and orange of Okabe and Ito (2008), orange darkened for contrast: told apart by colour-blind people."""


@dataclass(frozen=True, slots=True, eq=False)
class Waveforms:
    """Waveforms and probabilities of one instrument in bins of the 100 Hz grid; NaN where there are none."""

    first: int
    """Bin ``k`` begins ``k * bin_samples`` samples of the grid after 1970."""
    bin_samples: int
    low: NDArray[np.floating]
    """Shape ``(3, n)``, rows as the components: lowest sample of each bin, raw or in a band."""
    high: NDArray[np.floating]
    """Shape ``(3, n)``: highest sample of each bin."""
    probabilities: NDArray[np.floating]
    """Shape ``(2, n)``: highest probability of P and of S in each bin."""
    components: str
    """As in :attr:`xiaod.domain.types.Window.components`."""

    @property
    def bin_s(self) -> float:
        """Length of a bin (s)."""
        return self.bin_samples / GRID_RATE_HZ

    @property
    def start_ns(self) -> int:
        """Time of the first bin."""
        return self.first * self.bin_samples * GRID_NS


class PickLine(NamedTuple):
    """A pick in a figure."""

    phase: str
    at_s: float
    """Seconds after the begin of the figure."""
    uncertainty_s: float = 0.0
    probability: float | None = None
    analyst: bool = False
    """Picked by an analyst, not by a program."""
    time: str = ""
    """Its time of day, UTC."""
    snr: float | None = None
    stage: str = ""
    """``early`` or ``final``."""

    @classmethod
    def picked(
        cls,
        start_ns: int,
        phase: str,
        time_ns: int,
        uncertainty_s: float,
        probability: float,
        snr: float | None,
        stage: str,
    ) -> "PickLine":
        """A pick of a program, in a figure that begins at a time.

        >>> line = PickLine.picked(0, "P", 7_731_000_000, 0.05, 0.9, 12.3, "final")
        >>> line.at_s, line.time
        (7.731, '00:00:07.73')
        """
        return cls(
            phase,
            (time_ns - start_ns) / NS_PER_S,
            uncertainty_s,
            probability,
            time=iso_from_ns(time_ns)[11:22],
            snr=snr,
            stage=stage,
        )

    @property
    def lines(self) -> list[str]:
        """What is written at the pick, the most important first.

        >>> PickLine("P", 5.0, 0.05, 0.981, time="00:20:07.73", snr=12.34, stage="final").lines
        ['P 00:20:07.73', '0.98  ±0.05 s', 'snr 12.3  final']
        """
        probability = "" if self.probability is None else f"{self.probability:.2f}  "
        uncertainty = f"±{self.uncertainty_s:.2f} s" if self.uncertainty_s else ""
        snr = "" if self.snr is None else f"snr {self.snr:.1f}  "
        lines = f"{self.phase} {self.time}", probability + uncertainty, snr + self.stage
        return [line.strip() for line in lines if line]


@dataclass(frozen=True, slots=True, eq=False)
class OnsetFigure:
    """What one picture shows."""

    title: str
    waveforms: Waveforms
    picks: Sequence[PickLine] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By phase."""
    band: str = ""
    """Band and instrument code, written before a component letter."""
    unit: str = "counts"
    """Of the samples, and in which band they are."""
    time_label: str = "s"
    curve_label: str = "probability"

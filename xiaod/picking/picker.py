"""Probabilities of overlapping windows become picks: one for each onset, early, with a time between samples, never revised.

**Merge.** The probabilities of all windows that cover a sample are averaged. A window counts by how much of its data lies after the
sample: nothing below :data:`LEAST_AFTER_S`, rising linearly to full weight at ``lookahead_s`` plus a hop. So each new window improves the
average of the last seconds.

**Notice** (:meth:`InstrumentPicker.notice`). After each window, the average is searched for peaks above :data:`NOTICE` times the
threshold that have at least ``lookahead_s`` of data after them. Onsets that need more data are found in later windows, up to
:data:`LATE_NOTICE_S` later. A peak is the highest point within ``min_separation_s``.

**Confirm** (:meth:`InstrumentPicker.confirm`). Where a window begins relative to an onset changes the output of a network with
strides, by some tens of milliseconds and hundredths of probability. So an onset that was noticed is computed again in windows placed by
the onset instead of the grid. The last of them ends ``lookahead_s`` (or whole hops more) after it. If their average reaches the threshold,
the onset is a pick; it is then made with ``lookahead_s`` to ``lookahead_s`` plus a hop of data after the onset, if the network is sure by
then. Another peak of the same phase closer than ``min_separation_s`` to a pick is the same onset, and gives no pick.

:mod:`xiaod.picking.measure` measures time, uncertainty and strength of the onset.

>>> import numpy as np
>>> from xiaod.domain.types import Instrument, Probabilities, Window
>>> def annotate(windows):
...     peak = 600.25 - windows[:, 0, :1]  # these samples hold their own index
...     curve = 0.9 * np.exp(-0.5 * ((np.arange(1000) - peak) / 10) ** 2)
...     return np.stack([curve, 0 * curve], axis=1)
>>> samples = np.tile(np.arange(1000, dtype=np.float32), (3, 1))
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE", discontinuous=True)
>>> settings = PickerSettings(thresholds=(0.3, 0.3), hop=50, model="example-1.0.0", model_sha256="0" * 64)
>>> picker = InstrumentPicker(settings)
>>> [candidate] = picker.notice(Probabilities(window, annotate(samples[None])[0]))
>>> pick = picker.confirm(candidate, annotate)
>>> pick.id, pick.phase, abs(pick.time_ns - 6_002_500_000) < 200_000
('19700101.000006.00-P-XX.A..HH-example-1.0.0', 'P', True)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from models.calibration import Calibration
from xiaod.config import PickerConfig
from xiaod.domain.components import MISSING, live_components
from xiaod.domain.onsets import CONFIRM_SHIFT, PHASES
from xiaod.domain.timegrid import samples_from_s
from xiaod.domain.types import Pick, Probabilities, Window
from xiaod.picking.diagnosis import OnsetOutcome, PhaseView
from xiaod.picking.measure import NO_CALIBRATION, measure
from xiaod.picking.recent_picks import RecentPicks

LEAST_AFTER_S = 0.25
"""Data after a sample below which a window says nothing about it."""
LATE_NOTICE_S = 2.0
"""How long after the first window that can show it an onset may still be noticed."""
NOTICE = 0.7
"""Part of the threshold at which an onset is noticed: whether it is confirmed must not depend on where the grid lies."""
SHIFTS = (0, 2, 5, 7, 8, 10, 13, CONFIRM_SHIFT)
"""Samples by which the windows that confirm are shifted: every offset of a stride of four twice, spread evenly over four strides."""
STEADY = 2
"""Samples by which the onset may move in those windows and count as found."""
ROUNDS = 2
"""How often the windows are placed anew by the onset that they show."""
REACH = 30
"""Samples by which the onset may move when it is confirmed."""
NO_HORIZONTALS = 2 * MISSING
"""How the components of a window end that has no horizontals."""


@dataclass(frozen=True, slots=True)
class PickerSettings:
    """How picks are made at one instrument; samples are those of the 100 Hz grid. The defaults are those of the configuration."""

    thresholds: tuple[float, float]
    """Probability above which a peak is a pick, for P and for S."""
    hop: int
    model: str
    model_sha256: str
    lookahead: int = samples_from_s(PickerConfig().lookahead_s)
    blinding: int = samples_from_s(PickerConfig().settle_s)
    separation: int = samples_from_s(PickerConfig().min_separation_s)
    calibration: Calibration = NO_CALIBRATION
    vertical_thresholds: tuple[float, float] | None = None
    """The same where both horizontals are missing; None: no others."""
    late: int = 0
    """Samples by which a component may come after the others."""

    def threshold(self, phase: int, components: str) -> float:
        """Threshold of a phase, by its index, in a window with these components."""
        if self.vertical_thresholds is not None and components.endswith(NO_HORIZONTALS):
            return self.vertical_thresholds[phase]
        return self.thresholds[phase]


Annotate = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Windows ``(n, 3, length)`` -> probabilities of P and S ``(n, 2, length)``; :meth:`xiaod.inference.Engine.annotate`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An onset that was noticed."""

    window: Window
    phase: int
    """Index into :data:`PHASES`."""
    peak: int
    """Sample of the window."""
    probability: float
    """With which it was noticed."""


class _Merger:
    """Weighted average of one revision's windows over their last ``span`` samples."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._sum = np.zeros((len(PHASES), 0), np.float32)
        self._weight = np.zeros(0, np.float32)
        self._index = 0

    def add(self, probabilities: Probabilities, weight: NDArray[np.float32]) -> NDArray[np.floating]:
        """Add a window; the average at the last of its samples, shape ``(2, m)``, zero where nothing has weight.

        ``m`` is the span, or the length of the window when that is discontinuous or no longer than the span.
        """
        window, values = probabilities.window, probabilities.values
        step = window.index - self._index
        self._index = window.index
        tail = weight[-self._span :]
        added = tail * values[:, -self._span :]
        if window.discontinuous or added.shape != self._sum.shape or not 0 < step < self._span:
            self._sum, self._weight = added, tail.copy()
            return np.where(weight > 0, values, np.float32(0))
        self._sum[:, :-step] = self._sum[:, step:]
        self._sum[:, -step:] = 0
        self._weight[:-step] = self._weight[step:]
        self._weight[-step:] = 0
        self._sum += added
        self._weight += tail
        return self._sum / np.maximum(self._weight, np.float32(1e-9))


class InstrumentPicker:
    """Picks of one instrument."""

    def __init__(self, settings: PickerSettings, known: Sequence[Pick] = ()) -> None:
        """Begin.

        Args:
            settings: how picks are made.
            known: picks of an earlier run, which are not made again.
        """
        self._settings = settings
        span = _span(settings)
        self._revisions = (_Merger(span), _Merger(span))
        self._recent = RecentPicks(known, settings.late)
        self._weights: dict[int, NDArray[np.float32]] = {}
        self.views = (PhaseView(), PhaseView())
        """What was seen of P and of S."""
        self.curve: NDArray[np.floating] = np.zeros((len(PHASES), 0), np.float32)
        """The average at the last samples of the last window, shape ``(2, m)``."""

    def reconfigure(self, settings: PickerSettings) -> None:
        """Use other settings from the next window on."""
        if settings == self._settings:
            return
        span = _span(settings)
        if span != _span(self._settings):
            self._revisions = (_Merger(span), _Merger(span))
        self._settings = settings
        self._weights = {}

    def notice(self, probabilities: Probabilities) -> list[Candidate]:
        """Onsets that this window shows and that have to be confirmed, in order of time."""
        window = probabilities.window
        settings = self._settings
        length = window.samples.shape[1]
        if (weight := self._weights.get(length)) is None:
            weight = self._weights[length] = window_weight(length, settings)
        merged = self.curve = self._revisions[window.revision].add(probabilities, weight)
        left_out = length - merged.shape[1]
        stop = length - settings.lookahead + 1
        if window.until is not None:
            # An onset on the border may be seen on one side by this window, and on the other by the next.
            stop = min(stop, window.until - window.index + settings.blinding + REACH)
        start = max(stop - settings.hop - samples_from_s(LATE_NOTICE_S), settings.blinding, left_out)
        if window.discontinuous:
            start = settings.blinding
        stop = max(start, stop)
        components = live_components(window.components, window.samples)
        found = []
        for phase, curve in enumerate(merged):
            needed = settings.threshold(phase, components)
            threshold = NOTICE * needed
            highest = float(curve[start - left_out : stop - left_out].max(initial=0.0))
            self.views[phase].saw(window.stop, needed, highest)
            if highest < threshold:
                continue
            peaks, _ = find_peaks(curve, height=threshold, distance=settings.separation)
            for peak in peaks.tolist():
                if not start <= peak + left_out < stop:
                    continue
                index = window.index + peak + left_out
                if self._is_picked(phase, index):
                    if not self._is_picked(phase, index, REACH):
                        self.views[phase].decided(OnsetOutcome.DUPLICATE, index, float(curve[peak]))
                    continue
                found.append(Candidate(window, phase, peak + left_out, float(curve[peak])))
        return sorted(found, key=lambda candidate: candidate.peak)

    def confirm(self, candidate: Candidate, annotate: Annotate) -> Pick | None:
        """Compute an onset again, in windows placed by the onset; the pick, or None when it is none."""
        settings = self._settings
        window, phase = candidate.window, candidate.phase
        length = window.samples.shape[1]
        held = window.samples
        if window.history is not None and window.history.shape[1]:
            held = np.concatenate([window.history, window.samples], axis=1)
        before = held.shape[1] - length
        peak = candidate.peak + before
        # Whole hops of data beyond the lookahead, the same whatever the grid; the peak may still move.
        more = (held.shape[1] - peak - settings.lookahead - REACH // 2) // settings.hop * settings.hop
        curve = np.zeros(0)
        for _ in range(ROUNDS):
            last = min(peak + settings.lookahead + max(more, 0), held.shape[1]) - length
            starts = sorted({max(0, last - shift) for shift in SHIFTS})
            curve = _average(held, starts, length, annotate, phase)
            low = max(0, peak - REACH)
            moved = low + int(curve[low : peak + REACH + 1].argmax())
            steady = abs(moved - peak) <= STEADY
            peak = moved
            if steady:
                break
        index = window.index + peak - before
        outcome = self._outcome(candidate, float(curve[peak]), index, peak - before)
        self.views[phase].decided(outcome, index, float(curve[peak]), candidate.probability)
        if outcome is not OnsetOutcome.PICKED:
            return None
        self._recent.add(phase, index)
        return measure(
            window,
            held,
            PHASES[phase],
            curve,
            peak,
            before,
            settings.model,
            settings.model_sha256,
            settings.calibration,
        )

    def _outcome(self, candidate: Candidate, probability: float, index: int, sample: int) -> OnsetOutcome:
        settings, window, phase = self._settings, candidate.window, candidate.phase
        components = live_components(window.components, window.samples)
        if probability < settings.threshold(phase, components):
            return OnsetOutcome.BELOW
        if self._is_picked(phase, index):
            return OnsetOutcome.DUPLICATE
        if window.discontinuous and sample < settings.blinding:
            return OnsetOutcome.BLINDED
        return OnsetOutcome.PICKED

    def _is_picked(self, phase: int, index: int, within: int | None = None) -> bool:
        return self._recent.holds(phase, index, self._settings.separation if within is None else within)


def _span(settings: PickerSettings) -> int:
    """Samples that are searched, and as many before them as decide which of two peaks counts."""
    return settings.lookahead + settings.hop + samples_from_s(LATE_NOTICE_S) + settings.separation


def _average(
    held: NDArray[np.float32], starts: Sequence[int], length: int, annotate: Annotate, phase: int
) -> NDArray[np.float64]:
    """Mean probability of one phase over windows, at every sample of ``held``; zero where there is no window."""
    values = annotate(np.stack([held[:, start : start + length] for start in starts]))
    total, weight = np.zeros(held.shape[1]), np.zeros(held.shape[1])
    for start, value in zip(starts, values, strict=True):
        total[start : start + length] += value[phase]
        weight[start : start + length] += 1
    return total / np.maximum(weight, 1)


def window_weight(length: int, settings: PickerSettings) -> NDArray[np.float32]:
    """Weight of a window at each of its samples, by how much data follows the sample."""
    after = np.arange(length, 0, -1) - 1
    least = min(samples_from_s(LEAST_AFTER_S), settings.lookahead // 2)
    full = settings.lookahead + settings.hop
    return np.clip((after - least + 1) / (full - least), 0.0, 1.0).astype(np.float32)

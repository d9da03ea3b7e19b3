"""Probabilities of windows become picks of one stage: one for each onset, with a time between samples.

A picker never changes a pick that it has made. What is revised or withdrawn are early picks, by what the picker of final ones makes of the
same onset: see :class:`xiaod.pipeline.pick_stage.PickStage`.

**Notice** (:meth:`InstrumentPicker.notice`). Each window is searched for peaks of at least :data:`NOTICE` times the threshold, with at
least ``lookahead_s`` of data after them. Such a peak is a :class:`Candidate`. One that needs more data is found in later windows, up to
:data:`LATE_NOTICE_S` later. A peak is the highest point within ``min_separation_s``.

**Confirm** (:func:`compute_again`, :meth:`InstrumentPicker.confirm`). Where a window begins relative to an onset changes the output of a
network with strides, by some tens of milliseconds and hundredths of probability. So each candidate is computed again in windows placed by
its peak, not by the grid: in four, or two for an early pick, and in as many more if their average is close to the threshold; the result is
an :class:`Onset`. The last of these windows ends ``lookahead_s`` (or whole hops more) after the peak. If their average reaches the
threshold, the onset is a pick; it is then made with ``lookahead_s`` to ``lookahead_s`` plus a hop of data after it, if the network is sure
by then. Another peak of the same phase closer than ``min_separation_s`` to a pick is the same onset, and gives no pick. The candidates of
a batch are computed together.

:mod:`xiaod.picking.measure` measures time, uncertainty and strength of the onset.

>>> import numpy as np
>>> from xiaod.domain.types import Instrument, Window
>>> def annotate(windows):
...     peak = 600.25 - windows[:, 0, :1]  # these samples hold their own index
...     curve = 0.9 * np.exp(-0.5 * ((np.arange(1000) - peak) / 10) ** 2)
...     return np.stack([curve, 0 * curve], axis=1)
>>> samples = np.tile(np.arange(1000, dtype=np.float32), (3, 1))
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE", discontinuous=True)
>>> settings = PickerSettings(thresholds=(0.3, 0.3), hop=50, model="example-1.0.0", model_sha256="0" * 64)
>>> picker = InstrumentPicker(settings)
>>> candidates = picker.notice(Probabilities(window, annotate(samples[None])[0]))
>>> [onset] = compute_again(candidates, annotate)
>>> pick = picker.confirm(onset)
>>> pick.id, pick.phase, abs(pick.time_ns - 6_002_500_000) < 200_000
('19700101.000006.00-P-XX.A..HH-example-1.0.0', 'P', True)
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from xiaod.config import PickerConfig
from xiaod.domain.components import MISSING, moving_components
from xiaod.domain.onsets import CENTROID_S, CONFIRM_SHIFT, PHASES, sample_of
from xiaod.domain.timegrid import samples_from_s
from xiaod.domain.types import Pick, Probabilities, Stage, Window
from xiaod.picking.diagnosis import OnsetOutcome, PhaseView
from xiaod.picking.measure import NO_CALIBRATION, measure
from xiaod.picking.peaks import find_peaks
from xiaod.picking.recent_picks import RecentPicks

LATE_NOTICE_S = 2.0
"""How long after the first window that can show it an onset may still be noticed."""
NOTICE = 0.7
"""Part of the threshold at which an onset is noticed: whether it is confirmed must not depend on where the grid lies."""
SHIFTS: Mapping[Stage, tuple[int, ...]] = {"final": (0, 7, 10, 13), "early": (0, 10)}
"""Samples by which the windows that confirm are shifted: every offset of a stride of four once, spread over four strides; for early picks,
which hundreds of stations may want at once and final ones revise, every other one."""
MORE_SHIFTS: Mapping[Stage, tuple[int, ...]] = {"final": (2, 5, 8, CONFIRM_SHIFT), "early": (7, 13)}
"""Others, between those: where a decision is close."""
CLOSE = 0.1
"""A decision is close if the probability is so near the threshold, or nearer."""
STEADY = 2
"""Samples by which the onset may move in those windows and count as found."""
ROUNDS = 2
"""How often the windows are placed anew by the onset that they show."""
REACH = 30
"""Samples by which the onset may move when it is confirmed."""
READ_STEP = samples_from_s(1.0)
"""Onsets are computed again together when the ends that they need are alike. How is chosen by each alone: a network that computes the end
of a window may give other last digits than for the whole."""
MOST_WINDOWS = 32
"""Windows of one call when onsets are computed again: what a call works on should stay in the cache of the processor."""
AT_THE_END = samples_from_s(0.5)
"""Where data end, at a gap, an onset is picked with so many samples after it, at least."""
NO_HORIZONTALS = 2 * MISSING
"""How the components of a window end that has no horizontals."""


@dataclass(frozen=True, slots=True)
class PickerSettings:
    """How picks are made at one instrument; samples are those of the 100 Hz grid. The defaults are those of the configuration."""

    thresholds: tuple[float, float]
    """Probability from which a peak is a pick, for P and for S."""
    hop: int
    """Between two windows."""
    model: str
    model_sha256: str
    lookahead: int = samples_from_s(PickerConfig().final_lookahead_s)
    settle: int = samples_from_s(PickerConfig().settle_s)
    separation: int = samples_from_s(PickerConfig().min_separation_s)
    calibration: Calibration = NO_CALIBRATION
    vertical_thresholds: tuple[float, float] | None = None
    """The same where both horizontals are missing; None: no others."""
    late: int = 0
    """Samples by which a component may come after the others."""
    stage: Stage = "final"

    def threshold(self, phase: int, components: str) -> float:
        """Threshold of a phase, by its index, in a window with these components."""
        if self.vertical_thresholds is not None and components.endswith(NO_HORIZONTALS):
            return self.vertical_thresholds[phase]
        return self.thresholds[phase]


Annotate = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Windows ``(n, 3, length)`` -> probabilities of P and S ``(n, 2, length)``; :meth:`xiaod.inference.Engine.annotate`."""


class AnnotateEnd(Protocol):
    """The same for the last samples of windows, at least ``read``; :meth:`xiaod.inference.Engine.annotate_end`."""

    def __call__(self, samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        """Windows ``(n, 3, length)`` -> probabilities of P and S ``(n, 2, m)``."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peak that was noticed in a window on the grid: to be computed again."""

    window: Window
    phase: int
    """Index into :data:`PHASES`."""
    peak: int
    """Sample of the window."""
    probability: float
    """Of the peak, when it was noticed."""
    lookahead: int
    """Samples after the peak, at least, in the windows in which it is computed again."""
    hop: int
    threshold: float
    """Probability that it must reach then."""

    @property
    def before(self) -> int:
        """Samples before the window that are known."""
        return 0 if self.window.history is None else int(self.window.history.shape[1])

    @property
    def after(self) -> int:
        """Samples after the peak in the last of these windows: ``lookahead`` and whole hops, the same whatever the grid."""
        # The peak may still move.
        spare = int(self.window.samples.shape[1]) - self.peak - self.lookahead - REACH // 2
        return self.lookahead + max(0, spare // self.hop * self.hop)

    @property
    def read(self) -> int:
        """Samples at the end of these windows of which the probabilities are needed, at least: a multiple of :data:`READ_STEP`."""
        # A window does not begin before the first sample.
        after = max(self.after, int(self.window.samples.shape[1]) - self.before - self.peak)
        needed = after + ROUNDS * REACH + samples_from_s(CENTROID_S) + 1
        return -(-needed // READ_STEP) * READ_STEP


@dataclass(frozen=True, slots=True)
class Onset:
    """A candidate that was computed again in windows placed by its peak: a pick, if it reaches the threshold."""

    candidate: Candidate
    peak: int
    """Sample of the window; negative before its first sample."""
    samples: NDArray[np.float32]
    """Samples before the window and in it, shape ``(3, n)``."""
    curve: NDArray[np.float64]
    """Probability of the phase at each of these, shape ``(n,)``."""

    @property
    def before(self) -> int:
        """How many of the samples lie before the window."""
        return int(self.samples.shape[1] - self.candidate.window.samples.shape[1])

    @property
    def probability(self) -> float:
        """What is compared with the threshold."""
        return float(self.curve[self.peak + self.before])


class InstrumentPicker:
    """Picks of one instrument."""

    def __init__(self, settings: PickerSettings, known: Sequence[Pick] = ()) -> None:
        """Begin.

        Args:
            settings: how picks are made.
            known: picks of an earlier run, which are not made again.
        """
        self._settings = settings
        self._recent = RecentPicks(known, settings.late)
        self.views = (PhaseView(), PhaseView())
        """What was seen of P and of S."""

    def reconfigure(self, settings: PickerSettings) -> None:
        """Use other settings from the next window on."""
        self._settings = settings

    def notice(self, probabilities: Probabilities) -> list[Candidate]:
        """Candidates that this window shows, in order of time."""
        window, settings = probabilities.window, self._settings
        values = probabilities.values
        start, stop = _searched(window, settings)
        components = moving_components(window.components, window.samples)
        highest = [_highest(curve[start:stop]) for curve in values]
        found = []
        for phase, curve in enumerate(values):
            needed = settings.threshold(phase, components)
            self.views[phase].saw(window.stop, needed, highest[phase])
            if highest[phase] < NOTICE * needed:
                continue
            for peak in find_peaks(curve, NOTICE * needed, settings.separation):
                if not start <= peak < stop:
                    continue
                if self._is_picked(phase, window.index + peak):
                    self._see_refractory(phase, window.index + peak, float(curve[peak]))
                    continue
                found.append(
                    Candidate(
                        window, phase, peak, float(curve[peak]), settings.lookahead, settings.hop, needed
                    )
                )
        return sorted(found, key=lambda candidate: candidate.peak)

    def confirm(self, onset: Onset) -> Pick | None:
        """The pick that an onset becomes, or None when it becomes none."""
        settings, candidate = self._settings, onset.candidate
        window, phase = candidate.window, candidate.phase
        index = window.index + onset.peak
        outcome = self._outcome(onset, index)
        if outcome is OnsetOutcome.REFRACTORY:
            self._see_refractory(phase, index, onset.probability)
            return None
        view = self.views[phase]
        if outcome is not OnsetOutcome.PICKED:
            view.decided(outcome, index, onset.probability, candidate.probability)
            return None
        self._recent.add(phase, index)
        pick = measure(
            window,
            onset.samples,
            PHASES[phase],
            onset.curve,
            onset.peak + onset.before,
            onset.before,
            settings.model,
            settings.model_sha256,
            settings.calibration,
            settings.stage,
        )
        view.decided(outcome, index, onset.probability, candidate.probability, pick.time_ns)
        return pick

    def searched_until(self, window: Window) -> int:
        """Grid index up to which no pick will be made any more, once a window and those before it are done."""
        stop = _searched(window, self._settings)[1]
        return window.index + stop - samples_from_s(LATE_NOTICE_S)

    def holds(self, pick: Pick) -> bool:
        """Whether a pick of this stage is at the onset of another one."""
        return self._is_picked(PHASES.index(pick.phase), sample_of(pick))

    def _outcome(self, onset: Onset, index: int) -> OnsetOutcome:
        settings, window, phase = self._settings, onset.candidate.window, onset.candidate.phase
        components = moving_components(window.components, window.samples)
        if onset.probability < settings.threshold(phase, components):
            return OnsetOutcome.BELOW
        if self._is_picked(phase, index):
            return OnsetOutcome.REFRACTORY
        if window.discontinuous and onset.peak < settings.settle:
            return OnsetOutcome.SETTLING
        return OnsetOutcome.PICKED

    def _see_refractory(self, phase: int, index: int, probability: float) -> None:
        """Note an onset beside a pick; the pick itself is seen again in the next windows, and that is no news."""
        if not self._is_picked(phase, index, REACH):
            self.views[phase].decided(OnsetOutcome.REFRACTORY, index, probability)

    def _is_picked(self, phase: int, index: int, within: int | None = None) -> bool:
        return self._recent.holds(phase, index, self._settings.separation if within is None else within)


def compute_again(
    candidates: Sequence[Candidate], annotate: Annotate, annotate_end: AnnotateEnd | None = None
) -> list[Onset]:
    """Compute candidates again, all together, in windows placed by their peaks.

    Args:
        candidates: of any instruments.
        annotate: the network.
        annotate_end: the same for the end of windows, which costs less; None: there is none.

    Returns:
        The onsets in the same order.
    """
    if annotate_end is None:
        return _compute_alike(candidates, annotate)
    onsets: dict[int, Onset] = {}
    for read in sorted({one.read for one in candidates}):
        numbers = [number for number, one in enumerate(candidates) if one.read == read]
        alike = [candidates[number] for number in numbers]
        onsets |= zip(numbers, _compute_alike(alike, partial(annotate_end, read=read)), strict=True)
    return [onsets[number] for number in range(len(candidates))]


def _compute_alike(candidates: Sequence[Candidate], annotate: Annotate) -> list[Onset]:
    found: dict[int, Onset] = {}
    computing = {number: _computing(one) for number, one in enumerate(candidates)}
    wanted = {number: next(one) for number, one in computing.items()}
    while wanted:
        windows = np.concatenate(list(wanted.values()))
        values = np.concatenate(
            [
                annotate(windows[begin : begin + MOST_WINDOWS])
                for begin in range(0, len(windows), MOST_WINDOWS)
            ]
        )
        begin, wanted_next = 0, {}
        for number, own in wanted.items():
            begin, end = begin + len(own), begin
            try:
                wanted_next[number] = computing[number].send(values[end:begin])
            except StopIteration as stopped:
                found[number] = stopped.value
        wanted = wanted_next
    return [found[number] for number in range(len(candidates))]


_Placing = Generator[NDArray[np.float32], NDArray[np.float32], list[tuple[int, NDArray[np.float32]]]]
"""Yields windows, is sent the probabilities at their ends, and returns where each begins and what it is."""


def _computing(candidate: Candidate) -> Generator[NDArray[np.float32], NDArray[np.float32], Onset]:
    """Yields windows, is sent the probabilities at their ends, and returns the onset."""
    window, before, after = candidate.window, candidate.before, candidate.after
    length = window.samples.shape[1]
    samples = window.samples
    if window.history is not None and before:
        samples = np.concatenate([window.history, window.samples], axis=1)
    peak = candidate.peak + before

    def placed(last: int, shifts: Sequence[int]) -> _Placing:
        starts = sorted({max(0, last - shift) for shift in shifts})
        values = yield np.stack([samples[:, start : start + length] for start in starts])
        known = values.shape[2]
        return [
            (start + length - known, value)
            for start, value in zip(starts, values[:, candidate.phase], strict=True)
        ]

    def highest(curve: NDArray[np.float64]) -> int:
        low = max(0, peak - REACH)
        return low + int(curve[low : peak + REACH + 1].argmax())

    for left in reversed(range(ROUNDS)):
        last = min(peak + after, samples.shape[1]) - length
        found = yield from placed(last, SHIFTS[window.stage])
        curve = _average(found, samples.shape[1])
        moved = highest(curve)
        if not left or abs(moved - peak) <= STEADY:
            if abs(curve[moved] - candidate.threshold) <= CLOSE:
                found += yield from placed(last, MORE_SHIFTS[window.stage])
                curve = _average(found, samples.shape[1])
                moved = highest(curve)
            peak = moved
            break
        peak = moved
    return Onset(candidate, peak - before, samples, curve)


def _average(found: Sequence[tuple[int, NDArray[np.float32]]], samples: int) -> NDArray[np.float64]:
    """Mean of probabilities that begin at a sample, at every one of so many samples; zero where there is none."""
    total, weight = np.zeros(samples), np.zeros(samples)
    for start, value in found:
        total[start : start + len(value)] += value
        weight[start : start + len(value)] += 1
    return total / np.maximum(weight, 1)


def _highest(curve: NDArray[np.float32]) -> float:
    # The place of the highest value is found in a tenth of the time that the value takes.
    return float(curve.item(curve.argmax())) if len(curve) else 0.0


def _searched(window: Window, settings: PickerSettings) -> tuple[int, int]:
    """Samples of a window, from and to, that are searched for onsets."""
    length = window.samples.shape[1]
    # An onset on the border may be seen on one side by this window, and on the other by the next.
    most = length if window.until is None else window.until - window.index + settings.settle + REACH
    stop = min(length - settings.lookahead + 1, most)
    start = settings.settle
    if not window.discontinuous:
        start = max(start, stop - settings.hop - samples_from_s(LATE_NOTICE_S))
    if window.ends:
        # No more data will come.
        stop = max(stop, min(length - AT_THE_END + 1, most))
    return start, max(start, stop)

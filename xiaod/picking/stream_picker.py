"""Probabilities of a stateful engine become picks: they are final, so each sample is searched once.

An onset is a sample whose probability reaches the threshold and is the highest within :data:`PEAK_S` on both sides. It is picked
as soon as these are known. Another one of the same phase less than ``min_separation_s`` after it is the same onset. The picks do
not depend on how the data were cut into windows.

>>> import numpy as np
>>> from xiaod.domain.types import Instrument, Probabilities, Window
>>> from xiaod.picking.picker import PickerSettings
>>> picker = StreamPicker(PickerSettings(thresholds=(0.3, 0.3), hop=50, model="example-1.0.0", model_sha256=""))
>>> curve = 0.9 * np.exp(-0.5 * ((np.arange(1000) - 600.25) / 10) ** 2)
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, np.ones((3, 1000), np.float32), "ZNE", discontinuous=True)
>>> [pick] = picker.pick(Probabilities(window, np.stack([curve, 0 * curve]), valid=(0, 900)))
>>> pick.phase, round(pick.time_ns / 1e9, 3)
('P', 6.002)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from xiaod.domain.components import moving_components
from xiaod.domain.onsets import CENTROID_S, PHASES
from xiaod.domain.timegrid import samples_from_s
from xiaod.domain.types import Pick, Probabilities
from xiaod.picking.diagnosis import OnsetOutcome, PhaseView
from xiaod.picking.measure import NOISE_S, measure
from xiaod.picking.picker import PickerSettings
from xiaod.picking.recent_picks import RecentPicks

PEAK_S = CENTROID_S
"""Probabilities on both sides of a peak that must be known and lower; the centroid needs as much."""

MEASURED_S = NOISE_S[0] - NOISE_S[1]
"""Data before an onset that the measurement of its strength needs at least."""


def stream_window(delay: int, chunk: int, hop: int) -> int:
    """Samples that a window must have, so that an onset that becomes certain with it lies in it, with the noise before.

    >>> stream_window(delay=72, chunk=48, hop=50)
    490
    """
    return delay + chunk + hop + 2 * samples_from_s(PEAK_S) + samples_from_s(MEASURED_S)


class StreamPicker:
    """Picks of one instrument."""

    def __init__(self, settings: PickerSettings, known: Sequence[Pick] = ()) -> None:
        """Begin, see :class:`xiaod.picking.picker.InstrumentPicker`."""
        self._settings = settings
        self._reach = samples_from_s(PEAK_S)
        self._next: dict[int, int] = {}
        self._recent = RecentPicks(known, settings.late)
        self.views = (PhaseView(), PhaseView())
        """What was seen of P and of S."""

    def reconfigure(self, settings: PickerSettings) -> None:
        """Use other settings from the next window on."""
        self._settings = settings

    def pick(self, probabilities: Probabilities) -> list[Pick]:
        """Picks of the samples that have become final, in order of time."""
        window, settings = probabilities.window, self._settings
        first, stop = probabilities.valid or (0, window.samples.shape[1])
        final = stop - self._reach
        if window.until is not None:
            # The stream of the other window may begin somewhat after its first sample.
            final = min(final, window.until - window.index + settings.settle + settings.separation)
        # Where a stream begins nothing is picked yet; a window in the middle of one goes on where the last one ended.
        start = first + settings.settle if first > 0 or window.discontinuous else 0
        if (next_index := self._next.get(window.revision)) is not None and next_index < window.stop:
            start = max(start, next_index - window.index)
        if final <= start:
            return []
        self._next[window.revision] = window.index + final
        components = moving_components(window.components, window.samples)
        found = []
        for phase, curve in enumerate(probabilities.values):
            threshold = settings.threshold(phase, components)
            highest = float(curve[max(start, 0) : final].max(initial=0.0))
            self.views[phase].saw(window.stop, threshold, highest)
            if highest >= threshold:
                found += [(peak, phase) for peak in self._peaks(curve, threshold, max(start, 0), final, stop)]
        picks = []
        for peak, phase in sorted(found):
            index, probability = window.index + peak, float(probabilities.values[phase][peak])
            new = self._is_new(phase, index)
            self.views[phase].decided(
                OnsetOutcome.PICKED if new else OnsetOutcome.REFRACTORY, index, probability
            )
            if new:
                picks.append(
                    measure(
                        window,
                        window.samples,
                        PHASES[phase],
                        probabilities.values[phase][:stop],
                        peak,
                        0,
                        settings.model,
                        settings.model_sha256,
                        settings.calibration,
                    )
                )
        return picks

    def _peaks(
        self, curve: NDArray[np.float32], threshold: float, start: int, final: int, stop: int
    ) -> list[int]:
        part = curve[start:final]
        low = max(0, start - self._reach)
        highest = maximum_filter1d(curve[low:stop], 2 * self._reach + 1, mode="constant")[
            start - low : final - low
        ]
        peaks = np.flatnonzero((part == highest) & (part >= threshold)) + start
        return [int(peak) for peak in peaks]

    def _is_new(self, phase: int, index: int) -> bool:
        """Whether no pick of the phase is near; if so, it is remembered."""
        if self._recent.holds(phase, index, self._settings.separation):
            return False
        self._recent.add(phase, index)
        return True

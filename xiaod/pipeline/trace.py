"""The last minute of one instrument for the status page: samples, and the highest probability in each bin of 40 ms.

Windows overlap, so only new samples are folded in. Without a viewer that happens every :data:`FOLD_S`, as later windows and averages still
hold the samples. With one, samples of a stream run ahead of the windows, which bring the probabilities later. Memory is
:data:`TRACE_BYTES` for any instrument. Bins lie on the absolute grid: bin ``k`` begins at ``k * 40 ms`` since 1970. Bins without data are
not a number. A viewer gets the lowest and highest sample of each bin, raw and in the band of onsets (:mod:`xiaod.picking.band`), for whose
filter some seconds more than the minute are held.

>>> from xiaod.domain.types import Instrument
>>> samples = np.tile(np.arange(2000, dtype=np.float32), (3, 1))
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "Z--", discontinuous=True)
>>> trace = Trace()
>>> trace.fold(window, np.zeros((2, 2000), np.float32), at_once=True)
0
>>> part = trace.part(first=498)
>>> part.low[0].tolist(), part.high[0].tolist(), bool(np.isnan(part.low[1]).all()), part.probabilities[0].tolist()
([1992.0, 1996.0], [1995.0, 1999.0], True, [0.0, 0.0])
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.components import MISSING, ROWS
from xiaod.domain.figure import Waveforms
from xiaod.domain.timegrid import BEFORE_ALL, samples_from_s
from xiaod.domain.types import Stage, Window
from xiaod.picking.band import RUN_IN, band_passed

BIN = 4
"""Samples of the grid in a bin."""
SPAN_S = 60.0
BINS = samples_from_s(SPAN_S) // BIN
FOLD_S = 2.0
"""A trace without a viewer is updated after so many seconds of data; a picker averages over a little more."""
REVISED_S = 1.5
"""The last probabilities change with the windows that follow: so many seconds are written again."""
FOLD_BINS, REVISED_BINS = samples_from_s(FOLD_S) // BIN, samples_from_s(REVISED_S) // BIN
PHASE_ROWS = 2
RUN_IN_BINS = -(-RUN_IN // BIN)
HELD = (BINS + RUN_IN_BINS) * BIN
"""Samples that are held."""
EMPTY = np.full((ROWS, HELD), np.nan, np.float32)
TRACE_BYTES = (ROWS * HELD + PHASE_ROWS * BINS) * 4

Bringer = Stage | Literal["stream"]
"""What a window is cut for: picks of a stage, or a net that follows the stream."""


class Trace:
    """Bins of the last minute in a ring."""

    def __init__(self) -> None:
        self._samples = np.full((ROWS, HELD), np.nan, np.float32)
        self._curves = np.full((PHASE_ROWS, BINS), np.nan, np.float32)
        self._folded: dict[tuple[Bringer, int], int] = {}
        """Bin after the last that windows of a kind and revision have brought."""
        self.stop = 0
        """Bin after the newest; without meaning while there is none."""
        self.components = MISSING * ROWS

    def fold(
        self, window: Window, curve: NDArray[np.floating], at_once: bool, stage: Bringer = "final"
    ) -> int | None:
        """Take the new samples and probabilities of a window.

        Args:
            window: of this instrument, in order of time for each stage and revision.
            curve: probability of P and S at the last samples of the window, shape ``(2, m)``; nothing is known of a stream: ``(2, 0)``.
            at_once: fold now, even if it is less than :data:`FOLD_S`.
            stage: of the picks that are made of the window, or that it is a piece of a stream. One that is not for final picks may come
                before or after one for final picks that ends earlier; it is of use to a viewer only, and changes nothing that a window
                for final picks has said.

        Returns:
            the first bin that has changed; None when nothing has.
        """
        if stage != "final" and not at_once:
            return None
        key, begin, stop = (stage, window.revision), -(-window.index // BIN), window.stop // BIN
        told = self._folded.get(("final", window.revision), BEFORE_ALL)
        set_back = self._folded.get(key, BEFORE_ALL) > stop
        anew = set_back or (window.discontinuous and stage == "final")
        oldest = (stop if set_back else max(stop, self.stop)) - BINS
        first = max(begin if anew else max(begin, told), oldest)
        if first >= stop or not (at_once or window.discontinuous or stop - first >= FOLD_BINS):
            return None
        if window.revision == 0:
            self.components = window.components
            self._make_room(first, stop, set_back)
        elif stop <= self.stop - BINS or stop > self.stop:
            return None
        self._folded[key] = stop
        length = int(curve.shape[1])
        again = first - REVISED_BINS if stage == "final" else first
        revised = max(again, -(-(window.stop - length) // BIN), oldest)
        block = window.samples[:, first * BIN - window.index : stop * BIN - window.index]
        if MISSING in window.components:
            present = np.array([letter != MISSING for letter in window.components])
            block = np.where(present[:, None], block, np.float32(np.nan))
        _put(self._samples, first * BIN, block)
        at = revised * BIN - (window.stop - length)
        known = curve[:, at : at + (stop - revised) * BIN]
        _put(self._curves, revised, np.maximum.reduce(_parts(known)))
        return max(min(first, revised), oldest)

    def part(self, first: int | None = None, band: bool = False) -> Waveforms:
        """Bins from ``first`` on; None: from the oldest with data. Samples are raw, or those in the band of onsets."""
        start = self._oldest if first is None else max(first, self.stop - BINS)
        earlier = RUN_IN_BINS if band else 0
        held = self._held(start - earlier)
        parts = _parts(band_passed(held)[:, earlier * BIN :] if band else held)
        return Waveforms(
            start,
            BIN,
            np.minimum.reduce(parts),
            np.maximum.reduce(parts),
            self._curves[:, np.arange(start, self.stop) % BINS],
            self.components,
        )

    def _held(self, first: int) -> NDArray[np.float32]:
        """Samples from a bin on."""
        return self._samples[:, np.arange(first * BIN, self.stop * BIN) % HELD]

    @property
    def _oldest(self) -> int:
        """The oldest bin of the last minute with data."""
        samples = np.isfinite(self._held(self.stop - BINS)).any(axis=0)
        curves = np.isfinite(self._curves[:, np.arange(self.stop - BINS, self.stop) % BINS]).any(axis=0)
        known = samples.reshape(BINS, BIN).any(axis=1) | curves
        return self.stop - BINS + int(known.argmax()) if known.any() else self.stop

    def _make_room(self, first: int, stop: int, set_back: bool) -> None:
        """Make ``stop`` the newest bin, if it is; new bins are empty, and those that are left out remain so: a gap."""
        if set_back or first - self.stop >= BINS:
            # Set back, or more than a minute later: the old bins are of no use.
            self._samples[:] = self._curves[:] = np.nan
            self._folded.clear()
            self.stop = stop
        elif stop > self.stop:
            _put(self._samples, self.stop * BIN, EMPTY[:, : (stop - self.stop) * BIN])
            _put(self._curves, self.stop, EMPTY[:PHASE_ROWS, : min(stop - self.stop, BINS)])
            self.stop = stop


def _put(ring: NDArray[np.floating], first: int, values: NDArray[np.floating]) -> None:
    """Write columns into a ring, in two parts at its end."""
    length, count = ring.shape[1], values.shape[1]
    begin = first % length
    until_end = min(count, length - begin)
    ring[:, begin : begin + until_end] = values[:, :until_end]
    if until_end < count:
        ring[:, : count - until_end] = values[:, until_end:]


def _parts(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """First samples of all bins, then second ones, and so on, shape ``(BIN, rows, n)``: extremes along a short last axis are slow."""
    rows, samples = values.shape
    return np.ascontiguousarray(values.reshape(rows, samples // BIN, BIN).transpose(2, 0, 1))

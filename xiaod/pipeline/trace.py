"""The last minute of one instrument for the status page: lowest and highest sample and highest probability in each bin of 40 ms.

Windows overlap, so only new samples are folded in. Without a viewer that happens every :data:`FOLD_S`, as later windows and averages still
hold the samples. With one, samples of a stream run ahead of the windows, which bring the probabilities later. Memory is
:data:`TRACE_BYTES` for any instrument. Bins lie on the absolute grid: bin ``k`` begins at ``k * 40 ms`` since 1970. Bins without data are
not a number.

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
LOW, HIGH, SAMPLES = slice(0, ROWS), slice(ROWS, 2 * ROWS), slice(0, 2 * ROWS)
CURVES = slice(2 * ROWS, 2 * ROWS + PHASE_ROWS)
"""Their rows in the ring."""
TRACE_BYTES = (2 * ROWS + PHASE_ROWS) * BINS * 4

Bringer = Stage | Literal["stream"]
"""What a window is cut for: picks of a stage, or a net that follows the stream."""


class Trace:
    """Bins of the last minute in a ring."""

    def __init__(self) -> None:
        self._rows = np.full((2 * ROWS + PHASE_ROWS, BINS), np.nan, np.float32)
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
        parts = _parts(block)
        binned = np.concatenate((np.minimum.reduce(parts), np.maximum.reduce(parts)))
        if MISSING in window.components:
            for row, letter in enumerate(window.components):
                if letter == MISSING:
                    binned[[row, ROWS + row]] = np.nan
        self._put(SAMPLES, first, binned)
        at = revised * BIN - (window.stop - length)
        known = curve[:, at : at + (stop - revised) * BIN]
        self._put(CURVES, revised, np.maximum.reduce(_parts(known)))
        return max(min(first, revised), oldest)

    def part(self, first: int | None = None) -> Waveforms:
        """Bins from ``first`` on; None: from the oldest with data."""
        start = self._oldest if first is None else max(first, self.stop - BINS)
        rows = self._rows[:, np.arange(start, self.stop) % BINS]
        return Waveforms(start, BIN, rows[LOW], rows[HIGH], rows[CURVES], self.components)

    @property
    def _oldest(self) -> int:
        held = self._rows[:, np.arange(self.stop - BINS, self.stop) % BINS]
        known = np.isfinite(held).any(axis=0)
        return self.stop - BINS + int(known.argmax()) if known.any() else self.stop

    def _put(self, rows: slice, first: int, values: NDArray[np.floating]) -> None:
        """Write bins into the ring, in two parts at its end."""
        begin, count = first % BINS, values.shape[1]
        until_end = min(count, BINS - begin)
        self._rows[rows, begin : begin + until_end] = values[:, :until_end]
        if until_end < count:
            self._rows[rows, : count - until_end] = values[:, until_end:]

    def _make_room(self, first: int, stop: int, set_back: bool) -> None:
        """Make ``stop`` the newest bin, if it is; new bins are empty, and those that are left out remain so: a gap."""
        if set_back or first - self.stop >= BINS:
            # Set back, or more than a minute later: the old bins are of no use.
            self._rows[:] = np.nan
            self._folded.clear()
            self.stop = stop
        elif stop > self.stop:
            self._rows[:, np.arange(self.stop, stop) % BINS] = np.nan
            self.stop = stop


def _parts(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """First samples of all bins, then second ones, and so on, shape ``(BIN, rows, n)``: extremes along a short last axis are slow."""
    rows, samples = values.shape
    return np.ascontiguousarray(values.reshape(rows, samples // BIN, BIN).transpose(2, 0, 1))

"""A net that follows streams and notices what may be an onset: each sample is computed once, many stations in one call.

Chunks begin at multiples of their length on the grid, so a stream that begins elsewhere gives the same values once its initial state has
faded. A stream begins anew if its window is discontinuous, samples are missing before it, or the components are others.

>>> from models.weights import stateful_path
>>> from xiaod.domain.types import Instrument
>>> scout = Scout(stateful_path("scout"))
>>> chunk = scout.spec.chunk_samples
>>> window = Window(Instrument("XX", "A", "", "HH"), 0, 0, np.zeros((3, 10 * chunk), np.float32), "ZNE", discontinuous=True)
>>> [notice] = scout.look(StreamBatch((window,)))
>>> notice.looked_until == 10 * chunk - scout.spec.delay_samples, notice.spans
(True, ())
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.conventions import PHASES
from models.frontend import STATE_SIZE, fresh_state, stream
from xiaod.domain.types import Instrument, Notice, StreamBatch, Window
from xiaod.inference.loaded import LoadedModel
from xiaod.inference.session import open_session

FIRST_ROWS = 16
"""Rows of the tables at first."""


@dataclass(slots=True)
class _Stream:
    """The progress of one stream; its states are in a row of the tables."""

    row: int
    begin: int = 0
    """Grid index of the first sample that was computed."""
    fed: int = 0
    """Grid index of the next sample to compute."""
    components: str = ""


class Scout(LoadedModel):
    """A student in a stateful ONNX file; called from one thread at a time."""

    def __init__(self, path: Path, threads: int = 1, thresholds: Mapping[str, float] | None = None) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file of the stateful form with a specification in its metadata.
            threads: threads that one call may use.
            thresholds: probability of P and of S from which something is noticed; None: those of the file.

        Raises:
            ModelError: when the file cannot be read, is not a model, or is not of the stateful form.
        """
        self._session, spec, content = open_session(path, "stateful", threads)
        super().__init__(spec, content)
        self._streams: dict[Instrument, _Stream] = {}
        self._free: list[int] = []
        self._filters = fresh_state(0)
        self._states = np.zeros((0, spec.state_size), np.float32)
        wanted = spec.thresholds if thresholds is None else thresholds
        self._thresholds = np.array([wanted[phase] for phase in PHASES], np.float32)[:, None]

    def look(self, batch: StreamBatch) -> list[Notice]:
        """What is noticed in new samples: one notice for each instrument, in the order of their first windows.

        Args:
            batch: windows of whole chunks, each beginning at a multiple of a chunk.
        """
        pieces: dict[Instrument, Iterator[tuple[_Stream, NDArray[np.float32]]]] = {}
        of_each: dict[Instrument, list[Window]] = {}
        for window in batch.windows:
            of_each.setdefault(window.instrument, []).append(window)
        for instrument, windows in of_each.items():
            pieces[instrument] = self._pieces(windows)
        spans: dict[Instrument, list[tuple[int, int]]] = {instrument: [] for instrument in of_each}
        while True:
            step = [(one, piece) for one, own in pieces.items() if (piece := next(own, None)) is not None]
            if not step:
                break
            for instrument, span in self._advance(step):
                spans[instrument].append(span)
        late = self._spec.delay_samples
        return [
            Notice(instrument, self._streams[instrument].fed - late, tuple(spans[instrument]))
            for instrument in of_each
        ]

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Free the streams of instruments."""
        for instrument in instruments:
            if (gone := self._streams.pop(instrument, None)) is not None:
                self._free.append(gone.row)

    def values(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S in samples that stand alone.

        Args:
            samples: shape ``(n, 3, length)``, whole chunks, raw counts.

        Returns:
            Shape ``(n, 2, length)``: sample ``k`` is what is known of sample ``k - delay_samples``.
        """
        rows, _, length = samples.shape
        chunk = self._spec.chunk_samples
        filters, states = fresh_state(rows), np.zeros((rows, self._spec.state_size), np.float32)
        found = []
        for start in range(0, length, chunk):
            values, filters, states = self._run(samples[..., start : start + chunk], filters, states)
            found.append(values)
        return np.concatenate(found, axis=2)

    @property
    def state_bytes(self) -> int:
        """Memory of the states of all streams."""
        return int(self._states.nbytes + len(self._states) * STATE_SIZE * 8)

    def _pieces(self, windows: list[Window]) -> Iterator[tuple[_Stream, NDArray[np.float32]]]:
        """Chunks of the windows of one instrument, with its stream as it is before each."""
        chunk = self._spec.chunk_samples
        for window in windows:
            one = self._stream(window)
            for start in range(0, window.samples.shape[1], chunk):
                yield one, window.samples[:, start : start + chunk]

    def _stream(self, window: Window) -> _Stream:
        """The stream that a window continues; one that it does not continue begins anew."""
        one = self._streams.get(window.instrument)
        if one is None:
            one = self._streams[window.instrument] = _Stream(self._new_row())
        elif not window.discontinuous and window.index == one.fed and one.components == window.components:
            return one
        one.begin = one.fed = window.index
        one.components = window.components
        self._filters[one.row] = 0
        self._states[one.row] = 0
        return one

    def _new_row(self) -> int:
        if not self._free:
            rows = len(self._states)
            more = max(FIRST_ROWS, rows)
            self._filters = np.concatenate([self._filters, fresh_state(more)])
            self._states = np.concatenate([self._states, np.zeros((more, self._states.shape[1]), np.float32)])
            self._free = list(range(rows + more - 1, rows - 1, -1))
        return self._free.pop()

    def _advance(
        self, step: list[tuple[Instrument, tuple[_Stream, NDArray[np.float32]]]]
    ) -> Iterator[tuple[Instrument, tuple[int, int]]]:
        """Compute one chunk of each of these streams; spans of what is noticed."""
        rows = [one.row for _, (one, _) in step]
        waves = np.stack([piece for _, (_, piece) in step])
        values, self._filters[rows], self._states[rows] = self._run(
            waves, self._filters[rows], self._states[rows]
        )
        noticed = np.any(values >= self._thresholds, axis=1)
        for number in np.flatnonzero(noticed.any(axis=1)).tolist():
            instrument, (one, _) = step[number]
            first = one.fed - self._spec.delay_samples
            found = [first + index for index in np.flatnonzero(noticed[number]).tolist()]
            # Before its first sample a stream shows its initial state alone.
            if found[-1] >= one.begin:
                yield instrument, (max(found[0], one.begin), found[-1])
        for _, (one, _) in step:
            one.fed += self._spec.chunk_samples

    def _run(
        self, waves: NDArray[np.float32], filters: NDArray[np.float64], states: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
        prepared, filters = stream(waves, filters)
        values, states = self._session.run(None, {"wave": prepared, "state": states})
        return values[:, self._rows], filters, states

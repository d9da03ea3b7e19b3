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

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.chunks import StatefulNet, in_chunks
from models.conventions import ONSET
from models.frontend import STATE_SIZE, STEP, bands, fresh_state
from xiaod.domain.types import Instrument, Notice, StreamBatch, Window
from xiaod.inference.loaded import LoadedModel
from xiaod.inference.session import open_session

FIRST_ROWS = 16
"""Rows of the tables at first."""
MOST_CHUNKS = 1024
"""Of one call: what it works on should stay in the cache of the processor."""


@dataclass(slots=True)
class _Stream:
    """The progress of one stream; its states are in a row of the tables."""

    instrument: Instrument
    row: int
    begin: int = 0
    """Grid index of the first sample that was computed."""
    fed: int = 0
    """Grid index of the next sample to compute."""
    components: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    """What was noticed since it was asked last."""

    def take_spans(self) -> tuple[tuple[int, int], ...]:
        """What was noticed since the last call."""
        spans, self.spans = self.spans, ()
        return spans


class Scout(LoadedModel):
    """A student in a stateful ONNX file; called from one thread at a time."""

    def __init__(self, path: Path, threads: int = 1, threshold: float | None = None) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file of the stateful form with a specification in its metadata.
            threads: threads that one call may use.
            threshold: probability from which an onset is noticed; None: that of the file.

        Raises:
            ModelError: when the file cannot be read, is not a model, or is not of the stateful form.
        """
        session, spec, content = open_session(path, "stateful", threads)
        super().__init__(spec, content)
        self._net = StatefulNet(session)
        self._streams: dict[Instrument, _Stream] = {}
        self._free: list[int] = []
        self._filters = fresh_state(0)
        self._states = np.zeros((0, spec.state_size), np.float32)
        self._row = spec.phases.index(ONSET)
        self._threshold = spec.thresholds[ONSET] if threshold is None else threshold

    def look(self, batch: StreamBatch) -> list[Notice]:
        """What is noticed in new samples: one notice for each instrument, in the order of their first windows.

        Args:
            batch: windows of whole chunks, each beginning at a multiple of a chunk.
        """
        left = [(self._stream(window.instrument), window) for window in batch.windows]
        streams = list({one.row: one for one, _ in left}.values())
        while left:
            # One window of each stream at a time: the next one may begin anew.
            now: dict[int, tuple[_Stream, Window]] = {}
            left = [pair for pair in left if now.setdefault(pair[0].row, pair) is not pair]
            for some in self._calls(now.values()):
                self._advance(some)
        late = self._spec.delay_samples
        return [Notice(one.instrument, one.fed - late, one.take_spans()) for one in streams]

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Free the streams of instruments."""
        for instrument in instruments:
            if (gone := self._streams.pop(instrument, None)) is not None:
                self._free.append(gone.row)

    def values(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of an onset in samples that stand alone.

        Args:
            samples: shape ``(n, 3, length)``, whole chunks, raw counts.

        Returns:
            Shape ``(n, length)``: sample ``k`` is what is known of sample ``k - delay_samples``.
        """
        streams, _, length = samples.shape
        chunk, ones = self._spec.chunk_samples, np.ones(streams, np.int64)
        filters, states = fresh_state(streams), np.zeros((streams, self._spec.state_size), np.float32)
        found = []
        for start in range(0, length, chunk):
            values, filters, states = self._run(samples[..., start : start + chunk], filters, states, ones)
            found.append(np.repeat(values, STEP, axis=1))
        return np.concatenate(found, axis=1)

    @property
    def state_bytes(self) -> int:
        """Memory of the states of all streams."""
        return int(self._states.nbytes + len(self._states) * STATE_SIZE * 8)

    def _calls(self, pairs: Iterable[tuple[_Stream, Window]]) -> Iterator[list[tuple[_Stream, Window]]]:
        """As many windows as one call takes."""
        some: list[tuple[_Stream, Window]] = []
        samples, most = 0, MOST_CHUNKS * self._spec.chunk_samples
        for pair in pairs:
            more = pair[1].samples.shape[1]
            if some and samples + more > most:
                yield some
                some, samples = [], 0
            some.append(pair)
            samples += more
        if some:
            yield some

    def _stream(self, instrument: Instrument) -> _Stream:
        one = self._streams.get(instrument)
        if one is None:
            one = self._streams[instrument] = _Stream(instrument, self._new_row())
        return one

    def _new_row(self) -> int:
        if not self._free:
            rows = len(self._states)
            more = max(FIRST_ROWS, rows)
            self._filters = np.concatenate([self._filters, fresh_state(more)])
            self._states = np.concatenate([self._states, np.zeros((more, self._states.shape[1]), np.float32)])
            self._free = list(range(rows + more - 1, rows - 1, -1))
        return self._free.pop()

    def _advance(self, pairs: Sequence[tuple[_Stream, Window]]) -> None:
        """Compute the next samples of streams, all in one call, and note what is noticed."""
        chunk, late = self._spec.chunk_samples, self._spec.delay_samples
        for one, window in pairs:
            if window.discontinuous or window.index != one.fed or window.components != one.components:
                # It begins anew.
                one.begin = one.fed = window.index
                one.components = window.components
                self._filters[one.row] = 0
                self._states[one.row] = 0
        rows = np.array([one.row for one, _ in pairs])
        chunks = np.array([window.samples.shape[1] // chunk for _, window in pairs])
        samples = np.concatenate([window.samples for _, window in pairs], axis=1)
        values, self._filters[rows], self._states[rows] = self._run(
            in_chunks(samples, chunk), self._filters[rows], self._states[rows], chunks
        )
        noticed: NDArray[np.bool_] = values >= self._threshold
        if noticed.any():
            firsts = np.cumsum(chunks) - chunks
            for number in np.flatnonzero(noticed.any(axis=1)).tolist():
                which = int(np.searchsorted(firsts, number, side="right")) - 1
                one = pairs[which][0]
                first = one.fed - late + (number - int(firsts[which])) * chunk
                found = np.flatnonzero(noticed[number]).tolist()
                last = first + found[-1] * STEP + STEP - 1
                # Before its first sample a stream shows its initial state alone.
                if last >= one.begin:
                    one.spans += ((max(first + found[0] * STEP, one.begin), last),)
        for one, window in pairs:
            one.fed += window.samples.shape[1]

    def _run(
        self,
        waves: NDArray[np.float32],
        filters: NDArray[np.float64],
        states: NDArray[np.float32],
        chunks: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
        """Probability of an onset at each step of chunks, and the states after them; ``chunks``: how many of each stream."""
        prepared, filters = bands(waves, filters, chunks)
        values, states = self._net(prepared, states, chunks)
        return values[:, self._row], filters, states

"""The stateful form of a student in ONNX Runtime: each sample is computed once, instead of once for every window that holds it.

Windows come in as for every engine, but only samples that are new to a stream are computed, chunk by chunk, many stations in one call. A
stream is one revision of one instrument. Chunks begin at multiples of their length on the grid, so that a stream that begins elsewhere
gives the same values once its initial state has faded. A stream begins anew, with the first sample of the window, if the window is
discontinuous, samples are missing in between, or the components are others.

>>> from models.weights import stateful_path
>>> engine = StatefulEngine(stateful_path("scout"))
>>> engine.annotate(np.zeros((2, 3, 960), np.float32)).shape
(2, 2, 960)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frontend import STATE_SIZE, fresh_state, stream
from xiaod.domain.types import Instrument, Probabilities, Window, WindowBatch
from xiaod.inference.loaded import LoadedModel
from xiaod.inference.session import open_session

FIRST_ROWS = 16
"""Rows of the tables at first."""


@dataclass
class _Stream:
    """The progress of one stream; its states are in a row of the tables of the engine."""

    row: int
    begin: int
    """Grid index of the first sample that was computed."""
    fed: int
    """Grid index of the next sample to compute."""
    components: str
    index: int
    """Grid index at which the curve begins."""
    curve: NDArray[np.float32]
    """Probability of P and S from there on, zero where it is unknown."""


class StatefulEngine(LoadedModel):
    """A student in a stateful ONNX file."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file of the stateful form with a specification in its metadata.
            threads: threads that one call may use.

        Raises:
            ModelError: when the file cannot be read, is not a model, or is not of the stateful form.
        """
        self._session, spec, content = open_session(path, "stateful", threads)
        super().__init__(spec, content)
        self._streams: dict[tuple[Instrument, int], _Stream] = {}
        self._filters = fresh_state(FIRST_ROWS)
        self._states = np.zeros((FIRST_ROWS, spec.state_size), np.float32)

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S in independent windows; zero in the last ``delay_samples`` and in what fills no chunk."""
        rows, _, length = samples.shape
        chunk, late = self._spec.chunk_samples, self._spec.delay_samples
        filters, states = fresh_state(rows), np.zeros((rows, self._spec.state_size), np.float32)
        curve = np.zeros((rows, 2, length), np.float32)
        for start in range(0, length - chunk + 1, chunk):
            found, filters, states = self._run(samples[..., start : start + chunk], filters, states)
            first = start - late
            curve[..., max(first, 0) : first + chunk] = found[..., max(0, -first) :] if first > -chunk else 0
        return curve

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        """Compute the new samples of windows; those of one stream must come in order of time."""
        windows = batch.windows
        results: list[Probabilities | None] = [None] * len(windows)
        waiting = list(range(len(windows)))
        while waiting:
            # One window of each stream at a time.
            chosen: dict[tuple[Instrument, int], int] = {}
            for number in waiting:
                chosen.setdefault((windows[number].instrument, windows[number].revision), number)
            streams = [self._stream(windows[number]) for number in chosen.values()]
            self._feed([windows[number] for number in chosen.values()], streams)
            for number, one in zip(chosen.values(), streams, strict=True):
                results[number] = self._result(windows[number], one)
            done = set(chosen.values())
            waiting = [number for number in waiting if number not in done]
        return [result for result in results if result is not None]

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Free the streams of instruments, and their rows in the tables."""
        gone = frozenset(instruments)
        kept = {key: one for key, one in self._streams.items() if key[0] not in gone}
        if len(kept) == len(self._streams):
            return
        rows = [one.row for one in kept.values()]
        filters, states = self._filters[rows], self._states[rows]
        room = FIRST_ROWS
        while room < len(rows):
            room *= 2
        self._filters, self._states = fresh_state(room), np.zeros((room, *self._states.shape[1:]), np.float32)
        self._filters[: len(rows)], self._states[: len(rows)] = filters, states
        for row, one in enumerate(kept.values()):
            one.row = row
        self._streams = kept

    def _stream(self, window: Window) -> _Stream:
        """The stream that a window continues, or a new one; its curve is moved to the window."""
        key = (window.instrument, window.revision)
        one = self._streams.get(key)
        chunk, length = self._spec.chunk_samples, window.samples.shape[1]
        joins = (
            one is not None
            and not window.discontinuous
            and window.index <= one.fed <= window.stop + chunk
            and one.components == window.components
            and one.curve.shape[1] == length
        )
        if one is None or not joins:
            row = len(self._streams) if one is None else one.row
            if row == len(self._states):
                self._filters = np.concatenate([self._filters, fresh_state(row)])
                self._states = np.concatenate([self._states, np.zeros_like(self._states)])
            self._filters[row] = 0
            self._states[row] = 0
            begin = -(-window.index // chunk) * chunk
            one = _Stream(
                row, begin, begin, window.components, window.index, np.zeros((2, length), np.float32)
            )
            self._streams[key] = one
        elif step := window.index - one.index:
            moved = np.zeros_like(one.curve)
            if 0 < step < length:
                moved[:, :-step] = one.curve[:, step:]
            one.curve, one.index = moved, window.index
        return one

    def _feed(self, windows: Sequence[Window], streams: Sequence[_Stream]) -> None:
        chunk, late = self._spec.chunk_samples, self._spec.delay_samples
        pairs = list(zip(windows, streams, strict=True))
        while pairs := [(window, one) for window, one in pairs if window.stop - one.fed >= chunk]:
            rows = [one.row for _, one in pairs]
            starts = [one.fed - window.index for window, one in pairs]
            waves = np.stack(
                [
                    window.samples[:, start : start + chunk]
                    for (window, _), start in zip(pairs, starts, strict=True)
                ]
            )
            found, self._filters[rows], self._states[rows] = self._run(
                waves, self._filters[rows], self._states[rows]
            )
            for (_, one), start, values in zip(pairs, starts, found, strict=True):
                first = max(start - late, one.begin - one.index, 0)
                stop = start - late + chunk
                if stop > first:
                    one.curve[:, first:stop] = values[:, first - stop :]
                one.fed += chunk

    def _run(
        self, waves: NDArray[np.float32], filters: NDArray[np.float64], states: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
        prepared, filters = stream(waves, filters)
        values, states = self._session.run(None, {"wave": prepared, "state": states})
        return values[:, self._rows], filters, states

    def _result(self, window: Window, one: _Stream) -> Probabilities:
        known = one.fed - self._spec.delay_samples - window.index
        first = max(one.begin - window.index, 0)
        return Probabilities(
            window, one.curve.copy(), valid=(first, max(first, min(known, one.curve.shape[1])))
        )

    @property
    def state_bytes(self) -> int:
        """Memory of the states of all streams."""
        return int(self._states.nbytes + len(self._states) * STATE_SIZE * 8)

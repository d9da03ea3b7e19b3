"""ONNX Runtime on the CPU: the default engine.

In: raw counts of windows. Out: probabilities of P and S. The front end and the meaning of inputs and outputs follow from the
specification in the metadata of the weights file.

>>> from models.weights import weights_path
>>> import numpy as np
>>> engine = OnnxEngine(weights_path("micro"))
>>> engine.annotate(np.zeros((2, 3, engine.spec.window_samples), np.float32)).shape[:2]
(2, 2)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.conventions import PHASES
from models.frontend import prepare
from models.weights import tail_path
from xiaod.domain.types import Probabilities, Window, WindowBatch
from xiaod.inference.errors import ModelError
from xiaod.inference.loaded import LoadedModel
from xiaod.inference.session import open_session


class OnnxEngine(LoadedModel):
    """A student in an ONNX file; windows stand alone."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file with a specification in its metadata.
            threads: threads that one call may use.

        Raises:
            ModelError: when the file, or that of the tail form beside it, cannot be read, is not an ONNX model, or has no
                specification that fits it.
        """
        self._session, spec, content = open_session(path, "windows", threads)
        super().__init__(spec, content)
        rows = [spec.phases.index(phase) for phase in PHASES]
        # A slice, where possible, copies nothing.
        self._rows: slice | list[int] = slice(rows[0], rows[0] + 2) if rows[1] == rows[0] + 1 else rows
        self._input = self._session.get_inputs()[0].name
        self._tail = None
        if (beside := tail_path(path)).is_file():
            self._tail, tail_spec, _ = open_session(beside, "tail", threads)
            if (tail_spec.label, tail_spec.provenance) != (spec.label, spec.provenance):
                raise ModelError(
                    f"{beside}: not of the model in {path.name}; export both again, or remove this one"
                )

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S; see :meth:`xiaod.inference.Engine.annotate`."""
        [values] = self._session.run(None, {self._input: prepare(self._spec.front_end, samples)})
        probabilities: NDArray[np.float32] = values[:, self._rows]
        return probabilities

    def annotate_end(self, samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        """See :meth:`xiaod.inference.Engine.annotate_end`: by the tail form where that is enough."""
        if self._tail is None or not self._has_tail(samples.shape[2], read):
            return self.annotate(samples)
        prepared = prepare(self._spec.front_end, samples)
        [tails] = self._tail.run(None, {"wave": prepared, "read": np.array(read)})
        values: NDArray[np.float32] = tails[:, self._rows]
        return values

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        """Probability of P and S, of all windows in one call; of a window that is not discontinuous maybe those that are read alone."""
        length = batch.samples.shape[2]
        if not self._has_tail(length, batch.read):
            return self._whole(batch.windows, batch.samples)
        whole: list[int] = []
        rest: list[int] = []
        for number, window in enumerate(batch.windows):
            (whole if window.discontinuous or window.until is not None else rest).append(number)
        results: dict[int, Probabilities] = {}
        if whole:
            windows = [batch.windows[number] for number in whole]
            results |= zip(whole, self._whole(windows, batch.samples[whole]), strict=True)
        if rest:
            samples = batch.samples[rest] if whole else batch.samples
            values = np.zeros((len(rest), len(PHASES), length), np.float32)
            valid = (length - batch.read, length)
            values[:, :, valid[0] :] = self.annotate_end(samples, batch.read)
            values.flags.writeable = False
            for number, value in zip(rest, values, strict=True):
                results[number] = Probabilities(batch.windows[number], value, valid=valid)
        return [results[number] for number in range(len(batch.windows))]

    def _has_tail(self, length: int, read: int) -> bool:
        """Whether the tail form gives so many of the last samples of windows of this length for less."""
        return self._tail is not None and length == self._spec.window_samples and read < length

    def _whole(self, windows: Sequence[Window], samples: NDArray[np.float32]) -> list[Probabilities]:
        values = self.annotate(samples)
        values.flags.writeable = False
        return [Probabilities(window, value) for window, value in zip(windows, values, strict=True)]

"""ONNX Runtime on the CPU: the default engine.

In: raw counts of windows. Out: probabilities of P and S. The front end and the meaning of inputs and outputs follow from the
specification in the metadata of the weights file.

>>> from models.weights import weights_path
>>> import numpy as np
>>> engine = OnnxEngine(weights_path("micro"))
>>> engine.annotate(np.zeros((2, 3, engine.spec.window_samples), np.float32)).shape[:2]
(2, 2)
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frontend import prepare
from xiaod.domain.types import Instrument, Probabilities, WindowBatch
from xiaod.inference.loaded import LoadedModel
from xiaod.inference.session import open_session


class OnnxEngine(LoadedModel):
    """A student in an ONNX file; windows stand alone."""

    stateful = False

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file with a specification in its metadata.
            threads: threads that one call may use.

        Raises:
            ModelError: when the file cannot be read, is not an ONNX model, or has no specification that fits it.
        """
        self._session, spec, content = open_session(path, "windows", threads)
        super().__init__(spec, content)
        self._input = self._session.get_inputs()[0].name

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S; see :meth:`xiaod.inference.Engine.annotate`."""
        [values] = self._session.run(None, {self._input: prepare(self._spec.front_end, samples)})
        probabilities: NDArray[np.float32] = values[:, self._rows]
        return probabilities

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        """Probability of P and S, of all windows in one call."""
        values = self.annotate(batch.samples)
        values.flags.writeable = False
        return [Probabilities(window, value) for window, value in zip(batch.windows, values, strict=True)]

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Nothing: windows that stand alone leave nothing behind."""

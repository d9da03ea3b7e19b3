"""ONNX Runtime on the CPU: the default engine.

In: raw counts of windows. Out: probabilities of P and S. The front end and the meaning of inputs and outputs come from the
specification that the weights file carries in its metadata.

>>> from models.weights import weights_path
>>> import numpy as np
>>> engine = OnnxEngine(weights_path("micro"))
>>> engine.annotate(np.zeros((2, 3, engine.spec.window_samples), np.float32)).shape[:2]
(2, 2)
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frontend import standardise
from models.spec import ModelSpec, SpecError
from xiaod.engines.errors import ModelError
from xiaod.engines.loaded import LoadedModel


class OnnxEngine(LoadedModel):
    """A student in an ONNX file."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load a weights file.

        Args:
            path: an ONNX file with a specification in its metadata.
            threads: threads that one call may use.

        Raises:
            ModelError: when the file cannot be read, is not an ONNX model, or does not carry a specification that fits it.
        """
        # Takes a tenth of a second to import.
        import onnxruntime

        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot read the model: {error.strerror}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would keep a core busy between batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: not a model that ONNX Runtime can load: {error}") from error
        try:
            spec = ModelSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except SpecError as error:
            raise ModelError(f"{path}: {error}") from error
        super().__init__(spec, content)
        self._input = self._session.get_inputs()[0].name
        shape = self.annotate(np.zeros((1, 3, self._spec.window_samples), np.float32)).shape
        if shape != (1, 2, self._spec.window_samples):
            raise ModelError(
                f"{path}: gives {shape} for one window; (1, 2, {self._spec.window_samples}) is needed"
            )

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S; see :meth:`xiaod.engines.Engine.annotate`."""
        [values] = self._session.run(None, {self._input: standardise(samples)})
        probabilities: NDArray[np.float32] = values[:, self._rows]
        return probabilities

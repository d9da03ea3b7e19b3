"""A teacher in an ONNX file: input ``wave`` ``(n, 3, window)``, E N Z, standardised; output ``prob``, N P S.

A student of this project can also teach: its file specifies its input.

>>> from models.weights import weights_path
>>> section = TeacherSection(window_samples=1000, hop_samples=500)
>>> OnnxTeacher(weights_path("micro"), section, threads=1).annotate(np.zeros((3, 1200))).shape
(3, 1200)
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.config import ConfigError, TeacherSection
from distill.teachers.windows import annotate_windows, standardised
from models.frontend import prepare
from models.runtime import onnx_runtime
from models.spec import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int) -> "InferenceSession":
    """Open the file of a network.

    Raises:
        FileNotFoundError: when the file does not exist.
        ConfigError: when it is not a model.
    """
    onnxruntime = onnx_runtime()

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"{path}: not a model that ONNX Runtime can load: {error}") from error


class OnnxTeacher:
    """PhaseNet (Zhu & Beroza 2019), or another network of the same form."""

    def __init__(self, path: Path, config: TeacherSection, threads: int) -> None:
        """Load a file.

        Raises:
            FileNotFoundError, ConfigError: when it does not exist, or is not a model.
        """
        self._session = open_session(path, threads)
        found = self._session.get_modelmeta().custom_metadata_map
        self._spec = ModelSpec.from_metadata(found) if METADATA_KEY in found else None
        if self._spec is not None and self._spec.form == "stateful":
            raise ConfigError(
                f"{path}: takes chunks and state; a teacher needs the form for windows beside it"
            )
        self._window = config.window_samples
        self._hop = config.hop_samples
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        self.description = f"ONNX file {path.name}, windows of {config.window_samples} samples"

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """See :class:`distill.teachers.Teacher`."""
        return annotate_windows(record, self._window, self._hop, self._run)

    def _run(self, waves: NDArray[np.float64]) -> NDArray[np.floating]:
        if self._spec is not None:
            prepared = prepare(self._spec.front_end, waves.astype(np.float32))
            [values] = self._session.run(None, {"wave": prepared})
            return np.asarray(values[:, [self._spec.phases.index(phase) for phase in "NPS"]])
        [values] = self._session.run(None, {"wave": standardised(waves[:, ::-1])})
        return np.asarray(values)

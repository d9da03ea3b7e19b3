"""Any picker in an ONNX file: layout, order of components and rows are configured.

A second output ``time`` gives the sample of each row of the first; without it, rows are spread evenly over the input.

>>> from distill.report.config import ContenderSection
>>> from models.weights import weights_path
>>> section = ContenderSection(name="own", kind="onnx", model="micro.onnx", components="ZNE")
>>> OnnxPicker(weights_path("micro"), section, 1).curves(np.zeros((3, 1000), np.float32)).shape
(2, 1000)
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.report.config import ContenderSection
from distill.teachers.onnx import open_session
from distill.teachers.windows import standardised


class OnnxPicker:
    """Curves of P and S of any network."""

    def __init__(self, path: Path, section: ContenderSection, threads: int) -> None:
        """Load a file.

        Raises:
            FileNotFoundError, ConfigError: when it does not exist, or is not a model.
        """
        self._session = open_session(path, threads)
        self._input = self._session.get_inputs()[0].name
        self._section = section
        self._rows = [section.phases.index(phase) for phase in "PS"]

    def curves(self, waves: NDArray[np.generic]) -> NDArray[np.floating]:
        """Curves ``(2, n)`` of a window ``(3, n)``, Z N E, counts; one longer than the input is computed in pieces."""
        length = self._section.window_samples or waves.shape[1]
        pieces = [self._piece(waves[:, start : start + length]) for start in range(0, waves.shape[1], length)]
        return np.concatenate(pieces, axis=1)

    def _piece(self, waves: NDArray[np.generic]) -> NDArray[np.floating]:
        section, samples = self._section, waves.shape[1]
        wave = waves.astype(np.float64)
        if section.components == "ENZ":
            wave = wave[::-1]
        missing = max(section.window_samples, section.pad_samples) - samples
        if missing > 0:
            filling = np.repeat(wave.mean(axis=1, keepdims=True), missing, axis=1)
            wave = np.concatenate([wave, filling], axis=1)
        ready = standardised(wave[None])[0] if section.normalise == "standard" else wave.astype(np.float32)
        if section.layout == "samples-first":
            outputs = self._session.run(None, {self._input: np.ascontiguousarray(ready.T)})
            values = outputs[0].T
        else:
            outputs = self._session.run(None, {self._input: ready[None]})
            values = outputs[0][0]
        count = values.shape[1]
        places = np.ravel(outputs[1]) if len(outputs) > 1 else np.arange(count) * (ready.shape[1] / count)
        order = np.argsort(places)
        grid = np.arange(samples)
        return np.stack([np.interp(grid, places[order], values[row][order]) for row in self._rows])

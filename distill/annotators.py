"""Opens an exported student for evaluation: raw windows in, probabilities of N, P, S out.

>>> import numpy as np
>>> from models.small_phasenet import PRESETS, fresh_net
>>> annotate = net_annotator(fresh_net(PRESETS["nano"], seed=0).eval())
>>> annotate(np.zeros((2, 3, 1000), np.float32)).shape
(2, 3, 1000)
>>> overlapped(np.zeros((3, 1200), np.float32), annotate).shape
(3, 1200)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.conventions import FRONT_ENDS
from models.frontend import prepare
from models.runtime import onnx_runtime
from models.small_phasenet import SmallPhaseNet
from models.spec import ModelSpec, SpecError

BATCH = 64
WINDOW = ModelSpec.window_samples
HOP = 50
"""Samples between overlapping windows."""
BLIND, FULL = 25, 100
"""Samples of data after a sample, below which a window has no weight there, and from which it has full weight."""

Annotate = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Raw windows ``(n, 3, L)``, Z N E -> probabilities ``(n, 3, L)``, N P S; of a network that notices ``(n, 2, L / 4)``, noise and onset."""


def net_annotator(net: SmallPhaseNet, front_end: str = ModelSpec.front_end) -> Annotate:
    """Annotate with a network in evaluation mode."""
    import torch

    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return _batched(lambda waves: net(torch.from_numpy(waves)).numpy(), windows, front_end)

    return annotate


def open_session(path: Path, threads: int = 1) -> tuple[Any, ModelSpec]:
    """A session of ONNX Runtime with an exported student of any form, and the specification in its file.

    Raises:
        FileNotFoundError: when the file does not exist.
        SpecError: when it is not a model, or has no specification.
    """
    onnxruntime = onnx_runtime()
    # Behind the line before: an import of its own would load the library with its telemetry.
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf) as error:
        raise SpecError(f"{path}: not a model that ONNX Runtime can load: {error}") from error
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    return session, spec


def onnx_annotator(path: Path, threads: int = 1) -> tuple[Annotate, ModelSpec]:
    """An annotator of an exported student, as in the daemon, and the specification in its file.

    Raises:
        FileNotFoundError: when the file does not exist.
        SpecError: when it is not a model, or has no specification.
    """
    session, spec = open_session(path, threads)
    order = [spec.phases.index(phase) for phase in FRONT_ENDS[spec.front_end].phases]

    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return _batched(
            lambda waves: session.run(None, {"wave": waves})[0][:, order], windows, spec.front_end
        )

    return annotate, spec


def overlapped(record: NDArray[np.floating], annotate: Annotate, length: int = WINDOW) -> NDArray[np.float64]:
    """Average of overlapping windows of a record, each weighted by the amount of its data after a sample.

    Args:
        record: shape ``(3, n)``, at least one window long.
        annotate: annotates the windows.
        length: samples of a window.

    Returns:
        Shape ``(3, n)``; zero where no window has weight, as in the last quarter of a second.
    """
    starts = range(0, record.shape[1] - length + 1, HOP)
    windows = np.stack([record[:, start : start + length] for start in starts]).astype(np.float32)
    weight = np.clip((np.arange(length, 0, -1) - BLIND) / (FULL - BLIND), 0.0, 1.0)
    total, weights = np.zeros(record.shape), np.zeros(record.shape[1])
    for start, values in zip(starts, annotate(windows), strict=True):
        total[:, start : start + length] += weight * values
        weights[start : start + length] += weight
    average: NDArray[np.float64] = total / np.maximum(weights, 1e-9)
    return average


def _batched(run: Annotate, windows: NDArray[np.float32], front_end: str) -> NDArray[np.float32]:
    return np.concatenate(
        [run(prepare(front_end, windows[begin : begin + BATCH])) for begin in range(0, len(windows), BATCH)]
    )

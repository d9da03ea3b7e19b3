"""Opening a model file in ONNX Runtime, for all engines that use it.

>>> from models.weights import weights_path
>>> session, spec, content = open_session(weights_path("micro"), "windows", threads=1)
>>> spec.name, session.get_inputs()[0].name
('micro', 'wave')
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.chunks import StatefulNet
from models.conventions import FRONT_ENDS
from models.runtime import onnx_runtime
from models.spec import ModelSpec, SpecError
from xiaod.inference.errors import ModelError
from xiaod.inference.model_file import MAX_MEMORY_BYTES, bounded_memory, names_other_files, read_model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REMEDY = {
    "windows": "of the form for windows, which picks; a model that streams has a file NAME.stateful.onnx",
    "tail": "of the tail form, which is used beside NAME.onnx",
    "stateful": "of the stateful form, which notices onsets and does not pick; engine.scout takes it",
}
"""Form of a model that the engine cannot run -> remedy."""
NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation")
"""Words of ONNX Runtime when memory is exhausted."""
SHOWN = 300
"""Characters of a library's message that are shown; it may contain a whole graph."""


def open_session(path: Path, form: str, threads: int) -> "tuple[InferenceSession, ModelSpec, bytes]":
    """Load a model and try it: its session, its specification, and the bytes of the file.

    Args:
        path: an ONNX file.
        form: ``windows``, ``tail`` or ``stateful``.
        threads: threads that one call may use.

    Raises:
        ModelError: when the file cannot be read, is not an ONNX model or has data in other files, has no specification or one of
            another form, or does not run as specified within the memory limit.
    """
    content = read_model(path)
    try:
        elsewhere = names_other_files(content)
    except ValueError as error:
        raise ModelError(f"{path}: not a model that ONNX Runtime can load: {error}") from error
    if elsewhere:
        raise ModelError(
            f"{path}: has its data in other files, which no hash covers; save the model as one file "
            "(onnx.save with save_as_external_data=False)"
        )
    # With one thread: others would take memory that the model does not need.
    with bounded_memory():
        session, spec = _loaded(path, content)
        if spec.form != form:
            raise ModelError(f"{path}: {REMEDY[spec.form]}")
        try:
            _try(session, spec)
        except Exception as error:
            raise ModelError(f"{path}: does not take what its specification says: {_said(error)}") from error
    return session if threads == 1 else _session(content, threads), spec, content


def _loaded(path: Path, content: bytes) -> "tuple[InferenceSession, ModelSpec]":
    try:
        session = _session(content, 1)
    except Exception as error:
        raise ModelError(f"{path}: not a model that ONNX Runtime can load: {_said(error)}") from error
    try:
        return session, ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    except SpecError as error:
        raise ModelError(f"{path}: {error}") from error


def _session(content: bytes, threads: int) -> "InferenceSession":
    # The import takes a tenth of a second.
    onnxruntime = onnx_runtime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would keep a core busy between batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _try(session: "InferenceSession", spec: ModelSpec) -> None:
    """Run a window, or chunk, of zeros.

    Raises:
        ValueError: when the output has another shape than specified.
        Exception: whatever ONNX Runtime raises.
    """
    front_end = FRONT_ENDS[spec.front_end]
    samples = (spec.chunk_samples if spec.form == "stateful" else spec.window_samples) // front_end.step
    wave = np.zeros((1, front_end.channels, samples), np.float32)
    wanted: list[tuple[int, ...]] = [(1, len(spec.phases), samples)]
    if spec.form == "stateful":
        state = np.zeros((1, spec.state_size), np.float32)
        wanted.append(state.shape)
        shapes = [value.shape for value in StatefulNet(session)(wave, state, np.ones(1, np.int64))]
    else:
        given = {session.get_inputs()[0].name: wave}
        if spec.form == "tail":
            given["read"] = np.array(samples)
        shapes = [value.shape for value in session.run(None, given)]
    if shapes != wanted:
        raise ValueError(f"gives {shapes} for one window; {wanted} is needed")


def _said(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return f"one window needs more than {MAX_MEMORY_BYTES // 1_000_000} MB of memory"
    return " ".join(text.split())[:SHOWN]

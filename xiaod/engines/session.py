"""Opening a model file in ONNX Runtime: the same care for all engines that use it.

>>> from models.weights import weights_path
>>> session, spec, content = open_session(weights_path("micro"), threads=1)
>>> spec.name, session.get_inputs()[0].name
('micro', 'wave')
"""

from pathlib import Path
from typing import TYPE_CHECKING

from models.runtime import onnx_runtime
from models.spec import ModelSpec, SpecError
from xiaod.engines.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int) -> "tuple[InferenceSession, ModelSpec, bytes]":
    """Load a model: its session, its specification, and the bytes of the file.

    Raises:
        ModelError: when the file cannot be read, is not an ONNX model, or carries no specification.
    """
    # Takes a tenth of a second to import.
    onnxruntime = onnx_runtime()

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
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path}: not a model that ONNX Runtime can load: {error}") from error
    try:
        spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    except SpecError as error:
        raise ModelError(f"{path}: {error}") from error
    return session, spec, content

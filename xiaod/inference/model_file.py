"""Reading a model file within limits: its size, no other files, and the memory of a trial.

An ONNX file can name other files for its tensors (``external_data``), relative to the working directory. They are not part of the hash,
and may change at any time. So a model must be one file, whose bytes are hashed and run. To find such names, all messages that can contain
tensors are visited (onnx.proto, version 1.19), without the package that parses the whole file.

>>> from models.weights import weights_path
>>> content = read_model(weights_path("micro"))
>>> names_other_files(content)
False
>>> with bounded_memory():
...     len(content) > 100_000
True
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from xiaod.inference.errors import ModelError

MAX_BYTES = 50_000_000
"""Largest model file; the largest shipped one has 300 kB, PhaseNet 1 MB."""
MAX_MEMORY_BYTES = 500_000_000
"""Memory that loading a model and a first window may take."""

STATM = Path("/proc/self/statm")
DATA_PAGES = 5
"""Index in it of the pages that RLIMIT_DATA limits (proc_pid_statm(5), getrlimit(2))."""

_ONE_AT_A_TIME = threading.Lock()
"""The limit is that of the process."""

MESSAGES: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Message -> number of a field -> message in it, for all messages that can contain a tensor."""
EXTERNAL = frozenset({13, 14})
"""Fields of a tensor: ``external_data``, and ``data_location``, which is 0 for data in the file."""


def read_model(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelError: when it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ModelError(f"{path}: not a model for this program: more than {MAX_BYTES // 1_000_000} MB")
    return content


def names_other_files(content: bytes) -> bool:
    """Whether any tensor of an ONNX file has its data in another file.

    Raises:
        ValueError: when the bytes are not an ONNX file.
    """
    waiting = [("ModelProto", 0, len(content))]
    while waiting:
        message, position, stop = waiting.pop()
        inner = MESSAGES[message]
        while position < stop:
            tag, position = _varint(content, position, stop)
            number, kind = tag >> 3, tag & 7
            begin, position = _value(content, position, stop, kind)
            if message == "TensorProto" and number in EXTERNAL:
                if kind != 0 or any(byte & 0x7F for byte in content[begin:position]):
                    return True
            elif kind == 2 and number in inner:
                waiting.append((inner[number], begin, position))
    return False


def _value(content: bytes, position: int, stop: int, kind: int) -> tuple[int, int]:
    """Where the value of a field begins and ends (Protocol Buffers, encoding)."""
    begin = position
    if kind == 0:
        _, position = _varint(content, position, stop)
    elif kind == 2:
        length, begin = _varint(content, position, stop)
        position = begin + length
    elif kind in {1, 5}:
        position += 8 if kind == 1 else 4
    else:
        raise ValueError(f"field of kind {kind}")
    if position > stop:
        raise ValueError("cut short")
    return begin, position


def _varint(content: bytes, position: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= stop:
            raise ValueError("cut short")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Limit the memory that can be allocated meanwhile, where the system supports it.

    Beyond the limit the library that allocates fails in its own way, often with a :class:`MemoryError`.
    """
    with _ONE_AT_A_TIME:
        try:
            import resource

            used = int(STATM.read_text(encoding="ascii").split()[DATA_PAGES]) * resource.getpagesize()
            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            bound = used + MAX_MEMORY_BYTES
            resource.setrlimit(
                resource.RLIMIT_DATA, (bound if soft == resource.RLIM_INFINITY else min(bound, soft), hard)
            )
        except (ImportError, OSError, ValueError):
            # Not Linux, or not allowed: there is no limit.
            yield
            return
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

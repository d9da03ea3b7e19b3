"""The shipped weights: where they are and what they are called.

Each model is three files: ``NAME.onnx`` for the daemon, ``NAME.safetensors`` for training, and ``NAME.md``,
its card.

>>> weights_path("micro").name
'micro.onnx'
>>> resolve("no-such-model")
Traceback (most recent call last):
FileNotFoundError: no-such-model: neither a shipped model (...micro...) nor an existing .onnx file
"""

import hashlib
from pathlib import Path

SUFFIX = ".onnx"


def weights_path(name: str) -> Path:
    """Path of a shipped model; it need not exist."""
    return Path(__file__).parent / f"{name}{SUFFIX}"


def shipped() -> dict[str, str]:
    """Names of the shipped models with the SHA-256 of their files."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(__file__).parent.glob(f"*{SUFFIX}"))
    }


def resolve(model: str) -> Path:
    """Path of a model given as the name of a shipped one or as the path of a file.

    Raises:
        FileNotFoundError: when it is neither.
    """
    path = Path(model)
    if path.suffix == SUFFIX and path.is_file():
        return path
    if weights_path(model).is_file() and path.name == model:
        return weights_path(model)
    names = ", ".join(shipped()) or "none"
    raise FileNotFoundError(f"{model}: neither a shipped model ({names}) nor an existing {SUFFIX} file")

"""The shipped weights: paths and names.

Each model is ``NAME.onnx`` for the daemon, ``NAME.safetensors`` for training, and ``NAME.md``, its card. Models for windows also have
``NAME.tail.onnx``, which gives the end of a window for less; streaming models have ``NAME.stateful.onnx``.

>>> resolve("no-such-model")
Traceback (most recent call last):
FileNotFoundError: no-such-model: neither a shipped model (...micro...) nor an existing .onnx file
"""

import hashlib
from pathlib import Path

SUFFIX = ".onnx"
STATEFUL_SUFFIX = ".stateful.onnx"
TAIL_SUFFIX = ".tail.onnx"
OTHER_FORMS = (STATEFUL_SUFFIX, TAIL_SUFFIX)
"""Endings of files with another form of a model for windows."""


def weights_path(name: str) -> Path:
    """Path of a shipped model; it need not exist."""
    return Path(__file__).parent / f"{name}{SUFFIX}"


def stateful_path(name: str) -> Path:
    """Path of the stateful form of a shipped model; it need not exist."""
    return Path(__file__).parent / f"{name}{STATEFUL_SUFFIX}"


def tail_path(path: Path) -> Path:
    """Path of the file with the tail form of a model for windows; it need not exist."""
    return path.with_name(path.name.removesuffix(SUFFIX) + TAIL_SUFFIX)


def shipped(stateful: bool = False) -> dict[str, str]:
    """Names of the shipped models, or of those with a stateful form, with the SHA-256 of their files."""
    suffix = STATEFUL_SUFFIX if stateful else SUFFIX
    hashes = {
        path.name.removesuffix(suffix): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(__file__).parent.glob(f"*{suffix}")
        if stateful or not path.name.endswith(OTHER_FORMS)
    }
    return dict(sorted(hashes.items()))


def streams(path: Path) -> bool:
    """Whether the file of a model has its stateful form beside it: that of a model that streams."""
    return path.with_suffix(STATEFUL_SUFFIX).is_file()


def resolve(model: str, stateful: bool = False) -> Path:
    """Path of a model given as the name of a shipped one or as the path of a file.

    Raises:
        FileNotFoundError: when it is neither.
    """
    path = Path(model)
    if path.suffix == SUFFIX and path.is_file():
        return path
    wanted = stateful_path(model) if stateful else weights_path(model)
    if path.name == model:
        if wanted.is_file():
            return wanted
        if stateful and weights_path(model).is_file():
            having = ", ".join(shipped(stateful=True))
            raise FileNotFoundError(f"{model}: has no stateful form, as {having} has")
    names = ", ".join(shipped(stateful)) or "none"
    if stateful:
        names += ": those with a stateful form"
    raise FileNotFoundError(f"{model}: neither a shipped model ({names}) nor an existing {SUFFIX} file")

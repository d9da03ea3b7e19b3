"""The shipped weights: paths and names.

A model that picks is ``NAME.onnx`` for the daemon and ``NAME.tail.onnx``, which gives the end of a window for less; one that streams, and
notices onsets, is ``NAME.stateful.onnx``. Each also has ``NAME.safetensors`` for training, and ``NAME.md``, its card.

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
    """Names of the shipped models that pick, or of those that notice onsets, with the SHA-256 of their files."""
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

    Args:
        model: name or path.
        stateful: whether it is one that notices onsets.

    Raises:
        FileNotFoundError: when it is neither, or a shipped model of the other kind.
    """
    path = Path(model)
    if path.suffix == SUFFIX and path.is_file():
        return path
    wanted, other = weights_path(model), stateful_path(model)
    if stateful:
        wanted, other = other, wanted
    names = ", ".join(shipped(stateful)) or "none"
    if path.name == model:
        if wanted.is_file():
            return wanted
        if other.is_file() and stateful:
            raise FileNotFoundError(
                f"{model}: a model that picks; those that stream and notice onsets: {names}"
            )
        if other.is_file():
            raise FileNotFoundError(
                f"{model}: a model that streams notices onsets and does not pick; engine.scout takes it"
            )
    raise FileNotFoundError(f"{model}: neither a shipped model ({names}) nor an existing {SUFFIX} file")

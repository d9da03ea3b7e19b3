"""What makes the picks besides data, model and settings: this program's code, and the libraries that it computes with.

The version of the program does not say it: between two versions the code changes from day to day.

>>> len(program_fingerprint())
64
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import models
import xiaod

ROOMS = (
    "acquisition", "config", "domain", "inference", "picking", "pipeline", "tools/archive", "waveform",
)  # fmt: skip
"""Folders of ``xiaod`` whose code decides which picks there are, and what stands in them."""
LIBRARIES = ("numpy", "onnxruntime", "pymseed", "scipy")
"""Libraries that decode, filter and compute."""


@cache
def program_fingerprint() -> str:
    """SHA-256 of the source files of these rooms and of ``models``, and of the versions of the libraries."""
    digest = hashlib.sha256()
    home = Path(xiaod.__file__).parent
    for folder in [*(home / room for room in ROOMS), Path(models.__file__).parent]:
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder.parent)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()

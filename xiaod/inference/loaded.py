"""What engines and scout have in common once a model is loaded.

>>> from models.spec import ModelSpec
>>> LoadedModel(ModelSpec(name="example", version="1.0.0"), b"").sha256[:8]
'e3b0c442'
"""

import hashlib

from models.spec import ModelSpec


class LoadedModel:
    """Specification and hash of a weights file."""

    def __init__(self, spec: ModelSpec, content: bytes) -> None:
        self._spec = spec
        self._sha256 = hashlib.sha256(content).hexdigest()

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and gives."""
        return self._spec

    @property
    def sha256(self) -> str:
        """Hash of the weights file."""
        return self._sha256

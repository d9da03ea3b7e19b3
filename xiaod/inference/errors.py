"""What goes wrong with models.

>>> raise ModelError("x.onnx: no such file")
Traceback (most recent call last):
xiaod.inference.errors.ModelError: x.onnx: no such file
"""


class ModelError(Exception):
    """A model cannot be used; the message names the file and what is wrong with it."""

    def __init__(self, message: str, key: str = "model") -> None:
        """Args: what is wrong, and the key of ``engine`` in the configuration that mends it."""
        super().__init__(message)
        self.key = key

"""What goes wrong with models.

>>> raise ModelError("x.onnx: no such file")
Traceback (most recent call last):
xiaod.engines.errors.ModelError: x.onnx: no such file
"""


class ModelError(Exception):
    """A model cannot be used; the message names the file and what is wrong with it."""

"""Imports ONNX Runtime on first use, without its telemetry.

Some of its builds keep a database of their use in the home folder unless this variable is set before the library is
loaded. If the user has set the variable, it is left alone.
"""

import os
from types import ModuleType

TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
"""Environment variable that the library reads once, when it is loaded."""


def onnx_runtime() -> ModuleType:
    """The module ``onnxruntime``; the first call takes a tenth of a second.

    Raises:
        ImportError: when it is not installed.
    """
    os.environ.setdefault(TELEMETRY_SWITCH, "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module

"""torch on the CPU or a GPU: the other engine, for those who train; needs the extra ``distill``.

Weights are read from the ``.safetensors`` file beside the ONNX file; the specification from the ONNX file's own metadata copy in it. No
pickle is loaded.

>>> from models.weights import weights_path
>>> import numpy as np
>>> engine = TorchEngine(weights_path("micro"))
>>> engine.annotate(np.zeros((1, 3, 1000), np.float32)).shape
(1, 2, 1000)
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.frontend import prepare
from models.spec import ModelSpec, SpecError
from xiaod.inference.errors import ModelError
from xiaod.inference.loaded import WindowModel
from xiaod.inference.model_file import bounded_memory, read_model
from xiaod.process.plugins import missing

SUFFIX = ".safetensors"


class TorchEngine(WindowModel):
    """A student in a safetensors file."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load weights.

        Args:
            path: the weights, or the ONNX file beside them.
            threads: threads that torch may use.

        Raises:
            ModelError: when torch is not installed, or the file is not what is needed.
        """
        try:
            import torch
            from safetensors import SafetensorError, safe_open

            from models.small_phasenet import NetConfig, SmallPhaseNet
        except ImportError as error:
            raise ModelError(
                missing("torch", (error.name or "torch").partition(".")[0], "distill"), "kind"
            ) from error
        path = path.with_suffix(SUFFIX)
        try:
            content = read_model(path)
            with bounded_memory():
                with safe_open(path, framework="pt") as file:
                    spec = ModelSpec.from_metadata(file.metadata() or {})
                    weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is not a mapping
                net = SmallPhaseNet(spec.window_samples, config=NetConfig.from_dict(dict(spec.net)))
                net.load_state_dict(weights)
        except OSError as error:
            raise ModelError(f"{path}: cannot read the model: {error.strerror or error}") from error
        except SpecError as error:
            raise ModelError(f"{path}: {error}") from error
        except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
            # torch lists every key that does not fit, in lines of their own.
            raise ModelError(
                f"{path}: not weights of SmallPhaseNet as this version builds it: {str(error).splitlines()[0]}"
            ) from error
        torch.set_num_threads(threads)
        self._torch = torch
        self._net = net.eval()
        super().__init__(spec, content)

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of P and S; see :meth:`xiaod.inference.Engine.annotate`."""
        with self._torch.inference_mode():
            values = self._net(self._torch.from_numpy(prepare(self._spec.front_end, samples)))
        probabilities: NDArray[np.float32] = values.numpy()[:, self._rows]
        return probabilities

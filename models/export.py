"""From torch to ONNX and safetensors, with the specification in the file.

The exported graph takes prepared waves ``wave (n, 3, window_samples)`` and gives probabilities
``prob (n, 3, window_samples)``; ``n`` is free. The file is refused when ONNX Runtime does not
give what torch gives.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from models.small_phasenet import PRESETS, fresh_net
>>> from models.spec import ModelSpec
>>> net = fresh_net(PRESETS["nano"], seed=1).eval()
>>> with TemporaryDirectory() as folder:
...     path = export_onnx(net, ModelSpec("example", "1.0.0"), Path(folder) / "example.onnx")
...     path.stat().st_size < 100_000
True
"""

import warnings
from pathlib import Path

import numpy as np
import torch

from models.small_phasenet import SmallPhaseNet
from models.spec import ModelSpec

MAX_BYTES = 1_000_000
TOLERANCE = 1e-5
OPSET = 17


class ExportError(RuntimeError):
    """The exported file is not what it should be."""


def export_onnx(net: SmallPhaseNet, spec: ModelSpec, path: Path) -> Path:
    """Write a network in evaluation mode as ONNX.

    Raises:
        ExportError: when the file is too large, or its output differs from the network's.
    """
    import onnx
    import onnxruntime

    partial = path.with_suffix(".partial.onnx")
    example = torch.zeros(2, len(spec.components), spec.window_samples)
    with warnings.catch_warnings():
        # The tracing exporter is declared old, but it folds batch normalisation and needs no dynamic shapes
        # but n.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            partial,
            input_names=["wave"],
            output_names=["prob"],
            opset_version=OPSET,
            dynamic_axes={"wave": {0: "n"}, "prob": {0: "n"}},
            dynamo=False,
        )
    graph = onnx.load(partial)
    for key, value in spec.to_metadata().items():
        graph.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(graph)
    onnx.save(graph, partial)
    size = partial.stat().st_size
    if size > MAX_BYTES:
        raise ExportError(f"{path}: {size} bytes; at most {MAX_BYTES} are wanted")
    waves = np.random.default_rng(0).normal(size=(3, *example.shape[1:])).astype(np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(waves)).numpy()
    session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
    [given] = session.run(None, {"wave": waves})
    difference = float(np.abs(given - wanted).max())
    if difference > TOLERANCE:
        raise ExportError(
            f"{path}: ONNX Runtime differs from torch by {difference:.1e}; at most {TOLERANCE:.0e} is allowed"
        )
    partial.replace(path)
    return path

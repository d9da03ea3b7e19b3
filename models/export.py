"""Exports a network from torch to ONNX, with the specification in the file.

Three forms. *Windows*: prepared waves ``wave (n, 3, L)`` in, probabilities ``prob (n, 3, L)`` out; ``n`` and ``L`` are free. *Tail*: waves
``wave (n, 3, window_samples)`` and a number of samples ``read`` in, probabilities of so many last ones ``prob (n, 3, read)`` out, the same
numbers for less. Both: :mod:`models.windows`.
*Stateful* (:mod:`models.streaming`): chunks of prepared streams ``wave (rows, channels, steps)``, ``state (n, state_size)`` and
where they are (:mod:`models.chunks`) in, ``prob (rows, phases, steps)`` and ``next_state`` out. A file is refused if ONNX Runtime and
torch give different results.

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

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models.chunks import INPUTS, places
from models.conventions import FRONT_ENDS
from models.files import put_in_place
from models.runtime import onnx_runtime
from models.small_phasenet import SmallPhaseNet, net_of
from models.spec import ModelSpec
from models.streaming import StreamingPhaseNet
from models.weights import STATEFUL_SUFFIX, SUFFIX, streams, tail_path
from models.windows import WindowNet

MAX_BYTES = 1_000_000
TOLERANCE = 1e-5
if TYPE_CHECKING:
    import onnx

OPSET = 17
WEIGHTS_SUFFIX = ".safetensors"
WEIGHTS_MODE = 0o644
"""The library of ``.safetensors`` writes files that only their owner can read."""
TRIED = (1, 400, 601)
"""Last samples of a window that are tried, and all."""


class ExportError(RuntimeError):
    """The exported file is not what it should be."""


def export_onnx(net: SmallPhaseNet, spec: ModelSpec, path: Path) -> Path:
    """Write a network in evaluation mode as ONNX, in the form for windows.

    Raises:
        ExportError: when the file is too large, or its output differs from the network's.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = (spec.window_samples, spec.window_samples + 3)
    trials = [(torch.randn(3, len(spec.components), length, generator=generator),) for length in lengths]
    axes = {"wave": {0: "n", 2: "samples"}, "prob": {0: "n", 2: "samples"}}
    return _export(WindowNet(net).eval(), net, spec, path, trials, ("wave",), ("prob",), axes)


def export_tail(net: SmallPhaseNet, spec: ModelSpec, path: Path) -> Path:
    """Write a network in evaluation mode as ONNX, in the tail form.

    Raises:
        ExportError: when the file is too large, or its output differs from the network's.
    """
    spec = replace(spec, form="tail", tail_samples=spec.window_samples)
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(3, len(spec.components), spec.window_samples, generator=generator)
    reads = [min(read, spec.window_samples) for read in (*TRIED, spec.window_samples)]
    trials = [(wave, torch.tensor(read)) for read in reads]
    axes = {"wave": {0: "n"}, "prob": {0: "n", 2: "read"}}

    def last(wave: Tensor, read: Tensor) -> Tensor:
        return net(wave)[..., -read:]

    return _export(WindowNet(net).eval(), last, spec, path, trials, ("wave", "read"), ("prob",), axes)


def export_stateful(net: SmallPhaseNet, spec: ModelSpec, path: Path, chunk_samples: int = 0) -> Path:
    """Write a network in evaluation mode as ONNX, in the stateful form.

    Args:
        net: the network.
        spec: what it is; the keys of the form are filled in.
        path: file to write.
        chunk_samples: samples of a chunk; 0: the least, one step of the coarsest level.

    Raises:
        ExportError: when the file is too large, or its output differs from the network's.
        ValueError: when the chunk does not fit the network.
    """
    front_end = FRONT_ENDS[spec.front_end]
    streaming = StreamingPhaseNet(net, chunk_samples // front_end.step or net.config.steps[-1]).eval()
    spec = replace(
        spec,
        form="stateful",
        chunk_samples=streaming.chunk_samples * front_end.step,
        delay_samples=streaming.delay_samples * front_end.step + front_end.late,
        state_size=streaming.state_size,
    )
    generator = torch.Generator().manual_seed(0)
    trials = []
    state = streaming.fresh_state(3)
    # Until the state is full, so that a fresh one and a full one are both tried.
    for call in range(2 + streaming.delay_samples // streaming.chunk_samples):
        counts = np.array([1 + call % 3, 1, 2])
        wave = torch.randn(int(counts.sum()), net.in_channels, streaming.chunk_samples, generator=generator)
        trials.append((wave, state, *map(torch.from_numpy, places(counts, streaming.depth))))
        with torch.no_grad():
            _, state = streaming(*trials[-1])
    axes = {name: {0: "rows"} for name in ("wave", "stream", "number", "context", "prob")}
    axes |= {name: {0: "n"} for name in ("state", "chunks", "newest", "next_state")}
    return _export(streaming, streaming, spec, path, trials, INPUTS, ("prob", "next_state"), axes)


def _export(
    module: nn.Module,
    reference: Callable[..., Tensor | tuple[Tensor, ...]],
    spec: ModelSpec,
    path: Path,
    trials: list[tuple[Tensor, ...]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    axes: dict[str, dict[int, str]],
) -> Path:
    import onnx

    onnxruntime = onnx_runtime()

    partial = path.with_suffix(".partial.onnx")
    with warnings.catch_warnings():
        # The tracing exporter is declared old, but it folds batch normalisation; it warns of a length that is in fact free.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            trials[0],
            partial,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_axes=axes,
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
    session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
    for trial in trials:
        with torch.no_grad():
            found = reference(*trial)
        wanted = found if isinstance(found, tuple) else (found,)
        # What a network does not need is no input of its file.
        needed = {one.name for one in session.get_inputs()}
        values = {name: value.numpy() for name, value in zip(inputs, trial, strict=True) if name in needed}
        given = session.run(None, values)
        difference = max(
            float(np.abs(one - other.numpy()).max()) for one, other in zip(given, wanted, strict=True)
        )
        if difference > TOLERANCE:
            raise ExportError(
                f"{path}: ONNX Runtime differs from torch by {difference:.1e}; at most {TOLERANCE:.0e} is allowed"
            )
    return put_in_place(partial, path)


def write_weights(weights: dict[str, Tensor], spec: ModelSpec, path: Path) -> Path:
    """Write the numbers of a network as ``.safetensors``."""
    from safetensors.torch import save_file

    partial = path.with_suffix(f".partial{WEIGHTS_SUFFIX}")
    save_file(weights, partial, metadata=spec.to_metadata())
    partial.chmod(WEIGHTS_MODE)
    return put_in_place(partial, path)


def respecify(path: Path, change: Callable[[ModelSpec], ModelSpec]) -> ModelSpec:
    """Give a file another specification, and leave all numbers of its network as they are.

    Args:
        path: a ``.onnx`` or ``.safetensors`` file.
        change: from the specification in the file to the new one.

    Returns:
        The new one.

    Raises:
        SpecError: when the file has no specification.
    """
    if path.suffix == WEIGHTS_SUFFIX:
        weights, spec = _read_weights(path)
        write_weights(weights, new := change(spec), path)
        return new
    import onnx

    graph = onnx.load(path)
    new = change(_spec_of(graph))
    for prop in graph.metadata_props:
        prop.value = new.to_metadata().get(prop.key, prop.value)
    partial = path.with_suffix(".partial.onnx")
    onnx.save(graph, partial)
    put_in_place(partial, path)
    return new


def _spec_of(graph: "onnx.ModelProto") -> ModelSpec:
    return ModelSpec.from_metadata({prop.key: prop.value for prop in graph.metadata_props})


def _read_weights(path: Path) -> tuple[dict[str, Tensor], ModelSpec]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        # It is no mapping.
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, ModelSpec.from_metadata(file.metadata() or {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the form for windows and the tail form of some weights files anew, or the stateful form of one that streams."""
    import onnx

    parser = argparse.ArgumentParser(prog="python -m models.export", description=main.__doc__)
    parser.add_argument("weights", type=Path, nargs="+", metavar="NAME.safetensors")
    for path in parser.parse_args(arguments).weights:
        weights, spec = _read_weights(path)
        net = net_of(spec).eval()
        net.load_state_dict(weights)
        if streams(path):
            stateful = path.with_suffix(STATEFUL_SUFFIX)
            written = [export_stateful(net, spec, stateful, _spec_of(onnx.load(stateful)).chunk_samples)]
        else:
            windows = export_onnx(net, spec, path.with_suffix(SUFFIX))
            written = [windows, export_tail(net, spec, tail_path(windows))]
        sys.stdout.writelines(f"{one}\n" for one in written)
    return 0


if __name__ == "__main__":
    sys.exit(main())

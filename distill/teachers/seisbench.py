"""A teacher from SeisBench: any of its models that picks P and S, by name and weights, or with your own weights.

The model annotates a record with its own ``annotate``: windows, preprocessing, merging. ``PhaseNet`` also has the form of its
training (``aligned``): windows of 3,000 samples padded as in TensorFlow ("same":
``max((ceil(n / s) - 1) s + k - n, 0)`` samples, the odd one after); SeisBench's own form on 3,001 is about 30 ms late.

>>> split_name("PhaseNet/original")
('PhaseNet', 'original')
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config import ConfigError, TeacherSection
from distill.teachers.windows import annotate_windows, standardised

CACHE_VARIABLE = "SEISBENCH_CACHE_ROOT"
RATE_HZ = 100.0
ALIGNED_WINDOW = 3000
STRIDE, KERNEL = 4, 7
CODE = "XX.TEACH..HH"


def split_name(name: str) -> tuple[str, str]:
    """Model and weights of ``MODEL/WEIGHTS``.

    Raises:
        ConfigError: when it is not of that form.
    """
    model, slash, weights = name.partition("/")
    if not slash or not model or not weights:
        raise ConfigError(
            f"teacher.model: {name!r}: must be MODEL/WEIGHTS, for example PhaseNet/original, "
            "or MODEL/PATH with a path that model.save has written"
        )
    return model, weights


def load_model(name: str, cache: Path | None) -> Any:
    """Load a SeisBench model.

    Args:
        name: ``MODEL/WEIGHTS`` for pretrained weights, or ``MODEL/PATH`` for a file of the model's ``save``.
        cache: SeisBench's cache folder; None: SeisBench's own.

    Raises:
        ConfigError: when the model or the weights do not exist.
    """
    kind, weights = split_name(name)
    if cache is not None and not cache.is_dir():
        raise ConfigError(f"teacher.cache_root: {cache}: not there; empty stands for SeisBench's own cache")
    if cache is not None:
        # SeisBench reads the variable when it is imported first, and makes that folder if it is not there.
        os.environ.setdefault(CACHE_VARIABLE, str(cache))
    import seisbench.models

    if cache is not None:
        seisbench.cache_root, seisbench.cache_model_root = cache, cache / "models" / "v3"

    found = getattr(seisbench.models, kind, None)
    if found is None or not hasattr(found, "from_pretrained"):
        raise ConfigError(f"teacher.model: {name!r}: SeisBench has no model {kind!r}")
    path = Path(weights)
    try:
        local = Path(f"{path}.json").is_file() or path.with_suffix(".json").is_file()
        model = found.load(path) if local else found.from_pretrained(weights)
    except Exception as error:
        raise ConfigError(
            f"teacher.model: {name!r}: cannot be loaded: {error}; where there is no Internet, teacher.cache_root names a folder "
            "that holds SeisBench's cache, and kind: onnx a file, a shipped network for example"
        ) from error
    if not {"P", "S"} <= set(model.labels):
        raise ConfigError(f"teacher.model: {name!r}: gives {model.labels}; P and S are needed")
    model.eval()
    return model


class SeisBenchTeacher:
    """A SeisBench model with its ``annotate``, or PhaseNet in the form of its training."""

    def __init__(self, config: TeacherSection, cache: Path | None, threads: int) -> None:
        """Load the model.

        Raises:
            ConfigError: when it is not available.
        """
        import torch

        torch.set_num_threads(threads)
        self._model = load_model(config.model, cache)
        self._hop = config.hop_samples
        self._aligned = config.aligned
        if config.aligned and type(self._model).__name__ != "PhaseNet":
            raise ConfigError(
                f"teacher.aligned: only PhaseNet has such a form; teacher.model is {config.model!r}"
            )
        digest = hashlib.sha256()
        for key, value in sorted(self._model.state_dict().items()):
            digest.update(key.encode() + value.numpy().tobytes())
        self.fingerprint = digest.hexdigest()
        form = "padded as in its training" if config.aligned else "as SeisBench runs it"
        self.description = f"SeisBench {config.model}, {form}"

    def annotate(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        """See :class:`distill.teachers.Teacher`."""
        if self._aligned:
            return annotate_windows(record, ALIGNED_WINDOW, self._hop, self._run_aligned)
        return self._annotate_stream(record)

    def _annotate_stream(self, record: NDArray[np.float64]) -> NDArray[np.float32]:
        from obspy import Stream, Trace, UTCDateTime

        samples = record.shape[1]
        network, station, _, band = CODE.split(".")
        start = UTCDateTime(0)
        stream = Stream(
            [
                Trace(
                    row.astype(np.float32),
                    {
                        "network": network,
                        "station": station,
                        "channel": f"{band}{letter}",
                        "sampling_rate": RATE_HZ,
                        "starttime": start,
                    },
                )
                for letter, row in zip("ZNE", record, strict=True)
            ]
        )
        values = np.zeros((3, samples), np.float32)
        for trace in self._model.annotate(stream):
            phase = trace.stats.channel.rpartition("_")[2]
            if phase not in ("P", "S"):
                continue
            # A model of another rate gives curves at that rate; the grid here is 100 Hz.
            places = (trace.stats.starttime - start) + trace.times()
            curve = np.interp(
                np.arange(samples) / RATE_HZ, places, np.nan_to_num(trace.data), left=0.0, right=0.0
            )
            row = "NPS".index(phase)
            values[row] = np.maximum(values[row], curve)
        values[1:] /= np.maximum(values[1:].sum(axis=0), 1)
        values[0] = 1 - values[1:].sum(axis=0)
        return values

    def _run_aligned(self, waves: NDArray[np.float64]) -> NDArray[np.floating]:
        import torch

        order = ["ZNE".index(letter) for letter in self._model.component_order]
        rows = [self._model.labels.index(phase) for phase in "NPS"]
        with torch.no_grad():
            values = padded_as_trained(self._model, torch.from_numpy(standardised(waves[:, order])))
        probabilities: NDArray[np.floating] = values.numpy()[:, rows]
        return probabilities


def padded_as_trained(model: Any, wave: Any) -> Any:
    """Run the layers of a SeisBench PhaseNet with the padding of its training.

    Shape:
        ``(n, 3, L)`` in the model's order of components, standardised -> probabilities ``(n, 3, L)`` in its order of labels.
    """
    from torch.nn.functional import conv1d, pad

    wave = model.activation(model.in_bn(model.inc(wave)))
    skips = []
    for same, first_norm, down, second_norm in model.down_branch:
        wave = model.activation(first_norm(same(wave)))
        if down is None:
            continue
        skips.append(wave)
        length = wave.shape[-1]
        missing = max((-(-length // STRIDE) - 1) * STRIDE + KERNEL - length, 0)
        wave = pad(wave, (missing // 2, missing - missing // 2))
        wave = model.activation(second_norm(conv1d(wave, down.weight, stride=STRIDE)))
    for (up, first_norm, same, second_norm), skip in zip(model.up_branch, skips[::-1], strict=True):
        wave = model.activation(first_norm(up(wave)))[:, :, 1:-2]
        wave = model.activation(second_norm(same(model._merge_skip(skip, wave))))
    return model.softmax(model.out(wave))

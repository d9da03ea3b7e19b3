"""PhaseNet as SeisBench runs it: windows of 3,001 samples with its own normalisation, about 30 ms late.

The original padding of the first stride-4 convolution was (1, 2) on 3,000 samples; SeisBench pads (3, 3) on 3,001.

>>> WINDOW
3001
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.teachers.seisbench import load_model

WINDOW = 3001


def load_phasenet(cache: Path) -> Any:
    """Load the original PhaseNet through SeisBench's public interface, offline from a cache folder.

    Raises:
        ConfigError: when the cache does not hold it.
    """
    return load_model("PhaseNet/original", cache)


def seisbench_curves(model: Any) -> Callable[[NDArray[np.generic]], NDArray[np.floating]]:
    """Probabilities of N, P, S of a window of :data:`WINDOW` samples, Z N E, through the model's own preprocessing."""
    import torch

    order = ["ZNE".index(letter) for letter in model.component_order]
    rows = [model.labels.index(phase) for phase in "NPS"]

    def curves(window: NDArray[np.generic]) -> NDArray[np.floating]:
        wave = torch.from_numpy(np.ascontiguousarray(window[order], np.float32))[None]
        with torch.no_grad():
            prepared = model.annotate_batch_pre(wave, {})
            values: NDArray[np.floating] = model(prepared).numpy()[0][rows]
        return values

    return curves

"""PhaseNet as SeisBench runs it: windows of 3,001 samples with its own normalisation, about 30 ms late.

The original padding of the first stride-4 convolution was (1, 2) on 3,000 samples; SeisBench pads (3, 3) on 3,001.

>>> WINDOW
3001
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 3001
CACHE_VARIABLE = "SEISBENCH_CACHE_ROOT"


def load_phasenet(cache: Path, weights: str = "original") -> Any:
    """Load PhaseNet through SeisBench's public interface, offline from a cache folder.

    Raises:
        FileNotFoundError: when the cache does not hold it.
    """
    if not cache.is_dir():
        raise FileNotFoundError(f"{cache}: no such folder; it must hold SeisBench's models")
    # SeisBench reads the variable when it is imported.
    os.environ.setdefault(CACHE_VARIABLE, str(cache))
    import seisbench.models

    model = seisbench.models.PhaseNet.from_pretrained(weights)
    model.eval()
    return model


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

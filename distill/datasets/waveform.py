"""One waveform of a dataset, before the teacher labels it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Waveform:
    """Three components of one station at 100 Hz."""

    name: str
    """Unique in its dataset."""
    station: str
    """``NET.STA``."""
    kind: str
    """``event``, ``continuous`` or ``noise``."""
    waves: NDArray[np.int32] | NDArray[np.float32]
    """Shape ``(3, n)``, Z N E, counts; a missing component is zeros."""
    analyst: tuple[float | None, float | None] = (None, None)
    """Sample of the analyst's P and S."""
    event: str = ""
    """Its earthquake, if known."""
    origin: str = ""
    """Where it was published, if the dataset says so."""

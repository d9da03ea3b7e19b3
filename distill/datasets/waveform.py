"""One waveform of a dataset, before the teacher labels it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.types import Polarity

POLARITY_COLUMN = "trace_polarity"
"""Of SeisBench's format: what an analyst has read of the first motion."""
POLARITIES: Mapping[str, Polarity] = {"positive": "up", "negative": "down"}
"""The terms of that column and of QuakeML; any other is no reading."""


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
    polarity: Polarity | None = None
    """First motion of P on the vertical, if an analyst has read it."""


def polarity_of(row: Mapping[str, Any]) -> Polarity | None:
    """First motion in a row of metadata.

    >>> polarity_of({"trace_polarity": "negative"}), polarity_of({"trace_polarity": "undecidable"}), polarity_of({})
    ('down', None, None)
    """
    return POLARITIES.get(str(row.get(POLARITY_COLUMN, "")).lower())

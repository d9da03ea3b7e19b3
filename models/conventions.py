"""What all networks of this project have in common, whatever their size and form."""

from collections.abc import Mapping
from dataclasses import dataclass

RATE_HZ = 100.0
"""Sampling rate of the input."""
COMPONENTS = "ZNE"
"""Rows of the input."""
PHASES = ("P", "S")
"""What is picked, in this order wherever an array has a row for each."""
NOISE = "N"
ONSET = "onset"
"""What a network that streams notices: P or S, it does not say which."""


@dataclass(frozen=True)
class FrontEnd:
    """What a front end of :mod:`models.frontend` makes of three components at 100 Hz, and what a network behind it says."""

    channels: int
    step: int
    """Samples for each column of what it gives."""
    phases: tuple[str, ...]
    """Rows of the output; ``N`` is noise."""
    block: int = 1
    """Samples of the least piece of a stream that it takes."""
    late: int = 0
    """What a network says with a sample is said of the one so many before it."""


STANDARDISE, BANDS = "standardise-1", "bands-1"
FRONT_ENDS: Mapping[str, FrontEnd] = {
    STANDARDISE: FrontEnd(len(COMPONENTS), 1, (NOISE, *PHASES)),
    BANDS: FrontEnd(12, 4, (NOISE, ONSET), block=32, late=32),
}
"""All of them; the number in a name is raised when one changes what it gives."""

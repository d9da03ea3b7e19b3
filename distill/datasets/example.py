"""ObsPy's example event (BW.RJOB, 2009), after 24 s of its own noise: a dataset of one record, for trials.

Its onsets are those of PhaseNet, not of an analyst: they do not measure accuracy.

>>> [waveform] = ExampleDataset()
>>> waveform.waves.shape, waveform.analyst
((3, 5400), (2873.0, 2971.0))
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from distill.datasets.waveform import Waveform

ONSETS = (473, 571)
"""Samples of P and S in ObsPy's file."""
QUIET = 400
"""Samples before P that hold noise alone."""
COPIES = 6
COUNTS_PER_UNIT = 10.0
"""ObsPy ships the event filtered, in floats."""


class ExampleDataset:
    """One waveform."""

    def __init__(self) -> None:
        """Read the event."""
        import obspy

        stream = obspy.read()
        waves = np.stack([stream.select(component=letter)[0].data for letter in "ZNE"])
        quiet = waves[:, :QUIET]
        # Back and forth, so that the pieces join on to each other and the last one to the event.
        before = [quiet, quiet[:, ::-1]] * (COPIES // 2)
        whole = np.concatenate([*before, waves], axis=1)
        self._waves = np.asarray(whole * COUNTS_PER_UNIT, np.float32)
        self._onsets = (float(ONSETS[0] + COPIES * QUIET), float(ONSETS[1] + COPIES * QUIET))
        self.fingerprint = hashlib.sha256(self._waves.tobytes()).hexdigest()

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Waveform]:
        yield Waveform("example", "BW.RJOB", "event", self._waves, self._onsets, "2009-08-24")

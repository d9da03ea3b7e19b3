"""A corpus in one table and one HDF5 file, in SeisBench's format, read directly.

``metadata.csv`` has the columns ``trace_name``, ``network``, ``station``, ``kind``, ``p_sample``, ``s_sample`` and optionally
``event``, ``source`` and ``trace_polarity``; ``waveforms.hdf5`` holds ``data/TRACE_NAME``, rows Z N E or Z alone, at 100 Hz.

>>> CorpusDataset(Path("nowhere"))
Traceback (most recent call last):
FileNotFoundError: nowhere/metadata.csv: not there; a corpus is a folder with metadata.csv and waveforms.hdf5
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.datasets.waveform import Waveform, polarity_of

TABLE, WAVEFORMS = "metadata.csv", "waveforms.hdf5"
COLUMNS = frozenset({"trace_name", "network", "station", "kind", "p_sample", "s_sample"})
"""Those that the table must have."""


class CorpusDataset:
    """Waveforms of a corpus."""

    def __init__(self, folder: Path) -> None:
        """Read the table.

        Raises:
            FileNotFoundError: when a file does not exist.
        """
        import pandas as pd

        for name in (TABLE, WAVEFORMS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name}: not there; a corpus is a folder with {TABLE} and {WAVEFORMS}"
                )
        self._folder = folder
        self._table = pd.read_csv(folder / TABLE, keep_default_na=False)
        self.fingerprint = hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Waveform]:
        import h5py

        with h5py.File(self._folder / WAVEFORMS) as waveforms:
            for row in self._table.to_dict("records"):
                waves = waveforms[f"data/{row['trace_name']}"][:]
                # Records with a vertical component alone: as in the daemon, what is missing is zeros.
                waves = np.pad(waves, ((0, 3 - waves.shape[0]), (0, 0)))
                p_pick, s_pick = (
                    float(row[key]) if row[key] != "" else None for key in ("p_sample", "s_sample")
                )
                yield Waveform(
                    row["trace_name"],
                    f"{row['network']}.{row['station']}",
                    row["kind"],
                    waves,
                    (p_pick, s_pick),
                    str(row.get("event", "")),
                    str(row.get("source", "")),
                    polarity_of(row),
                )

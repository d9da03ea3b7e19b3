"""A SeisBench dataset, by name or by path.

SeisBench resamples traces to 100 Hz and orders them Z N E; missing components are zeros.

>>> first_column({"trace_Pg_arrival_sample": 1.0}, "P")
'trace_Pg_arrival_sample'
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import ConfigError
from distill.datasets.waveform import Waveform, polarity_of
from models.conventions import RATE_HZ

ARRIVALS: Mapping[str, tuple[str, ...]] = {
    "P": tuple(f"trace_{name}_arrival_sample" for name in ("p", "P", "Pg", "Pn", "P1", "pP")),
    "S": tuple(f"trace_{name}_arrival_sample" for name in ("s", "S", "Sg", "Sn", "S1", "sS")),
}
EVENT_COLUMNS = ("source_id", "event")


def first_column(row: Mapping[str, Any], phase: str) -> str | None:
    """The first column that holds an arrival of a phase in a row of metadata."""
    for name in ARRIVALS[phase]:
        value = row.get(name)
        if isinstance(value, int | float | np.number) and math.isfinite(float(value)):
            return name
    return None


class SeisBenchDataset:
    """Waveforms of a SeisBench dataset."""

    def __init__(self, name: str, folder: Path, split: str) -> None:
        """Open a dataset.

        Args:
            name: of a class in ``seisbench.data``; empty: the dataset in ``folder``.
            folder: of a dataset in SeisBench's format, if no name is given.
            split: ``train``, ``dev`` or ``test``; empty: all.

        Raises:
            ConfigError: when the dataset does not exist.
        """
        import seisbench.data

        options = {"sampling_rate": RATE_HZ, "component_order": "ZNE", "missing_components": "pad"}
        try:
            if name:
                self._data = getattr(seisbench.data, name)(**options)
            else:
                self._data = seisbench.data.WaveformDataset(folder, **options)
        except Exception as error:
            raise ConfigError(f"data.sources: {name or folder}: SeisBench cannot open it: {error}") from error
        if split:
            if "split" not in self._data.metadata or not (self._data.metadata["split"] == split).any():
                raise ConfigError(f"data.sources: {name or folder}: has no split {split!r}")
            self._data.filter(self._data.metadata["split"] == split)
        names = "\n".join(map(str, self._data.metadata["trace_name"])) + self._data.metadata.to_csv()
        self.fingerprint = hashlib.sha256(names.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Waveform]:
        for index in range(len(self._data)):
            waves, row = self._data.get_sample(index)
            columns = [first_column(row, phase) for phase in ("P", "S")]
            p_pick, s_pick = (None if column is None else float(row[column]) for column in columns)
            network = row.get("station_network_code", row.get("network", ""))
            station = row.get("station_code", row.get("station", ""))
            events = [
                str(row[key]) for key in EVENT_COLUMNS if key in row and str(row[key]) not in ("", "nan")
            ]
            known = p_pick is not None or s_pick is not None
            kind = row.get("kind") or (
                "event"
                if known
                else "noise"
                if "noise" in str(row.get("trace_category", ""))
                else "continuous"
            )
            yield Waveform(
                f"{row['trace_name']}",
                f"{network}.{station}",
                str(kind),
                np.nan_to_num(np.asarray(waves, np.float32)),
                (p_pick, s_pick),
                events[0] if events else "",
                polarity=polarity_of(row),
            )

"""Shared by the tests of the trainer: a small corpus of one real event."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from distill.evaluate import example_waves
from models.weights import weights_path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of the expected form: three stations with the same event, one with noise."""
    folder = tmp_path / "shared"
    (folder / "teacher.onnx").parent.mkdir()
    (folder / "teacher.onnx").write_bytes(weights_path("micro").read_bytes())
    event = (example_waves() * 100).astype(np.int32)
    for part in ("train", "dev_eval"):
        (folder / "data" / part).mkdir(parents=True)
        rows = []
        with h5py.File(folder / "data" / part / "waveforms.hdf5", "w") as file:
            for station, kind in (("A", "event"), ("B", "event"), ("C", "noise"), ("D", "event")):
                waves = event if kind == "event" else event[:, :1600]
                file[f"data/{part}_{station}"] = waves
                rows.append(
                    {
                        "trace_name": f"{part}_{station}",
                        "network": "XX",
                        "station": station,
                        "kind": kind,
                        "duration_s": waves.shape[1] / 100,
                        "source": "here",
                        "licence": "MIT",
                        "data_attribution": "XX doi:10.0/XX",
                        "p_sample": 1673 if kind == "event" else "",
                        "s_sample": 1771 if kind == "event" else "",
                    }
                )
        pd.DataFrame(rows).to_csv(folder / "data" / part / "metadata.csv", index=False)
    return folder

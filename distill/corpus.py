"""The training corpus: waveforms, soft labels, onsets and stations, with the teacher's output cached on disk.

Records are those of a SeisBench dataset with rows Z N E, or Z alone, at 100 Hz. Labels are the teacher's probabilities;
near an analyst's pick a Gaussian at the pick takes the greater part. Stations are held out whole.

>>> import numpy as np
>>> curve = np.zeros(300); curve[[100, 200]] = 0.5, 0.9
>>> onsets_of(curve, 0.3)
[100, 200]
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from distill.config import LabelSection, TrainConfig
from distill.teachers import Teacher

SEPARATION_SAMPLES = 50
NEAR_SAMPLES = 100
"""An onset of the teacher this close to an analyst's pick of the same phase is the same onset."""
SPLIT_SEED = 7
"""Which stations are held out does not change with the seed of a run."""


@dataclass(frozen=True)
class Record:
    """One waveform with labels."""

    name: str
    station: str
    kind: str
    waves: NDArray[np.int32] | NDArray[np.float32]
    """Shape ``(3, n)``, Z N E, counts."""
    labels: NDArray[np.float16]
    """Shape ``(3, n)``: N, P, S."""
    onsets: tuple[tuple[int, int], ...]
    """Sample and row (1 for P, 2 for S) of each onset."""
    analyst: tuple[float | None, float | None]
    """Sample of the analyst's P and S."""


@dataclass(frozen=True)
class Corpus:
    """Records for training and for validation; no station is in both."""

    training: tuple[Record, ...]
    validation: tuple[Record, ...]
    sha256: str
    """Hash of the data table: with the teacher's it names what was learnt from."""


def load_corpus(shared: Path, config: TrainConfig, teacher: Teacher, cache: Path) -> Corpus:
    """Read the data, annotate them with the teacher (or take its cached output), and split them by station.

    Raises:
        FileNotFoundError: when the data are not there.
    """
    records, sha256 = load_records(
        shared / config.data.folder, config, teacher, cache, shared / config.teacher.onnx
    )
    held = held_out_stations({record.station for record in records}, config)
    return Corpus(
        tuple(record for record in records if record.station not in held),
        tuple(record for record in records if record.station in held),
        sha256,
    )


def held_out_stations(stations: Iterable[str], config: TrainConfig) -> frozenset[str]:
    """Draw the stations that are held out of training."""
    names = sorted(stations)
    count = round(len(names) * config.data.validation_fraction)
    chosen = np.random.default_rng(SPLIT_SEED).choice(names, count, replace=False)
    return frozenset(str(name) for name in chosen)


def load_records(
    folder: Path, config: TrainConfig, teacher: Teacher, cache: Path, teacher_file: Path
) -> tuple[list[Record], str]:
    """All records of a dataset with labels, and the hash of its table."""
    import h5py
    import pandas as pd

    table_file = folder / "metadata.csv"
    table = pd.read_csv(table_file, keep_default_na=False)
    sha256 = hashlib.sha256(table_file.read_bytes()).hexdigest()
    key = hashlib.sha256()
    for part in (sha256.encode(), teacher_file.read_bytes(), config.teacher.model_dump_json().encode()):
        key.update(part)
    cached = cache / f"teacher-{key.hexdigest()[:16]}.npz"
    known = dict(np.load(cached)) if cached.exists() else {}
    records = []
    with h5py.File(folder / "waveforms.hdf5") as waveforms:
        for row in table.itertuples():
            waves = waveforms[f"data/{row.trace_name}"][:]
            # Records with a vertical component alone: as in the daemon, what is missing is zeros.
            waves = np.pad(waves, ((0, 3 - waves.shape[0]), (0, 0)))
            if row.trace_name not in known:
                known[row.trace_name] = teacher.annotate(waves.astype(np.float64)).astype(np.float16)
            analyst = tuple(float(text) if text != "" else None for text in (row.p_sample, row.s_sample))
            records.append(
                label_record(
                    row.trace_name,
                    f"{row.network}.{row.station}",
                    row.kind,
                    waves,
                    known[row.trace_name],
                    (analyst[0], analyst[1]),
                    config.labels,
                )
            )
    if not cached.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial.npz")
        np.savez(partial, **known)
        partial.rename(cached)
    return records, sha256


def label_record(
    name: str,
    station: str,
    kind: str,
    waves: NDArray[np.int32] | NDArray[np.float32],
    taught: NDArray[np.float16],
    analyst: tuple[float | None, float | None],
    config: LabelSection,
) -> Record:
    """Blend the teacher's probabilities with the analyst's picks and list the onsets."""
    labels = taught.astype(np.float32)
    onsets = []
    position = np.arange(labels.shape[1])
    for row, pick in zip((1, 2), analyst, strict=True):
        found = onsets_of(labels[row], config.onset_threshold)
        if pick is not None:
            found = [onset for onset in found if abs(onset - pick) >= NEAR_SAMPLES] + [round(pick)]
            gaussian = np.exp(-0.5 * ((position - pick) / config.sigma_samples) ** 2)
            near = np.abs(position - pick) < NEAR_SAMPLES
            blend = config.analyst_weight * gaussian + (1 - config.analyst_weight) * labels[row]
            labels[row] = np.where(near, blend, labels[row])
        onsets += [(onset, row) for onset in found if 0 <= onset < labels.shape[1]]
    excess = np.maximum(labels[1:].sum(axis=0), 1)
    labels[1:] /= excess
    labels[0] = 1 - labels[1:].sum(axis=0)
    return Record(name, station, kind, waves, labels.astype(np.float16), tuple(onsets), analyst)


def onsets_of(curve: NDArray[np.floating], threshold: float) -> list[int]:
    """Find the samples of the peaks of a probability curve."""
    peaks, _ = find_peaks(curve, height=threshold, distance=SEPARATION_SAMPLES)
    return [int(peak) for peak in peaks]

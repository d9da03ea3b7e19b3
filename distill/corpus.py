"""The training corpus: waveforms, soft labels, onsets and stations, with the teacher's output cached on disk.

Records come from the configured datasets (:mod:`distill.datasets`). Labels are the teacher's probabilities; near an analyst's
pick, a Gaussian at the pick has the greater weight. A station is held out with all its records.

>>> import numpy as np
>>> curve = np.zeros(300); curve[[100, 200]] = 0.5, 0.9
>>> onsets_of(curve, 0.3)
[100, 200]
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from distill.cache import TeacherCache
from distill.config import LabelSection, SourceSection, TrainConfig
from distill.datasets import open_dataset
from distill.progress import SILENT, Progress
from distill.teachers import Teacher
from models.conventions import RATE_HZ

SEPARATION_SAMPLES = 50
NEAR_SAMPLES = 100
"""An onset of the teacher within this time of an analyst's pick of the same phase is the same onset."""
SPLIT_SEED = 7
"""Seed of the choice of held-out stations, whatever the seed of a run."""


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
    event: str = ""
    """Its earthquake, if known."""
    weight: float = 1.0
    """How much more often than others it is drawn."""

    @property
    def labelled(self) -> bool:
        """Whether an analyst picked it."""
        return any(pick is not None for pick in self.analyst)


@dataclass(frozen=True)
class Corpus:
    """Records for training and for validation; no station is in both."""

    training: tuple[Record, ...]
    validation: tuple[Record, ...]
    sha256: str
    """Hash of the data table; with the teacher's hash it identifies the training data."""


def load_corpus(
    shared: Path, config: TrainConfig, teacher: Teacher, cache: Path, progress: Progress = SILENT
) -> Corpus:
    """Read the data, annotate them with the teacher (or take its cached output), and split them by station.

    With ``data.split_events`` no earthquake is in both parts either: those that held-out stations recorded are excluded from training.

    Raises:
        FileNotFoundError, ConfigError: when the data do not exist.
    """
    records, hashes = [], []
    for source in config.data.all_sources:
        found, fingerprint = load_records(source, shared, config, teacher, cache, progress)
        records += found
        hashes.append(fingerprint)
    held = held_out_stations({record.station for record in records}, config)
    validation = tuple(record for record in records if record.station in held)
    events = {record.event for record in validation if record.event} if config.data.split_events else set()
    training = tuple(
        record for record in records if record.station not in held and record.event not in events
    )
    sha256 = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return Corpus(training, validation, sha256)


def summary(corpus: Corpus) -> dict[str, Any]:
    """Count records, hours and onsets of both parts, and of each station."""
    result: dict[str, Any] = {"data_sha256": corpus.sha256}
    for name, records in (("training", corpus.training), ("held out", corpus.validation)):
        stations: dict[str, dict[str, Any]] = {}
        for record in records:
            row = stations.setdefault(
                record.station, {"records": 0, "hours": 0.0, "P": 0, "S": 0, "analysts": 0}
            )
            row["records"] += 1
            row["hours"] = round(row["hours"] + record.waves.shape[1] / RATE_HZ / 3600, 4)
            row["analysts"] += int(record.labelled)
            for _, phase in record.onsets:
                row["NPS"[phase]] += 1
        total = {
            key: round(sum(row[key] for row in stations.values()), 2)
            for key in ("records", "hours", "P", "S", "analysts")
        }
        result[name] = {"stations": len(stations), **total, "by station": stations}
    return result


def held_out_stations(stations: Iterable[str], config: TrainConfig) -> frozenset[str]:
    """Draw the stations that are held out of training."""
    names = sorted(stations)
    count = round(len(names) * config.data.validation_fraction)
    chosen = np.random.default_rng(SPLIT_SEED).choice(names, count, replace=False)
    return frozenset(str(name) for name in chosen)


def load_records(
    source: SourceSection,
    shared: Path,
    config: TrainConfig,
    teacher: Teacher,
    cache: Path,
    progress: Progress = SILENT,
) -> tuple[list[Record], str]:
    """All records of a source with labels, and the hash of its data."""
    what = source.path or source.name or source.kind
    progress.say(f"reading {what}")
    dataset = open_dataset(source, shared)
    settings = config.teacher.model_dump_json(exclude_defaults=True)
    known = TeacherCache(cache, dataset.fingerprint, teacher.fingerprint, settings)
    records = []
    for waveform in progress.over(dataset, what, len(dataset)):
        taught = known.get(waveform.name)
        if taught is None:
            taught = teacher.annotate(waveform.waves.astype(np.float64)).astype(np.float16)
            known.put(waveform.name, taught)
        record = label_record(
            waveform.name,
            waveform.station,
            waveform.kind,
            waveform.waves,
            taught,
            waveform.analyst,
            config.labels,
        )
        records.append(replace(record, event=waveform.event, weight=source.weight))
    known.save()
    return records, dataset.fingerprint


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


def without_horizontals(record: Record) -> Record:
    """The record of a station that has only a vertical component; labels stay."""
    waves = record.waves.copy()
    waves[1:] = 0
    return replace(record, waves=waves)


def onsets_of(curve: NDArray[np.floating], threshold: float) -> list[int]:
    """Find the samples of the peaks of a probability curve."""
    peaks, _ = find_peaks(curve, height=threshold, distance=SEPARATION_SAMPLES)
    return [int(peak) for peak in peaks]

"""The training corpus: waveforms, soft labels, onsets and stations, with the teacher's output cached on disk.

Records come from the configured datasets (:mod:`distill.datasets`). Labels are the teacher's probabilities; near an analyst's
pick, a Gaussian at the pick has the greater weight. A station is held out with all its records, and so is one whose noise is set apart.

>>> import numpy as np
>>> curve = np.zeros(300); curve[[100, 200]] = 0.5, 0.9
>>> onsets_of(curve, 0.3)
[100, 200]
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from distill.cache import TeacherCache
from distill.config import ConfigError, LabelSection, SourceSection, TrainConfig
from distill.datasets import open_dataset
from distill.progress import SILENT, Progress
from distill.teachers import Teacher
from models.conventions import RATE_HZ

SEPARATION_SAMPLES = 50
NEAR_SAMPLES = 100
"""An onset of the teacher within this time of an analyst's pick of the same phase is the same onset."""
CONFIRMED_SAMPLES = 30
"""The teacher confirms an analyst's pick if it sees an onset so near."""
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
    labels: NDArray[np.floating]
    """Shape ``(3, n)``: N, P, S."""
    onsets: tuple[tuple[int, int], ...]
    """Sample and row (1 for P, 2 for S) of each onset."""
    analyst: tuple[float | None, float | None]
    """Sample of the analyst's P and S."""
    event: str = ""
    """Its earthquake, if known."""
    weight: float = 1.0
    """How much more often than others it is drawn."""
    origin: str = ""
    """Where it was published, if the dataset says so."""
    false_picks: tuple[int, ...] = ()
    """Samples at which a student picks what the teacher does not see."""

    @property
    def labelled(self) -> bool:
        """Whether an analyst picked it."""
        return any(pick is not None for pick in self.analyst)


@dataclass(frozen=True)
class Corpus:
    """Records for training and for validation, and noise that is in neither; no station is in two of them."""

    training: tuple[Record, ...]
    validation: tuple[Record, ...]
    sha256: str
    """Hash of the data table; with the teacher's hash it identifies the training data."""
    noise: tuple[Record, ...] = ()
    """Without a known earthquake, of stations of which nothing is trained on; empty if none is set apart."""


def load_corpus(
    shared: Path, config: TrainConfig, teacher: Teacher, cache: Path, progress: Progress = SILENT
) -> Corpus:
    """Read the data, annotate them with the teacher (or take its cached output), and split them by station.

    What a source adds leaves the stations of those before it where they are: in training, held out, or with their noise set apart.
    With ``data.split_events`` no earthquake is in both parts either: those that held-out stations recorded are excluded from training.

    Raises:
        FileNotFoundError, ConfigError: when the data do not exist, or a source has less noise than is to be set apart.
    """
    records, hashes = [], []
    known, held, apart = set[str](), set[str](), set[str]()
    for source in config.data.all_sources:
        found, fingerprint = load_records(source, shared, config, teacher, cache, progress)
        new = {record.station for record in found} - known
        held |= held_out_stations(new, config)
        apart |= stations_apart([record for record in found if record.station in new - held], source)
        known |= new
        records += found
        hashes.append(fingerprint)
    validation = tuple(record for record in records if record.station in held)
    events = {record.event for record in validation if record.event} if config.data.split_events else set()
    training = tuple(
        record for record in records if record.station not in held | apart and record.event not in events
    )
    noise = tuple(record for record in records if record.station in apart and record.kind != "event")
    sha256 = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return Corpus(training, validation, sha256, noise)


def summary(corpus: Corpus) -> dict[str, Any]:
    """Count records, hours and onsets of both parts, and of each station."""
    result: dict[str, Any] = {"data_sha256": corpus.sha256}
    parts = {"training": corpus.training, "held out": corpus.validation, "noise set apart": corpus.noise}
    for name, records in parts.items():
        stations: dict[str, dict[str, Any]] = {}
        for record in records:
            row = stations.setdefault(
                record.station, {"records": 0, "hours": 0.0, "P": 0, "S": 0, "analysts": 0}
            )
            row["records"] += 1
            row["hours"] = round(row["hours"] + hours_of([record]), 4)
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


def stations_apart(records: Sequence[Record], source: SourceSection) -> frozenset[str]:
    """Draw the stations whose noise is set apart: of each origin the same part, but where it has one station alone.

    Raises:
        ConfigError: when there is less than is wanted.
    """
    if not source.noise_apart_h:
        return frozenset()
    hours: dict[str, dict[str, float]] = {}
    for record in records:
        if record.kind != "event":
            of_origin = hours.setdefault(record.origin, {})
            of_origin[record.station] = of_origin.get(record.station, 0.0) + hours_of([record])
    hours = {origin: stations for origin, stations in sorted(hours.items()) if len(stations) > 1}
    total = sum(sum(stations.values()) for stations in hours.values())
    if total <= source.noise_apart_h:
        raise ConfigError(
            f"data.sources: {source.path or source.name}: noise_apart_h: {source.noise_apart_h:g}: stations that are neither held out "
            f"nor the only one of their origin have {total:.1f} h without a known earthquake; at least some must be left to train on"
        )
    rng = np.random.default_rng(SPLIT_SEED)
    chosen = set()
    for stations in hours.values():
        wanted_h = sum(stations.values()) * source.noise_apart_h / total
        for station in rng.permutation(sorted(stations)):
            if wanted_h <= 0:
                break
            chosen.add(str(station))
            wanted_h -= stations[str(station)]
    return frozenset(chosen)


def hours_of(records: Iterable[Record]) -> float:
    """Duration of all records."""
    samples: int = sum(record.waves.shape[1] for record in records)
    return samples / RATE_HZ / 3600


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
    dataset = open_dataset(source, shared, progress)
    settings = config.teacher.model_dump_json(exclude_defaults=True)
    known = TeacherCache(cache, dataset.fingerprint, teacher.fingerprint, settings)
    records, left_out = [], set[str]()
    for waveform in progress.over(dataset, what, len(dataset)):
        if waveform.station in source.without:
            left_out.add(waveform.station)
            continue
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
        records.append(
            replace(record, event=waveform.event, weight=source.weight, origin=waveform.origin or what)
        )
    known.save()
    if unknown := set(source.without) - left_out:
        raise ConfigError(f"data.sources: {what}: without: no such station: {', '.join(sorted(unknown))}")
    return records, dataset.fingerprint


def label_record(
    name: str,
    station: str,
    kind: str,
    waves: NDArray[np.int32] | NDArray[np.float32],
    taught: NDArray[np.floating],
    analyst: tuple[float | None, float | None],
    config: LabelSection,
) -> Record:
    """Blend the teacher's probabilities with the analyst's picks and list the onsets; labels have the precision of the probabilities."""
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
    return Record(name, station, kind, waves, labels.astype(taught.dtype), tuple(onsets), analyst)


def silenced(record: Record) -> Record:
    """The record without its horizontals; labels stay."""
    waves = record.waves.copy()
    waves[1:] = 0
    return replace(record, waves=waves)


def without_horizontals(record: Record, teacher: Teacher, config: LabelSection) -> Record:
    """The record of a station that has only a vertical component, labelled by what the teacher sees in it.

    An analyst's pick stays where the teacher sees it too.
    """
    alone = silenced(record)
    taught = teacher.annotate(alone.waves.astype(np.float64))
    p_pick, s_pick = (
        pick if pick is not None and confirms(taught[row], pick, config.onset_threshold) else None
        for row, pick in zip((1, 2), record.analyst, strict=True)
    )
    labelled = label_record(
        record.name, record.station, record.kind, alone.waves, taught, (p_pick, s_pick), config
    )
    return replace(alone, labels=labelled.labels, onsets=labelled.onsets, analyst=labelled.analyst)


def confirms(curve: NDArray[np.floating], pick: float, threshold: float) -> bool:
    """Whether the teacher sees an onset near an analyst's pick, in a record that was changed after it was picked."""
    return any(abs(onset - pick) <= CONFIRMED_SAMPLES for onset in onsets_of(curve, threshold))


def noise_of(corpus: Corpus) -> list[Record]:
    """Records of noise: of stations that are not trained on if noise is set apart, otherwise of all."""
    records = (*corpus.noise, *corpus.validation) if corpus.noise else corpus.training + corpus.validation
    return [record for record in records if record.kind == "noise"]


def onsets_of(curve: NDArray[np.floating], threshold: float) -> list[int]:
    """Find the samples of the peaks of a probability curve."""
    peaks, _ = find_peaks(curve, height=threshold, distance=SEPARATION_SAMPLES)
    return [int(peak) for peak in peaks]

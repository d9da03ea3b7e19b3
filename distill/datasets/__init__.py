"""Datasets of waveforms: a corpus, a SeisBench dataset, a folder of miniSEED."""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

from distill.config import SourceSection
from distill.datasets.corpus import COLUMNS, CorpusDataset
from distill.datasets.example import ExampleDataset
from distill.datasets.miniseed import MiniSeedDataset
from distill.datasets.seisbench import SeisBenchDataset
from distill.datasets.waveform import Waveform
from distill.progress import SILENT, Progress

__all__ = ["DATASETS", "Dataset", "Waveform", "kind_of", "open_dataset"]


class Dataset(Protocol):
    """Waveforms in a fixed order."""

    @property
    def fingerprint(self) -> str:
        """Hash of its content."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Waveform]: ...


def open_dataset(source: SourceSection, shared: Path, progress: Progress = SILENT) -> Dataset:
    """Open the dataset of a configuration; its paths are below ``shared`` unless they are absolute.

    ``progress`` shows the reading of a folder of miniSEED; that of others takes place as waveforms are asked for.

    Raises:
        ConfigError, FileNotFoundError: when it does not exist.
    """
    return DATASETS[source.kind](source, shared, progress)


def kind_of(folder: Path) -> Literal["corpus", "seisbench", "miniseed"]:
    """The kind of data in a folder: a table with the columns of a corpus, tables and HDF5 files of SeisBench, else miniSEED."""
    for table in sorted(folder.glob("metadata*.csv")):
        with table.open(encoding="utf-8", newline="") as file:
            if set(next(csv.reader(file), [])) >= COLUMNS:
                return "corpus"
        # A folder of miniSEED may hold a table, too.
        if any(folder.glob("waveforms*.hdf5")):
            return "seisbench"
    return "miniseed"


def _corpus(source: SourceSection, shared: Path, progress: Progress) -> Dataset:
    return CorpusDataset(shared / source.path)


def _seisbench(source: SourceSection, shared: Path, progress: Progress) -> Dataset:
    return SeisBenchDataset(source.name, shared / source.path, source.split)


def _miniseed(source: SourceSection, shared: Path, progress: Progress) -> Dataset:
    return MiniSeedDataset(
        shared / source.path, shared / source.quakeml if source.quakeml else None, progress
    )


def _example(source: SourceSection, shared: Path, progress: Progress) -> Dataset:
    return ExampleDataset()


DATASETS: Mapping[str, Callable[[SourceSection, Path, Progress], Dataset]] = {
    "corpus": _corpus,
    "example": _example,
    "seisbench": _seisbench,
    "miniseed": _miniseed,
}
"""Kind of source -> function that opens it."""

"""Datasets of waveforms: a corpus, a SeisBench dataset, a folder of miniSEED."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from distill.config import SourceSection
from distill.datasets.corpus import CorpusDataset
from distill.datasets.example import ExampleDataset
from distill.datasets.miniseed import MiniSeedDataset
from distill.datasets.seisbench import SeisBenchDataset
from distill.datasets.waveform import Waveform

__all__ = ["DATASETS", "Dataset", "Waveform", "open_dataset"]


class Dataset(Protocol):
    """Waveforms in a fixed order."""

    @property
    def fingerprint(self) -> str:
        """Hash of its content."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Waveform]: ...


def open_dataset(source: SourceSection, shared: Path) -> Dataset:
    """Open the dataset of a configuration; its paths are below ``shared`` unless they are absolute.

    Raises:
        ConfigError, FileNotFoundError: when it does not exist.
    """
    return DATASETS[source.kind](source, shared)


def _corpus(source: SourceSection, shared: Path) -> Dataset:
    return CorpusDataset(shared / source.path)


def _seisbench(source: SourceSection, shared: Path) -> Dataset:
    return SeisBenchDataset(source.name, shared / source.path, source.split)


def _miniseed(source: SourceSection, shared: Path) -> Dataset:
    return MiniSeedDataset(shared / source.path, shared / source.quakeml if source.quakeml else None)


def _example(source: SourceSection, shared: Path) -> Dataset:
    return ExampleDataset()


DATASETS: Mapping[str, Callable[[SourceSection, Path], Dataset]] = {
    "corpus": _corpus,
    "example": _example,
    "seisbench": _seisbench,
    "miniseed": _miniseed,
}
"""Kind of source -> function that opens it."""

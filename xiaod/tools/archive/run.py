"""``xiaod pick`` over an archive: plan, workers, journal and output.

In: files and folders, and :class:`ArchiveOptions`. Out: picks in order of time, then identifier, the same for any workers and however often
the run was interrupted. Memory holds the plan, and the picks of about a day.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from tqdm import tqdm

from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S, ns_from_s
from xiaod.domain.types import Instrument, Pick
from xiaod.inference import Engine
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import (
    MAX_NAMED,
    StreamSink,
    exit_status,
    located,
    output_stream,
    tell_unpicked,
)
from xiaod.process.logs import get_logger
from xiaod.process.stdout import leave_quietly
from xiaod.tools.archive.chunk import ChunkResult, Job
from xiaod.tools.archive.chunk_runner import ChunkRunner, OnResult
from xiaod.tools.archive.journal import Journal
from xiaod.tools.archive.merger import Merger
from xiaod.tools.archive.plan import DAY_NS, Chunk, Selection, plan
from xiaod.tools.archive.workers import InProcess, ProcessPool, WorkerError, WorkerPool, quiet
from xiaod.waveform.data_account import Anomaly, Coverage, DataAccount

DELIVERED = 256
"""Picks written to the output at once."""
DAY_S = DAY_NS / NS_PER_S


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How an archive is picked."""

    selection: Selection = field(default_factory=Selection)
    workers: int = 1
    scheduler: str | None = None
    """Address of a dask scheduler; None: processes on this machine."""
    journal: Path | None = None
    """Folder in which finished chunks are kept."""


@dataclass
class Totals:
    """Totals of a run."""

    chunks: int = 0
    picks: int = 0
    records: int = 0
    cpu_s: float = 0.0


def pick_archive(
    inputs: Sequence[Path],
    config: Config,
    options: ArchiveOptions,
    style: str,
    output: Path | None,
    progress: bool,
    stations_file: Path | None = None,
) -> int:
    """Pick an archive. Returns the exit status: 0, or 1 when nothing in it could be read or no worker is left.

    Raises:
        ModelError, StationsError: when the model or the file of stations is wrong.
        MissingExtraError: when dask is needed and not installed.
        OSError: when an input cannot be read or something cannot be written.
    """
    quiet()
    if options.workers > 1 or options.scheduler is not None:
        config = config.model_copy(update={"engine": config.engine.model_copy(update={"threads": 1})})
    config = located(config, stations_file)
    run = ArchiveRun(config, open_engine(config), options, progress)
    try:
        with output_stream(output) as stream:
            sink = StreamSink(style, stream, config.agency, config.stations)
            batch: list[Pick] = []
            for pick in run.picks(inputs):
                batch.append(pick)
                if len(batch) == DELIVERED:
                    sink.deliver(batch, 0)
                    batch = []
            sink.deliver(batch, 0)
            sink.close()
    except BrokenPipeError:
        leave_quietly()
    except WorkerError as error:
        kept = (
            ""
            if options.journal is None
            else f"; what is finished is in {options.journal}: run again to go on"
        )
        tqdm.write(f"{error}{kept}", file=sys.stderr)
        return 1
    return exit_status(run.totals.records, inputs)


class ArchiveRun:
    """One run over an archive."""

    def __init__(self, config: Config, engine: Engine, options: ArchiveOptions, progress: bool) -> None:
        self._config = config
        self._options = options
        self._progress = progress
        self._job = Job(config, engine.sha256)
        self._damaged: set[str] = set()
        self._misplaced: set[str] = set()
        self._notes = DataAccount()
        self._unpicked: dict[Instrument, Coverage] = {}
        self._unpicked_places: dict[Instrument, dict[str, Any]] = {}
        self._log = get_logger("archive")
        self.totals = Totals()

    def picks(self, inputs: Sequence[Path]) -> Iterator[Pick]:
        """All picks in order of time, then identifier.

        Raises:
            WorkerError: when no worker is left.
            ModelError, MissingExtraError, OSError: see :func:`pick_archive`.
        """
        workers = self._workers()
        try:
            chunks = self._plan(inputs)
            folder = self._options.journal
            journal = None if folder is None else Journal(folder, self._job.fingerprint)
            with _ProgressBar(len(chunks), self._progress) as on_result:
                for pick in self._merged(ChunkRunner(chunks, workers, journal, on_result)):
                    if self._options.selection.holds(pick.time_ns):
                        self.totals.picks += 1
                        yield pick
        finally:
            workers.close()
        self._summary()

    def _plan(self, inputs: Sequence[Path]) -> Sequence[Chunk]:
        with tqdm(unit=" files", desc="plan", disable=not self._progress, file=sys.stderr) as bar:
            found = plan(inputs, self._options.selection, lambda files: _advance(bar, files))
        for path, what in found.damaged.items():
            self._damage(path, what)
        self.totals.chunks = len(found.chunks)
        return found.chunks

    def _merged(self, runner: ChunkRunner) -> Iterator[Pick]:
        merger = Merger(ns_from_s(self._config.picker.min_separation_s))
        for chunk, result in runner.results():
            self.totals.records += result.records
            self.totals.cpu_s += result.cpu_s
            self._notes.add(result.notes)
            self._supplied(chunk, result)
            for path, what in result.damaged:
                self._damage(path, what)
            for path, count in result.misplaced.items():
                if path not in self._misplaced:
                    self._misplaced.add(path)
                    self._log.error(
                        "archive.misplaced",
                        file=path,
                        records=count,
                        consequence="not of the instrument or day in the file's name: not picked",
                    )
            yield from merger.add(chunk, result.picks)
        yield from merger.finish()

    def _supplied(self, chunk: Chunk, result: ChunkResult) -> None:
        """Note a chunk in which no window was full."""
        if result.longest_s:
            self._unpicked.setdefault(chunk.instrument, Coverage()).add(result.data_s, result.longest_s)
            first = {"days": 0, "first_day": chunk.day, "first_file": chunk.files[0].path}
            self._unpicked_places.setdefault(chunk.instrument, first)["days"] += 1

    def _workers(self) -> WorkerPool:
        options = self._options
        if options.scheduler is not None:
            from xiaod.tools.archive.dask_cluster import DaskCluster

            return DaskCluster(self._job, options.scheduler)
        return InProcess(self._job) if options.workers == 1 else ProcessPool(self._job, options.workers)

    def _damage(self, path: str, what: str) -> None:
        """Log a damaged file, once."""
        if path not in self._damaged:
            self._damaged.add(path)
            self._log.error("archive.damaged", file=path, detail=what)

    def _summary(self) -> None:
        """Log the summary of the run."""
        if self._damaged:
            self._log.error("archive.damaged_files", files=len(self._damaged))
        by_event: dict[str, list[Anomaly]] = {}
        for note in self._notes.anomalies:
            by_event.setdefault(note.event, []).append(note)
        for event, notes in by_event.items():
            for note in notes[:MAX_NAMED]:
                self._log.error(event, stream=note.stream, count=note.count, **note.facts)
            if len(notes) > MAX_NAMED:
                self._log.error(event, more_streams=len(notes) - MAX_NAMED)
        tell_unpicked(self._unpicked, self._config, self._unpicked_places)


class _ProgressBar:
    """A progress bar over chunks, with hours of data and data-days per minute; tqdm shows the time left."""

    def __init__(self, total: int, shown: bool) -> None:
        self._bar = tqdm(
            total=total,
            unit=" chunks",
            desc="pick",
            disable=not shown,
            file=sys.stderr,
        )
        self._begun_s = monotonic()
        self._data_s = 0.0

    def __enter__(self) -> OnResult:
        return self._on_result

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _on_result(self, result: ChunkResult, found: bool) -> None:
        if found and not self._bar.disable:
            # Chunks from the journal say nothing about the speed.
            self._bar.initial += 1
        self._data_s += 0.0 if found else result.data_s
        days_min = self._data_s / DAY_S / max(monotonic() - self._begun_s, 1e-3) * 60
        hours = self._data_s / 3600
        self._bar.set_postfix_str(f"{hours:.1f} h of data, {days_min:.2f} data-days/min", refresh=False)
        self._bar.update()


def _advance(bar: "tqdm[NoReturn]", files: int) -> None:
    bar.update(files - bar.n)

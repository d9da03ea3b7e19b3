"""``xiaod pick`` over an archive: plan, crew, journal and output together.

In: files and folders, and :class:`ArchiveOptions`. Out: picks in order of time, then identifier, the same whoever works and however often
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
from xiaod.config.inventory import read_stations
from xiaod.domain.timegrid import NS_PER_S, ns_from_s
from xiaod.domain.types import Instrument, Pick
from xiaod.inference import Engine
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import MAX_NAMED, StreamSink, output_stream, tell_unpicked, used
from xiaod.process.logs import get_logger
from xiaod.process.stdout import leave_quietly
from xiaod.tools.archive.crew import Alone, Crew, CrewError, Pool, quiet
from xiaod.tools.archive.journal import Journal
from xiaod.tools.archive.merge import Merger
from xiaod.tools.archive.piece import Job, Outcome
from xiaod.tools.archive.plan import DAY_NS, Piece, Stretch, plan
from xiaod.tools.archive.work import Told, Work
from xiaod.waveform.data_account import Anomaly, Coverage, DataAccount

DELIVERED = 256
"""Picks that are handed to the output at once."""
DAY_S = DAY_NS / NS_PER_S


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How an archive is worked on."""

    stretch: Stretch = field(default_factory=Stretch)
    workers: int = 1
    scheduler: str | None = None
    """Address of a dask scheduler; None: processes on this machine."""
    journal: Path | None = None
    """Folder in which finished pieces are kept."""


@dataclass
class Account:
    """What came of a run."""

    pieces: int = 0
    picks: int = 0
    records: int = 0
    windows_s: float = 0.0
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
    """Pick an archive; gives the exit status: 0, or 1 when nothing in it could be read or nobody is left to work.

    Raises:
        ModelError, StationsError: when the model or the file of stations is wrong.
        MissingExtraError: when dask is asked for and not installed.
        OSError: when an input cannot be read or something cannot be written.
    """
    quiet()
    if options.workers > 1 or options.scheduler is not None:
        config = config.model_copy(update={"engine": config.engine.model_copy(update={"threads": 1})})
    stations = None if stations_file is None else read_stations(stations_file)
    run = ArchiveRun(config, open_engine(config), options, progress)
    try:
        with output_stream(output) as stream:
            sink = StreamSink(style, stream, config.agency, stations)
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
    except CrewError as error:
        kept = (
            ""
            if options.journal is None
            else f"; what is finished is in {options.journal}: run again to go on"
        )
        tqdm.write(f"{error}{kept}", file=sys.stderr)
        return 1
    return used(run.account.records, inputs)


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
        self.account = Account()

    def picks(self, inputs: Sequence[Path]) -> Iterator[Pick]:
        """All picks in order of time, then identifier.

        Raises:
            CrewError: when nobody is left to work.
            ModelError, MissingExtraError, OSError: see :func:`pick_archive`.
        """
        crew = self._crew()
        try:
            pieces = self._plan(inputs)
            folder = self._options.journal
            journal = None if folder is None else Journal(folder, self._job.fingerprint)
            with _Bar(len(pieces), self._progress) as told:
                for pick in self._merged(Work(pieces, crew, journal, told)):
                    if self._options.stretch.holds(pick.time_ns):
                        self.account.picks += 1
                        yield pick
        finally:
            crew.close()
        self._summary()

    def _plan(self, inputs: Sequence[Path]) -> Sequence[Piece]:
        with tqdm(unit=" files", desc="plan", disable=not self._progress, file=sys.stderr) as bar:
            found = plan(inputs, self._options.stretch, lambda files: _advance(bar, files))
        for path, what in found.damaged.items():
            self._damage(path, what)
        self.account.pieces = len(found.pieces)
        return found.pieces

    def _merged(self, work: Work) -> Iterator[Pick]:
        merger = Merger(ns_from_s(self._config.picker.min_separation_s))
        for piece, outcome in work.outcomes():
            self.account.records += outcome.records
            self.account.windows_s += outcome.windows_s
            self.account.cpu_s += outcome.cpu_s
            self._notes.add(outcome.notes)
            self._supplied(piece, outcome)
            for path, what in outcome.damaged:
                self._damage(path, what)
            for path, count in outcome.misplaced.items():
                if path not in self._misplaced:
                    self._misplaced.add(path)
                    self._log.error(
                        "archive.misplaced",
                        file=path,
                        records=count,
                        consequence="not of the instrument or day in the file's name: not picked",
                    )
            yield from merger.add(piece, outcome.picks)
        yield from merger.finish()

    def _supplied(self, piece: Piece, outcome: Outcome) -> None:
        """Take note of a piece of which no window was full."""
        if outcome.longest_s:
            self._unpicked.setdefault(piece.instrument, Coverage()).add(outcome.data_s, outcome.longest_s)
            first = {"days": 0, "first_day": piece.day, "first_file": piece.files[0].path}
            self._unpicked_places.setdefault(piece.instrument, first)["days"] += 1

    def _crew(self) -> Crew:
        options = self._options
        if options.scheduler is not None:
            from xiaod.tools.archive.cluster import Cluster

            return Cluster(self._job, options.scheduler)
        return Alone(self._job) if options.workers == 1 else Pool(self._job, options.workers)

    def _damage(self, path: str, what: str) -> None:
        """Name a damaged file once."""
        if path not in self._damaged:
            self._damaged.add(path)
            self._log.error("archive.damaged", file=path, detail=what)

    def _summary(self) -> None:
        """What an operator should know of the whole run."""
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


class _Bar:
    """A progress bar over pieces, with the hours of data and data-days a minute; tqdm tells the time that is left."""

    def __init__(self, total: int, shown: bool) -> None:
        interval_s = 0.1 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=total,
            unit=" pieces",
            desc="pick",
            disable=not shown,
            file=sys.stderr,
            mininterval=interval_s,
        )
        self._begun_s = monotonic()
        self._data_s = 0.0

    def __enter__(self) -> Told:
        return self._told

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _told(self, outcome: Outcome, found: bool) -> None:
        if found and not self._bar.disable:
            # What was there already says nothing about the speed.
            self._bar.initial += 1
        self._data_s += 0.0 if found else outcome.windows_s
        days_min = self._data_s / DAY_S / max(monotonic() - self._begun_s, 1e-3) * 60
        hours = self._data_s / 3600
        self._bar.set_postfix_str(f"{hours:.1f} h of data, {days_min:.2f} data-days/min", refresh=False)
        self._bar.update()


def _advance(bar: "tqdm[NoReturn]", files: int) -> None:
    bar.update(files - bar.n)

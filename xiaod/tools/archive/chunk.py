"""Picking one chunk, with enough data before and after it that its picks are those of a run over everything.

In: a :class:`~xiaod.tools.archive.plan.Chunk`. Out: a :class:`ChunkResult`. The pipeline is that of ``xiaod pick``; filters, windows and
late components are those of a run over everything after :func:`margins_ns` of data. A damaged file is named in the result, and the rest of
it is used.

>>> from xiaod.config import SeedLinkConfig
>>> before_ns, after_ns = margins_ns(Config(sources=(SeedLinkConfig(server="localhost"),)))
>>> before_ns // 10**9, after_ns // 10**9
(134, 61)
"""

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from time import process_time
from typing import TYPE_CHECKING

from xiaod.acquisition import Emit
from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.acquisition.patterns import matches
from xiaod.config import Config
from xiaod.domain.resumption import warm_up_s
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import BadRecord, Pick, Segment, SourceItem
from xiaod.inference import Engine
from xiaod.inference.errors import ModelError
from xiaod.picking.picker import LATE_NOTICE_S
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.tools.archive.plan import DAY_NS, Chunk
from xiaod.tools.archive.program import program_fingerprint
from xiaod.tools.archive.sds import sds_name
from xiaod.waveform.data_account import Anomaly, DataAccount

if TYPE_CHECKING:
    from pymseed import MS3Record

EDGE_NS = 50_000_000
"""Picks up to this much before a chunk are in its result too: with a drifting clock, two chunks may disagree on the side of midnight."""
RECORDS_S = 65.0
"""Longest record expected: 4096 bytes at 20 Hz."""
MAX_DAMAGE = 100
"""Reported places of damage in one chunk."""
HARMLESS = frozenset({"empty", "log"})
"""Reasons for which a record without samples is no damage."""

_OWN = threading.local()


@dataclass(frozen=True, slots=True)
class Job:
    """Settings common to all chunks of a run."""

    config: Config
    model_sha256: str
    program: str = field(default_factory=program_fingerprint)
    """The code and libraries with which the run was begun."""

    @property
    def fingerprint(self) -> str:
        """What the picks of a chunk depend on besides its data."""
        config = self.config.model_dump_json(include={"buffer", "early", "windows", "picker"})
        responses = self.config.stations.responses_sha256
        return hashlib.sha256(f"{self.program} {self.model_sha256} {config} {responses}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """Picks of a chunk, and what was read."""

    picks: tuple[Pick, ...]
    records: int = 0
    """Decoded records, those in the margins included."""
    cpu_s: float = 0.0
    damaged: tuple[tuple[str, str], ...] = ()
    """Files, and what is wrong in them and where."""
    data_s: float = 0.0
    """Data within the chunk of the component that has most, seconds."""
    longest_s: float = 0.0
    """If no window was full: the longest data without a gap, seconds."""
    notes: tuple[Anomaly, ...] = ()
    """Irregularities of streams."""
    misplaced: Mapping[str, int] = field(default_factory=dict)
    """Files, and how many of their records are not used because the file name says another instrument or day."""


def margins_ns(config: Config) -> tuple[int, int]:
    """Data read before and after a chunk, ns."""
    length_s, lead_s, picker = config.windows.length_s, config.buffer.max_lead_s, config.picker
    hop_s = max(config.windows.final_hop_s, config.windows.early_hop_s)
    # A window carries a hop of the data before it along.
    before_s = warm_up_s(length_s) + hop_s + lead_s + RECORDS_S
    # The last, cut window is searched to its end: it must begin after all that count. What withdraws an early pick comes later still.
    after_s = length_s + picker.final_lookahead_s + hop_s + LATE_NOTICE_S + picker.min_separation_s + lead_s
    return ns_from_s(before_s), ns_from_s(after_s)


def pick_chunk(job: Job, chunk: Chunk) -> ChunkResult:
    """Pick a chunk in this process.

    Raises:
        ModelError: when model or program of this machine are not those of the run.
    """
    begun_s = process_time()
    before_ns, after_ns = margins_ns(job.config)
    source = _ChunkSource(chunk, chunk.start_ns - before_ns, chunk.stop_ns + after_ns)
    sink, account = ListSink(), DataAccount((chunk.start_ns, chunk.stop_ns))
    run_offline(
        job.config, _engine(job), source, sink, letters={chunk.instrument: chunk.letters}, account=account
    )
    return ChunkResult(
        tuple(pick for pick in sink.picks if chunk.start_ns - EDGE_NS <= pick.time_ns < chunk.stop_ns),
        source.records,
        process_time() - begun_s,
        tuple(source.damaged),
        max(source.data_s.values(), default=0.0),
        max((coverage.longest_s for coverage in account.unpicked.values()), default=0.0),
        tuple(account.anomalies),
        dict(source.misplaced),
    )


class _ChunkSource:
    """The records of a chunk as a source; damage is collected instead of being logged."""

    name = FileSource.name

    def __init__(self, chunk: Chunk, from_ns: int, to_ns: int) -> None:
        self._chunk = chunk
        self._from_ns = from_ns
        self._to_ns = to_ns
        self.damaged: list[tuple[str, str]] = []
        self.misplaced: Counter[str] = Counter()
        self.data_s: defaultdict[str, float] = defaultdict(float)
        """Seconds of data of each component within the chunk."""
        files = []
        extents = {}
        for name, begin, stop in chunk.files:
            if not (path := Path(name)).is_file():
                self.damaged.append((name, "is gone"))
                continue
            files.append(path)
            if stop is not None:
                extents[path] = begin, stop
        self._source = FileSource(files, wanted=self._wanted, extents=extents)

    @property
    def records(self) -> int:
        """Records that could be used."""
        return self._source.records

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._source.stop()

    def run(self, emit: Emit) -> None:
        """Yield the records of the chunk in order of start time."""

        def pass_on(item: SourceItem) -> None:
            if not isinstance(item, BadRecord):
                if isinstance(item, Segment) and self._chunk.start_ns <= item.start_ns < self._chunk.stop_ns:
                    self.data_s[item.channel.component] += len(item.samples) / item.sampling_rate_hz
                emit(item)
            elif item.reason not in HARMLESS and len(self.damaged) < MAX_DAMAGE:
                path, _, what = item.detail.partition(": ")
                self.damaged.append((path, what))

        self._source.run(pass_on)

    def _wanted(self, path: Path, header: "MS3Record") -> bool:
        channel = channel_of(header.sourceid)
        chunk = self._chunk
        named = sds_name(path.name)
        if named is not None and named.channel.instrument == chunk.instrument:
            day = (header.starttime + header.endtime) // 2 // DAY_NS
            # Another channel of the same instrument is used like the one in the name.
            foreign = channel is None or channel.instrument != chunk.instrument
            if foreign or abs(day - named.day) > 1:
                self.misplaced[str(path)] += 1
        return (
            channel is not None
            and channel.instrument == chunk.instrument
            and header.endtime >= self._from_ns
            and header.starttime < self._to_ns
            and matches(channel, chunk.patterns)
        )


def _engine(job: Job) -> Engine:
    """The thread's own engine: an engine serves one thread at a time, and loading takes longer than a short chunk."""
    engine: Engine | None = getattr(_OWN, "engine", None)
    if engine is None or _OWN.fingerprint != job.fingerprint:
        if program_fingerprint() != job.program:
            raise ModelError(
                f"{gethostname()}: the code of this program, or a library of it, differs from where the run was begun; "
                "install the same version on all machines, and begin the run again"
            )
        engine = open_engine(job.config)
        if engine.sha256 != job.model_sha256:
            raise ModelError(
                f"{job.config.engine.model}: on {gethostname()} another model than where the run was begun; "
                "install the same version and weights on all machines"
            )
        _OWN.engine, _OWN.fingerprint = engine, job.fingerprint
    return engine

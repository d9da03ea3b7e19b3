"""miniSEED files of any shape as version 2 records of one length, in order of their last sample.

In: files and folders, or ``example``. Out: an `Archive`: the records to serve, and the problems met. Records
that already are of that length (512 bytes, as is the custom of SeedLink v3, unless told otherwise) pass through
byte for byte; everything else (other lengths, version 3, no blockette 1000) is unpacked and packed again with
its sample type kept. What cannot be read is named, counted and skipped.

>>> archive = load(["example"])
>>> sorted({record.stream for record in archive.records})
['BW_RJOB__EHE', 'BW_RJOB__EHN', 'BW_RJOB__EHZ']
>>> {len(record.raw) for record in archive.records}, archive.problems
({512}, ())
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pymseed import MS3Record, sourceid2nslc

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.process.file_tree import files_below
from xiaod.replay.config import EXAMPLE, ReplayError
from xiaod.replay.header import BTIME, BTIME_BIG, btime_struct, ticks_of
from xiaod.replay.packet import Record
from xiaod.replay.repack import TraceSegment, repack

DATA_TYPE, LOG_TYPE = "D", "L"
"""SeedLink's one-letter types of packets."""
SHOWN_PROBLEMS = 5
"""Problems spelled out in the error when nothing at all could be read."""

_HEADER = re.compile(rb"[0-9 \0]{6}[DRQM][ \0]|MS\x03")
_HEADER_BYTES = 64
_BLOCKETTE_1000 = 1000


@dataclass(frozen=True)
class Problem:
    """Something that was not served.

    Attributes:
        path: the file.
        offset: byte where it begins.
        reason: what is wrong.
    """

    path: str
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: byte {self.offset}: {self.reason}"


@dataclass(frozen=True)
class Archive:
    """The records to replay.

    Attributes:
        records: in order of their last sample.
        problems: what was skipped, and why.
    """

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


def load(inputs: Sequence[str | Path], record_bytes: int = RECORD_BYTES) -> Archive:
    """Read all inputs into records of a length.

    Raises:
        ReplayError: if an input does not exist, or nothing at all can be served.
    """
    problems: list[Problem] = []
    records: list[Record] = []
    for path, raw in _contents(inputs, problems):
        records.extend(_read(path, raw, record_bytes, problems))
    if not records:
        shown = "; ".join(map(str, problems[:SHOWN_PROBLEMS])) or "no files found"
        names = ", ".join(map(str, inputs))
        raise ReplayError(
            f"no miniSEED record could be read from {names}: {shown}. Name miniSEED files or {EXAMPLE!r}"
        )
    records.sort(key=lambda record: (record.end_ns, record.start_ns, record.stream))
    return Archive(tuple(records), tuple(problems))


def _contents(inputs: Sequence[str | Path], problems: list[Problem]) -> Iterator[tuple[str, bytes]]:
    for item in inputs:
        path = Path(item)
        if item == EXAMPLE and not path.exists():
            from xiaod.replay.example import example_records

            yield EXAMPLE, example_records()
            continue
        if not path.exists():
            raise ReplayError(f"{path}: no such file or folder. Name miniSEED files, folders or {EXAMPLE!r}")
        for file in files_below(path) if path.is_dir() else [path]:
            try:
                yield str(file), file.read_bytes()
            except OSError as error:
                problems.append(Problem(str(file), 0, f"cannot be read: {error.strerror}"))


def _read(path: str, content: bytes, record_bytes: int, problems: list[Problem]) -> Iterator[Record]:
    """Yield the records of one file; segments to repack are joined, so that new records are full."""
    pending: TraceSegment | None = None
    for offset, parsed in _parsed(path, content, problems):
        raw = content[offset : offset + parsed.reclen]
        if _fit_to_serve(parsed, raw, record_bytes):
            yield from _flush(path, pending, record_bytes, problems)
            pending = None
            yield from _described([raw], path, offset, problems)
            continue
        if parsed.samprate <= 0 or parsed.samplecnt <= 0:
            problems.append(Problem(path, offset, f"holds no samples and is no {record_bytes}-byte record"))
            continue
        try:
            segment = TraceSegment.unpack(raw + content[:_HEADER_BYTES], offset)
        except RuntimeError as error:
            problems.append(Problem(path, offset, f"samples cannot be decoded: {error}"))
            continue
        if pending is not None and pending.continued_by(segment):
            pending = pending.joined(segment)
        else:
            yield from _flush(path, pending, record_bytes, problems)
            pending = segment
    yield from _flush(path, pending, record_bytes, problems)


def _flush(
    path: str, segment: TraceSegment | None, record_bytes: int, problems: list[Problem]
) -> Iterator[Record]:
    if segment is None:
        return
    try:
        packed = repack(segment, record_bytes)
    except RuntimeError as error:
        problems.append(
            Problem(path, segment.offset, f"cannot become {record_bytes}-byte miniSEED 2 records: {error}")
        )
        return
    yield from _described(packed, path, segment.offset, problems)


def _parsed(path: str, content: bytes, problems: list[Problem]) -> Iterator[tuple[int, Any]]:
    """Walk over the records of a file; after damage, go on at the next thing that looks like a header."""
    # Where blockette 1000 is missing, libmseed finds a record's length by the header that
    # follows. So that the last one has a follower, the first header is put there again.
    view = memoryview(content + content[:_HEADER_BYTES])
    offset = 0
    damage: Problem | None = None
    while offset < len(content):
        try:
            parsed = MS3Record.parse(view[offset:])
            if offset + parsed.reclen > len(content):
                raise EOFError(f"the record of {parsed.reclen} bytes is cut off")
        except (RuntimeError, EOFError) as error:
            damage = damage or Problem(path, offset, f"no miniSEED record ({str(error).strip()})")
            found = _HEADER.search(content, offset + 1)
            offset = found.start() if found else len(content)
            continue
        if damage is not None:
            problems.append(damage)
            damage = None
        yield offset, parsed
        offset += parsed.reclen
    if damage is not None:
        problems.append(damage)


def _fit_to_serve(parsed: Any, raw: bytes, record_bytes: int) -> bool:
    if parsed.formatversion != 2 or len(raw) != record_bytes:
        return False
    order: Literal["big", "little"] = "big" if btime_struct(raw) is BTIME_BIG else "little"
    first = int.from_bytes(
        raw[46:48], order
    )  # clients find length and encoding in blockette 1000, if it is there
    while 48 <= first <= record_bytes - 8:
        if int.from_bytes(raw[first : first + 2], order) == _BLOCKETTE_1000:
            return True
        following = int.from_bytes(raw[first + 2 : first + 4], order)
        first = following if following > first else 0
    return False


def _described(packed: Iterable[bytes], path: str, offset: int, problems: list[Problem]) -> Iterator[Record]:
    for raw in packed:
        try:
            parsed = MS3Record.parse(raw)
            network, station, location, channel = sourceid2nslc(parsed.sourceid)
            order = btime_struct(raw)
            sampled = parsed.samprate > 0 and parsed.samplecnt > 0
            yield Record(
                network,
                station,
                location,
                channel,
                DATA_TYPE if sampled else LOG_TYPE,
                parsed.starttime,
                parsed.endtime if sampled else parsed.starttime,
                raw,
                ticks_of(raw[BTIME], order),
                order,
            )
        except (RuntimeError, ValueError) as error:
            problems.append(Problem(path, offset, f"header makes no sense: {error}"))

"""miniSEED files and folders as a source, in order of time, for offline runs.

Headers are read first. So the records of all files are merged by start time, while only those that overlap are in memory. An archive of
many gigabytes costs some 80 bytes of memory for each record (40 in the index, the rest while it is sorted). An illegible record becomes a
:class:`~xiaod.domain.types.BadRecord` with the name of the file.

Records in archives may be a minute long. They are passed on in pieces: otherwise one component would be a minute ahead of the others, and
the buffers would not wait for those.

>>> FileSource([Path("nowhere.mseed")]).run(print)
Traceback (most recent call last):
FileNotFoundError: nowhere.mseed: no such file or folder
"""

import heapq
import mmap
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from pymseed import MS3Record, PymseedError

from xiaod.acquisition import Emit
from xiaod.acquisition.miniseed import RECORD_LENGTHS, RECORD_START, channel_of, decode, duration_s
from xiaod.domain.types import BadRecord, Segment
from xiaod.process.file_tree import files_below

MAX_OPEN_FILES = 128
PART_BYTES = 1 << 14
"""What is read of a file at once."""
MAX_PARTS = 256
"""Parts of files that are kept."""

Extent = tuple[int, int]
"""First byte of a part of a file, and the byte after the last."""

WHOLE: Mapping[Path, Extent] = MappingProxyType({})

Wanted = Callable[[Path, MS3Record], bool]
"""Whether to use a record of a file, by its header."""


def holds_records(path: Path) -> bool:
    """Whether a file begins as miniSEED does.

    Raises:
        OSError: when it cannot be read.
    """
    with path.open("rb") as file:
        return RECORD_START.match(file.read(8)) is not None


class FileSource:
    """Files as a source; implements :class:`xiaod.acquisition.Source`."""

    name = "files"

    def __init__(
        self,
        inputs: Sequence[Path],
        progress: Callable[[float, float], None] | None = None,
        wanted: Wanted | None = None,
        extents: Mapping[Path, Extent] = WHOLE,
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            inputs: miniSEED files, and folders with such files at any depth.
            progress: called with the hours of data that are done, and all hours; the components of an instrument count once together.
            wanted: which records are used; None: all.
            extents: parts of files that are read; other files are read whole.
        """
        self._inputs = inputs
        self._progress = progress
        self._wanted = wanted
        self._extents = extents
        self._stop = threading.Event()
        self.records = 0
        """Records used so far."""

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stop.set()

    def run(self, emit: Emit) -> None:
        """Yield all records in order of start time.

        Raises:
            FileNotFoundError: when an input does not exist.
        """
        files = list(files_of(self._inputs))
        index = _Index(self._wanted)
        for number, path in enumerate(files):
            index.add(number, path, emit, self._extents.get(path))
        hours = index.hours()
        total, done = float(sum(map(hours, range(len(index.files))))), 0.0
        handles = _Handles(files)
        pieces = _Pieces(emit)
        try:
            for entry in index.ordered():
                if self._stop.is_set():
                    return
                pieces.hand_on(index.starts_ns[entry])
                length = index.lengths[entry]
                item = decode(handles.read(index.files[entry], index.offsets[entry], length), self.name)
                done += hours(entry)
                if isinstance(item, BadRecord):
                    path = files[index.files[entry]]
                    item = BadRecord(
                        self.name,
                        item.reason,
                        f"{path}: byte {index.offsets[entry]}: {item.detail}",
                        item.stream,
                        length,
                        str(path),
                    )
                    emit(item)
                else:
                    self.records += 1
                    pieces.take(item)
                if self._progress is not None:
                    self._progress(done, total)
            pieces.hand_on()
        finally:
            handles.close()


def files_of(inputs: Sequence[Path]) -> Iterator[Path]:
    """Files, and the files in folders at any depth, in order of their names: see :mod:`xiaod.process.file_tree`.

    Raises:
        FileNotFoundError: when an input does not exist.
    """
    for path in inputs:
        if path.is_dir():
            yield from files_below(path)
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")


def why_nothing(inputs: Sequence[Path]) -> str:
    """A sentence that says why no record was found.

    Raises:
        OSError: when an input is not there any more.
    """
    files = list(files_of(inputs))
    if not files:
        return "there is no file in it; name miniSEED files, or folders with miniSEED files at any depth"
    if not any(path.is_file() and holds_records(path) for path in files):
        return f"none of {len(files)} file(s) begins as miniSEED does"
    return "holds no record of the stations and times that were asked for that could be read"


def headers_of(path: Path) -> Iterator[tuple[int, MS3Record | str]]:
    """Offset of each record of a file, and its header or what is wrong there; reading goes on at the next record after damage.

    Raises:
        OSError: when the file cannot be read.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield from _headers(content)


class _Index:
    """File, offset, length and start of every record, in plain arrays: 40 bytes a record."""

    def __init__(self, wanted: Wanted | None) -> None:
        self._wanted = wanted
        self.files = array("l")
        self.offsets = array("q")
        self.lengths = array("l")
        self.starts_ns = array("q")
        self._seconds = array("f")
        self._streams = array("l")
        self._numbers: dict[str, int] = {}
        """Streams by their identifiers."""

    def hours(self) -> Callable[[int], float]:
        """Hours of data of a record, divided by the number of components of its instrument."""
        instruments = [
            name if (channel := channel_of(name)) is None else channel.instrument for name in self._numbers
        ]
        components = Counter(instruments)
        shares = [1 / 3600 / components[instrument] for instrument in instruments]
        return lambda entry: self._seconds[entry] * shares[self._streams[entry]]

    def add(self, number: int, path: Path, emit: Emit, extent: Extent | None = None) -> None:
        """Read the headers of a file, past damage."""
        try:
            if not path.stat().st_size:
                return
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                self._scan(number, path, content, emit, extent)
        except OSError as error:
            emit(BadRecord(FileSource.name, "not_miniseed", f"{path}: byte 0: {error}", file=str(path)))

    def _scan(self, number: int, path: Path, content: mmap.mmap, emit: Emit, extent: Extent | None) -> None:
        for offset, found in _headers(content, extent):
            if isinstance(found, str):
                reason = "not_miniseed" if offset == 0 else "decode"
                detail = f"{path}: byte {offset}: {found}"
                emit(BadRecord(FileSource.name, reason, detail, file=str(path)))
            elif self._wanted is None or self._wanted(path, found):
                self.files.append(number)
                self.offsets.append(offset)
                self.lengths.append(found.reclen)
                self.starts_ns.append(found.starttime)
                self._seconds.append(duration_s(found))
                self._streams.append(self._numbers.setdefault(found.sourceid, len(self._numbers)))

    def ordered(self) -> list[int]:
        """Records in order of their start; of the same start, in the order of files."""
        return sorted(range(len(self.starts_ns)), key=self.starts_ns.__getitem__)


def _headers(content: mmap.mmap, extent: Extent | None = None) -> Iterator[tuple[int, MS3Record | str]]:
    begin, stop = (0, len(content)) if extent is None else extent
    offset: int | None = begin
    usual = 0
    while offset is not None and offset < min(stop, len(content)):
        try:
            record = _record_at(content, offset, usual)
        except (PymseedError, ValueError) as error:
            yield offset, str(error)
            offset = _next_record(content, offset + 1)
            continue
        yield offset, record
        usual = record.reclen
        offset += usual


def _record_at(content: mmap.mmap, offset: int, usual: int = 0) -> MS3Record:
    """The header of the record at an offset, which is as long as the one before it, ``usual``, as a rule.

    Raises:
        PymseedError, ValueError: when there is none.
    """
    if usual:
        with suppress(PymseedError, ValueError):
            return MS3Record.parse(content[offset : offset + usual])
    # Enough bytes for any record; a copy, because libmseed may refer to it after the map is closed.
    return MS3Record.parse(content[offset : offset + RECORD_LENGTHS[-1]])


def _next_record(content: mmap.mmap, offset: int) -> int | None:
    """Offset of the next record that can be parsed."""
    for found in RECORD_START.finditer(content, offset):
        try:
            _record_at(content, found.start())
        except (PymseedError, ValueError):
            continue
        return found.start()
    return None


class _Pieces:
    """Pieces of long records that wait for their time."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._held: list[tuple[int, int, Segment]] = []
        self._count = 0

    def take(self, segment: Segment) -> None:
        """Pass on the first piece of a record, and hold the others."""
        first, *others = segment.pieces()
        self._emit(first)
        for piece in others:
            self._count += 1
            heapq.heappush(self._held, (piece.start_ns, self._count, piece))

    def hand_on(self, until_ns: int | None = None) -> None:
        """Pass on the pieces that begin up to a time, or all."""
        while self._held and (until_ns is None or self._held[0][0] <= until_ns):
            self._emit(heapq.heappop(self._held)[2])


class _Handles:
    """The open files, and what was read of them: those used most recently.

    Records of a file that are of the same time may lie far from each other, and those beside them are wanted soon.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._open: dict[int, BinaryIO] = {}
        self._part = lru_cache(MAX_PARTS)(self._read)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Bytes of a file."""
        part, begin = divmod(offset, PART_BYTES)
        end = begin + length
        content = self._part(number, part)
        if end > PART_BYTES:
            others = range(part + 1, part + 1 + (end - 1) // PART_BYTES)
            content = b"".join([content, *[self._part(number, other) for other in others]])
        return content[begin:end]

    def close(self) -> None:
        """Close all."""
        for handle in self._open.values():
            handle.close()
        self._open.clear()
        self._part.cache_clear()

    def _read(self, number: int, part: int) -> bytes:
        handle = self._open.pop(number, None)
        if handle is None:
            if len(self._open) >= MAX_OPEN_FILES:
                oldest = next(iter(self._open))
                self._open.pop(oldest).close()
            handle = self._files[number].open("rb")
        self._open[number] = handle
        handle.seek(part * PART_BYTES)
        content: bytes = handle.read(PART_BYTES)
        return content

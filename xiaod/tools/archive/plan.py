"""The plan: an archive cut into chunks, each of one instrument and one day of UTC.

In: files and folders. Out: chunks in order of time. If a file has an SDS name (:mod:`xiaod.tools.archive.sds`)
that agrees with its first record, the name says what it holds; of all other files the headers are read. The plan depends on the archive
alone, not on the workers, and so do the picks.

A chunk reads the files of its own day and of the days before and after it, because records, windows and filters reach across midnight.
If there is no file for the day before or after, half of that day belongs to the chunk too, because a record may lie across midnight.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.miniseed_files import Extent, files_of, headers_of
from xiaod.acquisition.patterns import matches
from xiaod.domain.components import KNOWN_LETTERS
from xiaod.domain.timegrid import NS_PER_S, iso_from_ns
from xiaod.domain.types import Channel, Instrument
from xiaod.tools.archive.sds import sds_name

if TYPE_CHECKING:
    from pymseed import MS3Record

DAY_NS = 86_400 * NS_PER_S
EVERYTHING = ("*.*.*.*",)
MAX_RECORD_DAYS = 3
"""A record that claims to be longer counts as damaged."""

_STATION_PATTERN = re.compile(r"[^.\s]+\.[^.\s]+(\.[^.\s]*\.[^.\s]+)?")


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of an archive to pick."""

    since_ns: int | None = None
    until_ns: int | None = None
    """Exclusive."""
    patterns: tuple[str, ...] = EVERYTHING
    """``NET.STA.LOC.CHA`` with ``*``, ``?`` and ``[..]``."""

    def holds(self, time_ns: int) -> bool:
        """Whether a time is selected.

        >>> Selection(since_ns=5).holds(5), Selection(until_ns=5).holds(5)
        (True, False)
        """
        return (self.since_ns is None or time_ns >= self.since_ns) and (
            self.until_ns is None or time_ns < self.until_ns
        )


class FileRange(NamedTuple):
    """A range of bytes of a file."""

    path: str
    begin: int = 0
    stop: int | None = None
    """None: up to the end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is picked at once: a span of time of one instrument, from some files."""

    instrument: Instrument
    start_ns: int
    """Picks from this time on belong to it ..."""
    stop_ns: int
    """... up to this time, exclusive."""
    files: tuple[FileRange, ...]
    patterns: tuple[str, ...] = EVERYTHING
    letters: str = ""
    """Components that the instrument had on days before."""

    @property
    def label(self) -> str:
        """Instrument and day, for people.

        >>> Chunk(Instrument("BW", "RJOB", "", "EH"), 0, DAY_NS, ()).label
        'BW.RJOB..EH 1970-01-01'
        """
        return f"{self.instrument} {self.day}"

    @property
    def day(self) -> str:
        """The day of UTC, ``YYYY-MM-DD``."""
        return iso_from_ns((self.start_ns + self.stop_ns) // 2)[:10]


@dataclass(frozen=True, slots=True)
class Plan:
    """All chunks, in order of their start."""

    chunks: Sequence[Chunk]
    damaged: Mapping[str, str]
    """Files with parts that could not be read, and why."""
    files: int = 0


@dataclass(slots=True)
class _Day:
    """Where the data of a day of an instrument are."""

    parts: dict[int, Extent | None] = field(default_factory=dict)
    """Number of a file -> bytes from and to; None: the whole file."""
    letters: str = ""
    """Components on that day."""

    def add(self, number: int, extent: Extent | None) -> None:
        known = self.parts.get(number, extent)
        self.parts[number] = (
            None if known is None or extent is None else (min(known[0], extent[0]), max(known[1], extent[1]))
        )


_Listing = dict[Instrument, dict[int, _Day]]
"""Instrument -> days since 1970 -> where the data are."""


def patterns_of(text: str) -> tuple[str, ...]:
    """Patterns of ``--stations``: ``NET.STA`` or ``NET.STA.LOC.CHA``, separated by commas.

    >>> patterns_of("BW.RJOB,GE.*")
    ('BW.RJOB.*.*', 'GE.*.*.*')

    Raises:
        ValueError: when one has another form.
    """
    patterns = []
    for part in text.split(","):
        if _STATION_PATTERN.fullmatch(part) is None:
            raise ValueError(
                f"--stations: {part!r}: must be NET.STA or NET.STA.LOC.CHA, such as BW.RJOB,GE.*; * ? [..] are allowed"
            )
        patterns.append(part if part.count(".") == 3 else f"{part}.*.*")
    return tuple(patterns)


def plan(
    inputs: Sequence[Path], selection: Selection, seen: Callable[[int], None] = lambda files: None
) -> Plan:
    """Cut an archive into chunks.

    Args:
        inputs: files and folders.
        selection: the part of them to pick.
        seen: called with the number of files looked at.

    Raises:
        FileNotFoundError: when an input does not exist.
    """
    listing: _Listing = defaultdict(lambda: defaultdict(_Day))
    files: list[str] = []
    damaged: dict[str, str] = {}
    for number, path in enumerate(dict.fromkeys(files_of(inputs))):
        files.append(str(path))
        try:
            for found in _contents(path, selection):
                if isinstance(found, str):
                    damaged.setdefault(str(path), found)
                elif matches(found.channel, selection.patterns):
                    day = listing[found.channel.instrument][found.day]
                    if found.channel.component not in day.letters:
                        day.letters += found.channel.component
                    day.add(number, found.extent)
        except OSError as error:
            damaged.setdefault(str(path), str(error.strerror or error))
        seen(number + 1)
    return Plan(_Chunks(listing, files, selection), damaged)


class _ChannelDay(NamedTuple):
    """A day of a channel that a file, or a part of it, holds."""

    channel: Channel
    day: int
    extent: Extent | None


def _contents(path: Path, selection: Selection) -> Iterator[_ChannelDay | str]:
    """Days of channels that a file holds, and what is wrong with it."""
    named = sds_name(path.name)
    if named is not None:
        if not _may_hold(named.day, selection):
            return
        _, first = next(headers_of(path), (0, ""))
        if (
            not isinstance(first, str)
            and channel_of(first.sourceid) == named.channel
            and abs(_middle_ns(first) // DAY_NS - named.day) <= 1
        ):
            yield _ChannelDay(named.channel, named.day, None)
            return
    for offset, header in headers_of(path):
        if isinstance(header, str):
            yield f"byte {offset}: {header}"
            continue
        channel = channel_of(header.sourceid)
        first_day, last_day = header.starttime // DAY_NS, header.endtime // DAY_NS
        if channel is None or last_day - first_day > MAX_RECORD_DAYS:
            yield f"byte {offset}: {header.sourceid}, {(last_day - first_day)} days: not believed"
            continue
        for day in range(first_day, last_day + 1):
            yield _ChannelDay(channel, day, (offset, offset + header.reclen))


def _middle_ns(header: "MS3Record") -> int:
    middle_ns: int = (header.starttime + header.endtime) // 2
    return middle_ns


def _may_hold(day: int, selection: Selection) -> bool:
    """Whether the file of a day can hold selected data."""
    return (selection.since_ns is None or (day + 2) * DAY_NS > selection.since_ns) and (
        selection.until_ns is None or (day - 1) * DAY_NS < selection.until_ns
    )


class _Chunks(Sequence[Chunk]):
    """The chunks of a listing, each made on access: a million of them would not fit into small memory."""

    def __init__(self, listing: _Listing, files: Sequence[str], selection: Selection) -> None:
        self._listing = listing
        self._files = files
        self._selection = selection
        self._letters: dict[Instrument, list[tuple[int, str]]] = {}
        order = []
        for instrument, days in listing.items():
            before = ""
            changes = self._letters.setdefault(instrument, [])
            for day in sorted(days):
                if not changes or changes[-1][1] != before:
                    changes.append((day, before))
                before += "".join(sorted(set(days[day].letters) & KNOWN_LETTERS - set(before)))
                start_ns, stop_ns = self._bounds(days, day)
                if start_ns < stop_ns:
                    order.append((start_ns, stop_ns, instrument, day))
        self._order = sorted(order)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, number: int) -> Chunk: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Chunk]: ...
    def __getitem__(self, number: int | slice) -> Chunk | Sequence[Chunk]:
        """A chunk, or some."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        start_ns, stop_ns, instrument, day = self._order[number]
        days, beside = self._listing[instrument], _Day()
        for near in (day - 1, day, day + 1):
            for file, extent in days[near].parts.items() if near in days else ():
                beside.add(file, extent)
        parts = tuple(
            FileRange(self._files[file]) if extent is None else FileRange(self._files[file], *extent)
            for file, extent in sorted(beside.parts.items())
        )
        # The first change stands at the first day.
        changes = self._letters[instrument]
        _, letters = changes[bisect_right(changes, day, key=lambda change: change[0]) - 1]
        return Chunk(instrument, start_ns, stop_ns, parts, self._selection.patterns, letters)

    def _bounds(self, days: Mapping[int, _Day], day: int) -> tuple[int, int]:
        """Where the chunk of a day begins and ends."""
        selection = self._selection
        start_ns = day * DAY_NS - (0 if day - 1 in days else DAY_NS // 2)
        stop_ns = (day + 1) * DAY_NS + (0 if day + 1 in days else DAY_NS // 2)
        return (
            start_ns if selection.since_ns is None else max(start_ns, selection.since_ns),
            stop_ns if selection.until_ns is None else min(stop_ns, selection.until_ns),
        )

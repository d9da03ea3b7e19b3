"""The plan: an archive cut into pieces, each one instrument and one day of UTC.

In: files and folders. Out: pieces in order of time. Files with names of SDS (:mod:`xiaod.tools.archive.sds`) are taken by their names when
their first record agrees; of all others the headers are read. The plan depends on the archive alone, not on who works on it, so the
picks do not either.

A piece reads the files of its own day and of the days beside it, because records, windows and filters reach across midnight. Where
there is no file for the day before or after, half of that day belongs to the piece too: records lie on both sides of a midnight.
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
"""A record that claims to be longer is not believed."""

_STATION_PATTERN = re.compile(r"[^.\s]+\.[^.\s]+(\.[^.\s]*\.[^.\s]+)?")


@dataclass(frozen=True, slots=True)
class Stretch:
    """What of an archive is wanted."""

    since_ns: int | None = None
    until_ns: int | None = None
    """Exclusive."""
    patterns: tuple[str, ...] = EVERYTHING
    """``NET.STA.LOC.CHA`` with ``*``, ``?`` and ``[..]``."""

    def holds(self, time_ns: int) -> bool:
        """Whether a time lies in it.

        >>> Stretch(since_ns=5).holds(5), Stretch(until_ns=5).holds(5)
        (True, False)
        """
        return (self.since_ns is None or time_ns >= self.since_ns) and (
            self.until_ns is None or time_ns < self.until_ns
        )


class Part(NamedTuple):
    """Some bytes of a file."""

    path: str
    begin: int = 0
    stop: int | None = None
    """None: up to the end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is picked at once: one instrument, for some time, from some files."""

    instrument: Instrument
    start_ns: int
    """Picks from here on belong to it ..."""
    stop_ns: int
    """... up to here."""
    files: tuple[Part, ...]
    patterns: tuple[str, ...] = EVERYTHING
    letters: str = ""
    """Components that the instrument has shown on days before."""

    @property
    def label(self) -> str:
        """Instrument and day, for people.

        >>> Piece(Instrument("BW", "RJOB", "", "EH"), 0, DAY_NS, ()).label
        'BW.RJOB..EH 1970-01-01'
        """
        return f"{self.instrument} {self.day}"

    @property
    def day(self) -> str:
        """The day of UTC, ``YYYY-MM-DD``."""
        return iso_from_ns((self.start_ns + self.stop_ns) // 2)[:10]


@dataclass(frozen=True, slots=True)
class Plan:
    """All pieces, in order of their start."""

    pieces: Sequence[Piece]
    damaged: Mapping[str, str]
    """Files of which something could not be read, and what."""
    files: int = 0


@dataclass(slots=True)
class _Day:
    """Where a day of an instrument is."""

    parts: dict[int, Extent | None] = field(default_factory=dict)
    """File by its number -> bytes from and to; None: the whole of it."""
    letters: str = ""
    """Components on it."""

    def add(self, number: int, extent: Extent | None) -> None:
        known = self.parts.get(number, extent)
        self.parts[number] = (
            None if known is None or extent is None else (min(known[0], extent[0]), max(known[1], extent[1]))
        )


_Listing = dict[Instrument, dict[int, _Day]]
"""Instrument -> day since 1970 -> where it is."""


def patterns_of(text: str) -> tuple[str, ...]:
    """Patterns as they are given to ``--stations``: ``NET.STA`` or ``NET.STA.LOC.CHA``, with commas between.

    >>> patterns_of("BW.RJOB,GE.*")
    ('BW.RJOB.*.*', 'GE.*.*.*')

    Raises:
        ValueError: when one is not of that form.
    """
    patterns = []
    for part in text.split(","):
        if _STATION_PATTERN.fullmatch(part) is None:
            raise ValueError(
                f"--stations: {part!r}: must be NET.STA or NET.STA.LOC.CHA, such as BW.RJOB,GE.*; * ? [..] are allowed"
            )
        patterns.append(part if part.count(".") == 3 else f"{part}.*.*")
    return tuple(patterns)


def plan(inputs: Sequence[Path], stretch: Stretch, seen: Callable[[int], None] = lambda files: None) -> Plan:
    """Cut an archive into pieces.

    Args:
        inputs: files and folders.
        stretch: what of them is wanted.
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
            for found in _contents(path, stretch):
                if isinstance(found, str):
                    damaged.setdefault(str(path), found)
                elif matches(found.channel, stretch.patterns):
                    day = listing[found.channel.instrument][found.day]
                    if found.channel.component not in day.letters:
                        day.letters += found.channel.component
                    day.add(number, found.extent)
        except OSError as error:
            damaged.setdefault(str(path), str(error.strerror or error))
        seen(number + 1)
    return Plan(_Pieces(listing, files, stretch), damaged)


class _Content(NamedTuple):
    """What a file, or a part of it, holds."""

    channel: Channel
    day: int
    extent: Extent | None


def _contents(path: Path, stretch: Stretch) -> Iterator[_Content | str]:
    """What a file holds, and what is wrong with it."""
    named = sds_name(path.name)
    if named is not None:
        if not _may_hold(named.day, stretch):
            return
        _, first = next(headers_of(path), (0, ""))
        if (
            not isinstance(first, str)
            and channel_of(first.sourceid) == named.channel
            and abs(_middle_ns(first) // DAY_NS - named.day) <= 1
        ):
            yield _Content(named.channel, named.day, None)
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
            yield _Content(channel, day, (offset, offset + header.reclen))


def _middle_ns(header: "MS3Record") -> int:
    middle_ns: int = (header.starttime + header.endtime) // 2
    return middle_ns


def _may_hold(day: int, stretch: Stretch) -> bool:
    """Whether a file of a day is of any use."""
    return (stretch.since_ns is None or (day + 2) * DAY_NS > stretch.since_ns) and (
        stretch.until_ns is None or (day - 1) * DAY_NS < stretch.until_ns
    )


class _Pieces(Sequence[Piece]):
    """The pieces of a listing, each made when it is asked for: a million of them would not fit small memory."""

    def __init__(self, listing: _Listing, files: Sequence[str], stretch: Stretch) -> None:
        self._listing = listing
        self._files = files
        self._stretch = stretch
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
    def __getitem__(self, number: int) -> Piece: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Piece]: ...
    def __getitem__(self, number: int | slice) -> Piece | Sequence[Piece]:
        """A piece, or some."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        start_ns, stop_ns, instrument, day = self._order[number]
        days, beside = self._listing[instrument], _Day()
        for near in (day - 1, day, day + 1):
            for file, extent in days[near].parts.items() if near in days else ():
                beside.add(file, extent)
        parts = tuple(
            Part(self._files[file]) if extent is None else Part(self._files[file], *extent)
            for file, extent in sorted(beside.parts.items())
        )
        # The first change stands at the first day.
        changes = self._letters[instrument]
        _, letters = changes[bisect_right(changes, day, key=lambda change: change[0]) - 1]
        return Piece(instrument, start_ns, stop_ns, parts, self._stretch.patterns, letters)

    def _bounds(self, days: Mapping[int, _Day], day: int) -> tuple[int, int]:
        """Where the piece of a day begins and ends."""
        stretch = self._stretch
        start_ns = day * DAY_NS - (0 if day - 1 in days else DAY_NS // 2)
        stop_ns = (day + 1) * DAY_NS + (0 if day + 1 in days else DAY_NS // 2)
        return (
            start_ns if stretch.since_ns is None else max(start_ns, stretch.since_ns),
            stop_ns if stretch.until_ns is None else min(stop_ns, stretch.until_ns),
        )

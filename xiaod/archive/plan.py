"""The plan: an archive cut into pieces, each one instrument and one day of UTC.

In: files and folders. Out: pieces in order of time. Files with names of SDS (:mod:`xiaod.archive.sds`) are taken by their names when
their first record agrees; of all others the headers are read. The plan depends on the archive alone, not on who works on it, so the
picks do not either.

A piece reads the files of its own day and of the days beside it, because records, windows and filters reach across midnight. Where
there is no file for the day before or after, half of that day belongs to the piece too: records lie on both sides of a midnight.

>>> plan([], Stretch()).pieces
()
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xiaod.archive.sds import sds_name
from xiaod.records import Channel, Instrument
from xiaod.sources.files import files_of, headers_of
from xiaod.sources.miniseed import channel_of
from xiaod.sources.patterns import matches
from xiaod.timebase import NS_PER_S, iso_from_ns

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


@dataclass(frozen=True, slots=True)
class Piece:
    """What is picked at once: one instrument, for some time, from some files."""

    instrument: Instrument
    start_ns: int
    """Picks from here on belong to it ..."""
    stop_ns: int
    """... up to here."""
    files: tuple[str, ...]
    patterns: tuple[str, ...] = EVERYTHING

    @property
    def label(self) -> str:
        """Instrument and day, for people.

        >>> Piece(Instrument("BW", "RJOB", "", "EH"), 0, DAY_NS, ()).label
        'BW.RJOB..EH 1970-01-01'
        """
        return f"{self.instrument} {iso_from_ns((self.start_ns + self.stop_ns) // 2)[:10]}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All pieces, in order of their start."""

    pieces: tuple[Piece, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    """Files in which no record was found, and why."""
    files: int = 0


@dataclass(slots=True)
class _Listing:
    """Which files hold which days of which instrument."""

    days: dict[Instrument, dict[int, list[int]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, instrument: Instrument, day: int, number: int) -> None:
        files = self.days[instrument].setdefault(day, [])
        if not files or files[-1] != number:
            files.append(number)


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
    listing, files, unreadable = _Listing(), [], []
    for number, path in enumerate(dict.fromkeys(files_of(inputs))):
        files.append(str(path))
        try:
            found = list(_days_of(path, stretch))
        except OSError as error:
            found = []
            unreadable.append((str(path), str(error.strerror or error)))
        else:
            if not found and not _has_record(path):
                unreadable.append((str(path), "no record of miniSEED"))
        for channel, day in found:
            if matches(channel, stretch.patterns):
                listing.add(channel.instrument, day, number)
        seen(number + 1)
    pieces = sorted(
        _pieces(listing, files, stretch), key=lambda piece: (piece.start_ns, piece.stop_ns, piece.instrument)
    )
    return Plan(tuple(pieces), tuple(unreadable), len(files))


def _days_of(path: Path, stretch: Stretch) -> Iterator[tuple[Channel, int]]:
    """Channels and days that a file holds."""
    named = sds_name(path.name)
    headers = headers_of(path)
    if named is not None:
        if not _may_hold(named.day, stretch):
            return
        first = next(headers, None)
        if (
            first is not None
            and channel_of(first.sourceid) == named.channel
            and abs((first.starttime + first.endtime) // 2 // DAY_NS - named.day) <= 1
        ):
            yield named.channel, named.day
            return
        headers = headers_of(path)
    last = None
    for header in headers:
        channel = channel_of(header.sourceid)
        first_day, last_day = header.starttime // DAY_NS, header.endtime // DAY_NS
        if channel is None or last_day - first_day > MAX_RECORD_DAYS:
            continue
        for day in range(first_day, last_day + 1):
            if (channel, day) != last:
                last = channel, day
                yield last


def _may_hold(day: int, stretch: Stretch) -> bool:
    """Whether a file of a day is of any use."""
    return (stretch.since_ns is None or (day + 2) * DAY_NS > stretch.since_ns) and (
        stretch.until_ns is None or (day - 1) * DAY_NS < stretch.until_ns
    )


def _has_record(path: Path) -> bool:
    """Whether a file that gave nothing is only not wanted; an empty one is no damage."""
    return not path.stat().st_size or next(headers_of(path), None) is not None


def _pieces(listing: _Listing, files: Sequence[str], stretch: Stretch) -> Iterator[Piece]:
    for instrument, days in listing.days.items():
        for day in days:
            start_ns = day * DAY_NS - (0 if day - 1 in days else DAY_NS // 2)
            stop_ns = (day + 1) * DAY_NS + (0 if day + 1 in days else DAY_NS // 2)
            start_ns = start_ns if stretch.since_ns is None else max(start_ns, stretch.since_ns)
            stop_ns = stop_ns if stretch.until_ns is None else min(stop_ns, stretch.until_ns)
            if start_ns < stop_ns:
                beside = {number for near in (day - 1, day, day + 1) for number in days.get(near, ())}
                yield Piece(
                    instrument,
                    start_ns,
                    stop_ns,
                    tuple(files[number] for number in sorted(beside)),
                    stretch.patterns,
                )

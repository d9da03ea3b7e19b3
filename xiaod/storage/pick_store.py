"""The store: every pick, once, before any sink gets it; and how far each sink, instrument and source has come.

It is an SQLite file in write-ahead mode. The identifier of a pick is its key, so a pick that is made again is not stored again. Events lie
among the picks, in the order in which they were made. Each sink has a cursor, which moves after a delivery, stages (early, final or all),
and what it wants: picks, events or both. A sink that was down goes on where it was, after a restart
too: every sink gets every pick of its stages at least once, in the order in which they were made. The times until which instruments have
been picked, and the packets after which a later run must read, go into the same file in one transaction.

After a crash the whole file is checked. A damaged file is moved aside, and the daemon goes on with a new one. If damage shows later, the
daemon ends, and the next start checks the file. A file of an earlier program is upgraded in one transaction; one of a newer program is
left alone.

Writes are not forced onto the disk one by one. After a power cut the file is consistent, but some time old; later picks are made again
from the data of the server.

>>> from tempfile import TemporaryDirectory
>>> from xiaod.domain.types import Channel
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> with TemporaryDirectory() as folder:
...     store = PickStore(Path(folder) / "picks.sqlite")
...     store.begin("jsonl")
...     len(store.add([pick, pick], {}))
...     [(place, found)] = store.waiting("jsonl", 10)
...     store.delivered("jsonl", place)
...     found == pick, store.backlog("jsonl")
...     store.close()
1
(True, 0)
"""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from xiaod.config import AgencyConfig
from xiaod.domain.document import pick_document
from xiaod.domain.event import event_document, item_from_document
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, ns_from_s
from xiaod.domain.types import (
    Event,
    Instrument,
    Pick,
    PickOrEvent,
    Position,
    Stages,
    Station,
    StationPositions,
    Wanted,
)
from xiaod.process.fsync import PRIVATE, make_folder
from xiaod.process.logs import get_logger

Given = ParamSpec("Given")
Result = TypeVar("Result")

STORE = "picks.sqlite"
"""Name of the store in the state folder."""
SCHEMA_VERSION = 4
KNOWN_VERSIONS = (0, 1, 2, 3, 4)
"""Version 1 had no positions, version 2 no stages, version 3 no events; they are added. One that has just been created is of version 0."""
BUSY_S = 10.0
ILLEGIBLE = (ValueError, KeyError, TypeError, AttributeError)
"""Errors of a document with a wrong byte: SQLite notices damage only between documents."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRUNED_AT_ONCE = 1000
"""Picks that one transaction deletes, so that others do not wait long."""
UPGRADE_TO_3 = (
    """CREATE TABLE IF NOT EXISTS picks (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, instrument TEXT NOT NULL, time_ns INTEGER NOT NULL,
        stored_ns INTEGER NOT NULL, document TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS picks_by_time ON picks (time_ns)",
    "CREATE TABLE IF NOT EXISTS cursors (sink TEXT PRIMARY KEY, place INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS frontiers (instrument TEXT PRIMARY KEY, time_ns INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS positions (
        source TEXT NOT NULL, network TEXT NOT NULL, station TEXT NOT NULL, sequence INTEGER NOT NULL, time_ns INTEGER NOT NULL,
        PRIMARY KEY (source, network, station)
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS ages (age_s INTEGER PRIMARY KEY, place INTEGER NOT NULL)",
    # Up to here it is version 2. Every pick that was stored before is a final one.
    "ALTER TABLE picks ADD COLUMN stage TEXT NOT NULL DEFAULT 'final'",
    "ALTER TABLE cursors ADD COLUMN stages TEXT NOT NULL DEFAULT 'all'",
    "CREATE INDEX picks_final_or_not ON picks (stage = 'final')",
    "CREATE INDEX picks_by_instrument ON picks (instrument, time_ns)",
)
"""What makes a store of version 2 or before, or of none, one of version 3. ``ages`` has for how long daemons had run with this store, and
the newest pick then."""
UPGRADE_TO_4 = (
    # Of an event, the instrument is that of its first pick.
    "ALTER TABLE picks ADD COLUMN kind TEXT NOT NULL DEFAULT 'pick'",
    "ALTER TABLE cursors ADD COLUMN wanted TEXT NOT NULL DEFAULT 'picks'",
    "CREATE INDEX events ON picks (kind) WHERE kind = 'event'",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
"""What makes one of version 3 one of this version."""
INSTRUMENTS = """
WITH RECURSIVE found (name) AS (
    SELECT min(instrument) FROM picks
    UNION ALL SELECT (SELECT min(instrument) FROM picks WHERE instrument > name) FROM found WHERE name IS NOT NULL
) SELECT name FROM found WHERE name IS NOT NULL
"""
"""One search in the index for each instrument: going through all picks would read the whole file."""
ANNOUNCED = """
WITH named AS (
    SELECT place, stage, coalesce(json_extract(document, '$.early_id'), json_extract(document, '$.event_id')) AS name
    FROM picks WHERE kind = 'event' AND json_valid(document)
), newest AS (SELECT max(place) AS place, stage FROM named GROUP BY name)
SELECT place FROM newest WHERE stage = 'early'
"""
"""Places of the newest versions of events that have neither been settled nor withdrawn since."""
STAGELESS_SEEN = """
CREATE TEMP VIEW picks AS SELECT *, 'final' AS stage, 'pick' AS kind FROM main.picks;
CREATE TEMP VIEW cursors AS SELECT *, 'all' AS stages, 'picks' AS wanted FROM main.cursors;
"""
EVENTLESS_SEEN = """
CREATE TEMP VIEW picks AS SELECT *, 'pick' AS kind FROM main.picks;
CREATE TEMP VIEW cursors AS SELECT *, 'picks' AS wanted FROM main.cursors;
"""
"""A store of an earlier version, as one that must not change it sees it: as if it had been upgraded."""
AGE_STEP_S = 600.0
"""How often a row is added, at most."""
AGE_STEPS = 10
"""... and at least so many rows while a pick is kept."""
UNSIGNED = AgencyConfig()
"""Agency of the documents in the store: sinks write their own."""


def legible(text: bytes) -> str:
    """A text of the store; bytes that are not UTF-8 are replaced."""
    return text.decode(errors="replace")


class UnknownVersionError(sqlite3.DatabaseError):
    """The store has a version that this program does not know."""


def known_version(connection: sqlite3.Connection) -> int:
    """Version of a store.

    Raises:
        UnknownVersionError: when this program does not know it.
        sqlite3.DatabaseError: when the file is not a store.
    """
    version: int
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version not in KNOWN_VERSIONS:
        raise UnknownVersionError(f"store version {version}; this program knows {SCHEMA_VERSION}")
    return version


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing in a store; one of an earlier version is seen as if it had been upgraded.

    Raises:
        sqlite3.Error: when it cannot be read, or is of a version that this program does not know.
    """
    store = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    store.text_factory = legible
    try:
        version = known_version(store)
        if version != SCHEMA_VERSION:
            store.executescript(EVENTLESS_SEEN if version == 3 else STAGELESS_SEEN)
    except sqlite3.Error:
        store.close()
        raise
    return store


def within(
    since_ns: int | None, until_ns: int | None, instrument: Instrument | None, stages: Stages
) -> tuple[str, list[int | str]]:
    """SQL condition on the table of picks, and its values: a time span without its end, of one instrument or, with None, of all.

    Those of ``early`` are early picks without what withdraws them, unlike for a sink.

    >>> within(None, 5, None, "all")[0]
    "time_ns >= ? AND time_ns < ? AND kind = 'pick'"
    """
    condition = "time_ns >= ? AND time_ns < ? AND kind = 'pick'"
    values: list[int | str] = [
        EARLIEST_NS if since_ns is None else since_ns,
        LATEST_NS if until_ns is None else until_ns,
    ]
    if instrument is not None:
        condition, values = f"{condition} AND instrument = ?", [*values, instrument.text]
    if stages != "all":
        # The sign keeps SQLite from going through all picks of a stage instead of those of the time span.
        condition, values = f"{condition} AND +stage = ?", [*values, stages]
    return condition, values


def stored_after(place: int, stages: Stages, wanted: Wanted = "picks") -> tuple[str, list[int | str]]:
    """SQL condition on the table of picks, and its values: what a sink of these stages takes and was stored after a place.

    >>> stored_after(7, "early")
    ("place > ? AND kind = 'pick' AND (stage = 'final') = ?", [7, False])
    """
    # Means of the amplitude are not stored.
    kind = {"picks": " AND kind = 'pick'", "events": " AND kind = 'event'", "all": "", "rsam": " AND 0"}[
        wanted
    ]
    if stages == "all":
        return f"place > ?{kind}", [place]
    # As the index has it.
    return f"place > ?{kind} AND (stage = 'final') = ?", [place, stages == "final"]


def cursor_of(store: sqlite3.Connection | sqlite3.Cursor, sink: str) -> tuple[int, Stages, Wanted]:
    """Place of the last item that was delivered to a sink, and which ones it takes; 0, and all picks, for an unknown sink."""
    row = store.execute("SELECT place, stages, wanted FROM cursors WHERE sink = ?", (sink,)).fetchone()
    return (0, "all", "picks") if row is None else row


def passed(store: sqlite3.Connection | sqlite3.Cursor, sink: str) -> int:
    """Place up to which nothing waits for a sink: its cursor, or later where only others follow."""
    place, stages, wanted = cursor_of(store, sink)
    condition, values = stored_after(place, stages, wanted)
    [first] = store.execute(f"SELECT min(place) FROM picks WHERE {condition}", values).fetchone()  # noqa: S608  see stored_after
    if first is not None:
        return int(first) - 1
    [newest] = store.execute("SELECT coalesce(max(place), 0) FROM picks").fetchone()
    return max(place, int(newest))


class StoreError(OSError):
    """The store cannot be written or read now; its content is unchanged."""


class StoreDamagedError(Exception):
    """The file is damaged: waiting does not help, and the next start moves it aside."""


class NewerStoreError(Exception):
    """A newer program has written the store: this one must not change it, nor run without it."""


class PickStore:
    """All picks of one state folder; may be used from any thread.

    A disk may take seconds, or never answer: an event loop uses the store through :meth:`run_in_thread`.
    """

    def __init__(self, path: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Open a store, and make it if it is not there.

        Args:
            path: the file.
            monotonic_s: a monotonic clock, by which picks grow old.

        Raises:
            NewerStoreError: when it is of a version that this program does not know.
            StoreError: when it can neither be opened nor created, as on a read-only or full disk.
        """
        self.path = path
        """The file."""
        self._monotonic_s = monotonic_s
        self._born_s: float | None = None
        """Monotonic time at which the store would have been new, had daemons run ever since."""
        self._lock = threading.RLock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._log = get_logger("store")
        self._saved: dict[str, StationPositions] = {}
        self.lost_ns: int | None = None
        """When the damaged file that was moved aside was written last; None when there was none."""
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if not path.exists() or isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"{path}: {error}") from error
            self._move_aside(error)
            self._connection = self._open()

    async def run_in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Call functions that use the store in its own thread, one after the other, so that the event loop goes on; the result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(work, *arguments, **named))

    def add(self, picks: Sequence[Pick], picked_until: Mapping[Instrument, int]) -> list[Pick]:
        """Store picks and the times until which instruments have been picked, together; the picks that were new.

        Raises:
            StoreError: when nothing could be stored.
        """
        new, now_ns = [], time.time_ns()
        with self._transaction() as cursor:
            for pick in picks:
                station, document = pick.channel.instrument.text, json.dumps(pick_document(pick, UNSIGNED))
                cursor.execute(
                    "INSERT OR IGNORE INTO picks (id, instrument, time_ns, stored_ns, document, stage) VALUES (?, ?, ?, ?, ?, ?)",
                    (pick.id, station, pick.time_ns, now_ns, document, pick.stage),
                )
                if cursor.rowcount:
                    new.append(pick)
            self._advance(cursor, picked_until)
        return new

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        """Store versions of events, together; those that were new.

        Raises:
            StoreError: when nothing could be stored.
        """
        new, now_ns = [], time.time_ns()
        with self._transaction() as cursor:
            for event in events:
                first, document = event.picks[0], json.dumps(event_document(event, UNSIGNED))
                cursor.execute(
                    "INSERT OR IGNORE INTO picks (id, instrument, time_ns, stored_ns, document, stage, kind)"
                    " VALUES (?, ?, ?, ?, ?, ?, 'event')",
                    (
                        event.id,
                        first.channel.instrument.text,
                        event.time_ns,
                        now_ns,
                        document,
                        event.stage,
                    ),
                )
                if cursor.rowcount:
                    new.append(event)
        return new

    def last_minutes(self, length_s: float) -> tuple[list[Pick], list[Event]]:
        """Picks up to so long before the newest one, in order of time, and events in the order in which they were made.

        Events that are announced, and neither settled nor withdrawn, are among them however old they are.

        Raises:
            StoreError: when they cannot be read.
        """
        with self._transaction() as cursor:
            [newest_ns] = cursor.execute("SELECT max(time_ns) FROM picks").fetchone()
            if newest_ns is None:
                return [], []
            since_ns = max(EARLIEST_NS, newest_ns - ns_from_s(length_s))
            condition, values = within(since_ns, None, None, "all")
            picks = cursor.execute(
                f"SELECT place, id, document FROM picks WHERE {condition} ORDER BY time_ns, place",  # noqa: S608  see within
                values,
            ).fetchall()
            events = cursor.execute(
                f"SELECT place, id, document FROM picks WHERE kind = 'event' AND (time_ns >= ? OR place IN ({ANNOUNCED})) ORDER BY place",  # noqa: S608  a constant
                (since_ns,),
            ).fetchall()
            return (
                [one for _, one in self._legible(cursor, picks) if isinstance(one, Pick)],
                [one for _, one in self._legible(cursor, events) if isinstance(one, Event)],
            )

    def save(self, picked_until: Mapping[Instrument, int], positions: Mapping[str, StationPositions]) -> None:
        """Store the times until which instruments have been picked, and where each source has to begin again: both, or nothing.

        Raises:
            StoreError: when it cannot be written.
        """
        moved = [
            (source, *station, *position)
            for source, stations in positions.items()
            for station, position in stations.items()
            if self._saved.get(source, {}).get(station) != position
        ]
        if not picked_until and not moved:
            return
        with self._transaction() as cursor:
            self._advance(cursor, picked_until)
            cursor.executemany(
                "INSERT INTO positions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " sequence = excluded.sequence, time_ns = excluded.time_ns",
                moved,
            )
        for source, stations in positions.items():
            self._saved[source] = {**self._saved.get(source, {}), **stations}

    def positions(self, source: str) -> dict[Station, Position]:
        """Where a source has to begin again, by network and station."""
        with self._transaction() as cursor:
            rows = cursor.execute(
                "SELECT network, station, sequence, time_ns FROM positions WHERE source = ?", (source,)
            ).fetchall()
        return {(network, station): (sequence, time_ns) for network, station, sequence, time_ns in rows}

    def forget(self, source: str, stations: Collection[Station]) -> None:
        """Delete the positions of stations that have gone.

        Raises:
            StoreError: when it cannot be written.
        """
        with self._transaction() as cursor:
            cursor.executemany(
                "DELETE FROM positions WHERE source = ? AND network = ? AND station = ?",
                [(source, *station) for station in stations],
            )
        kept = self._saved.get(source, {})
        self._saved[source] = {
            station: position for station, position in kept.items() if station not in stations
        }

    def waiting(self, sink: str, limit: int, after: int | None = None) -> list[tuple[int, PickOrEvent]]:
        """What a sink takes and has not been delivered to it, oldest first, each with its place in the store.

        Args:
            sink: its name.
            limit: how many at most.
            after: only those after this place; None: those after the sink's cursor.

        Raises:
            StoreError: when they cannot be read.
        """
        with self._transaction() as cursor:
            place, stages, wanted = cursor_of(cursor, sink)
            condition, values = stored_after(place if after is None else after, stages, wanted)
            while True:
                rows = cursor.execute(
                    f"SELECT place, id, document FROM picks WHERE {condition} ORDER BY place LIMIT ?",  # noqa: S608  see stored_after
                    [*values, limit],
                ).fetchall()
                # Illegible rows are deleted: the rows after them follow.
                if (found := self._legible(cursor, rows)) or not rows:
                    return found

    def delivered(self, sink: str, place: int) -> None:
        """Move a sink's cursor past a pick.

        Raises:
            StoreError: when it cannot be written; the picks are then delivered again.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO cursors (sink, place) VALUES (?, ?)"
                " ON CONFLICT (sink) DO UPDATE SET place = max(place, excluded.place)",
                (sink, place),
            )

    def backlog(self, sink: str) -> int:
        """Number of picks and events that a sink takes and that have not been delivered to it."""
        with self._transaction() as cursor:
            condition, values = stored_after(*cursor_of(cursor, sink))
            [count] = cursor.execute(f"SELECT count(*) FROM picks WHERE {condition}", values).fetchone()  # noqa: S608  see stored_after
        return int(count)

    def begin(self, sink: str, stages: Stages = "all", wanted: Wanted = "picks") -> None:
        """Register a sink: a new one gets picks from now on, a known one goes on where it was.

        Where what it takes has changed, that holds from the first pick on that waits for it; without one, from now on.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO cursors (sink, place, stages, wanted) SELECT ?, coalesce(max(place), 0), ?, ? FROM picks",
                (sink, stages, wanted),
            )
            cursor.execute(
                "UPDATE cursors SET place = ?, stages = ?, wanted = ? WHERE sink = ? AND (stages, wanted) != (?, ?)",
                (passed(cursor, sink), stages, wanted, sink, stages, wanted),
            )

    def picked_until(self, instrument: Instrument) -> int | None:
        """Time until which an instrument has been picked; None when it never has."""
        with self._transaction() as cursor:
            row = cursor.execute(
                "SELECT time_ns FROM frontiers WHERE instrument = ?", (instrument.text,)
            ).fetchone()
        return None if row is None else int(row[0])

    def between(
        self,
        since_ns: int | None,
        until_ns: int | None,
        instrument: Instrument | None = None,
        stages: Stages = "all",
    ) -> list[Pick]:
        """Picks of a time span, in order of time."""
        condition, values = within(since_ns, until_ns, instrument, stages)
        with self._transaction() as cursor:
            rows = cursor.execute(
                f"SELECT place, id, document FROM picks WHERE {condition} ORDER BY time_ns, place",  # noqa: S608  see within
                values,
            ).fetchall()
            return [pick for _, pick in self._legible(cursor, rows) if isinstance(pick, Pick)]

    def instruments(self) -> list[Instrument]:
        """Instruments that have picks, in order; a damaged name is left out."""
        with self._transaction() as cursor:
            rows = cursor.execute(INSTRUMENTS).fetchall()
        return [Instrument(*codes) for (text,) in rows if len(codes := text.split(".")) == 4]

    def prune(self, keep_s: float, sinks: Sequence[str]) -> int:
        """Delete picks that wait for none of these sinks and are older than ``keep_s``; their number.

        A sink holds back nothing that was stored before the first pick that waits for it.

        Their age is the time for which daemons have run with this store, by the monotonic clock: the host's clock may be wrong by years at
        a start, and be set later. Where the daemon does not always run, picks are kept for longer.

        Raises:
            StoreError: when it cannot be written.
        """
        with self._transaction() as cursor:
            now_s = self._grown_older(cursor, min(AGE_STEP_S, keep_s / AGE_STEPS))
            old = cursor.execute(
                "SELECT age_s, place FROM ages WHERE age_s <= ? ORDER BY age_s DESC LIMIT 1",
                (now_s - keep_s,),
            ).fetchone()
            if old is None:
                return 0
            cursor.execute("DELETE FROM ages WHERE age_s < ?", (old[0],))
            last = min([old[1], *(passed(cursor, sink) for sink in sinks)])
            cursor.execute(
                "DELETE FROM picks WHERE place IN (SELECT place FROM picks WHERE place <= ? ORDER BY place LIMIT ?)",
                (last, PRUNED_AT_ONCE),
            )
            return int(cursor.rowcount)

    def suspect(self) -> None:
        """Make the next start check the file, which may be damaged."""
        # If this fails, the damage will be found again.
        with suppress(OSError):
            self._suspected.touch()

    def close(self) -> None:
        """Close the file, after calls of :meth:`run_in_thread` that have begun."""
        self._executor.shutdown()
        with self._lock:
            self._connection.close()

    def _legible(
        self, cursor: sqlite3.Cursor, rows: Sequence[tuple[int, str, str]]
    ) -> list[tuple[int, PickOrEvent]]:
        """Picks and events of rows, with their places; a row with a damaged text is logged and deleted."""
        found: list[tuple[int, PickOrEvent]] = []
        for place, name, document in rows:
            try:
                found.append((place, item_from_document(json.loads(document))))
            except ILLEGIBLE as error:
                cursor.execute("DELETE FROM picks WHERE place = ?", (place,))
                self._log.error("store.illegible", pick=name, document=document, error=repr(error))
        return found

    def _grown_older(self, cursor: sqlite3.Cursor, step_s: float) -> float:
        """For how long daemons have run with this store, in seconds; a row is added now and then."""
        [noted_s] = cursor.execute("SELECT max(age_s) FROM ages").fetchone()
        if self._born_s is None:
            self._born_s = self._monotonic_s() - (noted_s or 0)
        now_s = self._monotonic_s() - self._born_s
        if noted_s is None or now_s - noted_s >= step_s:
            cursor.execute(
                "INSERT OR REPLACE INTO ages SELECT ?, coalesce(max(place), 0) FROM picks", (int(now_s),)
            )
        return now_s

    @staticmethod
    def _advance(cursor: sqlite3.Cursor, picked_until: Mapping[Instrument, int]) -> None:
        cursor.executemany(
            "INSERT INTO frontiers VALUES (?, ?) ON CONFLICT (instrument) DO UPDATE SET time_ns = excluded.time_ns",
            [(instrument.text, time_ns) for instrument, time_ns in picked_until.items()],
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            try:
                with self._connection:
                    yield self._connection.cursor()
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) in DAMAGED:
                    self.suspect()
                    raise StoreDamagedError(
                        f"{self.path}: {error}; the next start moves it aside and begins a new one"
                    ) from error
                raise StoreError(f"{self.path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        make_folder(self.path.parent, PRIVATE)
        # An orderly close leaves no write-ahead log (SQLite, Write-Ahead Logging, 6).
        doubtful = self._suspected.exists() or self._beside("-wal").exists()
        connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        connection.text_factory = legible
        try:
            try:
                version = known_version(connection)
            except UnknownVersionError as error:
                # The version may be damaged, too.
                _check(connection)
                raise NewerStoreError(
                    f"{self.path}: {error}; go on with the newer xiaod that has written it, or choose another folder"
                ) from error
            if doubtful:
                _check(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            # Nothing is written when nothing has to change: the store opens on a full disk too.
            if version != SCHEMA_VERSION:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in (*(UPGRADE_TO_3 if version < 3 else ()), *UPGRADE_TO_4):
                        connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        self._suspected.unlink(missing_ok=True)
        return connection

    def _beside(self, suffix: str) -> Path:
        """A file that belongs to the store."""
        return self.path.with_name(self.path.name + suffix)

    @property
    def _suspected(self) -> Path:
        """A file that exists while the store is suspected of damage: an orderly close does not repair it."""
        return self.path.with_suffix(".suspected")

    def _move_aside(self, error: Exception) -> None:
        """Rename a damaged file, and the files that belong to it."""
        stamp = self.path.stat().st_mtime_ns
        self.lost_ns = stamp
        moved = self.path.with_suffix(f".bad-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            part = self._beside(suffix)
            if part.exists():
                part.replace(moved.with_name(moved.name + suffix))
        self._log.error("store.damaged", file=str(self.path), moved_to=str(moved), error=str(error))


def _check(connection: sqlite3.Connection) -> None:
    """Check a whole store.

    Raises:
        sqlite3.DatabaseError: when it is damaged.
    """
    [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)

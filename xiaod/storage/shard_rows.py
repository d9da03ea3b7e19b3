"""Rows that go from the store of one shard into that of another: stations that move, and picks that wait for sinks.

>>> from tempfile import TemporaryDirectory
>>> from contextlib import closing
>>> from pathlib import Path
>>> from xiaod.storage.pick_store import STORE, PickStore
>>> with TemporaryDirectory() as folder:
...     store = PickStore(Path(folder) / STORE)
...     store.save({}, {"demo": {("BW", "WETR"): (7, 100), ("BW", "RJOB"): (8, 200)}})
...     with closing(sqlite3.connect(Path(folder) / STORE)) as rows:
...         rows = read_rows(rows, {("BW", "WETR")}, Shard(1, 2), sinks=(), adopted=0)
...     store.close()
>>> rows.positions, rows.known
([('demo', 'BW', 'WETR', 7, 100)], [])
"""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from xiaod.domain.resumption import remembered_from_ns, resolved_from_ns
from xiaod.domain.sharding import Shard
from xiaod.domain.timegrid import EARLIEST_NS
from xiaod.domain.types import Station
from xiaod.storage.pick_store import passed

ADOPTED = "CREATE TABLE IF NOT EXISTS adopted (store TEXT PRIMARY KEY, place INTEGER NOT NULL)"
"""In the store of a shard: the place up to which the picks of each store without a daemon have been taken over."""

PICKS = "SELECT id, instrument, time_ns, stored_ns, document, stage, kind FROM picks"
INSERT = "INSERT OR IGNORE INTO picks (id, instrument, time_ns, stored_ns, document, stage, kind)"

PickRow = tuple[str, str, int, int, str, str, str]


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Rows of a store for another store."""

    positions: list[tuple[str, str, str, int, int]]
    picked_until: list[tuple[str, int]]
    known: list[PickRow]
    """Picks that the other store must know, so that they are not made again."""
    waiting: list[PickRow]
    """Picks that have not been delivered to all sinks."""
    sinks: tuple[str, ...]
    """These sinks."""
    newest: int
    """Place of the newest pick in the store."""


def read_rows(
    store: sqlite3.Connection, taken: Collection[Station], shard: Shard, sinks: Sequence[str], adopted: int
) -> ShardRows:
    """Read the rows for another store.

    Args:
        store: the store to read; nothing is changed in it.
        taken: stations that move.
        shard: the one that takes over; it gets the waiting picks of all its stations.
        sinks: names of those whose picks are taken over; none where another daemon delivers them.
        adopted: place up to which picks have been taken over before.

    Raises:
        sqlite3.Error: when it cannot be read.
    """
    positions = [
        row
        for row in store.execute("SELECT source, network, station, sequence, time_ns FROM positions")
        if (row[1], row[2]) in taken
    ]
    picked_until = {
        instrument: time_ns
        for instrument, time_ns in store.execute("SELECT instrument, time_ns FROM frontiers")
        if station_of(instrument) in taken
    }
    # A station that has just begun has picks, but no progress yet.
    begun_only = len({station_of(instrument) for instrument in picked_until}) < len(taken)
    since_ns = EARLIEST_NS if begun_only or not picked_until else _known_from_ns(min(picked_until.values()))
    known = (
        [
            row
            for row in store.execute(f"{PICKS} WHERE time_ns >= ? ORDER BY place", (since_ns,))
            if station_of(row[1]) in taken and row[2] >= _known_from_ns(picked_until.get(row[1], EARLIEST_NS))
        ]
        if taken
        else []
    )
    known_sinks = {sink for (sink,) in store.execute("SELECT sink FROM cursors")}
    waited = tuple(sink for sink in sinks if sink in known_sinks)
    after = max(adopted, min((passed(store, sink) for sink in waited), default=0))
    waiting = (
        [
            row
            for row in store.execute(f"{PICKS} WHERE place > ? ORDER BY place", (after,))
            if shard.holds(*station_of(row[1]))
        ]
        if waited
        else []
    )
    [newest] = store.execute("SELECT coalesce(max(place), 0) FROM picks").fetchone()
    return ShardRows(positions, list(picked_until.items()), known, waiting, waited, newest)


def write_rows(mine: sqlite3.Connection, name: str, rows: ShardRows) -> int:
    """Write the rows within the transaction of the caller; the number of picks that wait to be delivered.

    Raises:
        sqlite3.Error: when it cannot be written.
    """
    mine.executemany(
        "INSERT INTO positions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " sequence = excluded.sequence, time_ns = excluded.time_ns",
        rows.positions,
    )
    mine.executemany(
        "INSERT INTO frontiers VALUES (?, ?) ON CONFLICT (instrument) DO UPDATE SET time_ns = excluded.time_ns",
        rows.picked_until,
    )
    undelivered = 0
    if rows.sinks:
        # A sink that is new here begins before what is taken over, picks or events; which of it, it says when it begins.
        mine.executemany(
            "INSERT OR IGNORE INTO cursors (sink, place, wanted) SELECT ?, coalesce(max(place), 0), 'all' FROM picks",
            [(sink,) for sink in rows.sinks],
        )
        undelivered = mine.executemany(f"{INSERT} VALUES (?, ?, ?, ?, ?, ?, ?)", rows.waiting).rowcount
        mine.execute(
            "INSERT INTO adopted VALUES (?, ?) ON CONFLICT (store) DO UPDATE SET place = max(place, excluded.place)",
            (name, rows.newest),
        )
    # Picks that only have to be known get places before those that any sink waits for.
    [first] = mine.execute("SELECT min(0, coalesce(min(place), 0)) FROM picks").fetchone()
    mine.executemany(
        f"{INSERT.replace('(', '(place, ')} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(first - number, *row) for number, row in enumerate(reversed(rows.known), 1)],
    )
    return max(0, undelivered)


def _known_from_ns(picked_until_ns: int) -> int:
    return resolved_from_ns(remembered_from_ns(picked_until_ns))


def station_of(instrument: str) -> Station:
    """Network and station of an instrument's text."""
    network, station, *_ = instrument.split(".")
    return network, station

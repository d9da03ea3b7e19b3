"""What a shard takes over from the stores of others after the number of shards has changed.

A station that has moved goes on where its former shard stopped. The shard takes its position in the stream, the times until which its
instruments have been picked, and its newest picks, so that none is made twice. Of all stores below one state folder, the one that is
furthest with a station counts. A store without a daemon, such as that of shard 3 when there are now three, may have picks that were not
delivered to all sinks. The shards that pick their stations now deliver them; a sink that had some of them already gets those again.

All shards must be stopped before their number changes: :func:`refuse_other_counts`. Only stores on the same disk are found, and they are
not changed.

>>> from tempfile import TemporaryDirectory
>>> from xiaod.storage.pick_store import PickStore
>>> with TemporaryDirectory() as name:
...     base = Path(name)
...     alone = PickStore(base / STORE)
...     alone.save({}, {"demo": {("BW", "WETR"): (7, 100), ("BW", "RJOB"): (8, 200)}})
...     alone.close()
...     mine = PickStore(base / "shard-1" / STORE)
...     inherit(base, Shard(1, 2), ["jsonl"])
...     mine.positions("demo")
...     mine.close()
ShardHandover(stations=1, undelivered=0, unreadable=())
{('BW', 'WETR'): (7, 100)}
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from xiaod.config.per_shard import FOLDER, shard_folders, state_folder
from xiaod.domain.sharding import Shard
from xiaod.domain.timegrid import EARLIEST_NS
from xiaod.domain.types import Station
from xiaod.storage.folder_lock import PATIENCE_S, RETRY_S, Holder, holder
from xiaod.storage.pick_store import BUSY_S, STORE, StoreError, opened_to_read
from xiaod.storage.shard_rows import ADOPTED, read_rows, station_of, write_rows

Progress = tuple[int, int]
"""How far a station has come: newest time until which an instrument has been picked, newest position; ns."""
NOWHERE: Progress = (EARLIEST_NS, EARLIEST_NS)


class OtherCountError(Exception):
    """A shard of another count runs in the same state folder."""


@dataclass(frozen=True, slots=True)
class ShardHandover:
    """How much was taken over."""

    stations: int
    undelivered: int
    """Picks that were not delivered yet."""
    unreadable: tuple[str, ...]
    """Stores that cannot be read, each with the reason."""


def refuse_other_counts(base: Path, shard: Shard) -> None:
    """Make sure that all daemons below one state folder share the stations in the same way.

    Raises:
        OtherCountError: when one runs with another count: stations would be picked twice.
    """
    until_s = time.monotonic() + PATIENCE_S
    while (found := _other_count(base, shard)) is not None:
        if time.monotonic() > until_s:
            folder, other = found
            raise OtherCountError(
                f"{folder}: process {other.pid} runs as shard {other.shard}, this one is {shard}; "
                "stop all shards before their number changes"
            )
        # A daemon that has just started holds its lock before its name is in the file.
        time.sleep(RETRY_S)


def _other_count(base: Path, shard: Shard) -> tuple[Path, Holder] | None:
    own = state_folder(base, shard)
    for folder in (base, *shard_folders(base)):
        found = None if folder == own else holder(folder)
        if found is not None and found.shard.partition("/")[2] != str(shard.count):
            return folder, found
    return None


def inherit(base: Path, shard: Shard, sinks: Sequence[str]) -> ShardHandover:
    """Take over the stations of a shard into its store, which must exist; all of another store, or nothing of it.

    Args:
        base: the state folder that all shards have in common.
        shard: which one this is.
        sinks: names of the sinks that get the picks that were not delivered.

    Raises:
        StoreError: when its own store cannot be written.
    """
    own = state_folder(base, shard)
    others = [
        folder for folder in (base, *shard_folders(base)) if folder != own and (folder / STORE).is_file()
    ]
    if not others:
        return ShardHandover(0, 0, ())
    try:
        return _take_over(base, shard, sinks, own, others)
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error


def _take_over(
    base: Path, shard: Shard, sinks: Sequence[str], own: Path, others: Sequence[Path]
) -> ShardHandover:
    undelivered = stations = 0
    unreadable: list[str] = []
    with closing(_opened_to_write(own / STORE)) as mine:
        mine.execute(ADOPTED)
        chosen = _furthest(others, shard, _progress(mine), unreadable)
        adopted = dict(mine.execute("SELECT store, place FROM adopted").fetchall())
        for folder in others:
            name = folder.name if folder != base else "."
            taken = frozenset(station for station, place in chosen.items() if place == folder)
            orphaned = _without_daemon(folder, shard)
            if not taken and not orphaned:
                continue
            try:
                with closing(opened_to_read(folder / STORE)) as store:
                    rows = read_rows(store, taken, shard, sinks if orphaned else (), adopted.get(name, 0))
            except sqlite3.Error as error:
                unreadable.append(f"{folder / STORE}: {error}")
                continue
            with mine:
                mine.execute("BEGIN IMMEDIATE")
                undelivered += write_rows(mine, name, rows)
            stations += len(taken)
    return ShardHandover(stations, undelivered, tuple(unreadable))


def _furthest(
    others: Sequence[Path], shard: Shard, best: dict[Station, Progress], unreadable: list[str]
) -> dict[Station, Path]:
    """For each station of a shard that another store is further with than its own: that store."""
    chosen: dict[Station, Path] = {}
    for folder in others:
        try:
            with closing(opened_to_read(folder / STORE)) as store:
                found = _progress(store)
        except sqlite3.Error as error:
            unreadable.append(f"{folder / STORE}: {error}")
            continue
        for station, progress in found.items():
            if shard.holds(*station) and progress > best.get(station, NOWHERE):
                best[station], chosen[station] = progress, folder
    return chosen


def _opened_to_write(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", timeout=BUSY_S, uri=True, isolation_level=None
    )


def _without_daemon(folder: Path, shard: Shard) -> bool:
    """Whether the folder belongs to none of the shards of this count."""
    index = folder.name.removeprefix(FOLDER)
    return shard.count == 1 or not index.isdigit() or int(index) >= shard.count


def _progress(store: sqlite3.Connection) -> dict[Station, Progress]:
    found: dict[Station, Progress] = {}
    for instrument, time_ns in store.execute("SELECT instrument, time_ns FROM frontiers"):
        network, station = station_of(instrument)
        picked_ns, position_ns = found.get((network, station), NOWHERE)
        found[network, station] = max(picked_ns, time_ns), position_ns
    for network, station, time_ns in store.execute("SELECT network, station, time_ns FROM positions"):
        picked_ns, position_ns = found.get((network, station), NOWHERE)
        found[network, station] = picked_ns, max(position_ns, time_ns)
    return found

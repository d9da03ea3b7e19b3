"""Reading picks of a store, for the status page and ``xiaod picks``.

A reader has its own connection, so that the daemon does not wait for a long query. It changes nothing: an illegible file is not moved
aside, because a daemon may be writing to it.

>>> from tempfile import TemporaryDirectory
>>> from xiaod.domain.types import Channel
>>> from xiaod.storage.pick_store import STORE, PickStore
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> with TemporaryDirectory() as folder:
...     store = PickStore(Path(folder) / STORE)
...     _ = store.add([pick], {})
...     store.close()
...     stored_picks(Path(folder) / STORE) == [pick]
True
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from xiaod.domain.document import pick_from_document
from xiaod.domain.event import event_from_document
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, NS_PER_HOUR
from xiaod.domain.types import Event, Instrument, Pick, Stages
from xiaod.storage.pick_store import ILLEGIBLE, StoreError, opened_to_read, within

Found = TypeVar("Found", Pick, Event)

ALL = -1
"""No limit (SQLite, SELECT, LIMIT clause)."""


def stored_picks(
    path: Path,
    since_ns: int | None = None,
    until_ns: int | None = None,
    instrument: Instrument | None = None,
    limit: int | None = None,
    stages: Stages = "all",
) -> list[Pick]:
    """Picks of a time span, in order of time; damaged ones are left out.

    Args:
        path: the store.
        since_ns: begin of the span; None: the oldest.
        until_ns: end of the span, not in it; None: the newest.
        instrument: only its picks; None: those of all.
        limit: at most so many, the latest; None: all.
        stages: only those of this stage, or all, withdrawals too.

    Raises:
        StoreError: when they cannot be read.
    """
    condition, values = within(since_ns, until_ns, instrument, stages)
    return _latest(path, condition, values, limit, pick_from_document)


def stored_events(
    path: Path,
    since_ns: int | None = None,
    until_ns: int | None = None,
    limit: int | None = None,
    stages: Stages = "all",
) -> list[Event]:
    """Versions of events whose first pick is in a time span, in order of that time and of their making; damaged ones are left out.

    Args:
        path: the store.
        since_ns: begin of the span; None: the oldest.
        until_ns: end of the span, not in it; None: the newest.
        limit: at most so many, the latest; None: all.
        stages: only those of this stage, or all, withdrawals too.

    Raises:
        StoreError: when they cannot be read.
    """
    condition = "kind = 'event' AND time_ns >= ? AND time_ns < ? AND (? = 'all' OR stage = ?)"
    values = [
        EARLIEST_NS if since_ns is None else since_ns,
        LATEST_NS if until_ns is None else until_ns,
        stages,
        stages,
    ]
    return _latest(path, condition, values, limit, event_from_document)


def _latest(
    path: Path,
    condition: str,
    values: Sequence[object],
    limit: int | None,
    from_document: Callable[[dict[str, Any]], Found],
) -> list[Found]:
    """What the latest documents say that a condition on a row selects, in order of time; damaged ones are left out."""
    try:
        with closing(opened_to_read(path)) as store:
            rows = store.execute(
                f"SELECT document FROM picks WHERE {condition} ORDER BY time_ns DESC, place DESC LIMIT ?",  # noqa: S608  those above
                [*values, ALL if limit is None else limit],
            ).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    found = []
    for (document,) in reversed(rows):
        with suppress(*ILLEGIBLE):
            found.append(from_document(json.loads(document)))
    return found


def picks_per_hour(path: Path, since_ns: int) -> dict[str, dict[int, int]]:
    """Number of final picks of each instrument in each hour since 1970, where there are any.

    Args:
        path: the store.
        since_ns: only those from this time on.

    Raises:
        StoreError: when they cannot be read.
    """
    condition, values = within(since_ns, None, None, "final")
    try:
        with closing(opened_to_read(path)) as store:
            rows = store.execute(
                f"SELECT instrument, time_ns / {NS_PER_HOUR} AS hour, count(*) FROM picks WHERE {condition} GROUP BY instrument, hour",  # noqa: S608  see within
                values,
            ).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    found: dict[str, dict[int, int]] = {}
    for instrument, hour, count in rows:
        found.setdefault(instrument, {})[hour] = count
    return found

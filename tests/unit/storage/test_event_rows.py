"""Events in the store: among the picks, once, and for the sinks that take them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.domain.test_document import early_at, final_at
from xiaod.domain.onsets import is_of, withdrawal
from xiaod.domain.sharding import Shard
from xiaod.domain.types import Event, EventPick, PickOrEvent, Stages, Wanted
from xiaod.storage.backlog import Backlog, MemoryBacklog, StoredBacklog
from xiaod.storage.pick_query import picks_per_hour, stored_picks
from xiaod.storage.pick_store import SCHEMA_VERSION, PickStore, opened_to_read
from xiaod.storage.shard_rows import ADOPTED, read_rows, write_rows

EARLY, FINAL = early_at(100), final_at(100)
EVENT = Event(
    "e-early-v1",
    "e-early",
    1,
    "early",
    "coincidence",
    EARLY.time_ns,
    (EventPick(EARLY.id, EARLY.channel, "P", EARLY.time_ns, 0.1, "early"),),
)
SETTLED = replace(EVENT, id="e-v1", event_id="e", stage="final", early_id="e-early")
GONE = replace(EVENT, id="e-early-v2", version=2, stage="withdrawn", early_id="e-early")
ALL: Sequence[PickOrEvent] = (EARLY, EVENT, FINAL, SETTLED, withdrawal(EARLY), GONE)
CHOICES = [(stages, wanted) for stages in ("final", "early", "all") for wanted in ("picks", "events", "all")]


def put(store: PickStore, item: PickOrEvent) -> Sequence[PickOrEvent]:
    return store.add_events([item]) if isinstance(item, Event) else store.add([item], {})


@pytest.mark.parametrize(("stages", "wanted"), CHOICES)
def test_each_sink_gets_what_it_takes_in_order(path: Path, stages: Stages, wanted: Wanted) -> None:
    store = PickStore(path)
    expected = [item for item in ALL if is_of(item, stages, wanted)]
    assert expected
    backlogs: list[Backlog] = [StoredBacklog(store, "a", stages, wanted), MemoryBacklog(99, stages, wanted)]
    for item in ALL:
        assert put(store, item) == [item]
        for backlog in backlogs:
            backlog.noted(item)
    for backlog in backlogs:
        assert len(backlog) == len(expected)
        assert backlog.waiting(99) == expected
        backlog.delivered(0)
        assert len(backlog) == 0
    store.close()
    store = PickStore(path)
    assert StoredBacklog(store, "a", stages, wanted).waiting(99) == []
    assert store.backlog("a") == 0
    # Nothing that waits for nobody is kept for this sink.
    assert [put(store, item) for item in ALL] == [[] for _ in ALL]
    store.close()


def test_who_reads_picks_reads_no_events(path: Path) -> None:
    store = PickStore(path)
    for item in ALL:
        put(store, item)
    picks = [item for item in ALL if not isinstance(item, Event)]
    assert sorted(pick.id for pick in store.between(None, None)) == sorted(pick.id for pick in picks)
    assert len(stored_picks(path)) == len(picks)
    assert [sum(hours.values()) for hours in picks_per_hour(path, 0).values()] == [1]
    found, events = store.last_minutes(60)
    assert sorted(pick.id for pick in found) == sorted(pick.id for pick in picks)
    assert events == [EVENT, SETTLED, GONE]
    store.close()


def test_events_that_nobody_has_settled_or_withdrawn_are_read_however_old_they_are(path: Path) -> None:
    store = PickStore(path)
    newest = final_at(9000)
    store.add([newest], {})
    # One by one: announced, settled; announced again under this name, withdrawn; and again.
    again = replace(EVENT, id="e-early-v3", version=3)
    for item, expected in ((EVENT, [EVENT]), (SETTLED, []), (again, [again]), (GONE, [])):
        store.add_events([item])
        assert store.last_minutes(60) == ([newest], expected)
    store.close()


def test_another_shard_gets_the_events_that_wait(path: Path) -> None:
    store = PickStore(path)
    store.begin("a", "all", "events")
    put(store, EVENT)
    with closing(sqlite3.connect(path)) as connection:
        rows = read_rows(connection, {("BW", "RJOB")}, Shard(0, 1), ("a",), adopted=0)
    assert [(row[0], row[-1]) for row in rows.waiting] == [(EVENT.id, "event")]
    store.close()


@pytest.mark.parametrize("wanted", ["picks", "events", "all"])
@pytest.mark.parametrize("items", [ALL, (EVENT, SETTLED)], ids=["all", "events"])
def test_a_sink_that_is_new_in_another_shard_gets_what_waits(
    path: Path, items: Sequence[PickOrEvent], wanted: Wanted
) -> None:
    store = PickStore(path)
    store.begin("a", "all", wanted)
    for item in items:
        put(store, item)
    waiting = [item for _, item in store.waiting("a", 99)]
    with closing(sqlite3.connect(path)) as connection:
        rows = read_rows(connection, set(), Shard(0, 1), ("a",), adopted=0)
    store.close()
    other = path.with_name("other.sqlite")
    PickStore(other).close()
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute(ADOPTED)
        write_rows(connection, "former", rows)
    store = PickStore(other)
    store.begin("a", "all", wanted)
    assert [item for _, item in store.waiting("a", 99)] == waiting
    store.close()


def test_a_sink_that_takes_events_from_now_on_gets_no_old_ones(path: Path) -> None:
    store = PickStore(path)
    store.begin("a", "all")
    put(store, EVENT)
    store.begin("a", "all", "all")
    put(store, SETTLED)
    assert [item for _, item in store.waiting("a", 9)] == [SETTLED]
    store.close()


def test_a_store_without_events_is_upgraded_and_can_be_read_before(path: Path) -> None:
    store = PickStore(path)
    store.begin("a", "final")
    store.add([EARLY, FINAL], {})
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP INDEX events; ALTER TABLE picks DROP COLUMN kind; ALTER TABLE cursors DROP COLUMN wanted; PRAGMA user_version = 3"
        )
    assert stored_picks(path) == [EARLY, FINAL]
    with closing(opened_to_read(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT stage FROM picks ORDER BY place").fetchall() == [
            ("early",),
            ("final",),
        ]
    store = PickStore(path)
    assert store.add_events([EVENT]) == [EVENT]
    assert [item for _, item in store.waiting("a", 9)] == [FINAL]
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_events_are_found_without_going_through_the_picks(path: Path) -> None:
    store = PickStore(path)
    store.begin("a", "final", "events")
    for number in range(300):
        store.add([final_at(1000 * number)], {})
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT place FROM picks WHERE place > 0 AND kind = 'event' AND (stage = 'final') = 1 ORDER BY place"
        ).fetchall()
    assert any("INDEX events" in str(row) for row in plan), plan

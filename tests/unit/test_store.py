"""The store: picks once, cursors that survive, damage that does not end anything."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.ledger import Ledger
from xiaod.records import Channel, Instrument, Pick
from xiaod.store import PickStore, StoreError
from xiaod.timebase import NS_PER_S

INSTRUMENT = Instrument("BW", "RJOB", "", "EH")
EXAMPLE = Pick(
    "id-0", Channel("BW", "RJOB", "", "EHZ"), "P", 1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "m-1.0.0", "0" * 64
)  # fmt: skip


def pick_of(number: int, station: str = "RJOB") -> Pick:
    channel = replace(EXAMPLE.channel, station=station)
    return replace(EXAMPLE, id=f"{station}-{number}", channel=channel, time_ns=number * NS_PER_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "picks.sqlite"


def test_everything_comes_back_in_another_life(path: Path) -> None:
    store = PickStore(path)
    store.begin("a")
    assert store.add([pick_of(1), pick_of(2)], {INSTRUMENT: 7}) == [pick_of(1), pick_of(2)]
    store.delivered("a", store.waiting("a", 1)[0][0])
    store.close()
    store = PickStore(path)
    assert store.add([pick_of(2), pick_of(3)], {}) == [pick_of(3)]
    assert [pick for _, pick in store.waiting("a", 10)] == [pick_of(2), pick_of(3)]
    assert (store.backlog("a"), store.frontier(INSTRUMENT)) == (2, 7)
    assert store.between(2 * NS_PER_S, 3 * NS_PER_S) == [pick_of(2)]
    assert store.between(None, None, Instrument("BW", "OTHER", "", "EH")) == []


def test_a_sink_that_is_new_gets_what_comes_from_now_on(path: Path) -> None:
    store = PickStore(path)
    store.add([pick_of(1)], {})
    store.begin("late")
    store.add([pick_of(2)], {})
    store.begin("late")
    assert [pick for _, pick in store.waiting("late", 10)] == [pick_of(2)]


def test_only_what_all_have_got_is_forgotten(path: Path) -> None:
    store = PickStore(path)
    store.begin("quick")
    store.begin("slow")
    store.add([pick_of(1), pick_of(2)], {})
    for place, _ in store.waiting("quick", 10):
        store.delivered("quick", place)
    store.delivered("slow", store.waiting("slow", 1)[0][0])
    assert store.prune(0, ["quick", "slow"]) == 0
    assert store.prune(2**62, ["quick", "slow"]) == 1
    assert [pick for _, pick in store.waiting("slow", 10)] == [pick_of(2)]
    assert store.add([pick_of(3)], {}) == [pick_of(3)]
    assert [pick for _, pick in store.waiting("quick", 10)] == [pick_of(3)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "deliver", "reopen"]), st.integers(0, 12)), max_size=25))
def test_each_pick_once_and_in_order_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "picks.sqlite"
    store = PickStore(path)
    store.begin("sink")
    expected: list[str] = []
    got: list[str] = []
    for step, number in steps:
        if step == "add":
            new = store.add([pick_of(number)], {})
            assert bool(new) == (pick_of(number).id not in expected)
            expected += [pick.id for pick in new]
        elif step == "deliver":
            batch = store.waiting("sink", number)
            got += [pick.id for _, pick in batch]
            if batch:
                store.delivered("sink", batch[-1][0])
        else:
            store.close()
            store = PickStore(path)
        assert got == expected[: len(got)]
        assert store.backlog("sink") == len(expected) - len(got)
    store.close()


@pytest.mark.parametrize("damage", [b"", b"nothing of the kind", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_store_is_moved_aside(path: Path, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)
    store = PickStore(path)
    assert store.add([pick_of(1)], {}) == [pick_of(1)]
    moved = list(path.parent.glob("picks.bad-*"))
    assert [file.read_bytes() for file in moved] == ([damage] if damage else [])


def test_a_page_in_the_middle_that_is_damaged_is_found(path: Path) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(300)], {})
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)
    store = PickStore(path)
    assert store.between(None, None) == []
    assert list(path.parent.glob("picks.bad-*"))


def test_a_store_of_a_later_version_is_kept_and_not_touched(path: Path) -> None:
    PickStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    PickStore(path).close()
    [moved] = path.parent.glob("picks.bad-*[0-9]")
    with sqlite3.connect(moved) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="state"):
        PickStore(tmp_path / "state" / "picks.sqlite")


def fill(store: PickStore) -> None:
    for number in range(2, 2000):
        store.add([pick_of(number)], {})


def test_a_full_disk_loses_nothing_that_was_there(path: Path) -> None:
    store = PickStore(path)
    store.add([pick_of(1)], {})
    # SQLite's own limit of pages stands for the end of the disk: it fails with the same error.
    store._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(StoreError, match="full"):
        fill(store)
    kept = store.between(None, None)
    assert pick_of(1) in kept
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.add([pick_of(5000)], {}) == [pick_of(5000)]
    assert store.between(None, None) == [*kept, pick_of(5000)]


def test_after_a_resumption_nothing_is_picked_that_was_picked_before(path: Path) -> None:
    store = PickStore(path)
    ledger = Ledger(store, resumed=True, settled_s=10)
    ledger.store([pick_of(80), pick_of(95)])
    ledger.advance(INSTRUMENT, 100 * NS_PER_S)
    ledger.flush({})
    later = Ledger(store, resumed=True, settled_s=10)
    assert later.known_since(INSTRUMENT) == [pick_of(80), pick_of(95)]
    # Before 90 s everything had been decided; after it what is there is known by its identifier.
    assert later.store([pick_of(85), pick_of(95), pick_of(96)]) == [pick_of(96)]
    assert Ledger(store, resumed=False, settled_s=10).store([pick_of(85)]) == [pick_of(85)]


def test_an_instrument_that_fell_silent_holds_nobody_back(path: Path) -> None:
    ledger = Ledger(PickStore(path), resumed=True, settled_s=0)
    other = replace(INSTRUMENT, band="HH")
    ledger.advance(INSTRUMENT, 100 * NS_PER_S)
    ledger.advance(other, 400 * NS_PER_S)
    ledger.flush({})
    assert ledger.resume_at() == {("BW", "RJOB"): 100 * NS_PER_S}
    ledger.advance(other, 2000 * NS_PER_S)
    ledger.flush({})
    assert ledger.resume_at() == {("BW", "RJOB"): 2000 * NS_PER_S}

"""Stations that change their shard: their place in the stream and their picks go with them, and nothing is delivered twice."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.storage.test_pick_store import EXAMPLE, pick_of
from xiaod.config.per_shard import state_folder
from xiaod.domain.resumption import REMEMBERED_S
from xiaod.domain.sharding import ALONE, Shard, shard_of
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Instrument, Pick
from xiaod.storage.folder_lock import FolderLock
from xiaod.storage.pick_store import STORE, PickStore
from xiaod.storage.shard_handover import OtherCountError, ShardHandover, inherit, refuse_other_counts

NETWORK = "BW"
STATIONS = ("RJOB", "MANZ", "WETR", "ROTZ", "BFO", "FUR")
LATE = round(REMEMBERED_S) + 100
NOTHING = ShardHandover(0, 0, ())


def store_of(base: Path, shard: Shard) -> PickStore:
    store = PickStore(state_folder(base, shard) / STORE)
    store.begin("a")
    return store


def record(store: PickStore, stations: tuple[str, ...], second: int, sequence: int) -> None:
    """Stations have been picked until a second, and have picks of then and of long before."""
    for station in stations:
        picks = [pick_of(number, station) for number in (1, second)]
        store.add(picks, {Instrument(NETWORK, station, "", "EH"): second * NS_PER_S})
    store.save({}, {"test": {(NETWORK, one): (sequence, second * NS_PER_S - 5) for one in stations}})


def deliver(store: PickStore, sink: str = "a") -> list[Pick]:
    found = store.waiting(sink, 1000)
    if found:
        store.delivered(sink, found[-1][0])
    return [pick for _, pick in found if isinstance(pick, Pick)]


def take_over(base: Path, shard: Shard, sinks: tuple[str, ...] = ("a",)) -> tuple[PickStore, ShardHandover]:
    store = PickStore(state_folder(base, shard) / STORE)
    found = inherit(base, shard, sinks)
    store.begin("a")
    return store, found


def held_by(shard: Shard) -> list[str]:
    return sorted(station for station in STATIONS if shard.holds(NETWORK, station))


def test_from_one_to_three_to_two_and_back(tmp_path: Path) -> None:
    alone = store_of(tmp_path, ALONE)
    record(alone, STATIONS, LATE, 1)
    assert len(deliver(alone)) == 2 * len(STATIONS)
    alone.close()
    for number, count in enumerate((3, 2, 3, 1), 2):
        moved = 0
        for index in range(count):
            shard = Shard(index, count)
            store, found = take_over(tmp_path, shard)
            assert found.undelivered == 0
            moved += found.stations
            mine = held_by(shard)
            positions = store.positions("test")
            for station in mine:
                before = LATE + 1000 * (number - 2)
                assert positions[NETWORK, station] == (number - 1, before * NS_PER_S - 5)
                instrument = Instrument(NETWORK, station, "", "EH")
                assert store.picked_until(instrument) == before * NS_PER_S
                # What was picked last is known, and is not picked again.
                assert pick_of(before, station) in store.between(None, None, instrument)
                assert store.add([pick_of(before, station)], {}) == []
            assert deliver(store) == []
            again = inherit(tmp_path, shard, ["a"])
            assert again == NOTHING
            record(store, tuple(mine), LATE + 1000 * (number - 1), number)
            assert [pick.time_ns for pick in deliver(store) if pick.time_ns > NS_PER_S] == [
                (LATE + 1000 * (number - 1)) * NS_PER_S
            ] * len(mine)
            store.close()
        assert moved <= len(STATIONS)
        if number == 2:
            assert moved == len(STATIONS)


def test_old_picks_stay_where_they_are(tmp_path: Path) -> None:
    alone = store_of(tmp_path, ALONE)
    record(alone, STATIONS, LATE, 1)
    deliver(alone)
    shard = Shard(0, 2)
    store, _ = take_over(tmp_path, shard)
    assert sorted(pick.id for pick in store.between(None, None)) == sorted(
        f"{station}-{LATE}" for station in held_by(shard)
    )


def test_what_a_shard_that_is_gone_had_not_delivered_is_delivered_once(tmp_path: Path) -> None:
    gone = store_of(tmp_path, Shard(2, 3))
    gone.begin("b")
    mine = tuple(station for station in STATIONS if shard_of(NETWORK, station, 3) == 2)
    assert mine
    record(gone, mine, LATE, 1)
    deliver(gone, "b")
    gone.close()
    delivered: list[Pick] = []
    for index in range(2):
        store, found = take_over(tmp_path, Shard(index, 2), ("a", "b", "new"))
        picks = deliver(store)
        assert found.undelivered == len(picks)
        delivered += picks
        # What is forgotten here is not taken over once more.
        assert store.prune(0, ["a"]) == len(picks)
        store.close()
        store, found = take_over(tmp_path, Shard(index, 2))
        assert found == NOTHING
        assert deliver(store) == []
        store.close()
    assert sorted(pick.id for pick in delivered) == sorted(
        f"{station}-{number}" for station in mine for number in (1, LATE)
    )


def test_what_a_shard_that_goes_on_had_not_delivered_is_left_to_it(tmp_path: Path) -> None:
    first = store_of(tmp_path, Shard(0, 2))
    record(first, tuple(held_by(Shard(0, 2))), LATE, 1)
    store, found = take_over(tmp_path, Shard(2, 3))
    assert found.stations == len([one for one in held_by(Shard(0, 2)) if one in held_by(Shard(2, 3))])
    assert found.undelivered == 0
    assert deliver(store) == []


def test_a_station_that_had_only_begun_moves_too(tmp_path: Path) -> None:
    alone = store_of(tmp_path, ALONE)
    station = held_by(Shard(0, 2))[0]
    alone.save({}, {"test": {(NETWORK, station): (9, 4)}})
    alone.add([pick_of(3, station)], {})
    deliver(alone)
    store, found = take_over(tmp_path, Shard(0, 2))
    assert found == ShardHandover(1, 0, ())
    assert store.positions("test") == {(NETWORK, station): (9, 4)}
    assert store.add([pick_of(3, station)], {}) == []


def test_a_station_before_1970_moves_too(tmp_path: Path) -> None:
    """Archives of old earthquakes are played to daemons."""
    alone = store_of(tmp_path, ALONE)
    station = held_by(Shard(0, 2))[0]
    instrument, known = Instrument(NETWORK, station, "", "EH"), pick_of(-LATE, station)
    alone.add([known], {instrument: -LATE * NS_PER_S})
    alone.save({}, {"test": {(NETWORK, station): (9, -LATE * NS_PER_S)}})
    deliver(alone)
    store, found = take_over(tmp_path, Shard(0, 2))
    assert found == ShardHandover(1, 0, ())
    assert store.picked_until(instrument) == -LATE * NS_PER_S
    assert store.between(None, None) == [known]


def test_new_picks_are_delivered_behind_those_that_are_only_known(tmp_path: Path) -> None:
    alone = store_of(tmp_path, ALONE)
    record(alone, STATIONS, LATE, 1)
    store, _ = take_over(tmp_path, Shard(0, 2), ())
    station = held_by(Shard(0, 2))[0]
    new = replace(pick_of(LATE + 7, station), probability=EXAMPLE.probability)
    store.add([new], {})
    assert deliver(store) == [new]
    assert deliver(store) == []


def test_a_store_that_cannot_be_read_is_named_and_the_others_taken(tmp_path: Path) -> None:
    alone = store_of(tmp_path, ALONE)
    record(alone, STATIONS, LATE, 1)
    bad = tmp_path / "shard-7" / STORE
    bad.parent.mkdir()
    bad.write_bytes(b"no database, but long enough to be looked at" * 100)
    store, found = take_over(tmp_path, Shard(1, 2))
    assert found.stations == len(held_by(Shard(1, 2)))
    assert found.unreadable
    assert all(str(bad) in one for one in found.unreadable)
    assert len(store.positions("test")) == found.stations
    # Nothing was changed there.
    assert bad.read_bytes().startswith(b"no database")
    assert sqlite3.connect(tmp_path / STORE).execute("SELECT count(*) FROM positions").fetchone() == (6,)


def test_shards_of_two_counts_do_not_run_together(tmp_path: Path) -> None:
    other = FolderLock(state_folder(tmp_path, Shard(1, 3)), Shard(1, 3))
    refuse_other_counts(tmp_path, Shard(0, 3))
    with pytest.raises(OtherCountError, match="runs as shard 1/3, this one is 0/2; stop all shards"):
        refuse_other_counts(tmp_path, Shard(0, 2))
    with pytest.raises(OtherCountError, match="this one is 0/1"):
        refuse_other_counts(tmp_path, ALONE)
    other.release()
    refuse_other_counts(tmp_path, Shard(0, 2))
    alone = FolderLock(tmp_path, ALONE)
    with pytest.raises(OtherCountError, match="runs as shard 0/1, this one is 2/3"):
        refuse_other_counts(tmp_path, Shard(2, 3))
    alone.release()

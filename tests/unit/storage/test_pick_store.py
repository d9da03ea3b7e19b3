"""The store: picks once, cursors that survive, damage that does not end anything."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.sinks.file.test_jsonl import files_end_at
from xiaod.domain.onsets import pick_id
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Instrument, Pick
from xiaod.storage.backlog import StoredBacklog
from xiaod.storage.pick_query import stored_picks
from xiaod.storage.pick_store import AGE_STEP_S, NewerStoreError, PickStore, StoreDamagedError, StoreError
from xiaod.storage.progress import PickingProgress

DAY_S = 86_400.0
INSTRUMENT = Instrument("BW", "RJOB", "", "EH")
SEPARATION = 100
EXAMPLE = Pick(
    "id-0", Channel("BW", "RJOB", "", "EHZ"), "P", 1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "m-1.0.0", "0" * 64
)  # fmt: skip


def pick_of(number: int, station: str = "RJOB") -> Pick:
    channel = replace(EXAMPLE.channel, station=station)
    return replace(EXAMPLE, id=f"{station}-{number}", channel=channel, time_ns=number * NS_PER_S)


def beside(path: Path) -> closing[sqlite3.Connection]:
    """A connection of our own to a store."""
    return closing(sqlite3.connect(path))


def test_everything_comes_back_in_another_life(path: Path) -> None:
    store = PickStore(path)
    store.begin("a")
    assert store.add([pick_of(1), pick_of(2)], {INSTRUMENT: 7}) == [pick_of(1), pick_of(2)]
    store.delivered("a", store.waiting("a", 1)[0][0])
    store.close()
    store = PickStore(path)
    assert store.add([pick_of(2), pick_of(3)], {}) == [pick_of(3)]
    assert [pick for _, pick in store.waiting("a", 10)] == [pick_of(2), pick_of(3)]
    assert (store.backlog("a"), store.picked_until(INSTRUMENT)) == (2, 7)
    assert store.between(2 * NS_PER_S, 3 * NS_PER_S) == [pick_of(2)]
    assert store.between(None, None, Instrument("BW", "OTHER", "", "EH")) == []


def test_a_delivery_that_is_told_late_brings_nothing_back(path: Path) -> None:
    store = PickStore(path)
    store.begin("a")
    store.add([pick_of(1), pick_of(2), pick_of(3)], {})
    first, second, _ = (place for place, _ in store.waiting("a", 10))
    store.delivered("a", second)
    store.delivered("a", first)
    assert [pick for _, pick in store.waiting("a", 10)] == [pick_of(3)]


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
    assert store.prune(DAY_S, ["quick", "slow"]) == 0
    assert store.prune(0, ["quick", "slow"]) == 1
    assert [pick for _, pick in store.waiting("slow", 10)] == [pick_of(2)]
    assert store.add([pick_of(3)], {}) == [pick_of(3)]
    assert [pick for _, pick in store.waiting("quick", 10)] == [pick_of(3)]


def test_looking_for_what_is_old_does_not_go_through_all_picks(
    path: Path, connections: list[sqlite3.Connection]
) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(5000)], {})
    store.prune(DAY_S, [])
    looks: list[int] = []
    connections[0].set_progress_handler(lambda: looks.append(0), 100)
    assert store.prune(DAY_S, []) == 0
    assert len(looks) < 5


class MonotonicClock:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.just("restart"),
            st.floats(0.01, 3.0).map(lambda days: days * DAY_S),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_a_pick_is_forgotten_once_daemons_have_run_for_so_long(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | float]
) -> None:
    keep_s = 4 * DAY_S
    path = tmp_path_factory.mktemp("store") / "picks.sqlite"
    monotonic = MonotonicClock()
    store = PickStore(path, monotonic)
    store.prune(keep_s, [])
    stored_s: dict[str, float] = {}
    ran_s = lost_s = 0.0
    for number, step in enumerate(steps):
        if isinstance(step, str):
            store.close()
            # What was not noted at the end is not counted.
            lost_s += AGE_STEP_S
            # Another start of the machine: its clock begins anew.
            monotonic = MonotonicClock()
            store = PickStore(path, monotonic)
        else:
            # In steps, as the daemon does.
            for _ in range(100):
                monotonic.now_s += step / 100
                store.prune(keep_s, [])
            ran_s += step
        pick = pick_of(number)
        store.add([pick], {})
        stored_s[pick.id] = ran_s
        kept = {pick.id for pick in store.between(None, None)}
        assert kept >= {key for key, since_s in stored_s.items() if ran_s - since_s < keep_s}
        least_s = keep_s + lost_s + 2 * max(AGE_STEP_S, 3.0 * DAY_S / 100)
        assert not kept & {key for key, since_s in stored_s.items() if ran_s - since_s > least_s}
    store.close()


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "deliver", "crash"]), st.integers(1, 4), st.integers(0, 6)),
        max_size=25,
    )
)
def test_what_a_sink_holds_back_comes_again_after_a_crash(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "picks.sqlite"
    store = PickStore(path)
    backlog = StoredBacklog(store, "sink")
    made: list[str] = []
    safe: list[str] = []
    held: list[str] = []
    for step, count, kept in steps:
        if step == "put":
            for _ in range(count):
                pick = pick_of(len(made))
                store.add([pick], {})
                backlog.noted(pick)
                made.append(pick.id)
        elif step == "deliver":
            held += [pick.id for pick in backlog.waiting(count)]
            release = max(0, len(held) - kept)
            safe, held = safe + held[:release], held[release:]
            backlog.delivered(len(held))
        else:
            store.close()
            store, held = PickStore(path), []
            backlog = StoredBacklog(store, "sink")
        assert made == safe + held + made[len(safe) + len(held) :]
        assert len(backlog) == len(made) - len(safe) - len(held)
    assert safe + held + [pick.id for pick in backlog.waiting(1000)] == made
    store.close()


@settings(max_examples=25)
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


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.write_bytes(content)


def test_after_an_end_that_was_not_in_order_a_damaged_page_is_found_at_once(
    path: Path, tmp_path: Path
) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(300)], {})
    with beside(path) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    store.add([pick_of(300)], {})
    # As a process that was killed leaves it.
    left = shutil.copytree(path.parent, tmp_path / "left") / path.name
    store.close()
    damage(left)
    store = PickStore(left)
    assert store.between(None, None) == []
    assert list(left.parent.glob("picks.bad-*[0-9]"))
    store.close()


def test_a_page_that_is_damaged_between_two_runs_is_found_when_it_is_read(path: Path) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(300)], {})
    store.close()
    damage(path)
    # The end was in order: no start reads all of a store for nothing.
    store = PickStore(path)
    with pytest.raises(StoreDamagedError):
        store.between(None, None)
    store.close()
    store = PickStore(path)
    assert store.between(None, None) == []
    assert list(path.parent.glob("picks.bad-*[0-9]"))
    store.close()
    # The new one is trusted again.
    assert not list(path.parent.glob("*.suspected"))


def test_damage_while_it_is_used_is_not_waited_out(path: Path, connections: list[sqlite3.Connection]) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(300)], {})
    store.close()
    store = PickStore(path)
    backlog = StoredBacklog(store, "sink")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))
    # What is remembered of the file would hide it.
    connections[-1].execute("PRAGMA shrink_memory")
    progress = PickingProgress(store, resumed=True, not_final_s=10)
    for use in (
        lambda: progress.store([pick_of(400)], SEPARATION),
        lambda: progress.write(progress.snapshot(), {"source": {("BW", "RJOB"): (1, 2)}}),
        lambda: backlog.waiting(5),
    ):
        # No OSError: those are tried again.
        with pytest.raises(StoreDamagedError, match=r"picks\.sqlite.*malformed"):
            use()
    store.close()
    store = PickStore(path)
    assert store.lost_ns is not None
    assert store.add([pick_of(400)], {}) == [pick_of(400)]
    store.close()


@settings(max_examples=200)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans())
def test_a_document_with_a_wrong_byte_holds_nobody_up(
    tmp_path_factory: pytest.TempPathFactory, where: float, byte: int, looked_at: bool
) -> None:
    path = tmp_path_factory.mktemp("store") / "picks.sqlite"
    store = PickStore(path)
    backlog = StoredBacklog(store, "sink")
    picks = [pick_of(number) for number in (1, 2, 3)]
    for pick in store.add(picks, {}):
        backlog.noted(pick)
    with beside(path) as connection, connection:
        [document] = connection.execute("SELECT document FROM picks WHERE id = ?", (picks[1].id,)).fetchone()
        content = bytearray(document.encode())
        content[int(where * len(content))] = byte
        connection.execute(
            "UPDATE picks SET document = CAST(? AS TEXT) WHERE id = ?", (bytes(content), picks[1].id)
        )
    assert {picks[0].id, picks[2].id} <= {pick.id for pick in stored_picks(path)}
    if looked_at:
        known = store.between(None, None)
        assert (known[0], known[-1]) == (picks[0], picks[2])
    got = []
    while batch := backlog.waiting(1):
        got += batch
        backlog.delivered(0)
    assert (got[0], got[-1], len(backlog)) == (picks[0], picks[2], 0)
    # Should it be made again, it is there again.
    assert len(store.between(None, None)) + len(store.add([picks[1]], {})) == 3
    store.close()


def set_version(path: Path) -> None:
    with beside(path) as connection, connection:
        connection.execute("PRAGMA user_version = 99")


def test_a_store_of_a_later_version_is_refused_and_not_touched(path: Path) -> None:
    PickStore(path).close()
    set_version(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(NewerStoreError, match=r"picks\.sqlite: store version 99; this program knows 4"):
            PickStore(path)
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [(path.name, before)]


def test_damage_is_not_taken_for_a_later_version(path: Path) -> None:
    store = PickStore(path)
    store.add([pick_of(number) for number in range(300)], {})
    store.close()
    set_version(path)
    damage(path)
    PickStore(path).close()
    assert list(path.parent.glob("picks.bad-*[0-9]"))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="state"):
        PickStore(tmp_path / "state" / "picks.sqlite")


def fill(store: PickStore) -> None:
    for number in range(2, 2000):
        store.add([pick_of(number)], {})


def test_a_full_disk_loses_nothing_that_was_there(path: Path, connections: list[sqlite3.Connection]) -> None:
    store = PickStore(path)
    store.add([pick_of(1)], {})
    # SQLite's own limit of pages stands for the end of the disk: it fails with the same error.
    connections[0].execute("PRAGMA max_page_count = 12")
    with pytest.raises(StoreError, match="full"):
        fill(store)
    kept = store.between(None, None)
    assert pick_of(1) in kept
    connections[0].execute("PRAGMA max_page_count = 100000")
    assert store.add([pick_of(5000)], {}) == [pick_of(5000)]
    assert store.between(None, None) == [*kept, pick_of(5000)]


def test_a_store_is_opened_on_a_full_disk(path: Path, tmp_path: Path) -> None:
    store = PickStore(path)
    # As a process that was killed leaves it: all in the write-ahead log.
    store.begin("sink")
    store.add([pick_of(1)], {INSTRUMENT: 7})
    left = shutil.copytree(path.parent, tmp_path / "left") / path.name
    store.close()
    with files_end_at(Path(f"{left}-wal").stat().st_size):
        store = PickStore(left)
        store.begin("sink")
        assert (store.between(None, None), store.picked_until(INSTRUMENT)) == ([pick_of(1)], 7)
        with pytest.raises(StoreError):
            store.add([pick_of(2)], {})
    assert store.add([pick_of(2)], {}) == [pick_of(2)]
    store.close()


def test_after_a_resumption_nothing_is_picked_that_was_picked_before(path: Path) -> None:
    store = PickStore(path)
    progress = PickingProgress(store, resumed=True, not_final_s=10)
    progress.store([pick_of(80), pick_of(95)], SEPARATION)
    progress.advance(INSTRUMENT, 100 * NS_PER_S)
    progress.write(progress.snapshot(), {})
    later = PickingProgress(store, resumed=True, not_final_s=10)
    assert later.known_since(INSTRUMENT, 20 * NS_PER_S) == [pick_of(80), pick_of(95)]
    # Before 90 s everything had been decided; after it what is there is known by its identifier.
    assert later.store([pick_of(85), pick_of(95), pick_of(96)], SEPARATION) == [pick_of(96)]
    assert PickingProgress(store, resumed=False, not_final_s=10).store([pick_of(85)], SEPARATION) == [
        pick_of(85)
    ]


def test_an_onset_that_only_the_store_remembers_is_not_picked_again(path: Path) -> None:
    place = EXAMPLE.time_ns // GRID_NS

    def found_at(
        sample: int, phase: str = "P", model: str = "m-1.0.0", instrument: Instrument = INSTRUMENT
    ) -> Pick:
        """A pick whose time is not where its peak is."""
        channel = replace(EXAMPLE.channel, station=instrument.station)
        name = pick_id(sample * GRID_NS, phase, instrument, model)
        time_ns = sample * GRID_NS + 190_000_000
        return replace(EXAMPLE, id=name, channel=channel, phase=phase, time_ns=time_ns, model=model)

    progress = PickingProgress(PickStore(path), resumed=False, not_final_s=10)
    first = found_at(place)
    assert progress.store([first], SEPARATION) == [first]
    for sample in (place, place + 1, place - 1, place + SEPARATION - 1, place - SEPARATION + 1):
        early = replace(found_at(sample), time_ns=sample * GRID_NS - 190_000_000)
        assert progress.store([found_at(sample), early], SEPARATION) == []
    others = [
        found_at(place + SEPARATION),
        found_at(place - SEPARATION),
        found_at(place + 1, phase="S"),
        found_at(place + 1, model="m-2.0.0"),
        found_at(place + 1, instrument=replace(INSTRUMENT, station="OTHER")),
    ]
    assert progress.store(others, SEPARATION) == others


def test_a_run_that_ends_before_it_meets_the_last_one_does_not_forget_how_far_that_was(path: Path) -> None:
    store = PickStore(path)
    first = PickingProgress(store, resumed=True, not_final_s=10)
    first.advance(INSTRUMENT, 100 * NS_PER_S)
    first.write(first.snapshot(), {})
    second = PickingProgress(store, resumed=True, not_final_s=10)
    second.begin(INSTRUMENT, 50 * NS_PER_S)
    second.advance(INSTRUMENT, 70 * NS_PER_S)
    second.write(second.snapshot(), {})
    assert second.picked_until() == {("BW", "RJOB"): 90 * NS_PER_S}
    third = PickingProgress(store, resumed=True, not_final_s=10)
    third.begin(INSTRUMENT, 50 * NS_PER_S)
    # The first run has decided that there is nothing.
    assert third.store([pick_of(85)], SEPARATION) == []
    third.advance(INSTRUMENT, 130 * NS_PER_S)
    assert third.picked_until() == {("BW", "RJOB"): 120 * NS_PER_S}


def test_picks_of_a_run_that_was_killed_before_it_saved_are_known(path: Path) -> None:
    PickingProgress(PickStore(path), resumed=True, not_final_s=10).store(
        [pick_of(80), pick_of(5000)], SEPARATION
    )
    later = PickingProgress(PickStore(path), resumed=True, not_final_s=10)
    assert later.begin(INSTRUMENT, 70 * NS_PER_S) == 0
    assert later.known_since(INSTRUMENT, 70 * NS_PER_S) == [pick_of(80), pick_of(5000)]
    assert later.known_since(INSTRUMENT, 4990 * NS_PER_S) == [pick_of(5000)]


def test_instruments_that_have_picks(path: Path) -> None:
    store = PickStore(path)
    progress = PickingProgress(store, resumed=True, not_final_s=10)
    assert progress.instruments() == []
    channels = [Channel("XX", station, location, "HHZ") for station in "BA" for location in ("", "10")]
    picks = [replace(pick_of(number), id=f"{number}", channel=channels[number % 4]) for number in range(12)]
    store.add(picks, {})
    assert progress.instruments() == sorted(channel.instrument for channel in channels)
    store.close()


def test_an_instrument_that_fell_silent_holds_nobody_back(path: Path) -> None:
    progress = PickingProgress(PickStore(path), resumed=True, not_final_s=0)
    other = replace(INSTRUMENT, band="HH")
    progress.advance(INSTRUMENT, 100 * NS_PER_S)
    progress.advance(other, 400 * NS_PER_S)
    progress.write(progress.snapshot(), {})
    assert progress.picked_until() == {("BW", "RJOB"): 100 * NS_PER_S}
    progress.advance(other, 2000 * NS_PER_S)
    progress.write(progress.snapshot(), {})
    assert progress.picked_until() == {("BW", "RJOB"): 2000 * NS_PER_S}


def test_positions_come_back_and_only_changes_are_written(path: Path) -> None:
    store = PickStore(path)
    places = {("BW", "RJOB"): (42, 1_251_073_203_000_000_000), ("GR", "FUR"): (0xFFFFFF, 0)}
    store.save({}, {"one": places, "[::1]:18000": {("BW", "RJOB"): (7, 8)}})
    with beside(path) as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        store.save({}, {"one": dict(places)})
        assert connection.execute("PRAGMA data_version").fetchone() == before
        store.save({INSTRUMENT: 5}, {"one": {**places, ("BW", "RJOB"): (43, 9)}})
        assert connection.execute("PRAGMA data_version").fetchone() != before
    store.close()
    store = PickStore(path)
    assert store.positions("one") == {("BW", "RJOB"): (43, 9), ("GR", "FUR"): (0xFFFFFF, 0)}
    assert store.positions("[::1]:18000") == {("BW", "RJOB"): (7, 8)}
    assert store.positions("nobody") == {}
    assert store.picked_until(INSTRUMENT) == 5


def test_a_power_cut_at_any_moment_leaves_a_store_of_a_moment_before(path: Path, tmp_path: Path) -> None:
    """Whatever part of the write-ahead log has reached the disk: picks, progress and positions are those of one moment."""
    store = PickStore(path)
    for number in range(1, 30):
        store.add([pick_of(number)], {INSTRUMENT: number})
        store.save({INSTRUMENT: number}, {"source": {("BW", "RJOB"): (number, number)}})
    log = Path(f"{path}-wal").read_bytes()
    whole = path.read_bytes()
    store.close()
    moments = set()
    rng = random.Random(3)
    for cut in [0, 20, len(log), *(rng.randrange(len(log)) for _ in range(60))]:
        for torn in (b"", rng.randbytes(700)):
            folder = tmp_path / f"{cut}-{len(torn)}"
            folder.mkdir(exist_ok=True)
            copy = folder / "picks.sqlite"
            copy.write_bytes(whole)
            Path(f"{copy}-wal").write_bytes(log[:cut] + torn)
            left = PickStore(copy)
            picks = len(left.between(None, None))
            place = left.positions("source").get(("BW", "RJOB"), (0, 0))[0]
            assert (left.picked_until(INSTRUMENT) or 0) == picks
            # Never further on than the picks that are there.
            assert picks - 1 <= place <= picks
            moments.add(picks)
            left.close()
            assert not list(folder.glob("*.bad*"))
    assert len(moments) > 15


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_store(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from xiaod.storage.pick_store import PickStore\n"
        "store = PickStore(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    store.save({}, {'server': {('BW', f'S{i}'): (n, n) for i in range(200)}})\n"
        "    print(n, flush=True)\n"
    )
    newest = -1
    for wait_for in (0, 3, 11):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env=dict(os.environ)
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                newest = int(line)
                if newest >= wait_for:
                    break
            process.kill()
        positions = PickStore(path).positions("server")
        assert len(positions) == 200
        (place,) = set(positions.values())
        assert place[0] == place[1] >= newest
    assert not list(path.parent.glob("*.bad*"))


def test_what_lies_between_two_runs_is_told(path: Path) -> None:
    store = PickStore(path)
    first = PickingProgress(store, resumed=True, not_final_s=45)
    first.advance(INSTRUMENT, 1000 * NS_PER_S)
    first.write(first.snapshot(), {})
    # It had been picked up to 1000 s; 955 s are final.
    assert PickingProgress(store, True, 45).begin(INSTRUMENT, 990 * NS_PER_S) == 0
    assert PickingProgress(store, True, 45).begin(INSTRUMENT, 1060 * NS_PER_S) == 60 * NS_PER_S
    assert PickingProgress(store, False, 45).begin(INSTRUMENT, 1060 * NS_PER_S) == 0
    assert PickingProgress(store, True, 45).begin(replace(INSTRUMENT, station="NEW"), 1060 * NS_PER_S) == 0


def test_data_of_another_time_are_picked_and_a_clock_set_back_too(path: Path) -> None:
    store = PickStore(path)
    first = PickingProgress(store, resumed=True, not_final_s=45)
    day = 86_400
    first.advance(INSTRUMENT, 10 * day * NS_PER_S)
    first.write(first.snapshot(), {})
    # A recording of days before, played through a configuration that resumes.
    other = PickingProgress(store, True, 45)
    other.begin(INSTRUMENT, 2 * day * NS_PER_S)
    assert other.store([pick_of(2 * day + 5)], SEPARATION)
    # A clock that is set back by an hour after the run has met the last one.
    later = PickingProgress(store, True, 45)
    later.begin(INSTRUMENT, (10 * day - 80) * NS_PER_S)
    assert not later.store([pick_of(10 * day - 75)], SEPARATION)
    later.advance(INSTRUMENT, (10 * day + 60) * NS_PER_S)
    assert later.store([pick_of(10 * day - 3600)], SEPARATION)
    later.advance(INSTRUMENT, (10 * day - 3500) * NS_PER_S)
    assert later.picked_until() == {("BW", "RJOB"): (10 * day - 3545) * NS_PER_S}

"""Early and final picks in one store: each sink gets its own, and a store of an earlier program is taken over."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.domain.test_document import VERSION_1, early_at, final_at
from tests.unit.sinks.file.test_jsonl import files_end_at
from tests.unit.storage.test_pick_store import INSTRUMENT, SEPARATION, beside
from xiaod.cli.main import main
from xiaod.domain.document import pick_from_document
from xiaod.domain.onsets import is_of, unresolved_early, withdrawal
from xiaod.domain.resumption import REMEMBERED_S
from xiaod.domain.sharding import Shard, shard_of
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Pick, Stages
from xiaod.process.exit_status import ExitCode
from xiaod.storage.backlog import MemoryBacklog, StoredBacklog
from xiaod.storage.pick_query import stored_picks
from xiaod.storage.pick_store import SCHEMA_VERSION, STORE, PickStore, StoreError
from xiaod.storage.progress import PickingProgress
from xiaod.storage.shard_handover import inherit

SAMPLES_PER_S = NS_PER_S // GRID_NS
OLD = 2000
"""Picks in a store of an earlier program."""
VERSION_2 = """
CREATE TABLE picks (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, instrument TEXT NOT NULL, time_ns INTEGER NOT NULL,
    stored_ns INTEGER NOT NULL, document TEXT NOT NULL
);
CREATE INDEX picks_by_time ON picks (time_ns);
CREATE TABLE cursors (sink TEXT PRIMARY KEY, place INTEGER NOT NULL);
CREATE TABLE frontiers (instrument TEXT PRIMARY KEY, time_ns INTEGER NOT NULL);
CREATE TABLE positions (
    source TEXT NOT NULL, network TEXT NOT NULL, station TEXT NOT NULL, sequence INTEGER NOT NULL, time_ns INTEGER NOT NULL,
    PRIMARY KEY (source, network, station)
) WITHOUT ROWID;
PRAGMA user_version = 2;
"""
"""The tables as the program made them before picks had a stage."""


def old_pick(number: int) -> Pick:
    return replace(
        pick_from_document(json.loads(VERSION_1)), id=f"old-{number}", time_ns=(1000 + number) * NS_PER_S
    )


def written_by_earlier_program(path: Path, picks: int = 3) -> None:
    """A store of version 2: of its picks a sink has got the first; it has come far with a station."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as store, store:
        store.execute("PRAGMA journal_mode = WAL")
        store.executescript(VERSION_2)
        for number in range(picks):
            pick = old_pick(number)
            document = {**json.loads(VERSION_1), "id": pick.id, "time": f"1970-01-01T00:{(1000 + number) // 60:02d}:"
                        f"{(1000 + number) % 60:02d}.000000Z"}  # fmt: skip
            store.execute(
                "INSERT INTO picks (id, instrument, time_ns, stored_ns, document) VALUES (?, ?, ?, ?, ?)",
                (pick.id, INSTRUMENT.text, pick.time_ns, 5, json.dumps(document)),
            )
        store.execute("INSERT INTO cursors VALUES ('jsonl', 1)")
        store.execute("INSERT INTO frontiers VALUES (?, 99)", (INSTRUMENT.text,))
        store.execute("INSERT INTO positions VALUES ('server', 'BW', 'RJOB', 7, 8)")


def shape(path: Path) -> tuple[int, set[str], dict[str, list[object]]]:
    """Version, indices, and the columns of each table."""
    with beside(path) as store:
        [version] = store.execute("PRAGMA user_version").fetchone()
        names = store.execute("SELECT type, name FROM sqlite_master").fetchall()
        columns = {
            name: store.execute(f"PRAGMA table_info({name})").fetchall()
            for kind, name in names
            if kind == "table"
        }
        return version, {name for kind, name in names if kind == "index"}, columns


@pytest.mark.parametrize(
    "earlier",
    [
        "",
        "DROP TABLE positions; PRAGMA user_version = 1;",
        # A process that was killed while it made the store.
        "DROP TABLE positions; DROP INDEX picks_by_time; PRAGMA user_version = 0;",
    ],
)
def test_a_store_of_an_earlier_program_is_upgraded_and_loses_nothing(path: Path, earlier: str) -> None:
    written_by_earlier_program(path)
    with beside(path) as connection:
        connection.executescript(earlier)
    store = PickStore(path)
    store.begin("jsonl", "final")
    store.begin("mqtt", "all")
    assert (
        store.between(None, None)
        == store.between(None, None, stages="final")
        == list(map(old_pick, range(3)))
    )
    assert [pick for _, pick in store.waiting("jsonl", 9)] == [old_pick(1), old_pick(2)]
    assert store.positions("server") == ({} if earlier else {("BW", "RJOB"): (7, 8)})
    assert store.picked_until(INSTRUMENT) == 99
    early = early_at(5)
    assert store.add([old_pick(1), early, final_at(5, early)], {}) == [early, final_at(5, early)]
    assert [pick for _, pick in store.waiting("jsonl", 9)] == [old_pick(1), old_pick(2), final_at(5, early)]
    assert [pick for _, pick in store.waiting("mqtt", 9)] == [early, final_at(5, early)]
    store.close()
    PickStore(path.with_name("new.sqlite")).close()
    assert shape(path) == shape(path.with_name("new.sqlite"))
    assert shape(path)[0] == SCHEMA_VERSION


def test_an_upgrade_for_which_there_is_no_room_changes_nothing(path: Path, tmp_path: Path) -> None:
    written_by_earlier_program(path, OLD)
    before = shape(path)
    # The index of the write-ahead log needs 32768 bytes; then comes room for some of the upgrade.
    for room in (0, 33_000, 45_000):
        full = shutil.copytree(path.parent, tmp_path / str(room)) / path.name
        with files_end_at(room), pytest.raises(StoreError):
            PickStore(full)
        assert shape(full) == before
        store = PickStore(full)
        assert len(store.between(None, None, stages="final")) == OLD
        store.close()


def test_whoever_only_reads_sees_a_store_of_an_earlier_program_and_leaves_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_by_earlier_program(path)
    content = path.read_bytes()
    picks = [old_pick(number) for number in range(3)]
    assert stored_picks(path) == stored_picks(path, stages="final") == picks
    assert stored_picks(path, limit=1, stages="final") == picks[-1:]
    assert stored_picks(path, stages="early") == []
    assert stored_picks(path, picks[1].time_ns, instrument=INSTRUMENT, stages="final") == picks[1:]
    config = path.parent.with_name("config.yaml")
    config.write_text(f"sources: [{{server: localhost}}]\nstate: {{folder: {path.parent}}}\n")
    assert main(["picks", "--config", str(config)]) == ExitCode.OK
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["id"], one["stage"]) for one in told] == [(pick.id, "final") for pick in picks]
    assert path.read_bytes() == content


def test_a_shard_takes_over_from_a_store_of_an_earlier_program(tmp_path: Path) -> None:
    written_by_earlier_program(tmp_path / STORE)
    shard = Shard(shard_of("BW", "RJOB", 2), 2)
    store = PickStore(tmp_path / f"shard-{shard.index}" / STORE)
    store.begin("jsonl", "final")
    assert inherit(tmp_path, shard, ["jsonl"]).undelivered == 2
    assert [pick for _, pick in store.waiting("jsonl", 9)] == [old_pick(1), old_pick(2)]
    assert store.picked_until(INSTRUMENT) == 99
    assert shape(tmp_path / STORE)[0] == 2
    store.close()


def test_a_shard_takes_over_stages_and_not_what_a_sink_has_passed(tmp_path: Path) -> None:
    alone = PickStore(tmp_path / STORE)
    alone.begin("early", "early")
    alone.begin("final", "final")
    early = early_at(5)
    alone.add([early, final_at(5, early), final_at(3000)], {})
    for sink in ("early", "final"):
        alone.delivered(sink, alone.waiting(sink, 9)[-1][0])
    # Since its last pick nothing has come for the sink of early ones.
    alone.add([final_at(4000)], {})
    alone.close()
    shard = Shard(shard_of("BW", "RJOB", 2), 2)
    store = PickStore(tmp_path / f"shard-{shard.index}" / STORE)
    store.begin("early", "early")
    store.begin("final", "final")
    assert inherit(tmp_path, shard, ["early", "final"]).undelivered == 1
    assert [pick for _, pick in store.waiting("final", 9)] == [final_at(4000)]
    assert store.waiting("early", 9) == []
    store.add([early_at(9000), withdrawal(early_at(9000))], {})
    assert [pick for _, pick in store.waiting("early", 9)] == [early_at(9000), withdrawal(early_at(9000))]
    store.close()


def test_a_shard_knows_the_picks_of_both_stages_of_its_stations(tmp_path: Path) -> None:
    alone = PickStore(tmp_path / STORE)
    begin = 10_000 * SAMPLES_PER_S
    early = early_at(begin - round(REMEMBERED_S) * SAMPLES_PER_S)
    alone.add([early, final_at(early.time_ns // GRID_NS - 50, early)], {INSTRUMENT: begin * GRID_NS})
    alone.close()
    shard = Shard(shard_of("BW", "RJOB", 2), 2)
    store = PickStore(tmp_path / f"shard-{shard.index}" / STORE)
    inherit(tmp_path, shard, [])
    known = PickingProgress(store, True, 10).known_since(INSTRUMENT, begin * GRID_NS)
    assert [pick.stage for pick in known] == ["final", "early"]
    assert unresolved_early(known) == []
    # The early one is deleted first: it never stands alone.
    with beside(tmp_path / f"shard-{shard.index}" / STORE) as looked:
        assert looked.execute("SELECT stage FROM picks ORDER BY place").fetchall() == [("early",), ("final",)]
    store.close()


KINDS = st.lists(st.sampled_from(["early", "final", "alone", "withdrawn"]), min_size=1, max_size=6)
SINKS = ("final", "early", "all", "changing")
STEPS = st.one_of(
    st.tuples(st.just("make"), KINDS),
    st.tuples(
        st.just("deliver"), st.sampled_from(SINKS), st.integers(0, 6), st.integers(0, 4), st.booleans()
    ),
    st.tuples(st.just("change"), st.sampled_from(["final", "early", "all"])),
    st.tuples(st.just("crash")),
    st.tuples(st.just("prune")),
)


@dataclass
class Receiver:
    """What a sink should get: of all picks that were made, by their numbers."""

    stages: Stages
    reached: int = 0
    """Picks before this one will not come again."""
    held: list[int] = field(default_factory=list)
    """Those that it has taken since, but would lose in a crash."""

    def waiting(self, made: list[Pick]) -> list[int]:
        """Those that it would be given after a crash."""
        return [number for number in range(self.reached, len(made)) if is_of(made[number], self.stages)]

    def first_waiting(self, made: list[Pick]) -> int:
        return next(iter(self.waiting(made)), len(made))


class World:
    """A store, and backlogs of several sinks that are told of all picks, as in a daemon."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = PickStore(path)
        self._made: list[Pick] = []
        self._receivers = {
            "final": Receiver("final"),
            "early": Receiver("early"),
            "all": Receiver("all"),
            "changing": Receiver("all"),
        }
        self._backlogs: dict[str, StoredBacklog] = {}
        self._begin(*SINKS)

    def _begin(self, *names: str) -> None:
        for name in names:
            self._receivers[name].held = []
            self._backlogs[name] = StoredBacklog(self._store, name, self._receivers[name].stages)

    def make(self, kinds: list[str]) -> None:
        new = []
        for number, kind in enumerate(kinds, len(self._made)):
            early = early_at(1000 * number)
            made = {
                "early": early,
                "final": final_at(1000 * number + 20, early),
                "alone": final_at(1000 * number),
                "withdrawn": withdrawal(early),
            }
            new.append(made[kind])
        assert self._store.add(new, {}) == new
        self._made += new
        for backlog in self._backlogs.values():
            for pick in new:
                backlog.noted(pick)

    def deliver(self, name: str, limit: int, kept: int, told: bool) -> None:
        """A sink is given picks, and takes them, but for the last few not for good; or it fails, and the store is told nothing."""
        receiver, backlog = self._receivers[name], self._backlogs[name]
        expected = receiver.waiting(self._made)[len(receiver.held) :][:limit]
        assert backlog.waiting(limit) == [self._made[number] for number in expected]
        if told:
            taken = receiver.held + expected
            safe = max(0, len(taken) - kept)
            backlog.delivered(len(taken) - safe)
            receiver.reached = taken[safe - 1] + 1 if safe else receiver.reached
            receiver.held = taken[safe:]

    def change(self, stages: Stages) -> None:
        """A reload gives a sink other stages: they hold from the first pick on that waited for it."""
        receiver = self._receivers["changing"]
        if stages != receiver.stages:
            receiver.reached, receiver.stages = receiver.first_waiting(self._made), stages
        self._begin("changing")

    def crash(self) -> None:
        self._store.close()
        self._store = PickStore(self._path)
        self._begin(*SINKS)

    def prune(self) -> None:
        """All that is needed stays, and nothing else."""
        self._store.prune(0, SINKS)
        needed = min(receiver.first_waiting(self._made) for receiver in self._receivers.values())
        with beside(self._path) as store:
            left = store.execute("SELECT id FROM picks ORDER BY place").fetchall()
        assert left == [(pick.id,) for pick in self._made[needed:]]

    def check(self) -> None:
        for name, receiver in self._receivers.items():
            assert len(self._backlogs[name]) == len(receiver.waiting(self._made)) - len(receiver.held)

    def end(self) -> None:
        for name, receiver in self._receivers.items():
            self.deliver(name, len(self._made) + 1, 0, told=True)
            assert receiver.waiting(self._made) == []
        self._store.close()


@settings(max_examples=100)
@given(st.lists(STEPS, max_size=40))
def test_each_sink_gets_its_own_in_order_at_least_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    world = World(tmp_path_factory.mktemp("store") / "picks.sqlite")
    for step in steps:
        match step:
            case ("make", list(kinds)):
                world.make(kinds)
            case ("deliver", str(name), int(limit), int(kept), bool(told)):
                world.deliver(name, limit, kept, told)
            case ("change", "final" | "early" | "all" as stages):
                world.change(stages)
            case ("crash",):
                world.crash()
            case ("prune",):
                world.prune()
            case _:
                raise AssertionError(step)
        world.check()
    world.end()


@pytest.mark.parametrize("stages", ["final", "early"])
def test_looking_for_the_few_of_a_sink_does_not_go_through_those_of_others(
    path: Path, connections: list[sqlite3.Connection], stages: Stages
) -> None:
    store = PickStore(path)
    store.begin("sink", stages)
    others = [early_at(1000 * number) for number in range(5000)]
    if stages == "early":
        others = [replace(pick, stage="final") for pick in others]
    store.add(others, {})
    store.prune(0, [])
    looks: list[int] = []
    connections[0].set_progress_handler(lambda: looks.append(0), 100)
    assert (store.waiting("sink", 100), store.backlog("sink")) == ([], 0)
    store.begin("sink", "all")
    assert store.backlog("sink") == 0
    assert len(looks) < 5
    connections[0].set_progress_handler(None, 0)
    store.close()


@pytest.mark.parametrize("stages", ["early", "all"])
def test_the_first_that_wait_are_found_without_going_through_all_that_wait(
    path: Path, connections: list[sqlite3.Connection], stages: Stages
) -> None:
    store = PickStore(path)
    store.begin("sink", stages)
    made = [
        one
        for number in range(2000)
        for one in (early_at(1000 * number), withdrawal(early_at(1000 * number)))
    ]
    store.add(made, {})
    looks: list[int] = []
    connections[0].set_progress_handler(lambda: looks.append(0), 100)
    assert [pick for _, pick in store.waiting("sink", 10)] == made[:10]
    assert len(looks) < 5
    connections[0].set_progress_handler(None, 0)
    store.close()


def test_a_sink_whose_stage_has_nothing_holds_no_other_back(path: Path) -> None:
    store = PickStore(path)
    store.begin("final", "final")
    store.begin("early", "early")
    finals = [final_at(1000 * number) for number in range(3)]
    store.add(finals, {})
    place = store.waiting("final", 2)[-1][0]
    store.delivered("final", place)
    assert store.prune(0, ["final", "early"]) == 2
    store.add([early_at(9000)], {})
    store.delivered("final", store.waiting("final", 9)[-1][0])
    assert store.prune(0, ["final", "early"]) == 1
    assert store.prune(0, ["final", "early"]) == 0
    assert [pick for _, pick in store.waiting("early", 9)] == [early_at(9000)]
    store.close()


def test_the_stage_of_a_sink_that_changes_holds_from_the_first_pick_that_waits(path: Path) -> None:
    store = PickStore(path)
    early, later = early_at(0), early_at(5000)
    StoredBacklog(store, "sink", "final")
    store.add([early, final_at(0, early)], {})
    # It has not got the final one yet; the early one before it was not for it.
    assert StoredBacklog(store, "sink", "all").waiting(9) == [final_at(0, early)]
    store.add([later], {})
    assert StoredBacklog(store, "sink", "early").waiting(9) == [later]
    assert StoredBacklog(store, "sink", "all").waiting(9) == [later]
    backlog = StoredBacklog(store, "sink", "final")
    assert (backlog.waiting(9), len(backlog)) == ([], 0)
    # Nothing waits: what was not for it before does not come now.
    assert StoredBacklog(store, "sink", "all").waiting(9) == []
    store.close()


def test_a_backlog_in_memory_keeps_what_is_for_its_sink() -> None:
    early = early_at(0)
    picks = [early, final_at(0, early), withdrawal(early)]
    kept: dict[Stages, list[Pick]] = {"final": picks[1:2], "early": [picks[0], picks[2]], "all": picks}
    for stages, expected in kept.items():
        backlog = MemoryBacklog(10, stages)
        for pick in picks:
            backlog.noted(pick)
        assert (backlog.waiting(9), len(backlog)) == (expected, len(expected))


def test_an_onset_is_stored_once_in_each_stage(path: Path) -> None:
    store = PickStore(path)
    progress = PickingProgress(store, resumed=False, not_final_s=10)
    early, final = early_at(1000), final_at(1010)
    # A final pick does not depend on an early one, however close; another early or final one of the onset is the same.
    assert progress.store([early], SEPARATION) == [early]
    assert progress.store([early_at(1001)], SEPARATION) == []
    assert progress.store([final], SEPARATION) == [final]
    assert progress.store([final_at(1009)], SEPARATION) == []
    # What a picker decides too late: there is a final pick.
    assert progress.store([early_at(1010 + SEPARATION - 1)], SEPARATION) == []
    assert progress.store([final_at(3000), early_at(3001)], SEPARATION) == [final_at(3000)]
    assert progress.store([early_at(5000), final_at(5001)], SEPARATION) == [early_at(5000), final_at(5001)]
    # Other onsets.
    other = [replace(early_at(1001), id="s", phase="S"), early_at(1010 + SEPARATION)]
    assert progress.store(other, SEPARATION) == other
    # A withdrawal, once.
    assert progress.store([withdrawal(early)], SEPARATION) == [withdrawal(early)]
    assert progress.store([withdrawal(early)], SEPARATION) == []
    store.close()


def test_after_a_resumption_only_withdrawals_are_of_before(path: Path) -> None:
    store = PickStore(path)
    first = PickingProgress(store, resumed=True, not_final_s=10)
    early, other = early_at(80 * SAMPLES_PER_S), early_at(95 * SAMPLES_PER_S)
    first.store([early, other], SEPARATION)
    first.advance(INSTRUMENT, 100 * NS_PER_S)
    first.write(first.snapshot(), {})
    later = PickingProgress(store, resumed=True, not_final_s=10)
    assert unresolved_early(later.known_since(INSTRUMENT, 20 * NS_PER_S)) == [early, other]
    before, after = 85 * SAMPLES_PER_S, 93 * SAMPLES_PER_S
    assert later.store([early_at(before), final_at(before)], SEPARATION) == []
    assert later.store([early_at(after), withdrawal(early)], SEPARATION) == [
        early_at(after),
        withdrawal(early),
    ]
    found = final_at(95 * SAMPLES_PER_S + 30, other)
    assert later.store([found], SEPARATION) == [found]
    known = later.known_since(INSTRUMENT, 20 * NS_PER_S)
    assert {pick.id for pick in known} == {
        pick.id for pick in (early, withdrawal(early), other, found, early_at(after))
    }
    assert unresolved_early(known) == [early_at(after)]
    store.close()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 600), st.sampled_from(["early", "final", "withdrawn"])),
        min_size=1,
        max_size=15,
    ),
    st.lists(st.integers(1, 5), min_size=15, max_size=15),
)
def test_what_is_new_does_not_depend_on_how_picks_come_together(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]], sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    picks = [
        {"early": early_at(sample), "final": final_at(sample), "withdrawn": withdrawal(early_at(sample))}[
            kind
        ]
        for sample, kind in steps
    ]
    told = []
    for name, batches in (("one", [1] * 15), ("some", sizes), ("all", [15])):
        store = PickStore(folder / name)
        progress = PickingProgress(store, resumed=False, not_final_s=10)
        left, new = list(picks), []
        for size in batches:
            new += progress.store(left[:size], SEPARATION)
            del left[:size]
        store.close()
        told.append([pick.id for pick in new])
    assert told[0] == told[1] == told[2]
    # What the rules are, by the plain reading.
    expected: list[Pick] = []
    for pick in picks:
        near = [other for other in expected if abs(other.time_ns - pick.time_ns) < SEPARATION * GRID_NS]
        if pick.stage == "withdrawn":
            new_one = pick.id not in [other.id for other in expected]
        elif pick.stage == "early":
            new_one = not near
        else:
            new_one = all(other.stage != "final" for other in near)
        expected += [pick] if new_one else []
    assert told[0] == [pick.id for pick in expected]


@pytest.mark.parametrize("moved", [-99, -1, 0, 99])
@pytest.mark.parametrize("beside_limit", [-1, 0, 1, 50])
def test_an_early_pick_that_a_new_run_gets_comes_with_what_became_of_it(
    path: Path, moved: int, beside_limit: int
) -> None:
    store = PickStore(path)
    begin = 10_000 * SAMPLES_PER_S
    early = early_at(begin - round(REMEMBERED_S) * SAMPLES_PER_S + beside_limit)
    store.add([early, final_at(early.time_ns // GRID_NS + moved, early)], {})
    known = PickingProgress(store, True, 10).known_since(INSTRUMENT, begin * GRID_NS)
    assert unresolved_early(known) == []
    assert (early in known) == (beside_limit >= 0)
    store.close()


def test_the_command_prints_the_stage_that_is_asked_for(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = path.parent.with_name("config.yaml")
    path.parent.mkdir()
    config.write_text(f"sources: [{{server: localhost}}]\nstate: {{folder: {path.parent}}}\n")

    def told(*options: str) -> tuple[list[tuple[str, str]], str]:
        assert main(["picks", "--config", str(config), *options]) == ExitCode.OK
        out, err = capsys.readouterr()
        return [(one["id"], one["stage"]) for one in map(json.loads, out.splitlines())], err

    with closing(PickStore(path)) as store:
        early = early_at(5)
        store.add([early], {})
        assert told() == ([], f"0 final picks in {path.parent}\n")
        store.add([final_at(9, early), withdrawal(early_at(3000))], {})
    withdrawn = (withdrawal(early_at(3000)).id, "withdrawn")
    assert told() == told("--stage", "final") == ([(final_at(9).id, "final")], "")
    assert told("--stage", "early") == ([(early.id, "early")], "")
    assert told("--stage", "all") == ([(early.id, "early"), (final_at(9).id, "final"), withdrawn], "")

"""A file that lines are appended to has every pick once, whatever ends the process, and whatever the disk does."""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.contract.test_sinks import AGENCY, NOW_NS, early, pick
from tests.descriptors import open_in
from tests.unit.sinks.file.test_jsonl import files_end_at
from xiaod.config.inventory import NO_STATIONS
from xiaod.config.sinks.file import AnssConfig, JsonLinesConfig, TableConfig
from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Pick
from xiaod.sinks.file.anss import AnssLines
from xiaod.sinks.file.appended import AppendingSink
from xiaod.sinks.file.jsonl import JsonLines
from xiaod.sinks.file.table import TableLines
from xiaod.sinks.file.tail import LineFormat
from xiaod.storage.backlog import StoredBacklog
from xiaod.storage.pick_store import PickStore

NEVER_S = 1e6


@dataclass
class Disk:
    """What of the files would be there after a power cut: a page is there when it was written before a sync that succeeded.

    The kernel gives up pages when a sync fails: the next one succeeds without them.
    """

    failing: bool = False
    monotonic_s: float = 0.0
    """Syncs are due by it. Not the clock of the process: other threads go by that one."""
    dirty: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    durable: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        write, pwrite, fsync, ftruncate = os.write, os.pwrite, os.fsync, os.ftruncate

        def watched_write(descriptor: int, content: bytes) -> int:
            before = os.fstat(descriptor)
            count = write(descriptor, content)
            self.dirty.setdefault(before.st_ino, []).append((before.st_size, before.st_size + count))
            return count

        def watched_pwrite(descriptor: int, content: bytes, offset: int) -> int:
            count = pwrite(descriptor, content, offset)
            self.dirty.setdefault(os.fstat(descriptor).st_ino, []).append((offset, offset + count))
            return count

        def watched_fsync(descriptor: int) -> None:
            inode = os.fstat(descriptor).st_ino
            pages = self.dirty.pop(inode, [])
            if self.failing:
                raise OSError(errno.EIO, "the disk does not answer")
            fsync(descriptor)
            self.durable.setdefault(inode, []).extend(pages)

        def watched_ftruncate(descriptor: int, size: int) -> None:
            ftruncate(descriptor, size)
            inode = os.fstat(descriptor).st_ino
            for pages in (self.dirty, self.durable):
                pages[inode] = [
                    (begin, min(end, size)) for begin, end in pages.get(inode, []) if begin < size
                ]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "write", watched_write)
            patched.setattr(os, "pwrite", watched_pwrite)
            patched.setattr(os, "fsync", watched_fsync)
            patched.setattr(os, "ftruncate", watched_ftruncate)
            yield

    def power_cut(self, folder: Path, luck: float) -> None:
        """Leave what is safe, and as much of the rest as luck has it."""
        for path in folder.glob("*.lines"):
            status, safe = path.stat(), 0
            for begin, end in sorted(self.durable.get(status.st_ino, [])):
                safe = max(safe, end) if begin <= safe else safe
            left = safe + int(luck * (status.st_size - safe))
            os.truncate(path, left)
            self.durable[status.st_ino] = [(0, left)]
        self.dirty.clear()


class World:
    """A store, and a sink that gets from it what the sink_runner would give."""

    model: type[JsonLinesConfig | AnssConfig | TableConfig] = JsonLinesConfig
    lines: LineFormat = JsonLines(AGENCY)

    def __init__(self, folder: Path, fsync: str) -> None:
        self.folder = folder
        self.path = folder / "out" / "picks.lines"
        self.disk = Disk()
        self.made: list[str] = []
        self.start(fsync)

    def start(self, fsync: str) -> None:
        self.store = PickStore(self.folder / "picks.sqlite")
        self.backlog = StoredBacklog(self.store, "jsonl")
        keys = {
            "kind": self.model.kind_name(),
            "stage": "all",
            "path": self.path,
            "rotate": "size",
            "rotate_mb": 0.003,
            "fsync": fsync,
            "fsync_interval_s": NEVER_S,
        }
        config = self.model.model_validate(keys)
        self.sink = AppendingSink(config, self.lines, lambda: self.disk.monotonic_s)

    def make(self, count: int) -> None:
        self.add([pick(len(self.made) + number) for number in range(count)])

    def add(self, new: list[Pick]) -> None:
        self.made += [made.id for made in new]
        for made in self.store.add(new, {}):
            self.backlog.noted(made)

    def deliver(self, limit: int, room: int | None = None, failing: bool = False, noted: bool = True) -> None:
        batch = [one for one in self.backlog.waiting(limit) if isinstance(one, Pick)]
        size = self.path.stat().st_size if self.path.exists() else 0
        self.disk.failing = failing
        with contextlib.suppress(OSError):
            with contextlib.nullcontext() if room is None else files_end_at(size + room):
                self.sink.deliver(batch, NOW_NS)
            if noted:
                self.backlog.delivered(self.sink.held)
        self.disk.failing = False

    def kill(self) -> None:
        """End without a last word."""
        for descriptor in open_in(self.path.parent):
            os.close(descriptor)
        self.store.close()

    def stop(self) -> None:
        while len(self.backlog):
            self.deliver(256)
        self.sink.close()
        self.backlog.waiting(0)
        self.backlog.delivered(0)
        self.store.close()

    def written(self) -> list[str]:
        header, found = self.lines.header, []
        for path in sorted(self.path.parent.glob("*.lines")):
            content = path.read_bytes()
            assert not content or content.startswith(header)
            found += [self.lines.identity(line) for line in content[len(header) :].splitlines()]
        return found


class WithoutPlace(World):
    """The same with a format that has no place for every other pick."""

    model = AnssConfig
    lines = AnssLines(AGENCY, NO_STATIONS)

    def add(self, new: list[Pick]) -> None:
        begun = len(self.made)
        both = [(one, withdrawal(early(begun + number))) for number, one in enumerate(new)]
        super().add([one for pair in both for one in pair])
        self.made[begun:] = [one.id for one in new]


class WithHeader(World):
    """The same with a format whose files begin with a header, and whose rows may end anywhere."""

    model = TableConfig
    lines = TableLines("csv", AGENCY)


MODES = st.sampled_from(["always", "interval"])
STEPS = st.one_of(
    st.tuples(st.just("make"), st.integers(1, 12)),
    st.tuples(st.just("deliver"), st.integers(0, 10)),
    st.tuples(st.just("full"), st.integers(1, 10), st.integers(0, 3000)),
    st.tuples(st.just("failing"), st.integers(0, 10)),
    st.tuples(st.just("due"), st.booleans()),
    st.tuples(st.just("unnoted"), st.integers(1, 10), MODES),
    st.tuples(st.just("kill"), MODES),
    st.tuples(st.just("power"), st.floats(0, 1), MODES),
    st.tuples(st.just("stop"), MODES),
)


def take(world: World, step: tuple[object, ...]) -> None:
    match step:
        case ("make", int(count)):
            world.make(count)
        case ("deliver", int(limit)):
            world.deliver(limit)
        case ("full", int(limit), int(room)):
            world.deliver(limit, room=room)
        case ("failing", int(limit)):
            world.deliver(limit, failing=True)
        case ("due", bool(failing)):
            world.disk.monotonic_s += 2 * NEVER_S
            world.deliver(0, failing=failing)
        case ("unnoted", int(limit), str(fsync)):
            world.deliver(limit, noted=False)
            world.kill()
            world.start(fsync)
        case ("kill", str(fsync)):
            world.kill()
            world.start(fsync)
        case ("power", float(luck), str(fsync)):
            world.kill()
            world.disk.power_cut(world.path.parent, luck)
            world.start(fsync)
        case ("stop", str(fsync)):
            world.stop()
            world.start(fsync)


@settings(max_examples=80)
# A sync that fails, and one that succeeds because the kernel has given up what the first should have written.
@example(
    fsync="interval",
    steps=[("make", 2), ("deliver", 1), ("due", True), ("due", False), ("power", 0.0, "always")],
    luck=0.0,
)
# A sync fails, the process ends, and the next one sees lines that the kernel has given up.
@example(
    fsync="interval",
    steps=[("make", 1), ("deliver", 1), ("due", True), ("kill", "always")],
    luck=0.0,
)
# The next process, with a disk that does not answer yet, gives them up before it has written a line.
@example(
    fsync="interval",
    steps=[("make", 1), ("deliver", 1), ("kill", "always"), ("failing", 1), ("kill", "always")],
    luck=0.0,
)
# The process ends after a rotation, before the store knows.
@example(
    fsync="interval",
    steps=[("make", 12), ("deliver", 8), ("unnoted", 10, "interval"), ("deliver", 10)],
    luck=0.0,
)
@example(fsync="interval", steps=[("make", 2), ("full", 2, 300), ("deliver", 2)], luck=0.0)
@given(fsync=MODES, steps=st.lists(STEPS, max_size=30), luck=st.floats(0, 1))
def test_every_pick_is_written_once(
    tmp_path_factory: pytest.TempPathFactory, fsync: str, steps: list[tuple[object, ...]], luck: float
) -> None:
    every_pick_once(World(tmp_path_factory.mktemp("world"), fsync), steps, luck)


@settings(max_examples=40)
@example(
    fsync="interval",
    steps=[("make", 3), ("deliver", 4), ("power", 0.0, "always")],
    luck=0.0,
)
@given(fsync=MODES, steps=st.lists(STEPS, max_size=30), luck=st.floats(0, 1))
def test_picks_that_the_format_has_no_place_for_push_none_out(
    tmp_path_factory: pytest.TempPathFactory, fsync: str, steps: list[tuple[object, ...]], luck: float
) -> None:
    every_pick_once(WithoutPlace(tmp_path_factory.mktemp("world"), fsync), steps, luck)


@settings(max_examples=40)
@given(fsync=MODES, steps=st.lists(STEPS, max_size=30), luck=st.floats(0, 1))
def test_every_pick_is_a_row_below_a_header_once(
    tmp_path_factory: pytest.TempPathFactory, fsync: str, steps: list[tuple[object, ...]], luck: float
) -> None:
    every_pick_once(WithHeader(tmp_path_factory.mktemp("world"), fsync), steps, luck)


def every_pick_once(world: World, steps: list[tuple[object, ...]], luck: float) -> None:
    with world.disk.watched():
        for step in steps:
            take(world, step)
        world.stop()
        assert world.sink.held == 0
        # What a sink that has been closed has written outlives a power cut.
        world.disk.power_cut(world.path.parent, luck)
    assert world.written() == world.made

"""What a disk can hold after a power cut, at any system call of a real process: strace sees the calls, a model of a disk plays them.

The model promises no more than POSIX and the kernel's manual do. What has been written to a file is safe once fsync(2) or fdatasync(2)
of it has returned; a new, changed or removed name once its folder has been synced. Until then each write is there, or not, or in part,
whatever has become of those before it; changes of names are there up to one of them, in the order in which they were made.

>>> disk = Disk()
>>> disk.play(Opened("/d/a", made=True, emptied=False))
>>> disk.play(Written("/d/a", 0, b"all of it"))
>>> disk.left(Random(0), luck=0.0), disk.left(Random(0), luck=1.0)
({}, {'/d/a': b'all of it'})
>>> for path in ("/d/a", "/d"):
...     disk.play(Synced(path))
>>> disk.left(Random(0), luck=0.0)
{'/d/a': b'all of it'}
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

LIMIT_S = 120.0
SECTOR_BYTES = 512
"""Of a write that is there in part there are so many bytes, or several times as many."""
LUCK = (0.0, 0.3, 0.7, 1.0)
"""How much of what is not safe is there: nothing, some, all."""
CALLS = (
    "openat,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fsync,fdatasync,rename,renameat,renameat2,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,copy_file_range,sendfile,fallocate"
)
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (\d+)(?:<.*)?")
_BEGUN = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_DESCRIPTOR = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
"""strace -xx writes all text and paths so."""


@dataclass(frozen=True)
class Said:
    """What the process wrote to standard output: a promise, and when it was given."""

    text: str


@dataclass(frozen=True)
class Opened:
    """A file, made where there was none, or emptied, by opening it."""

    path: str
    made: bool
    emptied: bool


@dataclass(frozen=True)
class Written:
    """Bytes at a place in a file; None: at its end."""

    path: str
    offset: int | None
    content: bytes


@dataclass(frozen=True)
class Resized:
    """A file that is cut or grown."""

    path: str
    size: int


@dataclass(frozen=True)
class Synced:
    """A file or a folder."""

    path: str


@dataclass(frozen=True)
class Renamed:
    """A name, put in the place of another."""

    old: str
    new: str


@dataclass(frozen=True)
class Removed:
    """A name."""

    path: str


@dataclass(frozen=True)
class FolderMade:
    """A folder."""

    path: str


Event = Said | Opened | Written | Resized | Synced | Renamed | Removed | FolderMade


def traced(folder: Path, program: str, *arguments: str) -> list[Event]:
    """Run a Python program, and see what it does in a folder; skips the test where that cannot be seen.

    Args:
        folder: whose files count; empty at the beginning.
        program: the program; it writes what it promises to descriptor 1.
        arguments: for the program.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: apt install strace")
    log = folder.parent / f"{folder.name}.strace"
    options = ["-f", "-qq", "-y", "-xx", "-s", str(1 << 24), "-e", "signal=none", "-o", str(log)]
    done = subprocess.run(
        [
            strace,
            *options,
            "--seccomp-bpf",
            "-e",
            f"trace={CALLS}",
            sys.executable,
            "-c",
            program,
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if "ptrace" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr
    with log.open(encoding="ascii") as lines:
        return list(_events(_whole(lines), f"{folder}/"))


def power_cuts(
    events: Iterable[Event], rng: Random, counts: Callable[[Event], bool] = lambda event: True
) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Cut the power after each event that counts, several times: what had been said until then, and what is left."""
    disk, said = Disk(), []
    for event in events:
        if isinstance(event, Said):
            said.append(event.text)
        else:
            disk.play(event)
        if counts(event):
            for luck in LUCK:
                yield list(said), disk.left(rng, luck)


def put(left: Mapping[str, bytes], of: Path, folder: Path) -> None:
    """Write what was left of one folder into another, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, content in left.items():
        target = folder / Path(path).relative_to(of)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


@dataclass
class _File:
    safe: bytes = b""
    pending: list[Written | Resized] = field(default_factory=list)

    def content(self, arrived: Callable[[Written | Resized], Written | Resized | None]) -> bytes:
        """What is in the file, when of each change arrives what is said."""
        found = bytearray(self.safe)
        for change in self.pending:
            match arrived(change):
                case Written(_, int(offset), content):
                    found.extend(bytes(max(0, offset - len(found))))
                    found[offset : offset + len(content)] = content
                case Resized(_, size):
                    del found[size:]
                    found.extend(bytes(size - len(found)))
        return bytes(found)

    def now(self) -> bytes:
        """What a process reads from it."""
        return self.content(lambda change: change)


@dataclass(frozen=True)
class _NameChange:
    gone: str | None = None
    come: str | None = None
    file: _File | None = None
    """None: a folder."""

    def apply(self, names: dict[str, _File | None]) -> None:
        if self.gone is not None:
            names.pop(self.gone, None)
        if self.come is not None:
            names[self.come] = self.file

    def safe_with(self, folder: str) -> bool:
        """Whether a sync of the folder makes it safe."""
        name = self.gone if self.come is None else self.come
        return name is not None and os.path.dirname(name) == folder  # noqa: PTH120  of a text


class Disk:
    """Files and names: what is safe, and what is not yet."""

    def __init__(self) -> None:
        self._names: dict[str, _File | None] = {}
        self._safe_names: dict[str, _File | None] = {}
        self._pending: list[_NameChange] = []

    def play(self, event: Event) -> None:
        """Do what a process has done."""
        match event:
            case Said():
                pass
            case Synced(path):
                self._sync(path)
            case Written() | Resized():
                self._write(event)
            case Opened(path, made, emptied):
                if made and path not in self._names:
                    self._change(_NameChange(come=path, file=_File()))
                elif emptied:
                    self._write(Resized(path, 0))
            case _:
                self._change(self._name_change(event))

    def left(self, rng: Random, luck: float) -> dict[str, bytes]:
        """Files by path that are there after a power cut; luck between 0 and 1 decides on what is not safe."""
        count = {0.0: 0, 1.0: len(self._pending)}.get(luck, rng.randint(0, len(self._pending)))
        names = dict(self._safe_names)
        for change in self._pending[:count]:
            change.apply(names)
        # What is in a folder goes with its name.
        lost = [name for name, file in self._names.items() if file is None and name not in names]
        return {
            path: file.content(lambda change: _arrived(change, rng, luck))
            for path, file in names.items()
            if file is not None and not any(path.startswith(f"{folder}/") for folder in lost)
        }

    def _name_change(self, event: Renamed | Removed | FolderMade) -> _NameChange:
        match event:
            case Renamed(old, new):
                return _NameChange(gone=old, come=new, file=self._names.get(old))
            case Removed(path):
                return _NameChange(gone=path)
            case FolderMade(path):
                return _NameChange(come=path)

    def _write(self, change: Written | Resized) -> None:
        # What has no name any more is lost in any case.
        if (file := self._names.get(change.path)) is None:
            return
        if isinstance(change, Written) and change.offset is None:
            change = replace(change, offset=len(file.now()))
        file.pending.append(change)

    def _change(self, change: _NameChange) -> None:
        change.apply(self._names)
        self._pending.append(change)

    def _sync(self, path: str) -> None:
        if (file := self._names.get(path)) is not None:
            file.safe, file.pending = file.now(), []
            return
        for change in [change for change in self._pending if change.safe_with(path)]:
            change.apply(self._safe_names)
            self._pending.remove(change)


def _arrived(change: Written | Resized, rng: Random, luck: float) -> Written | Resized | None:
    if rng.random() < luck:
        return change
    if luck and isinstance(change, Written):
        sectors = rng.randint(0, len(change.content) // SECTOR_BYTES)
        return Written(change.path, change.offset, change.content[: sectors * SECTOR_BYTES])
    return None


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Lines of calls; one that was interrupted by another thread stands where it ended."""
    begun: dict[str, str] = {}
    for line in map(str.rstrip, lines):
        if found := _BEGUN.fullmatch(line):
            begun[found[1]] = f"{found[1]} {found[2]}"
        elif found := _ENDED.fullmatch(line):
            yield begun.pop(found[1]) + found[2]
        else:
            yield line


@dataclass(frozen=True)
class _Call:
    """A call that has succeeded."""

    arguments: str
    result: int

    @property
    def descriptor(self) -> int:
        found = _DESCRIPTOR.match(self.arguments)
        return -1 if found is None else int(found[1])

    @property
    def path(self) -> str:
        """Of the descriptor."""
        found = _DESCRIPTOR.match(self.arguments)
        return "" if found is None else _decoded(found[2]).decode()

    @property
    def texts(self) -> list[bytes]:
        return [_decoded(text) for text in _TEXT.findall(self.arguments)]

    @property
    def content(self) -> bytes:
        return b"".join(self.texts)[: self.result]

    def name(self, number: int = 0) -> str:
        return self.texts[number].decode()

    def number(self, place: int) -> int:
        """One of the arguments behind all text, counted from the end."""
        return int(self.arguments.split(", ")[-place])


class _Places:
    """Where each descriptor writes next; None: at the end of the file."""

    def __init__(self) -> None:
        self._places: dict[int, int | None] = {}

    def opened(self, call: _Call) -> Event:
        self._places[call.result] = None if "O_APPEND" in call.arguments else 0
        return Opened(call.name(), "O_CREAT" in call.arguments, "O_TRUNC" in call.arguments)

    def moved(self, call: _Call) -> None:
        if self._places.get(call.descriptor, 0) is not None:
            self._places[call.descriptor] = call.result

    def written(self, call: _Call) -> Event:
        if call.descriptor == 1:
            return Said(call.content.decode())
        place = self._places.get(call.descriptor, 0)
        if place is not None:
            self._places[call.descriptor] = place + call.result
        return Written(call.path, place, call.content)


def _events(lines: Iterable[str], below: str) -> Iterator[Event]:
    """What calls did below a folder, and what was said."""
    places = _Places()

    def concerned(path: str) -> bool:
        return f"{path}/".startswith(below)

    kinds: dict[str, Callable[[_Call], Event | None]] = {
        "openat": places.opened,
        "lseek": places.moved,
        "write": places.written,
        "writev": places.written,
        "pwrite64": lambda call: Written(call.path, call.number(1), call.content),
        "ftruncate": lambda call: Resized(call.path, call.number(1)),
        **dict.fromkeys(("fsync", "fdatasync"), lambda call: Synced(call.path)),
        **dict.fromkeys(("rename", "renameat", "renameat2"), lambda call: Renamed(call.name(), call.name(1))),
        **dict.fromkeys(("unlink", "unlinkat", "rmdir"), lambda call: Removed(call.name())),
        **dict.fromkeys(("mkdir", "mkdirat"), lambda call: FolderMade(call.name())),
    }
    speaker = ""
    for line in lines:
        # Programs that a library starts, such as git, have a standard output of their own.
        process = line.split(maxsplit=1)[0] if line else ""
        speaker = speaker or process
        if (found := _CALL.fullmatch(line)) is None:
            continue
        call = _Call(found[2], int(found[3]))
        touched = (call.path, *(text.decode(errors="replace") for text in call.texts[:2]))
        if found[1] not in kinds:
            assert not any(map(concerned, touched)), f"not in this model: {line}"
            continue
        event = kinds[found[1]](call)
        if isinstance(event, Said):
            if process == speaker:
                yield event
        elif event is not None and any(map(concerned, touched)):
            yield event


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))

"""What waits for a sink: in memory for an offline run, in the store for a daemon.

>>> backlog = MemoryBacklog(2)
>>> backlog.full, len(backlog), backlog.waiting(5)
(False, 0, [])
"""

from collections import deque
from typing import Protocol

from xiaod.records import Pick
from xiaod.store import PickStore


class Backlog(Protocol):
    """Picks that a sink has not got yet, in order."""

    @property
    def full(self) -> bool:
        """Whether whoever appends should wait."""
        ...

    def append(self, pick: Pick) -> None:
        """One more pick waits."""
        ...

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks; may raise ``OSError``."""
        ...

    def delivered(self) -> None:
        """What :meth:`waiting` gave last has arrived; may raise ``OSError``: it is then delivered again."""
        ...

    def __len__(self) -> int: ...


class MemoryBacklog:
    """Picks in memory, a bounded number of them."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._picks: deque[Pick] = deque()
        self._given = 0

    @property
    def full(self) -> bool:
        """Whether whoever appends should wait."""
        return len(self._picks) >= self._bound

    def append(self, pick: Pick) -> None:
        """Append a pick."""
        self._picks.append(pick)

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks."""
        self._given = min(limit, len(self._picks))
        return [self._picks[index] for index in range(self._given)]

    def delivered(self) -> None:
        """Forget what was given last."""
        for _ in range(self._given):
            self._picks.popleft()
        self._given = 0

    def __len__(self) -> int:
        return len(self._picks)


class StoredBacklog:
    """A sink's part of the store: picks are in it already when they are appended here."""

    def __init__(self, store: PickStore, sink: str) -> None:
        store.begin(sink)
        self._store = store
        self._sink = sink
        self._count = store.backlog(sink)
        self._given = 0
        self._last: int | None = None

    @property
    def full(self) -> bool:
        """Never: the store is as large as the disk."""
        return False

    def append(self, pick: Pick) -> None:
        """Count a pick that has been stored."""
        self._count += 1

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks behind the sink's cursor."""
        found = self._store.waiting(self._sink, limit)
        self._given = len(found)
        self._last = found[-1][0] if found else None
        return [pick for _, pick in found]

    def delivered(self) -> None:
        """Move the cursor behind what was given last."""
        if self._last is not None:
            self._store.delivered(self._sink, self._last)
            self._count = max(0, self._count - self._given)
            self._last, self._given = None, 0

    def __len__(self) -> int:
        return self._count

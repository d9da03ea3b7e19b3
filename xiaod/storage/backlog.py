"""What waits for a sink: in memory for an offline run, in the store for a daemon.

>>> backlog = MemoryBacklog(2)
>>> backlog.full, len(backlog), backlog.waiting(5)
(False, 0, [])
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from xiaod.domain.types import Pick
from xiaod.storage.pick_store import Given, PickStore, Result


class Backlog(Protocol):
    """Picks that a sink has not got yet, in order.

    What may wait for a disk, :meth:`waiting`, :meth:`delivered` and :meth:`skipped`, is called through :meth:`off_loop`, one at a time.
    """

    async def off_loop(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Do one of those without holding up the event loop; gives what it gives."""
        ...

    @property
    def full(self) -> bool:
        """Whether whoever appends should wait."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether what is not delivered is still there in the next run."""
        ...

    def append(self, pick: Pick) -> None:
        """One more pick waits."""
        ...

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks; may raise ``OSError``."""
        ...

    def delivered(self, held: int) -> None:
        """What :meth:`waiting` gave last has been taken; may raise ``OSError``: it is then delivered again.

        Args:
            held: how many of the newest picks taken so far would be lost if the process ended now.
        """
        ...

    def skipped(self) -> None:
        """What :meth:`waiting` gave last will never be taken; may raise ``OSError``: it is then tried again."""
        ...

    def __len__(self) -> int: ...


class MemoryBacklog:
    """Picks in memory, a bounded number of them."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._picks: deque[Pick] = deque()
        self._given = 0

    async def off_loop(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Do it here: memory makes nobody wait."""
        return work(*arguments, **named)

    @property
    def full(self) -> bool:
        """Whether whoever appends should wait."""
        return len(self._picks) >= self._bound

    @property
    def lasting(self) -> bool:
        """Never."""
        return False

    def append(self, pick: Pick) -> None:
        """Append a pick."""
        self._picks.append(pick)

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks."""
        self._given = min(limit, len(self._picks))
        return [self._picks[index] for index in range(self._given)]

    def delivered(self, held: int) -> None:
        """Forget what was given last."""
        for _ in range(self._given):
            self._picks.popleft()
        self._given = 0

    def skipped(self) -> None:
        """Forget what was given last."""
        self.delivered(0)

    def __len__(self) -> int:
        return len(self._picks)


class StoredBacklog:
    """A sink's part of the store: picks are in it already when they are appended here."""

    def __init__(self, store: PickStore, sink: str) -> None:
        store.begin(sink)
        self._store = store
        self._sink = sink
        self._begun = store.backlog(sink)
        self._appended = 0
        """Picks counted since; belongs to who appends."""
        self._gone = 0
        """Picks that wait no more; belongs to who delivers, in another thread."""
        self._given: list[int] = []
        self._held: list[int] = []
        """Places of picks that the sink has taken and that are not safe there yet."""
        self._passed: int | None = None
        """Place of a pick passed over, with nothing taken behind it: the cursor gets there once what is held is safe."""

    async def off_loop(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Do it in the store's thread."""
        return await self._store.off_loop(work, *arguments, **named)

    @property
    def full(self) -> bool:
        """Never: the store is as large as the disk."""
        return False

    @property
    def lasting(self) -> bool:
        """Always."""
        return True

    def append(self, pick: Pick) -> None:
        """Count a pick that has been stored."""
        self._appended += 1

    def waiting(self, limit: int) -> list[Pick]:
        """The oldest picks that the sink has neither taken nor refused."""
        counted = self._begun + self._appended
        behind = self._held[-1] if self._held else None
        found = self._store.waiting(self._sink, limit, after=behind if self._passed is None else self._passed)
        self._given = [place for place, _ in found]
        if limit and not found:
            # A pick that was damaged in the store has left it.
            self._gone = counted
        return [pick for _, pick in found]

    def delivered(self, held: int) -> None:
        """Move the cursor behind the last pick that is safe; after a crash those behind it are delivered again."""
        taken = self._held + self._given
        safe = max(0, len(taken) - held)
        passed = None if self._given else self._passed
        reached = passed if safe == len(taken) and passed is not None else taken[safe - 1] if safe else None
        if reached is not None:
            self._store.delivered(self._sink, reached)
        self._gone += len(self._given)
        self._held, self._given = taken[safe:], []
        self._passed = passed if self._held else None

    def skipped(self) -> None:
        """Pass over what was given last; the cursor stays in front of what the sink still holds."""
        if not self._held:
            self._store.delivered(self._sink, self._given[-1])
        else:
            self._passed = self._given[-1]
        self._gone += len(self._given)
        self._given = []

    def __len__(self) -> int:
        return max(0, self._begun + self._appended - self._gone)

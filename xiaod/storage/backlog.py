"""The picks and events that wait for a sink: in memory for an offline run, in the store for a daemon.

>>> backlog = MemoryBacklog(2)
>>> backlog.full, len(backlog), backlog.waiting(5)
(False, 0, [])
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from xiaod.domain.onsets import is_of
from xiaod.domain.types import Delivered, Stages, Wanted
from xiaod.storage.pick_store import Given, PickStore, Result


class Backlog(Protocol):
    """Picks of the stages of a sink that have not been delivered to it, in order.

    :meth:`waiting`, :meth:`delivered` and :meth:`skipped` may wait for a disk: call them through :meth:`run_in_thread`, one at a time.
    """

    async def run_in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Call one of those without blocking the event loop; its result."""
        ...

    @property
    def full(self) -> bool:
        """Whether the caller of :meth:`noted` should wait."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether picks that were not delivered are there in the next run."""
        ...

    def noted(self, pick: Delivered) -> None:
        """A pick or an event waits from now on, if the sink takes it."""
        ...

    def waiting(self, limit: int) -> list[Delivered]:
        """The oldest picks; may raise ``OSError``."""
        ...

    def delivered(self, held: int) -> None:
        """The sink has taken the last result of :meth:`waiting`; may raise ``OSError``: they are then delivered again.

        Args:
            held: how many of the newest picks that the sink has taken would be lost if the process ended now.
        """
        ...

    def skipped(self) -> None:
        """The sink will never take the last result of :meth:`waiting`; may raise ``OSError``: they are then tried again."""
        ...

    def __len__(self) -> int: ...


class MemoryBacklog:
    """Picks in memory, a bounded number of them."""

    def __init__(self, bound: int, stages: Stages = "all", wanted: Wanted = "picks") -> None:
        self._bound = bound
        self._stages = stages
        self._wanted = wanted
        self._picks: deque[Delivered] = deque()
        self._given = 0

    async def run_in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Call it here: memory blocks nobody."""
        return work(*arguments, **named)

    @property
    def full(self) -> bool:
        """Whether the caller of :meth:`noted` should wait."""
        return len(self._picks) >= self._bound

    @property
    def lasting(self) -> bool:
        """Never."""
        return False

    def noted(self, pick: Delivered) -> None:
        """Keep it, if the sink takes it."""
        if is_of(pick, self._stages, self._wanted):
            self._picks.append(pick)

    def waiting(self, limit: int) -> list[Delivered]:
        """The oldest picks."""
        self._given = min(limit, len(self._picks))
        return [self._picks[index] for index in range(self._given)]

    def delivered(self, held: int) -> None:
        """Delete the last result of :meth:`waiting`."""
        for _ in range(self._given):
            self._picks.popleft()
        self._given = 0

    def skipped(self) -> None:
        """Delete the last result of :meth:`waiting`."""
        self.delivered(0)

    def __len__(self) -> int:
        return len(self._picks)


class PassingBacklog(MemoryBacklog):
    """The newest measurements that wait for a sink, in memory: what measures does not wait, so the oldest give way.

    A sink that takes them takes no picks: in the store nothing waits for it.
    """

    def __init__(self, bound: int, store: PickStore | None, sink: str) -> None:
        super().__init__(bound, "all", "rsam")
        if store is not None:
            store.begin(sink, "all", "rsam")

    @property
    def full(self) -> bool:
        """Never."""
        return False

    @property
    def lasting(self) -> bool:
        """They can be left, as the next run measures anew."""
        return True

    def noted(self, pick: Delivered) -> None:
        """Keep it, if the sink takes it, instead of the oldest one when there are too many."""
        super().noted(pick)
        if len(self._picks) > self._bound:
            self._picks.popleft()
            # One that is being delivered is not deleted again afterwards.
            self._given = max(0, self._given - 1)


class StoredBacklog:
    """A sink's waiting picks, read from the store: each is stored before it is noted here."""

    def __init__(self, store: PickStore, sink: str, stages: Stages = "all", wanted: Wanted = "picks") -> None:
        store.begin(sink, stages, wanted)
        self._store = store
        self._sink = sink
        self._stages = stages
        self._wanted = wanted
        self._begun = store.backlog(sink)
        self._noted = 0
        """Picks counted since; written by the caller of :meth:`noted`."""
        self._gone = 0
        """Picks that no longer wait; written by the thread that delivers."""
        self._given: list[int] = []
        self._held: list[int] = []
        """Places in the store of picks that the sink has taken, but not written yet."""
        self._passed: int | None = None
        """Place of a pick that was skipped, with none taken after it: the cursor moves there once the held picks are written."""

    async def run_in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Call it in the thread of the store."""
        return await self._store.run_in_thread(work, *arguments, **named)

    @property
    def full(self) -> bool:
        """Never: the store is as large as the disk."""
        return False

    @property
    def lasting(self) -> bool:
        """Always."""
        return True

    def noted(self, pick: Delivered) -> None:
        """Count what the sink takes: it is in the store already, from where :meth:`waiting` reads it."""
        self._noted += is_of(pick, self._stages, self._wanted)

    def waiting(self, limit: int) -> list[Delivered]:
        """The oldest picks that the sink has neither taken nor refused."""
        counted = self._begun + self._noted
        taken = self._held[-1] if self._held else None
        found = self._store.waiting(self._sink, limit, after=taken if self._passed is None else self._passed)
        self._given = [place for place, _ in found]
        if limit and not found:
            # A damaged pick was deleted from the store.
            self._gone = counted
        return [pick for _, pick in found]

    def delivered(self, held: int) -> None:
        """Move the cursor past the last pick that is written; after a crash those after it are delivered again."""
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
        """Skip the last result of :meth:`waiting`; the cursor stays before the picks that the sink still holds."""
        if not self._held:
            self._store.delivered(self._sink, self._given[-1])
        else:
            self._passed = self._given[-1]
        self._gone += len(self._given)
        self._given = []

    def __len__(self) -> int:
        return max(0, self._begun + self._noted - self._gone)

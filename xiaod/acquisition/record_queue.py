"""Carries items from the threads of sources into asyncio: an inbox with a bounded queue for each source.

A full queue blocks the thread of its source, and so the connection: TCP slows down the server, whose ring keeps the data. Sources take
turns, so one that catches up on hours does not delay live ones. Items are taken in batches: waking the event loop costs more than an
item, so it is woken only when it is idle. The threads are daemon threads: one that hangs in a system call does not keep the process alive.

After a source has returned, its last item is :class:`End`. If it has failed, :meth:`SourceBridge.join` raises its exception.

>>> import asyncio
>>> from xiaod.domain.types import BadRecord
>>> class Two:
...     name = "two"
...     def run(self, emit):
...         emit(BadRecord("two", "empty"))
...         emit(BadRecord("two", "log"))
...     def stop(self): ...
>>> async def collect():
...     inbox = Inbox(bound=1)
...     bridge = SourceBridge(Two(), inbox)
...     bridge.start()
...     items = [item for _ in range(3) for item in await inbox.take()]
...     await bridge.join()
...     return [type(item).__name__ for item in items]
>>> asyncio.run(collect())
['BadRecord', 'BadRecord', 'End']
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from xiaod.acquisition import Source
from xiaod.domain.types import SourceItem

MAX_TAKE = 256
"""Most items of one batch, so that other tasks get their turn."""


ENOUGH = 128
"""Items of a source for which no others are waited for."""


@dataclass(frozen=True, slots=True)
class End:
    """End of a source, or of a stage: no more will come."""

    source: str = ""


class Inbox:
    """A bounded queue for each source: any number of threads put, one task of the event loop takes from all in turn."""

    def __init__(self, bound: int, gather_s: float = 0.0) -> None:
        """Begin.

        Args:
            bound: items in the queue of a source.
            gather_s: how long the first item waits for others, at most: one by one they find the processor's caches cold.
        """
        self._bound = bound
        self._gather_s = gather_s
        self._queues: dict[str, deque[SourceItem | End]] = {}
        self._attached = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """Waited for by threads whose queue is full. The lock itself is faster to take."""
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._signalled = False
        self._woken = False
        self._closed = False

    def __len__(self) -> int:
        return sum(len(queue) for queue in list(self._queues.values()))

    def filled(self) -> dict[str, float]:
        """How full the queue of each source is, 0 to 1."""
        return {source: len(queue) / self._bound for source, queue in list(self._queues.items())}

    def attach(self) -> None:
        """One more source will put items, the last of them :class:`End`."""
        self._attached += 1

    def detach(self) -> None:
        """A source's :class:`End` has been taken."""
        self._attached -= 1
        if self.ended:
            self._filled.set()

    @property
    def ended(self) -> bool:
        """Whether all sources have ended."""
        return self._attached <= 0

    def put(self, item: SourceItem | End) -> None:
        """Append an item to the queue of its source, from a thread; blocks while that is full, drops the item once all is closed."""
        with self._lock:
            queue = self._queues.setdefault(item.source, deque())
            while len(queue) >= self._bound and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            queue.append(item)
            begins, self._signalled = not self._signalled, True
            if not begins and len(queue) != ENOUGH:
                return
        _call(self._loop, self._gather if begins else self._filled.set)

    def _gather(self) -> None:
        if self._gather_s:
            self._loop.call_later(self._gather_s, self._filled.set)
        else:
            self._filled.set()

    async def take(self) -> list[SourceItem | End]:
        """The next items, at most :data:`MAX_TAKE`, an equal share of each source; none only at the end, or after :meth:`wake`."""
        while True:
            with self._lock:
                if taken := self._taken():
                    self._changed.notify_all()
                if not any(self._queues.values()):
                    self._filled.clear()
                    self._signalled = False
            if taken or self.ended or self._woken:
                self._woken = False
                return taken
            await self._filled.wait()

    def wake(self) -> None:
        """Let :meth:`take` return without an item, because there is something else to do. From the thread of the event loop."""
        self._woken = True
        self._filled.set()

    def _taken(self) -> list[SourceItem | End]:
        waiting = [queue for queue in self._queues.values() if queue]
        share = max(1, MAX_TAKE // max(1, len(waiting)))
        return [queue.popleft() for queue in waiting for _ in range(min(len(queue), share))]

    def close(self) -> None:
        """Release threads that wait; items that they put from now on are dropped."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()


class SourceBridge:
    """Runs a source in a thread that fills an inbox."""

    def __init__(self, source: Source, inbox: Inbox) -> None:
        self._source = source
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"source.{source.name}", daemon=True)

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._source.name

    @property
    def ended(self) -> bool:
        """Whether the source has returned, or failed."""
        return self._done.done()

    def counts(self) -> dict[str, int]:
        """The packets that the source has counted, by result; empty if it counts none."""
        counted: Callable[[], dict[str, int]] | None = getattr(self._source, "counts", None)
        return {} if counted is None else counted()

    def start(self) -> None:
        """Start the thread."""
        self._inbox.attach()
        self._thread.start()

    def stop(self) -> None:
        """Ask the source to end; items on their way still arrive, then :class:`End`."""
        self._source.stop()

    async def join(self) -> None:
        """Wait until the source has ended; raises its exception."""
        await self._done

    def _run(self) -> None:
        try:
            self._source.run(self._inbox.put)
        except BaseException as error:  # noqa: BLE001  whatever it is, it must end the process, not only this thread
            _call(self._loop, self._fail, error)
            return
        self._inbox.put(End(self._source.name))
        _call(self._loop, self._finish)

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self._done.done():
            self._done.set_exception(error)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        # The loop is closed: the process is on its way out.
        return

"""From blocking source threads to asyncio, through one bounded inbox.

A full inbox makes the threads wait, and with them their connections: TCP slows the servers down and their rings keep the data.
Items cross in batches: waking the event loop costs more than an item, so it is woken only when it has nothing to do.
The threads are daemon threads: one that hangs in a system call cannot keep the process alive.

When a source has returned, its last item is :class:`End`; when it has failed, :meth:`SourceBridge.join` raises what it raised.

>>> import asyncio
>>> from xiaod.records import BadRecord
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

from xiaod.records import SourceItem
from xiaod.sources import Source

MAX_TAKE = 256
"""Items taken at once, so that other tasks get their turn."""


@dataclass(frozen=True, slots=True)
class End:
    """End of a source, or of a stage: no more will come."""

    source: str = ""


class Inbox:
    """A bounded queue: any number of threads put, one task of an event loop takes."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: deque[SourceItem | End] = deque()
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._signalled = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: SourceItem | End) -> None:
        """Append an item; called from a thread, blocks while the inbox is full, drops once it is closed."""
        with self._changed:
            while len(self._items) >= self._bound and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            self._items.append(item)
            if self._signalled:
                return
            self._signalled = True
        _call(self._loop, self._filled.set)

    async def take(self) -> list[SourceItem | End]:
        """All items there are, at least one, at most :data:`MAX_TAKE`."""
        while not self._items:
            await self._filled.wait()
            with self._changed:
                if not self._items:
                    self._filled.clear()
                    self._signalled = False
        with self._changed:
            taken = [self._items.popleft() for _ in range(min(len(self._items), MAX_TAKE))]
            if not self._items:
                self._filled.clear()
                self._signalled = False
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """Let threads that wait go on; what they put from now on is dropped."""
        with self._changed:
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

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the source to end; items on their way still arrive, then :class:`End`."""
        self._source.stop()

    async def join(self) -> None:
        """Wait until the source has ended; raises what ended it."""
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

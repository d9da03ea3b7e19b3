"""When batches of windows go to the engine: as soon as they are full, or have waited long enough."""

import asyncio
from collections.abc import Callable, Sequence

from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Clock, Notice, StreamBatch
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.queues import Batch, WindowQueue
from xiaod.process.loop_turns import Turns
from xiaod.waveform.batches import Batches, Streams

STREAM_WAIT_S, EARLY_WAIT_S, FINAL_WAIT_S = 0.01, 0.02, 0.5
"""How long new samples, early windows and final windows wait at most, in a live run, until a batch is full: it costs much less then.
Records have waited for each other already."""

MANY = 16
"""Stations at which a net has noticed something at once, from which the first windows of all go before the second ones of any."""


class Passing:
    """Passes batches on: when they are full, or have waited long enough; in an offline run always in the same order."""

    def __init__(
        self, windows: WindowQueue, assembler: Assembler, monotonic: Clock, wake: Callable[[], None]
    ) -> None:
        """Begin.

        Args:
            windows: takes the batches.
            assembler: makes them.
            monotonic: the monotonic clock; it gives None in an offline run.
            wake: makes the caller call :meth:`pass_on` again.
        """
        self.monitor: Monitor | None = None
        """Gets new samples of streams, for those who watch them; None without a status page."""
        self.looks = 0
        """Batches of new samples that a net has looked at so far."""
        self._windows = windows
        self._assembler = assembler
        self.now_ns = monotonic
        """Monotonic time; None in an offline run."""
        self._wake = wake
        self._turns = Turns()
        self._due_ns: dict[int, int] = {}
        """Monotonic time at which the windows of a kind have waited long enough."""
        self._streams_out = 0
        self._looked = asyncio.Event()
        """Set when a net has looked at all new samples that it was given."""
        self._looked.set()

    async def pass_on(self, everything: bool = False) -> None:
        """Pass on what is to be passed on now."""
        assembler, now_ns = self._assembler, self.now_ns()
        if now_ns is None:
            await self._in_order(everything)
        else:
            kinds: tuple[tuple[Streams | Batches, float], ...] = (
                (assembler.streams, STREAM_WAIT_S),
                (assembler.early, EARLY_WAIT_S),
                (assembler.final, FINAL_WAIT_S),
            )
            for number, (gathered, wait_s) in enumerate(kinds):
                due = everything or self._is_due(number, bool(gathered), now_ns, wait_s)
                for batch in gathered.take(due):
                    await self._put(batch)
            if everything or self._is_due(len(kinds), assembler.unfinished, now_ns, EARLY_WAIT_S):
                await self._cut_rest(everything)
        await self._turns.give_way()

    @property
    def is_due(self) -> bool:
        """Whether :meth:`pass_on_full` has anything to do: a look that costs little, after every record."""
        assembler = self._assembler
        return assembler.full or assembler.behind or self._turns.are_over

    async def pass_on_full(self) -> None:
        """Pass on batches that are full, if there are any; what waits is left to :meth:`pass_on`. A net that is behind is waited for."""
        assembler = self._assembler
        if assembler.behind:
            for stream in assembler.streams.take(everything=True):
                await self._put(stream)
            await self.looked()
            # Rings hold no more of what was not seen.
            await self._cut_rest(everything=True)
            assembler.behind = False
        if assembler.full:
            await self.pass_on()
        else:
            await self._turns.give_way()

    async def noticed(self, notices: Sequence[Notice]) -> None:
        """A net has looked at a batch."""
        turns = Turns()
        many = self.now_ns() is not None and sum(bool(notice.spans) for notice in notices) >= MANY
        for notice in notices:
            self._assembler.noticed(notice, first_alone=many)
            if turns.are_over:
                await turns.give_way()
        self.looks += 1
        self._streams_out -= 1
        if not self._streams_out:
            self._looked.set()
        if self._assembler.early or self._assembler.unfinished:
            self._wake()

    async def looked(self) -> None:
        """Wait until the net has looked at all that was passed on."""
        await self._looked.wait()

    async def _cut_rest(self, everything: bool) -> None:
        """Cut further early windows of stations, once the first ones of all are computed."""
        assembler = self._assembler
        if everything or not (self._streams_out or assembler.early or self._windows.early_waits):
            for _ in assembler.cut_rest():
                if self._turns.are_over:
                    await self._turns.give_way()
            for batch in assembler.early.take(everything):
                await self._put(batch)
        if assembler.early or assembler.unfinished:
            self._wake()

    async def _in_order(self, everything: bool) -> None:
        """Early windows before the final ones of the same data, whatever the net is busy with."""
        assembler = self._assembler
        full = assembler.final.take(everything)
        for stream in assembler.streams.take(everything or bool(full)):
            await self._put(stream)
        await self.looked()
        for batch in (*assembler.early.take(everything or bool(full)), *full):
            await self._put(batch)

    async def _put(self, batch: Batch) -> None:
        if isinstance(batch, StreamBatch):
            self._streams_out += 1
            self._looked.clear()
            if self.monitor is not None:
                self.monitor.streamed(batch.windows)
        await self._windows.put(batch)

    def _is_due(self, number: int, waiting: bool, now_ns: int, wait_s: float) -> bool:
        if not waiting:
            self._due_ns.pop(number, None)
            return False
        if number not in self._due_ns:
            self._due_ns[number] = now_ns + ns_from_s(wait_s)
            asyncio.get_running_loop().call_later(wait_s, self._wake)
        if now_ns < self._due_ns[number]:
            return False
        del self._due_ns[number]
        return True

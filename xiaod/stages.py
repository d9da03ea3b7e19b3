"""The stages of the pipeline: one coroutine for each arrow of the data flow.

::

    inbox -> assemble -> [windows] -> infer -> [probabilities] -> pick -> [picks of each sink] -> deliver

Every queue between them is bounded, and when one is full the stage before it waits, back to the sources' threads. Only
the queues of the sinks are different: see :class:`Outlet`. The end of the data is an item, :class:`~xiaod.bridge.End`, that each
stage passes on after its own last item; there is no other orderly way to stop.

>>> import asyncio
>>> from xiaod.bridge import End
>>> async def nothing():
...     windows, probabilities = asyncio.Queue(4), asyncio.Queue(4)
...     await windows.put(End())
...     await infer(windows, probabilities, engine=None, executor=None, max_batch=8, metrics=Metrics())
...     return probabilities.get_nowait()
>>> asyncio.run(nothing())
End(source='')
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from xiaod.assembler import Assembler
from xiaod.board import Board
from xiaod.bridge import End, Inbox
from xiaod.engines import Engine
from xiaod.logs import get_logger
from xiaod.metrics import Metrics
from xiaod.picker import InstrumentPicker, PickerSettings
from xiaod.records import Instrument, Latency, Pick, Probabilities, Window
from xiaod.sinks import Sink
from xiaod.timebase import GRID_NS, NS_PER_S

TICK_S = 0.2
"""How often waits for slow components are looked at when nothing arrives."""
SINK_TICK_S = 1.0
"""How often a sink is called when there are no picks."""
MAX_DELIVERY = 256
"""Picks delivered in one call."""
RETRY_MIN_S = 0.5
RETRY_MAX_S = 60.0

Clock = Callable[[], int | None]
"""Host time in nanoseconds, or None in an offline run."""


async def assemble(
    inbox: Inbox, windows: "asyncio.Queue[Window | End]", assembler: Assembler, sources: int, clock: Clock
) -> None:
    """Turn what the sources yield into windows, until each source has ended."""
    while sources:
        items = []
        try:
            async with asyncio.timeout(TICK_S):
                items = await inbox.take()
        except TimeoutError:
            pass
        for item in items:
            if isinstance(item, End):
                sources -= 1
                continue
            for window in assembler.take(item, clock()):
                await windows.put(window)
        if (now_ns := clock()) is not None:
            for window in assembler.expire(now_ns):
                await windows.put(window)
    for window in assembler.finish(clock()):
        await windows.put(window)
    await windows.put(End())


async def infer(
    windows: "asyncio.Queue[Window | End]",
    probabilities: "asyncio.Queue[list[Probabilities] | End]",
    engine: Engine,
    executor: Executor,
    max_batch: int,
    metrics: Metrics,
) -> None:
    """Run the engine over all windows that are ready, of whatever stations, in the engine's thread."""
    loop = asyncio.get_running_loop()
    ended = False
    while not ended:
        batch: list[Window] = []
        item = await windows.get()
        while True:
            if isinstance(item, End):
                ended = True
                break
            batch.append(item)
            if len(batch) >= max_batch or windows.empty():
                break
            item = windows.get_nowait()
        if batch:
            results = await loop.run_in_executor(executor, _annotate, engine, batch)
            metrics.batch.observe(len(batch))
            metrics.windows.inc(len(batch))
            metrics.inference.observe(results[0].inference_s * len(batch))
            await probabilities.put(results)
    await probabilities.put(End())


def _annotate(engine: Engine, batch: Sequence[Window]) -> list[Probabilities]:
    begun = time.perf_counter()
    values = engine.annotate(np.stack([window.samples for window in batch]))
    values.flags.writeable = False
    each_s = (time.perf_counter() - begun) / len(batch)
    return [Probabilities(window, value, each_s) for window, value in zip(batch, values, strict=True)]


class PickStage:
    """Probabilities become picks: one picker for each instrument."""

    def __init__(
        self,
        settings_for: Callable[[Instrument], PickerSettings],
        engine: Engine,
        executor: Executor,
        metrics: Metrics,
        board: Board,
        clock: Clock,
    ) -> None:
        self._settings_for = settings_for
        self._engine = engine
        self._executor = executor
        self._metrics = metrics
        self._board = board
        self._clock = clock
        self._pickers: dict[Instrument, InstrumentPicker] = {}
        self.batches = 0
        """Batches picked so far."""

    async def run(
        self, probabilities: "asyncio.Queue[list[Probabilities] | End]", outlets: Sequence["Outlet"]
    ) -> None:
        """Hand every pick to every outlet, until the end."""
        while not isinstance(results := await probabilities.get(), End):
            for result in results:
                for pick in await self._process(result):
                    for outlet in outlets:
                        await outlet.put(pick)
            self.batches += 1
        for outlet in outlets:
            await outlet.put(End())

    async def _process(self, result: Probabilities) -> list[Pick]:
        instrument = result.window.instrument
        picker = self._pickers.get(instrument)
        if picker is None:
            picker = self._pickers[instrument] = InstrumentPicker(self._settings_for(instrument))
        picks = []
        for candidate in picker.look(result):
            pick = await asyncio.get_running_loop().run_in_executor(
                self._executor, picker.decide, candidate, self._engine.annotate
            )
            if pick is None:
                self._metrics.undecided.inc()
            else:
                picks.append(self._stamp(pick, result.window))
        for pick in picks:
            self._metrics.picks.labels(pick.phase).inc()
            if pick.latency is not None:
                self._metrics.pick_latency.labels(pick.phase).observe(pick.latency.total_s)
                self._board.entry(instrument, "", self._clock() or 0).picks += 1
        return picks

    def _stamp(self, pick: Pick, window: Window) -> Pick:
        """Add the time of emission and the parts of the latency, in a live run."""
        now_ns = self._clock()
        arrival = window.arrival
        if now_ns is None or arrival is None:
            return pick
        end_ns = (window.stop - 1) * GRID_NS + window.offset_ns
        latency = Latency(
            lookahead_s=(end_ns - pick.time_ns) / NS_PER_S,
            record_fill_s=(arrival.record_end_ns - end_ns) / NS_PER_S,
            feed_s=(arrival.arrived_ns - arrival.record_end_ns) / NS_PER_S,
            component_wait_s=(arrival.ready_ns - arrival.arrived_ns) / NS_PER_S,
            processing_s=(now_ns - arrival.ready_ns) / NS_PER_S,
        )
        return replace(pick, created_ns=now_ns, latency=latency)


class Outlet:
    """A sink with its backlog and its own thread, so that one that is down or slow stops nobody.

    The backlog is bounded. In a live run a full one drops its oldest pick, counts that and says so: what is newest matters
    most, and the pipeline must not stand still. In an offline run the pipeline waits instead.
    """

    def __init__(self, sink: Sink, metrics: Metrics, clock: Clock, bound: int = 10_000) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._bound = bound
        self._backlog: deque[Pick] = deque()
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._dropping = False
        self._log = get_logger("sink").bind(sink=sink.name)

    @property
    def name(self) -> str:
        """Name of the sink."""
        return self._sink.name

    def __len__(self) -> int:
        return len(self._backlog)

    async def put(self, item: Pick | End) -> None:
        """Append a pick, or the end."""
        if isinstance(item, End):
            self._ended = True
        else:
            if len(self._backlog) >= self._bound:
                await self._make_room()
            self._backlog.append(item)
        self._changed.set()

    async def _make_room(self) -> None:
        if self._clock() is None:
            while len(self._backlog) >= self._bound:
                self._taken.clear()
                await self._taken.wait()
            return
        lost = self._backlog.popleft()
        self._metrics.sink_dropped.labels(self.name).inc()
        if not self._dropping:
            self._dropping = True
            self._log.error("sink.backlog_full", backlog=self._bound, first_lost=lost.id)

    async def deliver(self) -> None:
        """Deliver until the end; a delivery that fails is repeated with back-off, and the end waits for it."""
        loop = asyncio.get_running_loop()
        failures = 0
        jitter = Random()  # noqa: S311  spreads retries, guards nothing
        with ThreadPoolExecutor(1, thread_name_prefix=f"sink.{self.name}") as executor:
            while True:
                if not self._backlog and not self._ended:
                    await self._wait(SINK_TICK_S)
                batch = [self._backlog[index] for index in range(min(len(self._backlog), MAX_DELIVERY))]
                closing = not batch and self._ended
                begun = time.perf_counter()
                try:
                    if closing:
                        await loop.run_in_executor(executor, self._sink.close)
                    else:
                        await loop.run_in_executor(executor, self._sink.deliver, batch, self._clock() or 0)
                except OSError as error:
                    if self._clock() is None:
                        # Offline there is nobody to wait for.
                        raise
                    failures += 1
                    retry_s = jitter.uniform(0.5, 1) * min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(failures, 10))
                    self._metrics.sink_errors.labels(self.name).inc()
                    self._log.warning(
                        "sink.failed",
                        error=str(error),
                        failures=failures,
                        backlog=len(self._backlog),
                        retry_s=round(retry_s, 2),
                    )
                    await asyncio.sleep(retry_s)
                    continue
                if failures:
                    self._log.info("sink.recovered", failures=failures)
                failures = 0
                if closing:
                    return
                self._count(batch, time.perf_counter() - begun)

    def _count(self, batch: Sequence[Pick], duration_s: float) -> None:
        if not batch:
            return
        for pick in batch:
            # The front may have been dropped meanwhile for want of room.
            if self._backlog and self._backlog[0] is pick:
                self._backlog.popleft()
        self._dropping = False
        self._taken.set()
        self._metrics.sink_delivered.labels(self.name).inc(len(batch))
        self._metrics.sink_duration.labels(self.name).observe(duration_s)

    async def _wait(self, limit_s: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            pass


def depths(
    queues: Mapping[str, "asyncio.Queue[Any] | Inbox"], outlets: Sequence[Outlet], metrics: Metrics
) -> None:
    """Write the depth of every queue into its metric."""
    for name, queue in queues.items():
        metrics.queue_depth.labels(name).set(len(queue) if isinstance(queue, Inbox) else queue.qsize())
    for outlet in outlets:
        metrics.sink_backlog.labels(outlet.name).set(len(outlet))

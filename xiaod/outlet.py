"""A sink with its backlog: what lies between the pipeline and one place that picks go to.

>>> import asyncio
>>> from xiaod.config import AgencyConfig, ConsoleConfig
>>> from xiaod.sinks.console import ConsoleSink
>>> async def nothing():
...     sink = ConsoleSink(ConsoleConfig(kind="console"), AgencyConfig())
...     outlet = Outlet(sink, Metrics(), lambda: 0, MemoryBacklog(10))
...     await outlet.put(End())
...     await outlet.deliver()
...     return len(outlet)
>>> asyncio.run(nothing())
0
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from xiaod.backlog import Backlog, MemoryBacklog
from xiaod.bridge import End
from xiaod.logs import get_logger
from xiaod.metrics import Metrics
from xiaod.records import Clock, Pick
from xiaod.sinks import Holding, Sink

SINK_TICK_S = 1.0
"""How often a sink is called when there are no picks."""
BOUND = 10_000
"""Picks that wait in memory at most."""
MAX_DELIVERY = 256
"""Picks delivered in one call."""
RETRY_MIN_S = 0.5
RETRY_MAX_S = 60.0


class Outlet:
    """A sink with its backlog and its own thread, so that one that is down or slow stops nobody.

    A daemon's backlog is the store: nothing is dropped, and a sink that was down catches up, after a restart too. That of an offline
    run is bounded memory, and the pipeline waits while it is full.
    """

    def __init__(self, sink: Sink, metrics: Metrics, clock: Clock, backlog: Backlog | None = None) -> None:
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._backlog = MemoryBacklog(BOUND) if backlog is None else backlog
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._retired = False
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
            while self._backlog.full:
                self._taken.clear()
                await self._taken.wait()
            self._backlog.append(item)
        self._changed.set()

    def retire(self) -> None:
        """End soon: what waits is delivered as long as that works, and what then is left stays in the store."""
        self._ended = self._retired = True
        self._changed.set()

    async def deliver(self) -> None:
        """Deliver until the end; a delivery that fails is repeated with back-off, and the end waits for it, unless it is retired."""
        loop = asyncio.get_running_loop()
        failures = 0
        jitter = Random()  # noqa: S311  spreads retries, guards nothing
        with ThreadPoolExecutor(1, thread_name_prefix=f"sink.{self.name}") as executor:
            while True:
                if not len(self._backlog) and not self._ended:
                    await self._wait(SINK_TICK_S)
                begun = time.perf_counter()
                try:
                    batch = self._backlog.waiting(MAX_DELIVERY)
                    closing = not batch and self._ended
                    if closing:
                        await loop.run_in_executor(executor, self._sink.close)
                    else:
                        await loop.run_in_executor(executor, self._sink.deliver, batch, self._clock() or 0)
                    self._backlog.delivered(
                        0 if closing or not isinstance(self._sink, Holding) else self._sink.held
                    )
                except OSError as error:
                    if self._clock() is None:
                        # Offline there is nobody to wait for.
                        raise
                    if self._retired:
                        self._log.warning("sink.left", error=str(error), backlog=len(self._backlog))
                        return
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
                    await self._pause(retry_s)
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
        self._taken.set()
        self._metrics.sink_delivered.labels(self.name).inc(len(batch))
        self._metrics.sink_duration.labels(self.name).observe(duration_s)

    async def _pause(self, limit_s: float) -> None:
        """Sleep, but not on after it has been retired."""
        until_s = time.monotonic() + limit_s
        while not self._retired and (left_s := until_s - time.monotonic()) > 0:
            await self._wait(left_s)

    async def _wait(self, limit_s: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            pass

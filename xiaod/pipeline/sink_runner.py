"""A sink with its backlog: what lies between the pipeline and one place that picks go to.

>>> import asyncio
>>> from xiaod.config import AgencyConfig, ConsoleConfig
>>> from xiaod.sinks.console import ConsoleSink
>>> async def nothing():
...     sink = ConsoleSink(ConsoleConfig(kind="console"), AgencyConfig())
...     sink_runner = SinkRunner(sink, Metrics(), lambda: 0, MemoryBacklog(10))
...     await sink_runner.put(End())
...     await sink_runner.deliver()
...     return len(sink_runner)
>>> asyncio.run(nothing())
0
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from xiaod.acquisition.record_queue import End
from xiaod.domain.types import Clock, Pick
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.sinks import Holding, Portioned, Refused, RetryLater, Sink
from xiaod.storage.backlog import Backlog, MemoryBacklog

SINK_TICK_S = 1.0
"""How often a sink is called when there are no picks."""
BOUND = 10_000
"""Picks that wait in memory at most."""
MAX_DELIVERY = 256
"""Picks delivered in one call."""
RETRY_MIN_S = 0.5
RETRY_MAX_S = 60.0
HEALTHY_S = 60.0
"""A sink that fails again sooner than this is waited for longer, though it worked in between."""
RETRY_LATER_MAX_S = 3600.0
"""However long a sink asks to be left alone."""
THREAD_PREFIX = "sink."


class _FaultError(OSError):
    """A sink has raised what no sink should: a fault of the program, or of a library; ``__cause__`` has it."""


class SinkRunner:
    """A sink with its backlog and its own thread, so that one that is down, slow or at fault stops nobody.

    A daemon's backlog is the store: nothing is dropped, and a sink that was down catches up, after a restart too. That of an offline
    run is bounded memory, and the pipeline waits while it is full.

    No exception of a sink ends a daemon: the picks are safe, ending would make no sink better, and it would hold up picking and all
    other sinks. What is no ``OSError`` is logged with its traceback, and tried again with the same back-off. What ends a daemon
    here is a store that is damaged.
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
        self._finish_by_s: float | None = None
        self._hangs = False
        self._most = min(MAX_DELIVERY, sink.portion) if isinstance(sink, Portioned) else MAX_DELIVERY
        self._limit = self._most
        self._failures = 0
        self._tries = 0
        """Failures since it last worked for a while: what the pauses go by."""
        self._working_since_s = time.monotonic()
        self._jitter = Random()  # noqa: S311  spreads retries, guards nothing
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

    def finish_within(self, limit_s: float) -> None:
        """From the end on, a call that hangs is given up after this time; what is left stays in the store."""
        self._finish_by_s = time.monotonic() + limit_s

    async def deliver(self) -> None:
        """Deliver until the end; a delivery that fails is repeated with back-off, one that is refused for good is passed over.

        At the end what waits is delivered as long as that works; what the store keeps for the next run is then left in it.

        Raises:
            OSError: in an offline run, where there is nobody to wait for; there also whatever else the sink raises.
            StoreDamagedError: when the store is no store any more.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"{THREAD_PREFIX}{self.name}")
        try:
            while True:
                if not len(self._backlog) and not self._ended:
                    await self._wait(SINK_TICK_S)
                leaving = self._may_leave
                try:
                    closed = await self._step(executor)
                except OSError as error:
                    if self._clock() is None:
                        raise
                    # A call that began before the end is followed by one try more.
                    if leaving or self._hangs:
                        self._log.warning(
                            "sink.left",
                            error=str(error),
                            backlog=len(self._backlog),
                            exc_info=_traceback(error),
                        )
                        return
                    await self._back_off(error)
                    continue
                if self._failures:
                    self._log.info("sink.recovered", failures=self._failures)
                    self._working_since_s = time.monotonic()
                self._failures = 0
                if closed:
                    return
        finally:
            # A thread that hangs in a call is not waited for.
            executor.shutdown(wait=not self._hangs)

    async def _step(self, executor: ThreadPoolExecutor) -> bool:
        """One delivery, tick, or the closing, which gives True."""
        begun_s = time.perf_counter()
        batch = await self._backlog.off_loop(self._backlog.waiting, self._limit)
        closing = not batch and self._ended
        try:
            if closing:
                await self._call(executor, self._sink.close)
            else:
                await self._call(executor, self._sink.deliver, batch, self._clock() or 0)
        except Refused as refused:
            if not batch or self._clock() is None:
                raise
            await self._narrow(batch, refused)
            return False
        except OSError:
            # The same picks again: whoever got them already can tell.
            self._limit = len(batch) or self._limit
            raise
        held = 0 if closing or not isinstance(self._sink, Holding) else self._sink.held
        await self._backlog.off_loop(self._backlog.delivered, held)
        self._limit = min(self._most, 2 * self._limit)
        self._count(batch, time.perf_counter() - begun_s)
        return closing

    async def _call(self, executor: ThreadPoolExecutor, work: Callable[..., None], *arguments: Any) -> None:
        """Work in the sink's thread.

        Raises:
            OSError: what the sink raises, :class:`_FaultError` for what it should not; ``TimeoutError`` when it hangs at the end.
        """
        future = asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
        self._hangs = True
        while not (await asyncio.wait({future}, timeout=SINK_TICK_S))[0]:
            if self._may_leave and self._finish_by_s is not None and time.monotonic() > self._finish_by_s:
                # Nobody asks any more how it ends.
                future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                raise TimeoutError("hangs in a call, which is left alone")
        self._hangs = False
        try:
            future.result()
        except OSError:
            raise
        except Exception as error:
            if self._clock() is None:
                raise
            raise _FaultError(f"{type(error).__name__}: {error}") from error

    async def _narrow(self, batch: Sequence[Pick], refused: Refused) -> None:
        """Come closer to the pick that is refused; once it is the first, pass it over."""
        first = next((place for place, pick in enumerate(batch) if pick.id in refused.picks), len(batch) // 2)
        if first:
            self._limit = first
            return
        if len(batch) > 1:
            await self._backlog.off_loop(self._backlog.waiting, 1)
        await self._backlog.off_loop(self._backlog.skipped)
        self._taken.set()
        self._limit = self._most
        self._metrics.sink_refused.labels(self.name).inc()
        self._log.error("sink.refused", pick=batch[0].id, reason=str(refused))

    async def _back_off(self, error: OSError) -> None:
        if not self._failures and time.monotonic() - self._working_since_s > HEALTHY_S:
            self._tries = 0
        self._failures += 1
        self._tries += 1
        retry_s = self._jitter.uniform(0.5, 1) * min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._tries, 10))
        if isinstance(error, RetryLater):
            retry_s = max(retry_s, min(error.retry_s, RETRY_LATER_MAX_S))
        self._metrics.sink_errors.labels(self.name).inc()
        said = self._log.error if isinstance(error, _FaultError) else self._log.warning
        said(
            "sink.failed",
            error=str(error),
            failures=self._failures,
            backlog=len(self._backlog),
            retry_s=round(retry_s, 2),
            exc_info=_traceback(error),
        )
        await self._pause(retry_s)

    @property
    def _may_leave(self) -> bool:
        """Whether picks may be left undelivered: it is the end, and the next run finds them."""
        return self._retired or (self._ended and self._backlog.lasting)

    def _count(self, batch: Sequence[Pick], duration_s: float) -> None:
        if not batch:
            return
        self._taken.set()
        self._metrics.sink_delivered.labels(self.name).inc(len(batch))
        self._metrics.sink_duration.labels(self.name).observe(duration_s)

    async def _pause(self, limit_s: float) -> None:
        """Sleep, but not on after the end."""
        until_s = time.monotonic() + limit_s
        while not self._may_leave and (left_s := until_s - time.monotonic()) > 0:
            await self._wait(left_s)

    async def _wait(self, limit_s: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            pass


def _traceback(error: OSError) -> BaseException | None:
    """What is logged with its traceback: a fault, not a place that is down."""
    return error.__cause__ if isinstance(error, _FaultError) else None

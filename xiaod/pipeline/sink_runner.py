"""A sink runner: delivers the backlog of one sink in a thread of its own, and retries what fails.

>>> import asyncio
>>> from xiaod.config import AgencyConfig
>>> from xiaod.config.sinks.console import ConsoleConfig
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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from xiaod.acquisition.record_queue import End
from xiaod.domain.types import Clock, Delivered, StationCode
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.sinks import Holding, LeavingOut, Portioned, Refused, RetryLater, Sink, TakingStations
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
"""A sink that fails again sooner than this is retried more and more slowly, though it worked in between."""
RETRY_LATER_MAX_S = 3600.0
"""Longest pause that a sink can ask for."""
THREAD_PREFIX = "sink."
BUS_THREAD = "bus"
"""Begin of the names of threads that may hang in a call: of a sink, and of the reader of a bus."""


class _FaultError(OSError):
    """A sink has raised something else than ``OSError``: a fault of the program or of a library, in ``__cause__``."""


class SinkRunner:
    """A sink with its backlog and its own thread, so that a sink that is down, slow or faulty does not affect the others.

    In a daemon the backlog is in the store: nothing is dropped, and a sink that was down catches up, after a restart too. In an offline
    run it is in memory and bounded; the pipeline waits while it is full.

    No exception of a sink ends a daemon: the picks are safe, and a restart would hold up picking and all other sinks. What is no
    ``OSError`` is logged with its traceback and retried with the same back-off. Only a damaged store ends a daemon here.
    """

    def __init__(
        self,
        sink: Sink,
        metrics: Metrics,
        clock: Clock,
        backlog: Backlog | None = None,
        stations: Callable[[], Mapping[StationCode, bool | None]] = dict,
    ) -> None:
        self._sink = sink
        self._stations = stations
        self._metrics = metrics
        self._clock = clock
        self._backlog = MemoryBacklog(BOUND, sink.stages, sink.wanted) if backlog is None else backlog
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._retired = False
        self._finish_by_s: float | None = None
        self._hangs = False
        self._most = min(MAX_DELIVERY, sink.portion) if isinstance(sink, Portioned) else MAX_DELIVERY
        self._limit = self._most
        self._left_out = 0
        self._failures = 0
        self._complaint = ""
        """Why the last delivery failed."""
        self._tries = 0
        """Failures since it last worked for :data:`HEALTHY_S`; the pauses grow with them."""
        self._working_since_s = self._loop.time()
        self._jitter = Random()  # noqa: S311  spreads retries, guards nothing
        self._log = get_logger("sink").bind(sink=sink.name)

    @property
    def name(self) -> str:
        """Name of the sink."""
        return self._sink.name

    @property
    def complaint(self) -> str:
        """Why it does not take picks at present; empty: it does."""
        return f"{len(self)} picks wait: {self._complaint}" if self._failures else ""

    def __len__(self) -> int:
        return len(self._backlog)

    async def put(self, item: Delivered | End) -> None:
        """Append something, which the backlog takes if the sink does; or the end."""
        if isinstance(item, End):
            self._ended = True
        else:
            while self._backlog.full:
                self._taken.clear()
                await self._taken.wait()
            self._backlog.noted(item)
        self._changed.set()

    def retire(self) -> None:
        """End soon: the backlog is delivered until a delivery fails; the rest stays in the store."""
        self._ended = self._retired = True
        self._changed.set()

    def finish_within(self, limit_s: float) -> None:
        """Once it is to end, give up a call that hangs after this time; the rest stays in the store."""
        self._finish_by_s = self._loop.time() + limit_s

    async def deliver(self) -> None:
        """Deliver until the end; a delivery that fails is retried with back-off, and a pick that is refused for good is skipped.

        At the end the backlog is delivered until a delivery fails; the store keeps the rest for the next run.

        Raises:
            OSError: in an offline run, which does not retry; there also anything else that the sink raises.
            StoreDamagedError: when the store is damaged.
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
                    # A call that began before the end is followed by one more attempt.
                    if leaving or self._hangs:
                        self._log.warning(
                            "sink.undelivered",
                            error=str(error),
                            backlog=len(self._backlog),
                            exc_info=_traceback(error),
                        )
                        return
                    await self._back_off(error)
                    continue
                if self._failures:
                    self._log.info("sink.recovered", failures=self._failures)
                    self._working_since_s = self._loop.time()
                self._failures = 0
                if closed:
                    return
        finally:
            # Do not wait for a thread that hangs in a call.
            executor.shutdown(wait=not self._hangs)

    async def _step(self, executor: ThreadPoolExecutor) -> bool:
        """One delivery or tick; or the closing, for which it gives True."""
        begun_s = time.perf_counter()
        batch = await self._backlog.run_in_thread(self._backlog.waiting, self._limit)
        closing = not batch and self._ended
        try:
            if closing:
                await self._call(executor, self._sink.close)
            else:
                if isinstance(self._sink, TakingStations) and self._sink.takes_stations:
                    self._sink.note_stations(self._stations())
                await self._call(executor, self._sink.deliver, batch, self._clock() or 0)
        except Refused as refused:
            if not batch or self._clock() is None:
                raise
            await self._narrow(batch, refused)
            return False
        except OSError:
            # Retry with the same picks, so that a receiver recognises the batch.
            self._limit = len(batch) or self._limit
            raise
        if isinstance(self._sink, LeavingOut):
            self._metrics.sink_left_out.labels(self.name).inc(self._sink.left_out - self._left_out)
            self._left_out = self._sink.left_out
        held = 0 if closing or not isinstance(self._sink, Holding) else self._sink.held
        await self._backlog.run_in_thread(self._backlog.delivered, held)
        self._limit = min(self._most, 2 * self._limit)
        self._count(batch, time.perf_counter() - begun_s)
        return closing

    async def _call(self, executor: ThreadPoolExecutor, work: Callable[..., None], *arguments: Any) -> None:
        """Do work in the sink's thread.

        Raises:
            OSError: of the sink; :class:`_FaultError` for anything else; ``TimeoutError`` when it hangs at the end.
        """
        future = asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
        self._hangs = True
        while not (await asyncio.wait({future}, timeout=SINK_TICK_S))[0]:
            if self._may_leave and self._finish_by_s is not None and self._loop.time() > self._finish_by_s:
                # Its result is not needed any more.
                future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                raise TimeoutError("hangs in a call, which is left alone")
        self._hangs = False
        try:
            future.result()
        except OSError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            # What a library cancels for itself would end this task without a word.
            if self._clock() is None and isinstance(error, Exception):
                raise
            raise _FaultError(f"{type(error).__name__}: {error}") from error

    async def _narrow(self, batch: Sequence[Delivered], refused: Refused) -> None:
        """Shorten the batch to come closer to the refused pick; skip that pick once it is the first."""
        first = next(
            (number for number, pick in enumerate(batch) if pick.id in refused.picks), len(batch) // 2
        )
        if first:
            self._limit = first
            return
        if len(batch) > 1:
            await self._backlog.run_in_thread(self._backlog.waiting, 1)
        await self._backlog.run_in_thread(self._backlog.skipped)
        self._taken.set()
        self._limit = self._most
        self._metrics.sink_refused.labels(self.name).inc()
        self._log.error("sink.refused", pick=batch[0].id, reason=str(refused))

    async def _back_off(self, error: OSError) -> None:
        if not self._failures and self._loop.time() - self._working_since_s > HEALTHY_S:
            self._tries = 0
        self._failures += 1
        self._complaint = str(error)
        self._tries += 1
        retry_s = self._jitter.uniform(0.5, 1) * min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._tries, 10))
        if isinstance(error, RetryLater):
            retry_s = max(retry_s, min(error.retry_s, RETRY_LATER_MAX_S))
        self._metrics.sink_errors.labels(self.name).inc()
        log = self._log.error if isinstance(error, _FaultError) else self._log.warning
        log(
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
        """Whether picks may be left undelivered, because the run ends and the next one finds them."""
        return self._retired or (self._ended and self._backlog.lasting)

    def _count(self, batch: Sequence[Delivered], duration_s: float) -> None:
        if not batch:
            return
        self._taken.set()
        self._metrics.sink_delivered.labels(self.name).inc(len(batch))
        self._metrics.sink_duration.labels(self.name).observe(duration_s)

    async def _pause(self, limit_s: float) -> None:
        """Sleep, at most until the end."""
        until_s = self._loop.time() + limit_s
        while not self._may_leave and (left_s := until_s - self._loop.time()) > 0:
            await self._wait(left_s)

    async def _wait(self, limit_s: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            pass


def _traceback(error: OSError) -> BaseException | None:
    """The exception behind a fault, for its traceback; None for a sink that is down."""
    return error.__cause__ if isinstance(error, _FaultError) else None

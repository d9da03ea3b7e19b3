"""Events of all daemons: reads their picks from a bus, stores them, associates them, and gives the events to the sinks.

What was read is stored before the bus, or the store itself, notes that it has been read: after a crash nothing is missing, and the store
knows what comes twice by its ``id``. Events follow from the picks in the store, as in a daemon.

There are no data here by which to tell the time until which picks are there, so the picks tell it: a final pick says that those before it
have come, and from then on that time goes on with the clock (:class:`PickClock`). When the bus was away, daemons bring what has waited
within a minute or so, one after the other: for :data:`HOLD_S` nothing is settled then.

>>> clock = PickClock(lambda: 0)
>>> clock.saw(5)
>>> clock.reached_ns()
5
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from random import Random
from typing import Any

from xiaod.acquisition.record_queue import End
from xiaod.config import Config
from xiaod.domain.document import pick_document, pick_from_document
from xiaod.domain.event import TYPE as EVENT
from xiaod.domain.onsets import PHASES
from xiaod.domain.rsam import TYPE as RSAM
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Pick, StationPositions
from xiaod.pipeline.events import Events
from xiaod.pipeline.problems import Facts, Problem, problems_of
from xiaod.pipeline.sink_runner import BUS_THREAD, SinkRunner
from xiaod.process.grouped_log import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.sinks import Sink
from xiaod.sinks.reading import Portion, Reader
from xiaod.storage.backlog import StoredBacklog
from xiaod.storage.pick_store import ILLEGIBLE, UNSIGNED, Given, PickStore, Result, StoreError

PORTION = 256
"""Messages that are read at once."""
READ_S = 1.0
"""Longest wait for the first of them."""
RETRY_MIN_S = 0.5
RETRY_MAX_S = 30.0
HOLD_S = 75.0
"""Longer than the longest pause of a sink before it tries again (:data:`xiaod.pipeline.sink_runner.RETRY_MAX_S`)."""
STORE_RETRY_S = 1.0
LAST_S = 60.0
"""Of picks before the newest one: at a start these tell what time it is, until others come."""
TRIAL = "-selftest-"
"""In the identifier of a pick that ``xiaod selftest`` has made: it is none."""
SHOWN = 200
"""Letters of a message that the log shows."""
ILLEGIBLE_LINES = 30
ILLEGIBLE_PERIOD_S = 3600.0
REFUSED = (*ILLEGIBLE, OverflowError, RecursionError)
"""Errors of a message that is no pick."""


def pick_of(content: bytes) -> Pick | None:
    """The pick of a message; None: it is something else of ours, an event, RSAM or the trial of a self-test.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError: when it is none of these.
    """
    document = json.loads(content)
    if document.get("type") in (EVENT, RSAM) or TRIAL in document["id"]:
        return None
    pick = pick_from_document(document)
    texts = (pick.id, *astuple(pick.channel), *((pick.early_id,) if pick.early_id is not None else ()))
    if pick.phase not in PHASES or not all(isinstance(text, str) for text in texts):
        raise ValueError("no pick has such a phase, id or codes")
    if pick.motion is not None and (
        pick.motion.wood_anderson_mm < 0 or pick.motion.wood_anderson_noise_mm < 0
    ):
        raise ValueError("no amplitude is negative")
    # The store takes no half characters.
    "".join(texts).encode()
    json.dumps(pick_document(pick, UNSIGNED), allow_nan=False)
    return pick


class PickClock:
    """Until when final picks have come: the time of the one that came soonest after its onset, and what has passed since."""

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, hold_ns: int = ns_from_s(HOLD_S)
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._hold_ns = hold_ns
        self._ahead_ns: int | None = None
        """Time of a pick minus monotonic time when it came, at most so far."""
        self._held_until_ns: int | None = None

    def saw(self, time_ns: int) -> None:
        """A final pick has come."""
        ahead_ns = time_ns - self._monotonic_ns()
        self._ahead_ns = ahead_ns if self._ahead_ns is None else max(self._ahead_ns, ahead_ns)

    def lost(self) -> None:
        """The bus is away: picks do not come as they are made, and the next ones say anew what time it is."""
        self._ahead_ns = None
        self._held_until_ns = self._monotonic_ns() + self._hold_ns

    @property
    def is_held(self) -> bool:
        """Whether daemons may still bring what has waited while the bus was away."""
        return self._held_until_ns is not None and self._monotonic_ns() < self._held_until_ns

    def reached_ns(self) -> int | None:
        """Until when final picks have come; None: that is not known now."""
        return None if self._ahead_ns is None or self.is_held else self._monotonic_ns() + self._ahead_ns


class BusRun:
    """One run of the process that makes events."""

    def __init__(
        self,
        config: Config,
        bus: str,
        open_reader: Callable[[Mapping[tuple[str, str], tuple[int, int]], int | None], Reader],
        sinks: Sequence[Sink],
        store: PickStore,
        metrics: Metrics,
        pick_clock: PickClock | None = None,
    ) -> None:
        """Set up; nothing is read before :meth:`run`.

        Args:
            config: as this process uses it, see :mod:`xiaod.config.events_process`.
            bus: name of the sink whose bus is read.
            open_reader: makes the reader, with the position of the run before and the time to begin at without one.
            sinks: those that take events.
            store: keeps picks, events and the position.
            metrics: count.
            pick_clock: another one.
        """
        self._bus = bus
        self._store = store
        self._metrics = metrics
        self._reader = open_reader(store.positions(bus), store.lost_ns)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=BUS_THREAD)
        self._events = Events(config, metrics, time.time_ns, store, reloads=False)
        self._pick_clock = PickClock() if pick_clock is None else pick_clock
        max_future_s = config.buffer.max_future_s
        self._max_future_ns = None if max_future_s is None else ns_from_s(max_future_s)
        self._sink_runners: list[SinkRunner] = []
        for sink in sinks:
            metrics.expect_sink(sink.name)
            backlog = StoredBacklog(store, sink.name, sink.stages, sink.wanted)
            self._sink_runners.append(SinkRunner(sink, metrics, time.time_ns, backlog))
        metrics.connected.labels(bus).set(0)
        metrics.reconnects.labels(bus)
        metrics.expect_bus()
        self._stopping = asyncio.Event()
        self._close_by_s = 0.0
        self._jitter = Random()  # noqa: S311  spreads retries, guards nothing
        self._failures = 0
        self._link = "connecting"
        self._complaint = ""
        self._store_failure = ""
        self._log = get_logger("bus").bind(sink=bus)
        self._grouped = GroupedLog(self._log, ILLEGIBLE_LINES, ILLEGIBLE_PERIOD_S)
        self.stepped_s = time.monotonic()
        """When something was done last, be it to find that there is nothing to do."""

    def start(self, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
        """Start all tasks in a group; gives the task that is done when the last sink is closed."""
        delivering = [
            group.create_task(one.deliver(), name=f"deliver.{one.name}") for one in self._sink_runners
        ]
        return group.create_task(self._run(delivering), name="bus")

    def stop(self, sinks_s: float) -> None:
        """End in order; a sink that hangs is given up after so many seconds, and so is the reader."""
        self._close_by_s = time.monotonic() + sinks_s
        self._stopping.set()
        for one in self._sink_runners:
            one.finish_within(sinks_s)

    def release_threads(self) -> None:
        """End the thread of the reader, which may hang, and that of association."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._events.close()

    def links(self) -> dict[str, str]:
        """State of the connection to the bus, as of a source of data."""
        return {self._bus: self._link}

    def problems(self) -> list[Problem]:
        """What is wrong now."""
        return problems_of(
            Facts(
                self.links(),
                {self._bus: self._complaint} if self._complaint else {},
                sinks={one.name: one.complaint for one in self._sink_runners if one.complaint},
                store=self._store_failure,
            )
        )

    def backlogs(self) -> dict[str, int]:
        """Events that wait for each sink."""
        return {one.name: len(one) for one in self._sink_runners}

    def flush_log(self, everything: bool = False) -> None:
        """Write log lines that have waited for others of their kind."""
        self._grouped.flush(everything)

    async def _run(self, delivering: "Sequence[asyncio.Task[None]]") -> None:
        await self._persistently(self._events.resume)
        await self._associate()
        last, _ = await self._persistently(
            lambda: self._store.run_in_thread(self._store.last_minutes, LAST_S)
        )
        for pick in last:
            if pick.stage == "final":
                self._pick_clock.saw(pick.time_ns)
        while not self._stopping.is_set():
            await self._step()
        for one in self._sink_runners:
            await one.put(End())
        closing = self._in_thread(self._reader.close)
        for task in delivering:
            await task
        # A call to a bus that cannot be reached may take minutes.
        await asyncio.wait({closing}, timeout=max(0.0, self._close_by_s - time.monotonic()))
        if closing.done():
            closing.result()
        else:
            closing.cancel()
            self._log.warning("bus.hangs", consequence="the connection is cut, and the next run reads on")
        self.release_threads()

    async def _step(self) -> None:
        """Read once, and do what follows."""
        self.stepped_s = time.monotonic()
        try:
            portion = await self._read()
        except OSError as error:
            await self._back_off(error)
            return
        if portion is None:
            return
        if self._link != "streaming":
            self._log.info("bus.connected", failures=self._failures)
            self._link, self._complaint, self._failures = "streaming", "", 0
            self._metrics.connected.labels(self._bus).set(1)
        picks = self._picks_of(portion.contents)
        new: list[Pick] = []
        if picks or portion.positions:
            new = await self._persistently(
                lambda: self._store.run_in_thread(self._keep, picks, portion.positions)
            )
            self._metrics.bus_picks.labels("new").inc(len(new))
            self._metrics.bus_picks.labels("repeated").inc(len(picks) - len(new))
        if portion.contents:
            await self._in_thread(self._reader.stored)
        self._events.take(new)
        for pick in new:
            if pick.stage == "final":
                self._pick_clock.saw(pick.time_ns)
        # What follows a full portion may be older: another partition of a topic.
        if self._pick_clock.is_held or len(portion.contents) >= PORTION:
            self._events.end_silence()
        elif (reached_ns := self._pick_clock.reached_ns()) is not None:
            self._events.reached(reached_ns)
        await self._associate()

    async def _read(self) -> Portion | None:
        """What comes next; None: the run ends before that, and the next one reads it."""
        reading = self._in_thread(self._reader.read, PORTION, READ_S)
        stopping = asyncio.create_task(self._stopping.wait())
        either: set[asyncio.Future[Any]] = {reading, stopping}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
        finally:
            stopping.cancel()
        # Its result is not needed any more.
        reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return None

    def _in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> "asyncio.Future[Result]":
        """Call the reader in its own thread."""
        return asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *arguments, **named))

    def _keep(self, picks: Sequence[Pick], positions: StationPositions) -> list[Pick]:
        """Store picks, and then how far the bus has been read; the picks that are new."""
        new = self._store.add(picks, {})
        self._store.save({}, {self._bus: positions})
        return new

    def _picks_of(self, contents: Sequence[bytes]) -> list[Pick]:
        """The picks among messages; what is none is counted and logged."""
        picks = []
        for content in contents:
            try:
                item = pick_of(content)
            except REFUSED as error:
                self._refuse(content, f"{type(error).__name__}: {error}")
                continue
            if item is None:
                continue
            if self._max_future_ns is not None and item.time_ns > time.time_ns() + self._max_future_ns:
                self._refuse(content, "its time is in the future")
                continue
            picks.append(item)
        return picks

    def _refuse(self, content: bytes, reason: str) -> None:
        self._metrics.bus_picks.labels("refused").inc()
        message = content[:SHOWN].decode(errors="replace")
        self._grouped.tell("warning", "bus.illegible", "", reason=reason[:SHOWN], message=message)

    async def _associate(self) -> None:
        """Store events that follow from the picks, and give them to the sinks."""
        if not (events := await self._events.updated()):
            return
        new = await self._persistently(lambda: self._store.run_in_thread(self._store.add_events, events))
        self._events.made(new)
        for event in new:
            for one in self._sink_runners:
                await one.put(event)

    async def _back_off(self, error: OSError) -> None:
        self._pick_clock.lost()
        self._failures += 1
        retry_s = self._jitter.uniform(0.5, 1) * min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._failures, 10))
        self._link, self._complaint = "connect_failed", str(error)
        self._metrics.connected.labels(self._bus).set(0)
        self._metrics.reconnects.labels(self._bus).inc()
        self._log.warning("bus.failed", error=str(error), failures=self._failures, retry_s=round(retry_s, 2))
        try:
            async with asyncio.timeout(retry_s):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _persistently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Use the store; while it cannot be used everything waits, and the bus keeps the picks."""
        while True:
            try:
                done = await work()
            except StoreError as error:
                if not self._store_failure:
                    self._log.error("store.failed", error=str(error), remedy="free the disk; the bus waits")
                self._store_failure = str(error)
                self.stepped_s = time.monotonic()
                self._metrics.store_errors.inc()
                await asyncio.sleep(STORE_RETRY_S)
                continue
            if self._store_failure:
                self._store_failure = ""
                self._log.info("store.recovered")
            return done

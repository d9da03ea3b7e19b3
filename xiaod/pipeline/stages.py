"""The stages of the pipeline: one coroutine for each arrow of the data flow.

::

    inbox -> assemble -> [batches of windows] -> infer -> [probabilities] -> pick -> [picks of each sink] -> deliver

Every queue between them is bounded. When one is full the stage before it waits, back to the threads of the sources. Only the backlogs of
the sinks are different, see :class:`~xiaod.pipeline.sink_runner.SinkRunner`. The data end with an item,
:class:`~xiaod.acquisition.record_queue.End`, which each stage passes on after its own last item; a clean shutdown takes no other way. A
stage whose input is always ready gives way after some milliseconds, see :mod:`xiaod.process.loop_turns`.

>>> import asyncio
>>> from xiaod.acquisition.record_queue import End
>>> async def nothing():
...     windows, probabilities = asyncio.Queue(4), asyncio.Queue(4)
...     await windows.put(End())
...     await infer(windows, probabilities, engine=None, executor=None, metrics=Metrics(), idle=lambda: None)
...     return probabilities.get_nowait()
>>> asyncio.run(nothing())
End(source='')
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from xiaod.acquisition.record_queue import End, Inbox
from xiaod.config import Config
from xiaod.domain.timegrid import GRID_NS, NS_PER_S, iso_from_ns
from xiaod.domain.types import Clock, Departed, Instrument, Latency, Pick, Probabilities, Window, WindowBatch
from xiaod.inference import Engine
from xiaod.picking.diagnosis import PhaseView
from xiaod.picking.picker import InstrumentPicker, PickerSettings, compute_again
from xiaod.pipeline.assemble import STATION_LINES, STATION_PERIOD_S, Assembler
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.settings import picker_settings
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.station_table import StationTable
from xiaod.process.grouped_log import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.loop_turns import Turns
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import StoreError
from xiaod.storage.progress import PickingProgress

STORE_RETRY_S = 1.0


class WindowQueue(asyncio.Queue[WindowBatch | Departed | End]):
    """Batches of windows that wait for the engine, and how many windows these are."""

    windows = 0

    def _put(self, item: WindowBatch | Departed | End) -> None:
        super()._put(item)
        if isinstance(item, WindowBatch):
            self.windows += len(item.windows)

    def _get(self) -> WindowBatch | Departed | End:
        item: WindowBatch | Departed | End = super()._get()
        if isinstance(item, WindowBatch):
            self.windows -= len(item.windows)
        return item


async def assemble(
    inbox: Inbox,
    windows: "asyncio.Queue[WindowBatch | Departed | End]",
    assembler: Assembler,
    monotonic: Clock,
    drained: Callable[[str], None],
) -> None:
    """Make batches of windows of the items of the sources, until all sources have ended.

    A batch is passed on when it is full, or when the engine has nothing else to do: while it is busy, batches fill.

    Args:
        inbox: records and other items of the sources.
        windows: takes the batches.
        assembler: makes them.
        monotonic: the monotonic clock; it gives None in an offline run.
        drained: called with the name of a source that has ended, after its last item.
    """
    turns = Turns()

    async def pass_on(everything: bool = False) -> None:
        for batch in assembler.batches.take(everything):
            await windows.put(batch)
        await turns.give_way()

    while not inbox.ended:
        for item in await inbox.take():
            if isinstance(item, End):
                inbox.detach()
                drained(item.source)
            else:
                assembler.take(item, monotonic())
            await pass_on()
        for _ in assembler.expire():
            await pass_on()
        for departed in assembler.depart():
            await pass_on(everything=departed is not None)
            if departed is not None:
                await windows.put(departed)
            # Hold none of them while waiting for the next records.
            del departed
        await pass_on(everything=windows.empty())
    for _ in assembler.finish():
        await pass_on()
    await pass_on(everything=True)
    await windows.put(End())


async def infer(
    windows: "asyncio.Queue[WindowBatch | Departed | End]",
    probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
    engine: Engine,
    executor: Executor,
    metrics: Metrics,
    idle: Callable[[], None],
) -> None:
    """Run the engine in its thread, over batches of windows, whatever their stations.

    ``idle`` is called when no further batch waits: the next one need not be full.
    """
    loop = asyncio.get_running_loop()
    while not isinstance(batch := await windows.get(), End):
        if windows.empty():
            idle()
        if isinstance(batch, Departed):
            await loop.run_in_executor(executor, engine.forget, batch.instruments)
            await probabilities.put(batch)
        else:
            results = await loop.run_in_executor(executor, _annotate, engine, batch)
            metrics.batch.observe(len(results))
            metrics.windows.inc(len(results))
            metrics.inference.observe(results[0].inference_s * len(results))
            await probabilities.put(results)
            # Hold no windows while waiting for the next ones.
            del results
        del batch
    await probabilities.put(End())


def _annotate(engine: Engine, batch: WindowBatch) -> list[Probabilities]:
    begun = time.perf_counter()
    results = engine.follow(batch)
    each_s = (time.perf_counter() - begun) / len(results)
    return [replace(result, inference_s=each_s) for result in results]


class PickStage:
    """Probabilities become picks: one picker for each instrument."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        executor: Executor,
        metrics: Metrics,
        station_table: StationTable,
        clock: Clock,
        progress: PickingProgress | None = None,
    ) -> None:
        self.monitor: Monitor | None = None
        """Shown on the status page; None without one."""
        self._progress = progress
        self._log = get_logger("pick")
        self._grouped = GroupedLog(self._log, STATION_LINES, STATION_PERIOD_S)
        self._config = config
        self._engine = engine
        self._executor = executor
        self._metrics = metrics
        self._station_table = station_table
        self._clock = clock
        self._pickers: dict[Instrument, InstrumentPicker] = {}
        self.steps = 0
        """Batches picked so far, and attempts to store picks on a full disk: a run that waits for the operator is not stuck."""

    async def run(
        self,
        probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
        sink_runners: Sequence[SinkRunner],
    ) -> None:
        """Pick, and give every pick to every sink, until the end."""
        turns = Turns()
        while not isinstance(results := await probabilities.get(), End):
            if isinstance(results, Departed):
                self._forget(results.instruments)
            else:
                await self._deliver(results, sink_runners, turns)
                self.steps += 1
            del results
        for sink_runner in list(sink_runners):
            await sink_runner.put(End())

    async def _deliver(
        self, results: Sequence[Probabilities], sink_runners: Sequence[SinkRunner], turns: Turns
    ) -> None:
        picks: dict[int, list[Pick]] = {id(result.window): [] for result in results}
        for some in _one_of_each(results):
            for window, pick in await self._pick(some):
                picks[id(window)].append(pick)
            await turns.give_way()
        # In the order of the windows, however they were grouped.
        for pick in await self._store_new([pick for own in picks.values() for pick in own]):
            # A copy, because a reload may change the list.
            for sink_runner in list(sink_runners):
                await sink_runner.put(pick)
        for result in results:
            self._advance(result)
            if self.monitor is not None:
                self.monitor.followed(result.window, result.known)
            await turns.give_way()

    def reconfigure(self, config: Config) -> None:
        """Use other settings from now on."""
        self._config = config
        for instrument, picker in self._pickers.items():
            picker.reconfigure(self._settings_for(instrument))

    def views(self, instrument: Instrument) -> tuple[PhaseView, PhaseView] | None:
        """What the picker of an instrument has seen of P and S; None before its first window."""
        picker = self._pickers.get(instrument)
        return None if picker is None else picker.views

    def flush_log(self, everything: bool = False) -> None:
        """Write log lines that have waited for others of their kind."""
        self._grouped.flush(everything)

    def _forget(self, instruments: Collection[Instrument]) -> None:
        for instrument in instruments:
            self._pickers.pop(instrument, None)
        if self._progress is not None:
            # A silent instrument that stays in the station table goes on where it was.
            self._progress.forget([one for one in instruments if one not in self._station_table])

    def _settings_for(self, instrument: Instrument) -> PickerSettings:
        return picker_settings(self._config, self._engine, instrument, "early")

    async def _pick(self, results: Sequence[Probabilities]) -> list[tuple[Window, Pick]]:
        """Picks of windows of as many instruments."""
        return [(window, self._stamp(one, window)) for window, one in await self._pick_windows(results)]

    async def _store_new(self, picks: Sequence[Pick]) -> list[Pick]:
        """Store picks; gives those that are new. While the disk is full or gone everything waits, and the servers keep the data."""
        new = list(picks)
        if self._progress is not None and picks:
            failures = 0
            separation = self._settings_for(picks[0].channel.instrument).separation
            while True:
                try:
                    new = await self._progress.run_in_thread(self._progress.store, picks, separation)
                    break
                except StoreError as error:
                    if not failures:
                        self._log.error(
                            "store.failed", error=str(error), remedy="free the disk; picking waits"
                        )
                    failures += 1
                    self.steps += 1
                    self._metrics.store_errors.inc()
                    await asyncio.sleep(STORE_RETRY_S)
            if failures:
                self._log.info("store.recovered", failures=failures)
        for pick in new:
            count(pick, self._metrics)
            self._station_table.picked(pick)
            if self.monitor is not None:
                self.monitor.picked(pick)
        return new

    def _advance(self, result: Probabilities) -> None:
        """Note how far an instrument has been picked; windows of late components do not count."""
        window = result.window
        if self._progress is not None and window.revision == 0:
            self._progress.advance(window.instrument, window.stop * GRID_NS)

    async def _earlier_picks(self, window: Window) -> list[Pick]:
        """Picks of an earlier run, at the first window of an instrument; a gap between that run and this one is logged and counted."""
        if self._progress is None:
            return []
        start_ns = window.index * GRID_NS
        if missing_ns := await self._progress.run_in_thread(
            self._progress.begin, window.instrument, start_ns
        ):
            self._metrics.resume_gaps.inc()
            self._metrics.resume_gap_s.inc(missing_ns / NS_PER_S)
            self._grouped.tell(
                "warning",
                "resume.gap",
                window.instrument.text,
                instrument=window.instrument.text,
                from_time=iso_from_ns(start_ns - missing_ns),
                to_time=iso_from_ns(start_ns),
                gap_s=round(missing_ns / NS_PER_S, 3),
            )
        return await self._progress.run_in_thread(self._progress.known_since, window.instrument, start_ns)

    async def _pick_windows(self, results: Sequence[Probabilities]) -> list[tuple[Window, Pick]]:
        """Picks of overlapping windows: onsets that were noticed are confirmed in windows of their own, all in one call."""
        candidates = []
        for result in results:
            instrument = result.window.instrument
            picker = self._pickers.get(instrument)
            if picker is None:
                known = await self._earlier_picks(result.window)
                picker = self._pickers[instrument] = InstrumentPicker(self._settings_for(instrument), known)
            candidates += picker.notice(result)
        if not candidates:
            return []
        onsets = await asyncio.get_running_loop().run_in_executor(
            self._executor, compute_again, candidates, self._engine.annotate
        )
        picks = []
        for onset in onsets:
            window = onset.candidate.window
            pick = self._pickers[window.instrument].confirm(onset)
            if pick is None:
                self._metrics.undecided.inc()
            else:
                picks.append((window, pick))
        return picks

    def _stamp(self, pick: Pick, window: Window) -> Pick:
        """Add the time of emission and the parts of the latency; only in a live run."""
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


def count(pick: Pick, metrics: Metrics) -> None:
    """Count a new pick, or the withdrawal of an early one."""
    if pick.outcome == "withdrawn":
        metrics.withdrawn.labels(pick.phase).inc()
        return
    metrics.picks.labels(pick.phase, pick.stage).inc()
    if pick.latency is not None:
        metrics.pick_latency.labels(pick.phase, pick.stage).observe(pick.latency.total_s)
    if pick.moved_s is not None:
        metrics.revision.labels(pick.phase).observe(abs(pick.moved_s))


def _one_of_each(results: Sequence[Probabilities]) -> Iterator[list[Probabilities]]:
    """Windows in groups with at most one of each instrument, in order: what one decides counts for the next."""
    left = list(results)
    while left:
        first: dict[Instrument, Probabilities] = {}
        left = [one for one in left if first.setdefault(one.window.instrument, one) is not one]
        yield list(first.values())

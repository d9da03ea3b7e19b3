"""The stages of the pipeline: one coroutine for each arrow of the data flow.

::

    inbox -> assemble -> [windows] -> infer -> [probabilities] -> pick -> [picks of each sink] -> deliver

Every queue between them is bounded, and when one is full the stage before it waits, back to the sources' threads. Only
the queues of the sinks are different: see :class:`~xiaod.pipeline.sink_runner.SinkRunner`. The end of the data is an item,
:class:`~xiaod.acquisition.record_queue.End`, that each stage passes on after its own last item; there is no other orderly way to stop. A
stage that finds everything ready gives way after some milliseconds all the same, see :mod:`xiaod.process.loop_turns`.

>>> import asyncio
>>> from xiaod.acquisition.record_queue import End
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
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from xiaod.acquisition.record_queue import End, Inbox
from xiaod.config import Config
from xiaod.domain.timegrid import GRID_NS, NS_PER_S, iso_from_ns
from xiaod.domain.types import Clock, Departed, Instrument, Latency, Pick, Probabilities, Window
from xiaod.inference import Engine
from xiaod.picking.diagnosis import PhaseView
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.picking.stream_picker import StreamPicker
from xiaod.pipeline.assemble import STATION_LINES, STATION_PERIOD_S, Assembler
from xiaod.pipeline.inspect import Monitor
from xiaod.pipeline.settings import picker_settings
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.station_status import StationTable
from xiaod.process.log_grouping import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.loop_turns import Turns
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import StoreError
from xiaod.storage.progress import PickingProgress

STORE_RETRY_S = 1.0


async def assemble(
    inbox: Inbox,
    windows: "asyncio.Queue[Window | Departed | End]",
    assembler: Assembler,
    steady: Clock,
    left: Callable[[str], None],
) -> None:
    """Turn what the sources yield into windows, until each source has ended.

    Args:
        inbox: what the sources yield.
        windows: where windows go.
        assembler: makes them.
        steady: a clock that nobody sets.
        left: called with the name of a source of which everything has been taken.
    """
    turns = Turns()
    while not inbox.ended:
        for item in await inbox.take():
            if isinstance(item, End):
                inbox.detach()
                left(item.source)
                continue
            await _pass_on([assembler.take(item, steady())], windows, turns)
        await _pass_on(assembler.expire(), windows, turns)
        await _pass_on(assembler.depart(steady()), windows, turns)
    await _pass_on(assembler.finish(steady()), windows, turns)
    await windows.put(End())


async def _pass_on(
    pieces: Iterable[Sequence[Window | Departed]],
    windows: "asyncio.Queue[Window | Departed | End]",
    turns: Turns,
) -> None:
    """Pass windows on, and give way after each piece of the work that makes them."""
    for piece in pieces:
        for window in piece:
            await windows.put(window)
        await turns.give_way()


async def infer(
    windows: "asyncio.Queue[Window | Departed | End]",
    probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
    engine: Engine,
    executor: Executor,
    max_batch: int,
    metrics: Metrics,
) -> None:
    """Run the engine over all windows that are ready, of whatever stations, in the engine's thread."""
    loop = asyncio.get_running_loop()
    ended = False
    while not ended:
        batch, behind = await _batch(windows, max_batch)
        if batch:
            results = await loop.run_in_executor(executor, _annotate, engine, batch)
            metrics.batch.observe(len(batch))
            metrics.windows.inc(len(batch))
            metrics.inference.observe(results[0].inference_s * len(batch))
            await probabilities.put(results)
        if isinstance(behind, Departed):
            await loop.run_in_executor(executor, engine.forget, behind.instruments)
            await probabilities.put(behind)
        ended = isinstance(behind, End)
        # Who waits for the next windows holds none of these.
        batch, behind, results = [], None, []
    await probabilities.put(End())


async def _batch(
    windows: "asyncio.Queue[Window | Departed | End]", most: int
) -> tuple[list[Window], Departed | End | None]:
    """Windows that are ready, after waiting for the first, and what else follows them."""
    batch: list[Window] = []
    item = await windows.get()
    while True:
        if isinstance(item, Departed | End):
            return batch, item
        batch.append(item)
        if len(batch) >= most or windows.empty():
            return batch, None
        item = windows.get_nowait()


def _annotate(engine: Engine, batch: Sequence[Window]) -> list[Probabilities]:
    begun = time.perf_counter()
    results = engine.follow(batch)
    each_s = (time.perf_counter() - begun) / len(batch)
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
        """Who is shown what happens; None: nobody."""
        self._progress = progress
        self._log = get_logger("pick")
        self._said = GroupedLog(self._log, STATION_LINES, STATION_PERIOD_S)
        self._config = config
        self._engine = engine
        self._executor = executor
        self._metrics = metrics
        self._station_table = station_table
        self._clock = clock
        self._pickers: dict[Instrument, InstrumentPicker] = {}
        self._stream_pickers: dict[Instrument, StreamPicker] = {}
        self.steps = 0
        """Batches picked so far, and attempts to store picks on a disk that is full: who waits for the operator is not stuck."""

    async def run(
        self,
        probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
        sink_runners: Sequence[SinkRunner],
    ) -> None:
        """Hand every pick to every sink_runner, until the end."""
        turns = Turns()
        while not isinstance(results := await probabilities.get(), End):
            if isinstance(results, Departed):
                self._forget(results.instruments)
            else:
                await self._hand_on(results, sink_runners, turns)
                self.steps += 1
            del results
        for sink_runner in list(sink_runners):
            await sink_runner.put(End())

    async def _hand_on(
        self, results: Sequence[Probabilities], sink_runners: Sequence[SinkRunner], turns: Turns
    ) -> None:
        for result in results:
            for pick in await self._kept(await self._process(result)):
                # A copy: a reload may change the list meanwhile.
                for sink_runner in list(sink_runners):
                    await sink_runner.put(pick)
            self._advance(result)
            self._show(result.window)
            await turns.give_way()

    def reconfigure(self, config: Config) -> None:
        """Use other thresholds from now on."""
        self._config = config
        for pickers in (self._pickers, self._stream_pickers):
            for instrument, picker in pickers.items():
                picker.reconfigure(self._settings_for(instrument))

    def views(self, instrument: Instrument) -> tuple[PhaseView, PhaseView] | None:
        """What the picker of an instrument saw of P and S; None before its first window."""
        picker = self._picker(instrument)
        return None if picker is None else picker.views

    def flush_log(self, everything: bool = False) -> None:
        """Write the lines about stations that have waited for others of their kind."""
        self._said.flush(everything)

    def _forget(self, instruments: Collection[Instrument]) -> None:
        for instrument in instruments:
            self._pickers.pop(instrument, None)
            self._stream_pickers.pop(instrument, None)
        if self._progress is not None:
            # Where one that is only silent stands is known when it comes back.
            self._progress.forget([one for one in instruments if one not in self._station_table])

    def _settings_for(self, instrument: Instrument) -> PickerSettings:
        return picker_settings(self._config, self._engine, instrument)

    def _picker(self, instrument: Instrument) -> InstrumentPicker | StreamPicker | None:
        return (self._stream_pickers if self._engine.stateful else self._pickers).get(instrument)

    async def _process(self, result: Probabilities) -> list[Pick]:
        picked = self._picked if self._engine.stateful else self._looked_at_again
        found = await picked(result)
        return [self._stamp(pick, result.window) for pick in found]

    async def _kept(self, picks: Sequence[Pick]) -> list[Pick]:
        """Those that are new, stored; while the disk is full or gone everything waits, and the servers keep the data."""
        new = list(picks)
        if self._progress is not None and picks:
            failures = 0
            separation = self._settings_for(picks[0].channel.instrument).separation
            while True:
                try:
                    new = await self._progress.off_loop(self._progress.store, picks, separation)
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
            self._metrics.picks.labels(pick.phase).inc()
            if pick.latency is not None:
                self._metrics.pick_latency.labels(pick.phase).observe(pick.latency.total_s)
                self._station_table.picked(pick)
            if self.monitor is not None:
                self.monitor.picked(pick)
        return new

    def _show(self, window: Window) -> None:
        if self.monitor is not None and (picker := self._picker(window.instrument)) is not None:
            self.monitor.followed(window, picker.curve)

    def _advance(self, result: Probabilities) -> None:
        """Keep what has been picked for good: late components may still bring windows of what is newer."""
        window = result.window
        if self._progress is not None and window.revision == 0:
            self._progress.advance(window.instrument, window.stop * GRID_NS)

    async def _known(self, window: Window) -> list[Pick]:
        """Picks of an earlier run; what lies between that run and this one is said and counted."""
        if self._progress is None:
            return []
        start_ns = window.index * GRID_NS
        if missing_ns := await self._progress.off_loop(self._progress.begin, window.instrument, start_ns):
            self._metrics.resume_gaps.inc()
            self._metrics.resume_gap_s.inc(missing_ns / NS_PER_S)
            self._said.tell(
                "warning",
                "resume.gap",
                window.instrument.text,
                instrument=window.instrument.text,
                from_time=iso_from_ns(start_ns - missing_ns),
                to_time=iso_from_ns(start_ns),
                gap_s=round(missing_ns / NS_PER_S, 3),
            )
        return await self._progress.off_loop(self._progress.known_since, window.instrument, start_ns)

    async def _picked(self, result: Probabilities) -> list[Pick]:
        """Picks of a stream, whose probabilities are final."""
        instrument = result.window.instrument
        picker = self._stream_pickers.get(instrument)
        if picker is None:
            known = await self._known(result.window)
            # After it: a reload may change the settings meanwhile.
            picker = self._stream_pickers[instrument] = StreamPicker(self._settings_for(instrument), known)
        return picker.pick(result)

    async def _looked_at_again(self, result: Probabilities) -> list[Pick]:
        """Picks of overlapping windows: each onset that was noticed is looked at again."""
        instrument = result.window.instrument
        picker = self._pickers.get(instrument)
        if picker is None:
            known = await self._known(result.window)
            picker = self._pickers[instrument] = InstrumentPicker(self._settings_for(instrument), known)
        picks = []
        for candidate in picker.look(result):
            pick = await asyncio.get_running_loop().run_in_executor(
                self._executor, picker.decide, candidate, self._engine.annotate
            )
            if pick is None:
                self._metrics.undecided.inc()
            else:
                picks.append(pick)
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

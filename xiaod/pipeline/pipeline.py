"""The pipeline of stages, wired: the same for the daemon and for offline runs.

In: sources and sinks. Out: nothing; picks go to the sinks. What differs between live and offline is only the clock: live stages read the
host's time, offline ones have none.

>>> from xiaod.config import Config
>>> config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
>>> buffer_settings(config) == BufferSettings(length=2000, limits=TimeLimits.from_s(None, 60.0))
True
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.calibration import Calibration
from xiaod.acquisition import Source
from xiaod.acquisition.record_queue import Inbox, SourceBridge
from xiaod.config import Config
from xiaod.domain.timegrid import ns_from_s, samples_from_s
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Clock, Instrument
from xiaod.inference import Engine
from xiaod.picking.picker import SHIFTS, PickerSettings
from xiaod.pipeline.assemble import NONE_BEFORE, Assembler
from xiaod.pipeline.inspect import Monitor
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.stages import PickStage, assemble, depths, infer
from xiaod.pipeline.station_status import StationCollector, StationTable
from xiaod.process.metrics import Metrics, PacketCollector
from xiaod.sinks import Sink
from xiaod.storage.backlog import StoredBacklog
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress
from xiaod.waveform.buffer import BufferSettings
from xiaod.waveform.coverage import DataAccount

INBOX_BOUND = 4096
"""Records of a source that wait for the first stage: a minute of some 90 stations."""
INSTRUMENTS_EACH = 4
"""Instruments of a source for each station that it may have."""
WINDOWS_BOUND = 512
BATCHES_BOUND = 8
SINK_PART = 0.7
"""Of the time for an orderly stop, what a call of a sink may hang before it is given up, then and when the sink is removed."""


def buffer_settings(config: Config) -> BufferSettings:
    """Limits of the buffers from the configuration."""
    buffer, hop = config.buffer, samples_from_s(config.windows.hop_s)
    return BufferSettings(
        length=samples_from_s(config.windows.length_s),
        hop=hop,
        wait_ns=ns_from_s(buffer.max_component_wait_s),
        max_lead=samples_from_s(buffer.max_lead_s),
        history=hop + SHIFTS[-1] + 1,
        limits=TimeLimits.from_s(buffer.max_age_s, buffer.max_future_s),
    )


def picker_settings(config: Config, engine: Engine, instrument: Instrument) -> PickerSettings:
    """How picks are made at an instrument: the station's thresholds, or the configuration's, or the model's own."""
    station = config.picker.stations.get(instrument.station_text)
    spec = engine.spec

    def chosen(own: Mapping[str, float]) -> tuple[float, float]:
        given = (
            next(
                value
                for value in (getattr(station, key, None), getattr(config.picker, key), own[phase])
                if value is not None
            )
            for key, phase in (("threshold_p", "P"), ("threshold_s", "S"))
        )
        return next(given), next(given)

    return PickerSettings(
        thresholds=chosen(spec.thresholds),
        vertical_thresholds=chosen(spec.vertical_thresholds) if spec.vertical_thresholds else None,
        hop=samples_from_s(config.windows.hop_s),
        model=f"{spec.name}-{spec.version}",
        model_sha256=engine.sha256,
        lookahead=samples_from_s(config.picker.lookahead_s),
        settle=samples_from_s(config.picker.settle_s),
        separation=samples_from_s(config.picker.min_separation_s),
        calibration=Calibration.from_spec(spec.calibration),
        late=samples_from_s(config.buffer.max_lead_s),
    )


class Pipeline:
    """Sources, stages and sinks of one run."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        sources: Sequence[Source],
        sinks: Sequence[Sink],
        metrics: Metrics,
        clock: Clock,
        store: PickStore | None = None,
        progress: PickingProgress | None = None,
        shown: bool = False,
        letters: Mapping[Instrument, str] = NONE_BEFORE,
        account: DataAccount | None = None,
    ) -> None:
        """Wire everything; must be called inside the event loop that runs it.

        ``shown``: with a monitor for who looks. ``letters``, ``account``: see :class:`~xiaod.pipeline.assemble.Assembler`.
        """
        self.metrics = metrics
        self.station_table = StationTable(ns_from_s(config.http.stale_after_s))
        self._config = config
        self._engine = engine
        self._clock = clock
        self._store = store
        self._inbox = Inbox(INBOX_BOUND)
        self._bridges = {source.name: SourceBridge(source, self._inbox) for source in sources}
        self._windows: asyncio.Queue[Any] = asyncio.Queue(WINDOWS_BOUND)
        self._probabilities: asyncio.Queue[Any] = asyncio.Queue(BATCHES_BOUND)
        self.sink_runners = [
            self._sink_runner(sink, None if store is None else StoredBacklog(store, sink.name))
            for sink in sinks
        ]
        self._leaving: dict[str, Callable[[Instrument], bool] | None] = {}
        """Sources that have been removed, and of which something may still wait."""
        self._delivering: dict[str, asyncio.Task[None]] = {}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._stage = PickStage(
            lambda instrument: picker_settings(self._config, engine, instrument),
            engine,
            self._executor,
            metrics,
            self.station_table,
            clock,
            progress,
        )
        self.assembler = Assembler(
            buffer_settings(config),
            metrics,
            self.station_table,
            clock,
            letters,
            account,
            self._most_instruments,
        )
        if shown:
            self._stage.monitor = Monitor(
                self.station_table, self.assembler, self._stage.views, config.http.traces
            )
        for source in sources:
            metrics.expect_source(source.name)
        metrics.registry.register(StationCollector(self.station_table, lambda: clock() or 0))
        metrics.registry.register(PacketCollector(self._counts))
        for name, bound in (("windows", WINDOWS_BOUND), ("batches", BATCHES_BOUND)):
            metrics.queue_limit.labels(name).set(bound)
        spec = engine.spec
        metrics.model.info({"model": f"{spec.name}-{spec.version}", "sha256": engine.sha256})

    @property
    def monitor(self) -> Monitor | None:
        """What is shown to who looks; None when nothing is."""
        return self._stage.monitor

    def start(self, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
        """Start all tasks in a group; the task that is done when the last sink is closed."""
        self._group = group
        for bridge in self._bridges.values():
            self._start_bridge(bridge)
        group.create_task(
            assemble(self._inbox, self._windows, self.assembler, self._steady, self._left), name="assemble"
        )
        group.create_task(
            infer(
                self._windows,
                self._probabilities,
                self._engine,
                self._executor,
                self._config.engine.max_batch,
                self.metrics,
            ),
            name="infer",
        )
        picking = group.create_task(self._stage.run(self._probabilities, self.sink_runners), name="pick")
        for sink_runner in self.sink_runners:
            self._start_outlet(sink_runner)
        return group.create_task(self._finished(picking), name="finished")

    def stop_sources(self) -> None:
        """Ask all sources to end: the orderly way to stop, on which everything received is still picked."""
        for bridge in self._bridges.values():
            bridge.stop()
        for sink_runner in self.sink_runners:
            sink_runner.finish_within(SINK_PART * self._config.grace_s)

    def abandon(self) -> None:
        """Release the threads: sources that wait for room that no stage will make any more, and the engine's."""
        self._inbox.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.flush_log(everything=True)

    def hold(self) -> None:
        """Until :meth:`release`, go on even when no source is left."""
        self._inbox.attach()

    def release(self) -> None:
        """The opposite of :meth:`hold`."""
        self._inbox.detach()

    def add_source(self, source: Source) -> None:
        """One more source, while running."""
        if self._leaving.get(source.name) is None:
            # One of that name that had ended for good is back.
            self._leaving.pop(source.name, None)
        bridge = self._bridges[source.name] = SourceBridge(source, self._inbox)
        self.metrics.expect_source(source.name)
        self._start_bridge(bridge)

    async def remove_source(self, name: str, stays: Callable[[Instrument], bool] | None) -> None:
        """End a source, while running; what it has received is still picked.

        Args:
            name: of the source.
            stays: which of its stations another source of the same name goes on with; None: it does not come back.
        """
        self._leaving[name] = stays
        bridge = self._bridges.pop(name)
        bridge.stop()
        await bridge.join()
        self._forget(name, stays)

    def _left(self, name: str) -> None:
        """Everything of a source has been taken: what was still on its way has brought stations back to the station_table."""
        if name in self._leaving:
            stays = self._leaving.pop(name)
            self._forget(name, stays)
            self.assembler.leave(name, stays)

    def _forget(self, name: str, stays: Callable[[Instrument], bool] | None) -> None:
        self.station_table.forget(name, stays)
        if stays is None:
            self.metrics.forget_source(name)

    async def add_sink(self, sink: Sink) -> None:
        """One more sink, while running."""
        store = self._store
        backlog = None if store is None else await store.off_loop(StoredBacklog, store, sink.name)
        sink_runner = self._sink_runner(sink, backlog)
        self.sink_runners.append(sink_runner)
        self._start_outlet(sink_runner)

    async def remove_sink(self, name: str) -> None:
        """End a sink, while running; what it has not got stays in the store."""
        [sink_runner] = [sink_runner for sink_runner in self.sink_runners if sink_runner.name == name]
        self.sink_runners.remove(sink_runner)
        sink_runner.retire()
        sink_runner.finish_within(SINK_PART * self._config.grace_s)
        await self._delivering.pop(name)
        self.metrics.forget_sink(name)

    def reconfigure(self, config: Config) -> None:
        """Take over thresholds and other settings that can change while running."""
        self._config = config
        self.station_table.stale_after_ns = ns_from_s(config.http.stale_after_s)
        self._stage.reconfigure()

    def observe(self) -> None:
        """Bring the metrics of queues and memory up to date."""
        queues: dict[str, Inbox | asyncio.Queue[Any]] = {
            "inbox": self._inbox,
            "windows": self._windows,
            "batches": self._probabilities,
        }
        depths(queues, self.sink_runners, self.metrics)
        self.metrics.queue_limit.labels("inbox").set(INBOX_BOUND * len(self._bridges))
        self.metrics.held_bytes.set(self.assembler.held_bytes)

    def tidy(self) -> None:
        """Let go of what has been silent for long, and of traces of what has gone."""
        after_s = self._config.buffer.forget_after_s
        if after_s is not None and self.assembler.forget_silent(time.monotonic_ns(), ns_from_s(after_s)):
            self._inbox.wake()
        if self.monitor is not None:
            self.monitor.tidy()

    def flush_log(self, everything: bool = False) -> None:
        """Write the lines about stations that have waited for others of their kind."""
        self.assembler.flush_log(everything)
        self._stage.flush_log(everything)

    def work_done(self) -> int:
        """A number that grows as long as something is done: see :attr:`~xiaod.pipeline.stages.PickStage.steps`."""
        return self._stage.steps

    def pending(self) -> bool:
        """Whether anything waits to be worked on."""
        return bool(len(self._inbox) or not self._windows.empty() or not self._probabilities.empty())

    def _most_instruments(self, name: str) -> int | None:
        return next(
            (
                INSTRUMENTS_EACH * source.max_stations
                for source in self._config.sources
                if source.label == name
            ),
            None,
        )

    def _steady(self) -> int | None:
        """A clock that nobody sets; None in an offline run."""
        return None if self._clock() is None else time.monotonic_ns()

    def _sink_runner(self, sink: Sink, backlog: StoredBacklog | None) -> SinkRunner:
        self.metrics.expect_sink(sink.name)
        return SinkRunner(sink, self.metrics, self._clock, backlog)

    def _start_bridge(self, bridge: SourceBridge) -> None:
        bridge.start()
        self._group.create_task(bridge.join(), name=f"join.{bridge.name}")

    def _start_outlet(self, sink_runner: SinkRunner) -> None:
        self._delivering[sink_runner.name] = self._group.create_task(
            sink_runner.deliver(), name=f"deliver.{sink_runner.name}"
        )

    def _counts(self) -> dict[str, dict[str, int]]:
        return {name: bridge.counts() for name, bridge in list(self._bridges.items())}

    async def _finished(self, picking: "asyncio.Task[None]") -> None:
        await picking
        for task in list(self._delivering.values()):
            await task

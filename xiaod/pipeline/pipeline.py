"""The pipeline: sources, stages and sinks of one run, connected; the same for the daemon and for offline runs.

In: sources and sinks. Out: nothing; picks go to the sinks. Live and offline runs differ in the clock alone: stages of a :class:`LiveRun`
read the host's time, those of an :class:`OfflineRun` have none.

The daemon sees :class:`Pipeline` and none of its parts. It starts and stops the pipeline, applies a reload (:meth:`Pipeline.apply`),
calls :meth:`Pipeline.review` and :meth:`Pipeline.is_alive` once a second, and shows :meth:`Pipeline.links`, :meth:`Pipeline.stations`,
:meth:`Pipeline.backlogs` and :attr:`Pipeline.monitor`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from xiaod.acquisition import Source
from xiaod.acquisition.patterns import may_match
from xiaod.acquisition.record_queue import Inbox, SourceBridge
from xiaod.config import Config
from xiaod.config.diff import Reconfigurable, ReloadPlan
from xiaod.domain.onsets import PHASES
from xiaod.domain.sharding import Shard
from xiaod.domain.timegrid import ns_from_s
from xiaod.domain.types import Clock, Departed, Instrument
from xiaod.inference import Engine
from xiaod.inference.scout import Scout
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.events import Events
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.passing import Passing
from xiaod.pipeline.pick_stage import PickStage
from xiaod.pipeline.problems import Facts, Problem, problems_of
from xiaod.pipeline.queues import ResultQueue, WindowQueue
from xiaod.pipeline.rsam import Rsam
from xiaod.pipeline.settings import begun_anew, buffer_settings, cuttings, instrument_limits
from xiaod.pipeline.sink_runner import BOUND, SinkRunner
from xiaod.pipeline.snippets import Snippets
from xiaod.pipeline.stages import assemble, infer
from xiaod.pipeline.station_table import Change, StationCollector, StationTable
from xiaod.process.metrics import Metrics, PacketCollector, RsamCollector
from xiaod.sinks import Sink
from xiaod.storage.backlog import Backlog, PassingBacklog, StoredBacklog
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress
from xiaod.waveform.data_account import DataAccount

INBOX_BOUND = 4096
"""Records of a source that wait for the first stage: a minute of some 90 stations."""
GATHER_S = 0.1
"""How long the first record waits for others, in a live run, at most."""
WINDOW_BATCHES_BOUND = 32
"""Batches of windows that wait for the engine."""
BATCHES_BOUND = 8
"""Batches of probabilities that wait for the picker."""
SINK_PART = 0.7
"""Part of ``grace_s`` after which a call of a sink that hangs is given up, at a stop and when a reload removes the sink."""

Stays = Callable[[Instrument], bool] | None
"""Selects the instruments of a source that the source in its stead also has; None: there is none."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run in real time, with the clock of the host."""

    store: PickStore | None = None
    """Sinks get their picks from it; None: from memory."""
    progress: PickingProgress | None = None
    """How far earlier runs and this one have picked; None: it is not kept."""
    state_complaint: Callable[[], str] = lambda: ""
    """Gives why state cannot be kept; empty: it can."""


@dataclass(frozen=True, slots=True)
class OfflineRun:
    """A run without a clock, which ends with its data."""

    letters: Mapping[Instrument, str] = field(default_factory=dict)
    """Components that instruments have had before."""
    account: DataAccount | None = None
    """Takes notes on the data of each instrument."""


@dataclass(frozen=True, slots=True)
class StationCounts:
    """Instruments that are subscribed or have sent data."""

    known: int
    fresh: int
    """Those that have sent data and are not stale."""


class Pipeline:
    """Sources, stages and sinks of one run."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        sources: Sequence[Source],
        sinks: Sequence[Sink],
        metrics: Metrics,
        run: LiveRun | OfflineRun,
        scout: Scout | None = None,
    ) -> None:
        """Wire everything; must be called inside the event loop that runs it.

        ``scout`` is the net that notices onsets in streams; None: early windows are cut everywhere, if there are any.
        """
        live = run if isinstance(run, LiveRun) else None
        offline = run if isinstance(run, OfflineRun) else OfflineRun()
        self._metrics = metrics
        self._config = config
        self._engine, self._scout = engine, scout
        self._clock: Clock = time.time_ns if live else _no_clock
        self._monotonic_clock: Clock = time.monotonic_ns if live else _no_clock
        self._store = store = live.store if live else None
        self._progress = live.progress if live else None
        self._state_complaint = live.state_complaint if live else str
        self._begun_ns: int | None = None
        """Monotonic time of the beginning; None before it, and once instruments that have not come back were looked for."""
        self._inbox = Inbox(INBOX_BOUND, GATHER_S if live else 0.0)
        self._bridges = {source.name: SourceBridge(source, self._inbox) for source in sources}
        self._windows = WindowQueue(WINDOW_BATCHES_BOUND, overtaking=live is not None)
        self._probabilities = ResultQueue(BATCHES_BOUND, overtaking=live is not None)
        self._station_table = StationTable(ns_from_s(config.http.stale_after_s))
        self._sink_runners = [self._sink_runner(sink, _backlog_of(sink, store)) for sink in sinks]
        self._leaving: dict[str, Stays] = {}
        """Sources that have been removed, and whose last records may still wait."""
        self._delivering: dict[str, asyncio.Task[None]] = {}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._steps_reviewed = -1
        self._stage = PickStage(
            config,
            self._engine,
            self._executor,
            metrics,
            self._station_table,
            self._clock,
            self._progress,
        )
        self._assembler = Assembler(
            buffer_settings(config),
            metrics,
            self._station_table,
            self._clock,
            offline.letters,
            offline.account,
            instrument_limits(config),
            cuttings(config, None if self._scout is None else self._scout.spec),
        )
        self._assembler.begun_anew = begun_anew(config)
        self._passing = Passing(self._windows, self._assembler, self._monotonic_clock, self._inbox.wake)
        if live and config.http.enabled and config.http.page:
            self._passing.monitor = self._stage.monitor = Monitor(
                self._station_table,
                self._assembler,
                self._stage.views,
                config.http.traces,
                config.http.days,
            )
        self._snippets: Snippets | None = None
        if live and config.snippets.enabled:
            self._snippets = self._stage.snippets = Snippets(config, metrics)
            self._assembler.keep = self._snippets.take
        if live and config.rsam.enabled:
            self._stage.rsam = Rsam(config.rsam)
        if config.events.enabled:
            self._stage.events = Events(config, metrics, self._clock, store)
        self._expect(sources)

    def _expect(self, sources: Sequence[Source]) -> None:
        """Have every series of the metrics from the start."""
        metrics, spec = self._metrics, self._engine.spec
        for source in sources:
            metrics.expect_source(source.name)
        for phase in PHASES:
            metrics.expect_phase(phase)
        metrics.registry.register(StationCollector(self._station_table, lambda: self._clock() or 0))
        metrics.registry.register(RsamCollector(self._rsam))
        metrics.registry.register(PacketCollector(self._packets))
        for name, bound in (
            ("windows", WINDOW_BATCHES_BOUND * self._config.engine.max_batch),
            ("batches", BATCHES_BOUND),
        ):
            metrics.queue_limit.labels(name).set(bound)
        metrics.model.info({"model": spec.label, "sha256": self._engine.sha256})

    def _rsam(self) -> list[tuple[Instrument, int, float]]:
        """Mean amplitudes now; called from any thread."""
        return [] if self._stage.rsam is None else self._stage.rsam.shown(self._clock() or 0)

    @property
    def monitor(self) -> Monitor | None:
        """What the status page shows; None without a page."""
        return self._stage.monitor

    def start(self, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
        """Start all tasks in a group; gives the task that is done when the last sink is closed."""
        self._group = group
        self._begun_ns = time.monotonic_ns()
        for bridge in self._bridges.values():
            self._start_bridge(bridge)
        group.create_task(
            assemble(self._inbox, self._windows, self._assembler, self._passing, self._source_drained),
            name="assemble",
        )
        group.create_task(
            infer(
                self._windows,
                self._probabilities,
                self._engine,
                self._scout,
                self._executor,
                self._metrics,
                self._passing.noticed,
            ),
            name="infer",
        )
        picking = group.create_task(self._stage.run(self._probabilities, self._sink_runners), name="pick")
        for sink_runner in self._sink_runners:
            self._start_delivery(sink_runner)
        return group.create_task(self._finished(picking), name="finished")

    def stop_sources(self) -> None:
        """Ask all sources to end: a clean shutdown, in which everything that was received is still picked."""
        for bridge in self._bridges.values():
            bridge.stop()
        for sink_runner in self._sink_runners:
            sink_runner.finish_within(SINK_PART * self._config.grace_s)
        if self._snippets is not None:
            self._snippets.finish_within(SINK_PART * self._config.grace_s)

    def release_threads(self) -> None:
        """End threads that nothing ends any more: of sources that wait for room in the queue, and of the engine."""
        self._inbox.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._stage.events is not None:
            self._stage.events.close()
        self._flush_log(everything=True)

    async def apply(self, plan: ReloadPlan, sources: Sequence[Source], sinks: Iterable[Sink]) -> None:
        """Change what a reload changes, while everything else goes on.

        Args:
            plan: of the reload.
            sources: those that the plan starts, made and not run.
            sinks: those that the plan opens, made.
        """
        self._config = plan.config
        parts: tuple[Reconfigurable, ...] = (self._station_table, self._assembler, self._stage)
        for part in parts:
            part.reconfigure(plan.config)
        if self._snippets is not None:
            self._snippets.reconfigure(plan.config)
        await self._change_sources(plan, sources)
        for name in plan.sinks.stopped:
            await self._remove_sink(name)
        for sink in sinks:
            await self._add_sink(sink)

    def review(self) -> list[Change]:
        """Update what depends on time alone; call it once a second.

        Returns:
            instruments that have fallen silent or come back since the last call.
        """
        now_ns = time.monotonic_ns()
        changes = self._station_table.review(now_ns)
        self._flush_log()
        if self._snippets is not None:
            self._snippets.review()
        after_s = self._config.buffer.forget_after_s
        if after_s is not None:
            if self._assembler.forget_silent(now_ns, ns_from_s(after_s)):
                self._inbox.wake()
            if self._begun_ns is not None and now_ns - self._begun_ns > ns_from_s(after_s):
                self._begun_ns = None
                self._group.create_task(self._forget_absent(), name="absent")
        events = self._stage.events
        if events is not None and events.is_overdue and self.sources_running() and not self.pending():
            # Nothing comes that would have events made.
            self._group.create_task(self._probabilities.put(Departed(frozenset())), name="overdue")
        if self.monitor is not None:
            self.monitor.tidy()
        return changes

    def is_alive(self) -> bool:
        """Whether anything was done since the last call, or nothing waits: a timer alone would prove nothing."""
        before, self._steps_reviewed = self._steps_reviewed, self._stage.steps + self._passing.looks
        return self._steps_reviewed != before or not self.pending()

    def pending(self) -> bool:
        """Whether anything waits to be worked on."""
        return bool(len(self._inbox) or not self._windows.empty() or not self._probabilities.empty())

    def records_waiting(self) -> int:
        """Records that have been received and are not in windows yet."""
        return len(self._inbox)

    def sources_running(self) -> list[str]:
        """Sources that have not ended yet."""
        return [name for name, bridge in self._bridges.items() if not bridge.ended]

    def sinks_open(self) -> list[str]:
        """Sinks that are not closed yet."""
        return [name for name, task in self._delivering.items() if not task.done()]

    def links(self) -> dict[str, str]:
        """State of each source's link; ``starting`` until the source says one."""
        return {name: self._station_table.links.get(name, "starting") for name in self._bridges}

    def stations(self) -> StationCounts:
        """How many instruments there are, as of the last review."""
        return StationCounts(len(self._station_table), self._station_table.fresh())

    def stale_stations(self) -> list[str]:
        """Instruments that are silent, as of the last review."""
        return sorted(entry.instrument.text for entry in self._station_table if entry.stale)

    def problems(self) -> list[Problem]:
        """What is wrong now; stations are silent as of the last review."""
        entries = list(self._station_table)
        return problems_of(
            Facts(
                self.links(),
                self._station_table.failures,
                self._inbox.filled(),
                self._windows.waiting_s,
                {
                    entry.instrument.text: entry.latency_s
                    for entry in entries
                    if entry.latency_s is not None and not entry.stale
                },
                sum(entry.stale for entry in entries),
                {one.name: one.complaint for one in self._sink_runners if one.complaint},
                "" if self._snippets is None else self._snippets.complaint,
                self._stage.store_failure,
                self._state_complaint(),
            )
        )

    def backlogs(self) -> dict[str, int]:
        """Picks that wait for each sink."""
        return {sink_runner.name: len(sink_runner) for sink_runner in self._sink_runners}

    def update_metrics(self) -> None:
        """Bring the metrics of queues and memory up to date."""
        depth, metrics = self._metrics.queue_depth, self._metrics
        depth.labels("inbox").set(len(self._inbox))
        depth.labels("windows").set(self._windows.windows)
        depth.labels("batches").set(self._probabilities.qsize())
        for name, backlog in self.backlogs().items():
            metrics.sink_backlog.labels(name).set(backlog)
        metrics.queue_limit.labels("inbox").set(INBOX_BOUND * len(self._bridges))
        held = 0 if self._snippets is None else self._snippets.held_bytes
        metrics.held_bytes.set(self._assembler.held_bytes + held)

    async def _change_sources(self, plan: ReloadPlan, sources: Sequence[Source]) -> None:
        """Stop sources and start others; what the former have received is still picked."""
        streams = {source.label: source.streams for source in plan.config.sources}
        # One more, so that the run does not end while there is no source.
        self._inbox.attach()
        try:
            ending: list[tuple[SourceBridge, Stays]] = []
            for name in plan.sources.stopped:
                kept = streams.get(name)
                stays: Stays = None if kept is None else partial(may_match, patterns=kept)
                bridge, self._leaving[name] = self._bridges[name], stays
                bridge.stop()
                ending.append((bridge, stays))
            for bridge, stays in ending:
                await bridge.join()
                self._forget(bridge.name, stays)
                if stays is None:
                    del self._bridges[bridge.name]
            for source in sources:
                if self._leaving.get(source.name) is None:
                    # Removed by an earlier reload, and back before its last records were taken.
                    self._leaving.pop(source.name, None)
                bridge = self._bridges[source.name] = SourceBridge(source, self._inbox)
                self._metrics.expect_source(source.name)
                self._start_bridge(bridge)
        finally:
            # Also when a signal to stop has cancelled the reload.
            self._inbox.detach()

    async def _forget_absent(self) -> None:
        """Instruments of earlier runs that have not come back depart: their early picks wait for nothing.

        Not those that another shard has taken over, with their picks: it knows what becomes of them.
        """
        if self._progress is None:
            return
        shard = Shard(self._config.shard.index or 0, self._config.shard.count)
        known = await self._progress.run_in_thread(self._progress.instruments)
        absent = frozenset(
            one for one in known if one not in self._assembler and shard.holds(one.network, one.station)
        )
        if absent:
            await self._probabilities.put(Departed(absent))

    def _source_drained(self, name: str) -> None:
        """All items of a removed source have been taken; the last ones may have put stations back into the station table."""
        if name in self._leaving:
            stays = self._leaving.pop(name)
            self._forget(name, stays)
            self._assembler.leave(name, stays)

    def _forget(self, name: str, stays: Stays) -> None:
        self._station_table.forget(name, stays)
        if stays is None:
            self._metrics.forget_source(name)

    async def _add_sink(self, sink: Sink) -> None:
        store = self._store
        backlog = (
            _backlog_of(sink, None) if store is None else await store.run_in_thread(_backlog_of, sink, store)
        )
        sink_runner = self._sink_runner(sink, backlog)
        self._sink_runners.append(sink_runner)
        self._start_delivery(sink_runner)

    async def _remove_sink(self, name: str) -> None:
        """Close a sink; picks that it has not taken stay in the store."""
        [sink_runner] = [sink_runner for sink_runner in self._sink_runners if sink_runner.name == name]
        self._sink_runners.remove(sink_runner)
        sink_runner.retire()
        sink_runner.finish_within(SINK_PART * self._config.grace_s)
        await self._delivering.pop(name)
        self._metrics.forget_sink(name)

    def _flush_log(self, everything: bool = False) -> None:
        """Write the lines about stations that have waited for others of their kind."""
        self._assembler.flush_log(everything)
        self._stage.flush_log(everything)

    def _sink_runner(self, sink: Sink, backlog: Backlog | None) -> SinkRunner:
        self._metrics.expect_sink(sink.name)
        return SinkRunner(sink, self._metrics, self._clock, backlog, self._station_table.sending)

    def _start_bridge(self, bridge: SourceBridge) -> None:
        bridge.start()
        self._group.create_task(bridge.join(), name=f"join.{bridge.name}")

    def _start_delivery(self, sink_runner: SinkRunner) -> None:
        self._delivering[sink_runner.name] = self._group.create_task(
            sink_runner.deliver(), name=f"deliver.{sink_runner.name}"
        )

    def _packets(self) -> dict[str, dict[str, int]]:
        return {name: bridge.counts() for name, bridge in list(self._bridges.items())}

    async def _finished(self, picking: "asyncio.Task[None]") -> None:
        await picking
        if self._snippets is not None:
            self._snippets.finish()
        for task in list(self._delivering.values()):
            await task
        if self._snippets is not None:
            await self._snippets.written()


def _backlog_of(sink: Sink, store: PickStore | None) -> Backlog | None:
    """Where what is for a sink waits; None: in memory, and picking waits when that is full."""
    if sink.wanted == "rsam":
        return PassingBacklog(BOUND, store, sink.name)
    return None if store is None else StoredBacklog(store, sink.name, sink.stages, sink.wanted)


def _no_clock() -> None:
    """The clock of an offline run."""

"""The stage that makes picks of probabilities, stores them, and gives them to the sinks."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from xiaod.acquisition.record_queue import End
from xiaod.config import Config
from xiaod.domain.onsets import sample_of, settled, withdrawal
from xiaod.domain.resumption import is_elsewhere
from xiaod.domain.timegrid import BEFORE_ALL, GRID_NS, NS_PER_S, iso_from_ns
from xiaod.domain.types import (
    Channel,
    Clock,
    Delivered,
    Departed,
    Instrument,
    Latency,
    Pick,
    Probabilities,
    Stage,
    Window,
)
from xiaod.inference import Engine
from xiaod.picking.diagnosis import PhaseView
from xiaod.picking.ground_motion import GroundMotions
from xiaod.picking.picker import InstrumentPicker, PickerSettings, compute_again
from xiaod.pipeline.events import Events
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.record_reports import STATION_LINES, STATION_PERIOD_S
from xiaod.pipeline.rsam import Rsam
from xiaod.pipeline.settings import picker_settings, separation_samples
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.snippets import Snippets
from xiaod.pipeline.station_table import StationTable
from xiaod.process.grouped_log import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.loop_turns import Turns
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import StoreError
from xiaod.storage.progress import PickingProgress

STORE_RETRY_S = 1.0
WITHDRAWN_AT_ONCE = 50
"""Early picks that are withdrawn before other tasks get their turn."""

Stored = TypeVar("Stored")


@dataclass(slots=True)
class _Pickers:
    """The pickers of one instrument."""

    final: InstrumentPicker
    early: InstrumentPicker
    undecided: list[Pick]
    """Early picks that no final one has followed yet."""
    newest: int = BEFORE_ALL
    """Grid index of the last window of final picks."""


class PickStage:
    """Probabilities become picks: two pickers for each instrument, one of each stage.

    The final ones do not depend on the early ones. The final pick of the same onset *confirms* or *revises* an early pick; without one it
    is *withdrawn* when the final picker has passed it.
    """

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
        self.snippets: Snippets | None = None
        """Keeps the waveforms around final picks; None: nobody does."""
        self.rsam: Rsam | None = None
        """Measures mean amplitudes; None: nobody does."""
        self.events: Events | None = None
        """Makes events of picks; None: nobody does."""
        self._associating: asyncio.Task[None] | None = None
        """The association that runs beside picking; None: none was begun."""
        self._progress = progress
        self._log = get_logger("pick")
        self._grouped = GroupedLog(self._log, STATION_LINES, STATION_PERIOD_S)
        self._config = config
        self._engine = engine
        self._executor = executor
        self._metrics = metrics
        self._station_table = station_table
        self._clock = clock
        self._motions = self._motions_of(config)
        self._pickers: dict[Instrument, _Pickers] = {}
        self.store_failure = ""
        """Why picks cannot be stored; empty: they can."""
        self.steps = 0
        """Batches picked so far, and attempts to store picks on a full disk: a run that waits for the operator is not stuck."""

    async def run(
        self,
        probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
        sink_runners: Sequence[SinkRunner],
    ) -> None:
        """Pick, and give every pick to every sink, until the end."""
        turns = Turns()
        if self.events is not None:
            await self._persistently(self.events.resume)
            await self._associate(sink_runners)
        while not isinstance(results := await probabilities.get(), End):
            if isinstance(results, Departed):
                await self._depart(results.instruments, sink_runners)
            else:
                await self._pick(results, sink_runners, turns)
                self.steps += 1
            del results
        if self._clock() is None:
            # Data have ended; those of a live run go on in the next one.
            await self._withdraw(list(self._pickers), sink_runners)
            await self._associate(sink_runners, everything=True)
        elif self._associating is not None:
            # The sinks take what it makes before they end.
            await self._associating
        for sink_runner in list(sink_runners):
            await sink_runner.put(End())

    async def _pick(
        self, results: Sequence[Probabilities], sink_runners: Sequence[SinkRunner], turns: Turns
    ) -> None:
        picks: dict[int, list[Pick]] = {id(result.window): [] for result in results}
        for some in _one_of_each(results):
            for window, pick in await self._pick_windows(some):
                picks[id(window)].append(self._stamp(pick, window))
            await turns.give_way()
        named: list[Pick] = []
        for result in results:
            named += self._settle(result.window, picks[id(result.window)])
        # In the order of the windows, however they were grouped.
        new = await self._deliver([pick for own in picks.values() for pick in own], sink_runners)
        told = {pick.early_id for pick in new}
        # One that only a final pick names which the store knows already is still to be withdrawn.
        unnamed = [early for early in named if early.id not in told]
        for early in (*unnamed, *(pick for pick in new if pick.stage == "early")):
            self._pickers[early.channel.instrument].undecided.append(early)
        for result in results:
            self._advance(result)
            if self.snippets is not None:
                self.snippets.followed(result.window)
            if self.events is not None:
                self.events.followed(result.window)
            if self.monitor is not None:
                self.monitor.followed(result.window, result.known, result.window.stage)
            if turns.are_over:
                await turns.give_way()
        await self._measure([result.window for result in results], sink_runners)
        await self._associate(sink_runners)

    async def _measure(self, windows: Sequence[Window], sink_runners: Sequence[SinkRunner]) -> None:
        """Take amplitudes of windows that have been picked."""
        if self.monitor is not None:
            self.monitor.envelopes.take(windows)
        if self.rsam is not None:
            await _put_all(self.rsam.take(windows), sink_runners)

    async def _deliver(self, picks: Sequence[Pick], sink_runners: Sequence[SinkRunner]) -> list[Pick]:
        """Store picks and give them to the sinks; those that are new."""
        new = await self._store_new(picks)
        await _put_all(new, sink_runners)
        if self.events is not None:
            self.events.take(new)
        return new

    async def _associate(self, sink_runners: Sequence[SinkRunner], everything: bool = False) -> None:
        """Have events made that follow from the picks; ``everything``: no more picks will come."""
        if self.events is None:
            return
        if self._associating is not None and (everything or self._associating.done()):
            # It raises what has failed in it.
            await self._associating
            self._associating = None
        if everything or not self.events.in_thread or self._clock() is None:
            await self._make_events(self.events, sink_runners, everything)
        elif self._associating is None:
            # Picks do not wait for it.
            self._associating = asyncio.create_task(
                self._make_events(self.events, sink_runners), name="associate"
            )

    async def _make_events(
        self, made_by: Events, sink_runners: Sequence[SinkRunner], everything: bool = False
    ) -> None:
        """Store events that follow from the picks, and give them to the sinks."""
        if not (events := await made_by.updated(everything)):
            return
        if (store := made_by.store) is not None:
            events = await self._persistently(partial(store.run_in_thread, store.add_events, events))
        made_by.made(events)
        await _put_all(events, sink_runners)

    def reconfigure(self, config: Config) -> None:
        """Use other settings from now on."""
        self._config = config
        self._motions = self._motions_of(config)
        if self.events is not None:
            self.events.reconfigure(config)
        for instrument, pickers in self._pickers.items():
            pickers.final.reconfigure(self._settings_for(instrument, "final"))
            pickers.early.reconfigure(self._settings_for(instrument, "early"))

    def views(self, instrument: Instrument) -> tuple[PhaseView, PhaseView] | None:
        """What the final picker of an instrument has seen of P and S; None before its first window."""
        pickers = self._pickers.get(instrument)
        return None if pickers is None else pickers.final.views

    def flush_log(self, everything: bool = False) -> None:
        """Write log lines that have waited for others of their kind."""
        self._grouped.flush(everything)

    async def _depart(self, instruments: Collection[Instrument], sink_runners: Sequence[SinkRunner]) -> None:
        """Instruments have gone."""
        await self._withdraw(instruments, sink_runners)
        await self._associate(sink_runners)
        if self.snippets is not None:
            self.snippets.depart(instruments)
        if self.rsam is not None:
            await _put_all(self.rsam.forget(instruments), sink_runners)
        if self._progress is not None:
            # A silent instrument that stays in the station table goes on where it was.
            self._progress.forget([one for one in instruments if one not in self._station_table])

    async def _withdraw(
        self, instruments: Collection[Instrument], sink_runners: Sequence[SinkRunner]
    ) -> None:
        """No more data will come: early picks without a final one are withdrawn, and the pickers forgotten."""
        gone = []
        for instrument in instruments:
            pickers = self._pickers.pop(instrument, None)
            # One without a window in this run may have left some in an earlier one.
            gone += await self._unresolved(instrument) if pickers is None else pickers.undecided
        turns = Turns()
        for begin in range(0, len(gone), WITHDRAWN_AT_ONCE):
            some = gone[begin : begin + WITHDRAWN_AT_ONCE]
            await self._deliver([self._emitted(withdrawal(pick)) for pick in some], sink_runners)
            await turns.give_way()

    async def _unresolved(self, instrument: Instrument) -> list[Pick]:
        """Early picks of an instrument of which no earlier run has said what became of them."""
        if self._progress is None:
            return []
        return await self._progress.run_in_thread(self._progress.unresolved, instrument)

    def _settings_for(self, instrument: Instrument, stage: Stage) -> PickerSettings:
        return picker_settings(self._config, self._engine, instrument, stage)

    def _settle(self, window: Window, picks: list[Pick]) -> list[Pick]:
        """Say in final picks how early ones turned out, and withdraw those that have been passed; drop early ones that come after.

        Returns:
            the early picks that the final ones name.
        """
        pickers, named = self._pickers[window.instrument], []
        if window.stage == "early":
            # One that the final picker has made already is no news.
            picks[:] = [pick for pick in picks if not pickers.final.holds(pick)]
            return []
        separation = separation_samples(self._config)
        for number, pick in enumerate(picks):
            index = sample_of(pick)
            same = [
                early
                for early in pickers.undecided
                if early.phase == pick.phase and abs(sample_of(early) - index) < separation
            ]
            if same:
                early = min(same, key=lambda one: abs(sample_of(one) - index))
                pickers.undecided.remove(early)
                picks[number] = settled(pick, early)
                named.append(early)
        if window.revision == 0:
            set_back, pickers.newest = window.index < pickers.newest, window.index
            passed = pickers.final.searched_until(window) - separation
            gone = [
                early
                for early in pickers.undecided
                # Of data before a clock was set back, and of other recordings: it may be long until their time comes again.
                if sample_of(early) < passed
                or (set_back and sample_of(early) >= window.stop)
                or is_elsewhere(window.stop * GRID_NS, early.time_ns)
            ]
            pickers.undecided = [early for early in pickers.undecided if early not in gone]
            picks += [self._emitted(withdrawal(early)) for early in gone]
        return named

    def _emitted(self, pick: Pick) -> Pick:
        """With the time at which it is made, in a live run."""
        return replace(pick, created_ns=self._clock())

    async def _store_new(self, picks: Sequence[Pick]) -> list[Pick]:
        """Store picks; gives those that are new. While the disk is full or gone everything waits, and the servers keep the data."""
        new = list(picks)
        if self._progress is not None and picks:
            separation = separation_samples(self._config)
            progress = self._progress
            new = await self._persistently(partial(progress.run_in_thread, progress.store, picks, separation))
        for pick in new:
            count(pick, self._metrics)
            self._station_table.picked(pick)
            if self.monitor is not None:
                self.monitor.picked(pick)
            if self.snippets is not None:
                self.snippets.picked(pick)
        return new

    async def _persistently(self, work: Callable[[], Awaitable[Stored]]) -> Stored:
        """Use the store; while it cannot be used everything waits."""
        failures = 0
        while True:
            try:
                done = await work()
                break
            except StoreError as error:
                if not failures:
                    self._log.error("store.failed", error=str(error), remedy="free the disk; picking waits")
                failures += 1
                self.store_failure = str(error)
                self.steps += 1
                self._metrics.store_errors.inc()
                await asyncio.sleep(STORE_RETRY_S)
        if failures:
            self.store_failure = ""
            self._log.info("store.recovered", failures=failures)
        return done

    def _advance(self, result: Probabilities) -> None:
        """Note how far an instrument has been picked; windows of late components do not count."""
        window = result.window
        if self._progress is not None and window.revision == 0 and window.stage == "final":
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

    async def _pickers_of(self, window: Window) -> _Pickers:
        """The pickers of an instrument; at its first window they get the picks of an earlier run."""
        instrument = window.instrument
        if (pickers := self._pickers.get(instrument)) is None:
            known = await self._earlier_picks(window)
            if self.snippets is not None:
                self.snippets.resumed(known)
            undecided = await self._unresolved(instrument)
            # Settings after the await: a reload may have changed them.
            pickers = self._pickers[instrument] = _Pickers(
                self._picker(instrument, "final", known),
                self._picker(instrument, "early", known),
                undecided,
            )
        return pickers

    def _picker(self, instrument: Instrument, stage: Stage, known: Sequence[Pick]) -> InstrumentPicker:
        return InstrumentPicker(
            self._settings_for(instrument, stage), [one for one in known if one.stage == stage]
        )

    async def _pick_windows(self, results: Sequence[Probabilities]) -> list[tuple[Window, Pick]]:
        """Picks of as many windows: onsets that were noticed are confirmed in windows of their own, all in one call."""
        candidates = []
        for result in results:
            pickers = await self._pickers_of(result.window)
            picker = pickers.final if result.window.stage == "final" else pickers.early
            candidates += picker.notice(result)
        if not candidates:
            return []
        onsets = await asyncio.get_running_loop().run_in_executor(
            self._executor,
            compute_again,
            candidates,
            self._engine.annotate,
            self._engine.annotate_end,
        )
        confirmed = []
        for onset in onsets:
            window = onset.candidate.window
            pickers = self._pickers[window.instrument]
            pick = (pickers.final if window.stage == "final" else pickers.early).confirm(onset)
            if pick is None:
                self._metrics.undecided.inc()
            else:
                confirmed.append((onset, pick))
        picks = [pick for _, pick in confirmed]
        if self._motions is not None and any(pick.stage == "final" for pick in picks):
            # In the thread of the engine: a response takes milliseconds when it is needed first.
            picks = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._motions.measured, confirmed
            )
        return [(onset.candidate.window, pick) for (onset, _), pick in zip(confirmed, picks, strict=True)]

    def _motions_of(self, config: Config) -> GroundMotions | None:
        """Measures the motion of the ground; None where no response is known."""
        return GroundMotions(config.stations, self._unusable) if config.stations.have_responses else None

    def _unusable(self, channel: Channel, why: str) -> None:
        self._log.error(
            "response.unusable",
            channel=str(channel),
            error=why,
            consequence="its picks have no velocity_m_s and no wood_anderson_mm",
            remedy="correct its response in stations_file, and reload",
        )

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
        snippet = None if self.snippets is None or pick.stage != "final" else self.snippets.path_of(pick)
        return replace(pick, created_ns=now_ns, latency=latency, snippet=snippet)


def count(pick: Pick, metrics: Metrics) -> None:
    """Count a new pick, or the withdrawal of an early one."""
    if pick.stage == "withdrawn":
        metrics.withdrawn.labels(pick.phase).inc()
        return
    metrics.picks.labels(pick.phase, pick.stage).inc()
    if pick.latency is not None:
        metrics.pick_latency.labels(pick.phase, pick.stage).observe(pick.latency.total_s)
    if pick.moved_s is not None:
        metrics.revision.labels(pick.phase).observe(abs(pick.moved_s))


async def _put_all(items: Iterable[Delivered], sink_runners: Sequence[SinkRunner]) -> None:
    """Give each to every sink that takes it."""
    for item in items:
        # A copy, because a reload may change the list.
        for sink_runner in list(sink_runners):
            await sink_runner.put(item)


def _one_of_each(results: Sequence[Probabilities]) -> list[list[Probabilities]]:
    """Windows in groups with at most one of each instrument, in order: what one decides counts for the next."""
    groups: list[list[Probabilities]] = []
    seen: dict[Instrument, int] = {}
    for one in results:
        instrument = one.window.instrument
        number = seen[instrument] = seen.get(instrument, -1) + 1
        if number == len(groups):
            groups.append([])
        groups[number].append(one)
    return groups

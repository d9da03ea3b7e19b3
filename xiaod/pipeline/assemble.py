"""Records become batches of windows: channels and schedules of each instrument, with metrics, log lines and station table.

Windows of final picks are cut everywhere. Those of early picks are cut everywhere too, or only where a net that follows the stream has
noticed something (:meth:`Assembler.noticed`); that net gets the new samples of each stream.

This is the synchronous part of the first stage. Waits are counted in delivery time: monotonic time, as long as the source of an instrument
delivers (:mod:`xiaod.waveform.delivery_clock`). Latencies are counted by the host's clock. So setting the host's clock changes no wait. The
monotonic time is an argument (``now_ns``), None in an offline run.

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> assembler = Assembler(BufferSettings(length=1000), Metrics(), StationTable(60_000_000_000), lambda: None)
>>> segment = Segment(Channel("XX", "A", "", "HHZ"), 0, 100.0, np.ones(1000, np.int32), source="files")
>>> assembler.take(segment, None)
>>> for _ in assembler.finish():
...     pass
>>> [window.components for batch in assembler.final.take(everything=True) for window in batch.windows]
['Z--']
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush, heapreplace
from types import MappingProxyType
from zlib import crc32

from xiaod.config import Config
from xiaod.domain.resumption import is_abandoned
from xiaod.domain.timegrid import BEFORE_ALL, GRID_RATE_HZ, NS_PER_S, samples_from_s
from xiaod.domain.types import (
    BadRecord,
    Clock,
    Departed,
    Instrument,
    Notice,
    Segment,
    SourceItem,
    Window,
)
from xiaod.picking.diagnosis import Condition
from xiaod.pipeline.record_reports import LOGGED_OUTCOMES, RecordReports
from xiaod.pipeline.settings import ahead_samples, begun_anew, instrument_limits, read_samples
from xiaod.pipeline.station_table import StationEntry, StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.awake import Awake
from xiaod.waveform.batches import Batches, Streams
from xiaod.waveform.channel import Gap, RecordOutcome
from xiaod.waveform.data_account import DataAccount
from xiaod.waveform.delivery_clock import DeliveryClock
from xiaod.waveform.instrument import ADVANCING, BufferSettings, InstrumentChannels, Needed
from xiaod.waveform.schedule import FOREVER_NS, Cutting, Cuttings, WindowSchedule

NONE_BEFORE: Mapping[Instrument, str] = MappingProxyType({})
NO_LIMITS: Mapping[str, int] = MappingProxyType({})

CHECK_NS = NS_PER_S // 10
"""How often the waits of all instruments are checked, in delivery time of their source."""

STREAM_BATCH = 128
"""Streams of which new samples are given to a net in one call."""
AWAKE = samples_from_s(2.0)
"""For how long early windows are cut after something was noticed."""
STALE = 64
"""So many waits that have ended may be held, besides some for each instrument."""
NOT_KNOWN = Needed(BEFORE_ALL, BEFORE_ALL)
"""What the next windows need, before a look at the data."""


@dataclass(slots=True)
class _Parts:
    """Channels of an instrument, the schedules of its windows, and what is known of its records."""

    channels: InstrumentChannels
    final: WindowSchedule
    early: WindowSchedule | None = None
    stream: WindowSchedule | None = None
    awake: Awake | None = None
    unseen: int = 0
    """Samples that were cut for a net that follows streams, and that it has not looked at yet, about."""
    schedules: tuple[WindowSchedule, ...] = ()
    """All of them."""
    sources: set[str] = field(default_factory=set)
    """Names of the sources that bring it."""
    fed_by: str | None = None
    """Source of the last record; None in an offline run."""
    offset_ns: int = 0
    """What to add to the delivery time of that source: that of an instrument never goes back."""
    deadline_ns: int = FOREVER_NS
    """Delivery time at which its wait is over."""
    due: Needed = NOT_KNOWN
    """What the next windows need: the oldest sample of any, and where the first one ends. See :attr:`WindowSchedule.due`."""
    resets: int = 0
    """Those of the channels when that was found out."""
    touched_ns: int | None = None
    """Monotonic time of the last record; None in an offline run."""
    outcome: RecordOutcome | None = None
    """Of the last record."""


class Assembler:
    """Channels and window schedules of all instruments."""

    def __init__(
        self,
        settings: BufferSettings,
        metrics: Metrics,
        station_table: StationTable,
        clock: Clock,
        letters: Mapping[Instrument, str] = NONE_BEFORE,
        account: DataAccount | None = None,
        most: Mapping[str, int] = NO_LIMITS,
        cuttings: Cuttings | None = None,
    ) -> None:
        """Begin.

        Args:
            settings: limits of the buffers.
            metrics: where records are counted.
            station_table: the state of every instrument, which is updated here.
            clock: the host's.
            letters: components that instruments have sent before.
            account: of the data of each instrument, in a run that ends.
            most: limit of instruments of each source, by its name; a source that is not in it has none.
            cuttings: of the stages; None: final windows alone.
        """
        if cuttings is None:
            cuttings = Cuttings(Cutting(settings.length, settings.hop, settings.history))
        final, early = cuttings.final, cuttings.early or cuttings.final
        self.final = Batches(final.history, final.length, cuttings.max_batch, final.read)
        """Where windows of final picks go."""
        self.early = Batches(early.history, early.length, cuttings.max_batch, early.read)
        """Where windows of early picks go."""
        self.streams = Streams(STREAM_BATCH)
        """Where new samples go, for a net that follows them."""
        self.behind = False
        """Whether that net has much of a stream to look at. Early windows wait for it, and rings do not hold their samples for ever:
        pass on its samples, wait until it has looked at them, and set this back."""
        self.keep: Callable[[Segment], None] = _keep_nothing
        """Gets the records whose samples are used, as they came."""
        self.begun_anew: frozenset[str] = frozenset()
        """Names of the sources with which the next run begins at new data."""
        # Rings have room for this besides a window, a record, and what a component lags.
        self._most_unseen = settings.length + settings.max_lead
        self._cuttings = cuttings
        self._rings = settings.rings()
        self._account = account
        self._letters = letters
        self._most = most
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._station_table = station_table
        self._instruments: dict[Instrument, _Parts] = {}
        self._clocks: dict[str, DeliveryClock] = {}
        """Of each source."""
        self._deadlines: dict[str, list[tuple[int, Instrument]]] = {}
        """Heap of each source: delivery time of the source at which a wait is over, and whose. Waits that have ended otherwise are left in
        it, and passed over."""
        self._checked_ns: dict[str, int] = {}
        """Delivery time of each source at which waits were checked last."""
        self._brought: Counter[str] = Counter()
        """Number of instruments of a source."""
        self._unfinished: dict[Instrument, None] = {}
        """Instruments of which more early windows are due, in order."""
        self._departing: set[Instrument] = set()
        self._reports = RecordReports(metrics, station_table, account)

    def reconfigure(self, config: Config) -> None:
        """Use other limits from now on."""
        self._most = instrument_limits(config)
        self.begun_anew = begun_anew(config)
        self.final.read = read_samples(config, "final")
        self.early.read = read_samples(config, "early")
        ahead = ahead_samples(config)
        self._cuttings = replace(self._cuttings, ahead=ahead)
        for parts in self._instruments.values():
            if parts.awake is not None:
                parts.awake.ahead = ahead

    def take(self, item: SourceItem, now_ns: int | None) -> None:
        """Take an item of a source; the windows that became ready go into the batches."""
        if isinstance(item, Segment):
            self._segment(item, now_ns)
        elif isinstance(item, BadRecord):
            self._reports.bad_record(item)
        else:
            self._reports.link_change(item, now_ns or 0)

    @property
    def full(self) -> bool:
        """Whether a batch is full."""
        return bool(self.final.filled or self.streams.filled or self.early.filled)

    def expire(self) -> Iterator[None]:
        """Cut windows of instruments whose wait for a slower component or a missing record is over; to be called from time to time.

        Here and below, each step is one of an instrument or a window, so that the caller can yield to other tasks in between.
        """
        late_ns = {
            source: clock.time_ns
            for source, clock in self._clocks.items()
            if clock.time_ns - self._checked_ns.get(source, 0) >= CHECK_NS
        }
        if not late_ns:
            return
        self._checked_ns |= late_ns
        due: dict[Instrument, _Parts] = {}
        for source, time_ns in late_ns.items():
            deadlines = self._deadlines.get(source, [])
            while deadlines and deadlines[0][0] <= time_ns:
                _, instrument = heappop(deadlines)
                parts = self._instruments.get(instrument)
                if (
                    parts is not None
                    and parts.fed_by == source
                    and parts.deadline_ns <= time_ns + parts.offset_ns
                ):
                    due[instrument] = parts
        for instrument, parts in due.items():
            self._cut(parts, self._delivery_ns(parts))
            self._reports.contradictions(instrument, parts.channels.contradictions)
            yield

    def finish(self, instruments: Iterable[Instrument] | None = None) -> Iterator[None]:
        """Cut all windows that are left at the end of the data of instruments, about in order of time; None: of all."""
        ended = self._instruments if instruments is None else instruments
        return self._last([(instrument, self._instruments[instrument]) for instrument in ended])

    def finish_streams(self, instruments: Iterable[Instrument] | None = None) -> Iterator[None]:
        """At the end, the last samples for a net that follows streams; early windows wait for what it notices.

        Call :meth:`finish` then, or :meth:`depart` with the same instruments; None: all.
        """
        for instrument in self._instruments if instruments is None else instruments:
            parts = self._instruments[instrument]
            if parts.stream is not None:
                self._release_rest(parts)
                for _ in parts.stream.cut(None, self._clock(), self.streams, final=True):
                    yield

    def noticed(self, notice: Notice, first_alone: bool = False) -> None:
        """Cut the early windows of an instrument where a net has noticed something.

        Args:
            notice: what it has noticed.
            first_alone: whether others are in a hurry too: the first window is cut now, which shows the P, and the rest by
                :meth:`cut_rest`, or with the next record.
        """
        parts = self._instruments.get(notice.instrument)
        if parts is None or parts.awake is None or parts.stream is None:
            return
        if notice.looked_until > parts.stream.position + parts.stream.cutting.length:
            # Of data that came before a clock was set back, or before the instrument departed.
            return
        parts.awake.note(notice.looked_until, notice.spans)
        parts.unseen = max(0, parts.stream.position - notice.looked_until)
        if not parts.awake:
            # As nearly always.
            return
        if not first_alone:
            self._cut_noticed(parts)
        elif notice.instrument not in self._unfinished:
            self._unfinished[notice.instrument] = None
            self._cut_noticed(parts, first_alone=True)

    @property
    def unfinished(self) -> bool:
        """Whether there is anything for :meth:`cut_rest`."""
        return bool(self._unfinished)

    def cut_rest(self) -> Iterator[None]:
        """Cut the early windows of which :meth:`noticed` has cut the first alone."""
        instruments, self._unfinished = self._unfinished, {}
        for instrument in instruments:
            # It may have departed.
            if (parts := self._instruments.get(instrument)) is not None:
                self._cut_noticed(parts)
            yield

    def _cut_noticed(self, parts: _Parts, first_alone: bool = False) -> None:
        delivery_ns = self._delivery_ns(parts)
        self._cut_early(parts, delivery_ns, first_alone)
        if delivery_ns is not None:
            # It may wait for a component that lags, of a station that sends nothing more, as other windows do already.
            self._wait(parts, min(parts.deadline_ns, self._deadline_ns(parts)))
        parts.due = _due(parts)

    def leave(self, source: str, stays: Callable[[Instrument], bool] | None = None) -> None:
        """A source has ended: instruments without another source depart.

        Args:
            source: its name.
            stays: instruments with which another source of the same name goes on; None: none.
        """
        for instrument, parts in self._instruments.items():
            if source in parts.sources and (stays is None or not stays(instrument)):
                parts.sources.remove(source)
                self._brought[source] -= 1
                if not parts.sources:
                    self._departing.add(instrument)

    def forget_silent(self, now_ns: int, after_ns: int) -> bool:
        """Instruments that have been silent for ``after_ns`` depart; those that no source expects leave the station table too.

        Returns:
            whether there are any.
        """
        silent = [
            instrument
            for instrument, parts in self._instruments.items()
            if parts.touched_ns is not None and parts.touched_ns < now_ns - after_ns
        ]
        self._departing.update(silent)
        for instrument in self._station_table.drop(silent):
            self._reports.forgotten(instrument)
        return bool(silent)

    @property
    def ended(self) -> list[Instrument]:
        """Instruments of which the next run reads no data again.

        Those of sources with which it begins at new data, and those that have been silent for so long, while others of their source sent,
        that they hold back no position.
        """
        newest_ns: dict[str | None, int] = {}
        for parts in self._instruments.values():
            newest_ns[parts.fed_by] = max(parts.touched_ns or 0, newest_ns.get(parts.fed_by, 0))
        return [
            instrument
            for instrument, parts in self._instruments.items()
            if parts.sources <= self.begun_anew
            or is_abandoned(parts.touched_ns or 0, newest_ns[parts.fed_by])
        ]

    @property
    def departing(self) -> frozenset[Instrument]:
        """Instruments that depart. Call :meth:`finish_streams` and :meth:`depart` with them before any other item."""
        return frozenset(self._departing)

    def depart(self, gone: frozenset[Instrument]) -> Iterator[Departed | None]:
        """Cut the last windows of instruments that depart; the last step is their departure."""
        gone_parts = []
        self._departing -= gone
        for instrument in gone:
            parts = self._instruments.pop(instrument)
            gone_parts.append((instrument, parts))
            self._brought.subtract(parts.sources)
        self._brought = +self._brought
        needed = {parts.fed_by for parts in self._instruments.values()}
        for source in self._clocks.keys() - needed:
            del self._clocks[source]
            self._deadlines.pop(source, None)
            self._checked_ns.pop(source, None)
        for source in self._deadlines:
            self._forget_waits(source)
        yield from self._last(gone_parts)
        yield Departed(gone)

    def __contains__(self, instrument: Instrument) -> bool:
        """Whether an instrument has sent data, and has not departed."""
        return instrument in self._instruments

    def condition(self, entry: StationEntry, now_ns: int) -> Condition:
        """The state of the data of an instrument in the station table, at a monotonic time."""
        parts = self._instruments.get(entry.instrument)
        outcome = None if parts is None else parts.outcome
        return Condition(
            arrived=entry.arrived_ns is not None,
            silent_s=entry.silent_s(now_ns),
            stale=entry.stale,
            down=all(
                self._station_table.is_down(source)
                for source in {entry.source, *(() if parts is None else parts.sources)}
            ),
            refused=outcome.value if outcome is not None and outcome in LOGGED_OUTCOMES - ADVANCING else "",
            filled_s=min(0 if parts is None else parts.channels.filled, self._settings.length) / GRID_RATE_HZ,
            window_s=self._settings.length / GRID_RATE_HZ,
            gap_s=entry.gaps.last_s,
        )

    def flush_log(self, everything: bool = False) -> None:
        """Write waiting lines about stations: see :class:`~xiaod.process.grouped_log.GroupedLog`."""
        self._reports.flush(everything)

    @property
    def held_bytes(self) -> int:
        """Memory of the samples of all instruments."""
        return self._rings.held_bytes

    def _last(self, instruments: Sequence[tuple[Instrument, _Parts]]) -> Iterator[None]:
        """The last windows of instruments whose data end, as at a gap, in order of time."""
        left = []
        for number, (_, parts) in enumerate(instruments):
            self._release_rest(parts)
            if parts.early is not None:
                left.append((parts.early.position, number, 0, self._rest(parts.early, self.early)))
            left.append((parts.final.position, number, 1, self._rest(parts.final, self.final)))
        heapify(left)
        while left:
            _, number, stage, windows = left[0]
            window = next(windows, None)
            if window is None:
                heappop(left)
            else:
                heapreplace(left, (window.index, number, stage, windows))
            yield
        for instrument, parts in instruments:
            self._close_account(instrument, parts)

    def _release_rest(self, parts: _Parts) -> None:
        for gap in parts.channels.release(None, final=True):
            # A live instrument that departs is in no table any more.
            if self._account is not None:
                self._reports.gap(gap)

    def _rest(self, schedule: WindowSchedule, batches: Batches) -> Iterator[Window]:
        """The last windows of a stage of an instrument."""
        yield from schedule.cut(None, self._clock(), batches, final=True)

    def _segment(self, segment: Segment, now_ns: int | None) -> None:
        instrument, source = segment.channel.instrument, segment.source
        parts = self._instruments.get(instrument)
        if parts is None or source not in parts.sources:
            parts = self._admitted(segment, parts)
            if parts is None:
                return
        if self._departing:
            # One that was silent, and is back before it is gone, stays.
            self._departing.discard(instrument)
        parts.touched_ns = now_ns
        records, channels = self._metrics.records, parts.channels
        records.received(source, segment.record_bytes)
        delivery_ns = None if now_ns is None else self._delivered(parts, segment, now_ns)
        outcome = RecordOutcome.GOOD
        for piece in segment.pieces():
            outcome = channels.insert(piece, delivery_ns)
            if outcome in ADVANCING:
                self.keep(piece)
                self._cut(parts, delivery_ns)
        if channels.contradictions:
            self._reports.contradictions(instrument, parts.channels.contradictions)
        if not segment.continues:
            records.judged(source, outcome)
        if outcome in ADVANCING and now_ns is not None:
            self._received(segment, now_ns)
        if outcome is not RecordOutcome.GOOD:
            self._reports.outcome(segment, outcome, now_ns, again=outcome is parts.outcome)
        parts.outcome = outcome

    def _received(self, segment: Segment, now_ns: int) -> None:
        """Note that a record with new samples has come."""
        arrived_ns = segment.arrived_ns
        latency_s = self._station_table.received(segment, now_ns, arrived_ns or self._clock() or 0)
        if arrived_ns is not None:
            self._metrics.records.used(len(segment.samples) / segment.sampling_rate_hz, latency_s)

    def _delivered(self, parts: _Parts, segment: Segment, now_ns: int) -> int:
        """A record has come; the delivery time of its instrument."""
        source = segment.source
        clock = self._clocks.get(source)
        if clock is None:
            clock = self._clocks[source] = DeliveryClock()
        clock.delivered(segment.next_ns, now_ns)
        if parts.fed_by != source:
            if parts.fed_by is not None:
                parts.offset_ns += self._clocks[parts.fed_by].time_ns - clock.time_ns
            parts.fed_by = source
            self._wait(parts, parts.deadline_ns)
        return clock.time_ns + parts.offset_ns

    def _delivery_ns(self, parts: _Parts) -> int | None:
        """The delivery time of an instrument; None in an offline run."""
        return None if parts.fed_by is None else self._clocks[parts.fed_by].time_ns + parts.offset_ns

    def _has_room(self, segment: Segment) -> bool:
        """Whether the source of a record may bring one instrument more; else the record is counted as bad."""
        source, most = segment.source, self._most.get(segment.source)
        if most is None or self._brought[source] < most:
            return True
        detail = f"{most} instruments of this source are picked already: see max_stations"
        self._reports.bad_record(
            BadRecord(source, "over_limit", detail, str(segment.channel), segment.record_bytes)
        )
        return False

    def _admitted(self, segment: Segment, parts: _Parts | None) -> _Parts | None:
        """What is held of an instrument that a source brings for the first time; another source may have brought it before.

        None: the source may not bring it.
        """
        if not self._has_room(segment):
            return None
        instrument = segment.channel.instrument
        if parts is None:
            parts = self._instruments[instrument] = self._new_parts(instrument)
            self._gap_since_departure(instrument, segment)
        parts.sources.add(segment.source)
        self._brought[segment.source] += 1
        return parts

    def _gap_since_departure(self, instrument: Instrument, segment: Segment) -> None:
        """Report the gap of an instrument that departed when it was silent, stayed in the station table, and is back."""
        if instrument in self._station_table:
            newest_ns = self._station_table.entry(instrument, segment.source, 0).newest_ns
            if newest_ns is not None and segment.start_ns > newest_ns + self._settings.wait_ns:
                self._reports.gap(Gap(segment.channel, newest_ns, segment.start_ns))

    def _new_parts(self, instrument: Instrument) -> _Parts:
        cuttings = self._cuttings
        channels = InstrumentChannels(self._settings, self._rings, self._letters.get(instrument, ""))
        # The same for every run: stations are not all due at once.
        phase = crc32(instrument.text.encode()) % cuttings.final.hop
        parts = _Parts(channels, WindowSchedule(channels, cuttings.final, phase))
        if cuttings.early is not None:
            if cuttings.stream is not None:
                parts.stream = WindowSchedule(channels, cuttings.stream)
                parts.awake = Awake(cuttings.ahead, AWAKE)
            parts.early = WindowSchedule(channels, cuttings.early, awake=parts.awake)
        parts.schedules = tuple(one for one in (parts.final, parts.early, parts.stream) if one is not None)
        return parts

    def _cut(self, parts: _Parts, delivery_ns: int | None) -> None:
        channels = parts.channels
        if self._is_idle(parts, delivery_ns):
            return
        for gap in channels.release(delivery_ns):
            self._reports.gap(gap)
        if parts.stream is not None:
            self._cut_stream(parts, parts.stream, delivery_ns)
        self._cut_early(parts, delivery_ns)
        final, host_ns, position = parts.final, self._clock(), parts.final.position
        if not final.cut_whole(host_ns, self.final) and final.is_due(delivery_ns):
            for _ in final.cut(delivery_ns, host_ns, self.final):
                pass
        # It also moves on where data are too short for a window.
        if final.position != position:
            channels.forget(self._needed(parts))
        parts.due, parts.resets = _due(parts), channels.resets
        if delivery_ns is not None:
            parts.deadline_ns = FOREVER_NS
            if not self._is_idle(parts, delivery_ns):
                self._wait(parts, self._deadline_ns(parts))

    def _is_idle(self, parts: _Parts, delivery_ns: int | None) -> bool:
        """Whether no window is due, as after most records: components send theirs one after the other."""
        channels, due = parts.channels, parts.due
        covered = channels.covered
        if (
            covered is None
            or covered.stop >= due.stop
            or covered.first > due.first
            or channels.waits
            or channels.resets != parts.resets
            or channels.edge - covered.stop > self._settings.max_lead
            or len(channels.rows) < len(channels.channels)
        ):
            return False
        if covered.newest >= due.stop and delivery_ns is not None:
            # A component lags.
            if parts.deadline_ns == FOREVER_NS:
                self._wait(parts, channels.led_ns(due.stop) + self._settings.wait_ns)
            return delivery_ns < parts.deadline_ns
        return True

    def _cut_stream(self, parts: _Parts, stream: WindowSchedule, delivery_ns: int | None) -> None:
        """Cut new samples; latencies are those of the windows that are picked."""
        position = stream.position
        whole = stream.cut_whole(None, self.streams)
        if (new := stream.position - position) > 0:
            # They follow those before.
            parts.unseen += new
        if not whole and stream.is_due(delivery_ns):
            for window in stream.cut(delivery_ns, None, self.streams):
                parts.unseen += window.stop - window.index
        self.behind = self.behind or parts.unseen > self._most_unseen

    def _cut_early(self, parts: _Parts, delivery_ns: int | None, first_alone: bool = False) -> None:
        """Cut the early windows that are wanted, or the first of them."""
        if parts.early is not None and parts.early.is_due(delivery_ns):
            for _ in parts.early.cut(delivery_ns, self._clock(), self.early):
                if first_alone:
                    break

    def _needed(self, parts: _Parts) -> Needed:
        needed = [schedule.needed for schedule in parts.schedules]
        return Needed(min([one.first for one in needed]), min([one.stop for one in needed]))

    def _wait(self, parts: _Parts, deadline_ns: int) -> None:
        """An instrument waits until a delivery time of its own, or for ever."""
        parts.deadline_ns = deadline_ns
        if deadline_ns >= FOREVER_NS or parts.fed_by is None:
            return
        deadlines = self._deadlines.setdefault(parts.fed_by, [])
        heappush(deadlines, (deadline_ns - parts.offset_ns, parts.channels.instrument))
        if len(deadlines) > 4 * len(self._instruments) + STALE:
            # Waits may begin and end while delivery time stands still.
            self._forget_waits(parts.fed_by)

    def _forget_waits(self, source: str) -> None:
        """Keep the waits that have not ended alone."""
        self._deadlines[source] = [
            (parts.deadline_ns - parts.offset_ns, instrument)
            for instrument, parts in self._instruments.items()
            if parts.fed_by == source and parts.deadline_ns < FOREVER_NS
        ]
        heapify(self._deadlines[source])

    def _deadline_ns(self, parts: _Parts) -> int:
        first_ns = parts.channels.release_ns
        if first_ns is None:
            first_ns = FOREVER_NS
        for schedule in parts.schedules:
            until_ns = schedule.deadline_ns
            if until_ns is not None and until_ns < first_ns:
                first_ns = until_ns
        return first_ns

    def _close_account(self, instrument: Instrument, parts: _Parts) -> None:
        self._reports.contradictions(instrument, parts.channels.contradictions)
        coverage = parts.channels.coverage
        if self._account is not None and not parts.final.windows and coverage.data_s:
            self._account.unpicked[instrument] = coverage


def _due(parts: _Parts) -> Needed:
    """What the next windows of all schedules need."""
    due = [schedule.due for schedule in parts.schedules]
    return Needed(min([one.first for one in due]), min([one.stop for one in due]))


def _keep_nothing(_: Segment) -> None:
    """Nobody wants the records."""

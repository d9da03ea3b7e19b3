"""The station table: what is known of every instrument, and which ones are silent.

A client that stops unnoticed is the most common complaint of network operators. So every subscribed instrument is in the table from the
start, and each change between fresh and stale is reported once.

As in SeisComP, *latency* is the age of a record's last sample when it arrived, *delay* the age of the newest sample now. The time that a
station is silent is measured by the monotonic clock: a step of the host's clock makes no station stale.

>>> from xiaod.domain.types import Channel
>>> station_table = StationTable(stale_after_ns=60_000_000_000)
>>> station_table.expect("server", [Channel("BW", "RJOB", "", "EHZ")], now_ns=0)
>>> [change.stale for change in station_table.review(now_ns=61_000_000_000)]
[True]
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S, ns_from_s
from xiaod.domain.types import Channel, Instrument, Pick, Segment, StationCode
from xiaod.process.metrics import StationMetrics
from xiaod.waveform.channel import Gap

RECENT_GAPS = 32
"""Gaps of an instrument with which later ones are compared: a component may report its own long after the others."""


@dataclass(slots=True)
class GapTotals:
    """The gaps of one instrument; those of its components that overlap are one gap.

    One that joins two gaps which were counted before changes their length, not their number, so that both totals only rise.

    >>> totals = GapTotals()
    >>> for letter, start_s, stop_s in [("Z", 10, 15), ("N", 10, 15), ("E", 11, 16), ("Z", 30, 31)]:
    ...     totals.add(Gap(Channel("BW", "RJOB", "", f"EH{letter}"), start_s * NS_PER_S, stop_s * NS_PER_S))
    >>> totals.count, totals.total_s, totals.last_s
    (2, 7.0, 1.0)
    """

    count: int = 0
    total_s: float = 0.0
    """Time within them in which any component has no data."""
    last_s: float | None = None
    """Length of the one that was counted, or became longer, last."""
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    """Begin and end of gaps that do not overlap, in the order in which they were counted; at most :data:`RECENT_GAPS`."""

    def add(self, gap: Gap) -> None:
        """Count a gap of one component."""
        same = [one for one in self._recent if one[0] < gap.stop_ns and gap.start_ns < one[1]]
        start_ns = min([gap.start_ns, *(start_ns for start_ns, _ in same)])
        stop_ns = max([gap.stop_ns, *(stop_ns for _, stop_ns in same)])
        self.count += not same
        self.last_s = (stop_ns - start_ns) / NS_PER_S
        self.total_s += self.last_s - sum(stop_ns - start_ns for start_ns, stop_ns in same) / NS_PER_S
        others = (one for one in self._recent if one not in same)
        self._recent = deque((*others, (start_ns, stop_ns)), maxlen=RECENT_GAPS)


@dataclass(slots=True)
class StationEntry:
    """One instrument in the station table."""

    instrument: Instrument
    source: str
    since_ns: int
    """When it came into the station table, by the monotonic clock."""
    newest_ns: int | None = None
    """Time of the newest sample."""
    arrived_ns: int | None = None
    """When the last record with new samples came, by the monotonic clock."""
    latency_s: float | None = None
    records: int = 0
    gaps: GapTotals = field(default_factory=GapTotals)
    overlaps: int = 0
    contradictions: int = 0
    """Records whose samples differ from earlier ones of the same time."""
    picks: int = 0
    """Final ones."""
    last_pick: Pick | None = None
    """The last final one: an early one may be withdrawn."""
    early_picks: int = 0
    withdrawn_picks: int = 0
    """Early ones that no final one followed."""
    early_latency_s: float | None = None
    """Of the last early one: from its time to its emission."""
    stale: bool = False
    expected: bool = False
    """Whether a source has subscribed it, by the list of the server."""

    def silent_s(self, now_ns: int) -> float:
        """Seconds without new samples."""
        return (now_ns - (self.since_ns if self.arrived_ns is None else self.arrived_ns)) / NS_PER_S


@dataclass(frozen=True, slots=True)
class Change:
    """An instrument fell silent, or came back."""

    instrument: Instrument
    stale: bool
    silent_s: float


class StationTable:
    """All instruments that are subscribed or have sent data."""

    def __init__(self, stale_after_ns: int) -> None:
        self._stale_after_ns = stale_after_ns
        self._entries: dict[Instrument, StationEntry] = {}
        self.links: dict[str, str] = {}
        """State of each source's connection."""
        self.failures: dict[str, str] = {}
        """Why the last connection of a source ended, or the last attempt failed, until there is a new one."""

    def is_down(self, source: str) -> bool:
        """Whether a source has no connection: it was lost, could not be made, or has ended."""
        return source in self.failures or self.links.get(source) == "ended"

    def reconfigure(self, config: Config) -> None:
        """Use another limit for silence from the next review on."""
        self._stale_after_ns = ns_from_s(config.http.stale_after_s)

    def __iter__(self) -> Iterator[StationEntry]:
        # A copy, because metrics are collected in a thread.
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def expect(self, source: str, channels: Collection[Channel], now_ns: int) -> None:
        """A source has subscribed these channels; its other instruments are removed if they are silent."""
        wanted = {channel.instrument for channel in channels}
        for instrument in wanted:
            self.entry(instrument, source, now_ns).expected = True
        if wanted:
            for instrument, entry in list(self._entries.items()):
                if entry.source == source and instrument not in wanted:
                    entry.expected = False
                    if entry.stale:
                        del self._entries[instrument]

    def received(self, segment: Segment, now_ns: int, host_ns: int) -> float:
        """A record with new samples has come, at a time of the monotonic clock and of the host's; gives its latency in seconds."""
        entry = self.entry(segment.channel.instrument, segment.source, now_ns)
        entry.records += 1
        entry.arrived_ns = now_ns
        newest_ns = segment.last_ns
        if entry.newest_ns is None or newest_ns > entry.newest_ns:
            entry.newest_ns = newest_ns
        entry.latency_s = latency_s = (host_ns - newest_ns) / NS_PER_S
        return latency_s

    def entry(self, instrument: Instrument, source: str, now_ns: int) -> StationEntry:
        """The entry of an instrument, made if there is none."""
        entry = self._entries.get(instrument)
        if entry is None:
            entry = self._entries[instrument] = StationEntry(instrument, source, now_ns)
        return entry

    def picked(self, pick: Pick) -> None:
        """Note a pick, or that an early one was withdrawn."""
        if (entry := self._entries.get(pick.channel.instrument)) is None:
            return
        if pick.stage == "withdrawn":
            entry.withdrawn_picks += 1
        elif pick.stage == "early":
            entry.early_picks += 1
            entry.early_latency_s = None if pick.latency is None else pick.latency.total_s
        else:
            entry.picks += 1
            entry.last_pick = pick

    def gap(self, gap: Gap) -> None:
        """Note a gap of a component."""
        if (entry := self._entries.get(gap.channel.instrument)) is not None:
            entry.gaps.add(gap)

    def contradicted(self, instrument: Instrument) -> None:
        """Note a record that contradicts others."""
        if (entry := self._entries.get(instrument)) is not None:
            entry.contradictions += 1

    def forget(self, source: str, stays: Callable[[Instrument], bool] | None = None) -> None:
        """Remove the instruments of a source that has ended.

        Args:
            source: its name.
            stays: which of them its successor brings; None: it has none.
        """
        if stays is None:
            self.links.pop(source, None)
            self.failures.pop(source, None)
        self._entries = {
            instrument: entry
            for instrument, entry in self._entries.items()
            if entry.source != source or (stays is not None and stays(instrument))
        }

    def drop(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Remove instruments that no source expects, of those given; gives the ones that were removed."""
        gone = [
            instrument
            for instrument in instruments
            if (entry := self._entries.get(instrument)) is not None and not entry.expected
        ]
        for instrument in gone:
            del self._entries[instrument]
        return gone

    def __contains__(self, instrument: object) -> bool:
        return instrument in self._entries

    def review(self, now_ns: int) -> list[Change]:
        """Instruments that have fallen silent or come back since the last review."""
        changes = []
        for entry in self._entries.values():
            silent_s = entry.silent_s(now_ns)
            stale = silent_s * NS_PER_S > self._stale_after_ns
            if stale != entry.stale:
                entry.stale = stale
                changes.append(Change(entry.instrument, stale, silent_s))
        return changes

    def sending(self) -> dict[StationCode, bool | None]:
        """Whether each station sends data, as of the last review; None: it has sent none yet, but is expected to."""
        found: dict[StationCode, bool | None] = {}
        for instrument, entry in self._entries.items():
            code = instrument.network, instrument.station
            now = False if entry.stale else None if entry.arrived_ns is None else True
            before = found.get(code, False)
            # One instrument that sends is enough.
            found[code] = True if before or now else None if before is None or now is None else False
        return found

    def fresh(self) -> int:
        """Number of instruments that have sent data and are not stale, as of the last review."""
        return sum(not entry.stale and entry.arrived_ns is not None for entry in self._entries.values())


class StationCollector:
    """Metrics of the station table, for Prometheus."""

    def __init__(self, station_table: StationTable, clock_ns: Callable[[], int]) -> None:
        self._station_table = station_table
        self._clock_ns = clock_ns

    def collect(self) -> Iterable[Metric]:
        """Metrics of all instruments in the station table, with values as of now."""
        now_ns, metrics = self._clock_ns(), StationMetrics()
        for entry in self._station_table:
            label = [entry.instrument.text]
            if entry.latency_s is not None and entry.newest_ns is not None:
                metrics.latency.add_metric(label, entry.latency_s)
                metrics.delay.add_metric(label, (now_ns - entry.newest_ns) / NS_PER_S)
            metrics.stale.add_metric(label, float(entry.stale))
            metrics.records.add_metric(label, entry.records)
            metrics.gaps.add_metric(label, entry.gaps.count)
            metrics.gap_s.add_metric(label, entry.gaps.total_s)
            metrics.overlaps.add_metric(label, entry.overlaps)
            metrics.contradictions.add_metric(label, entry.contradictions)
            metrics.picks.add_metric(label, entry.picks)
        return metrics.families()

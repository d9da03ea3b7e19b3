"""The buffer of one channel: records in any order become stretches of samples without a gap on the 100 Hz grid.

Records are sorted by time. A record that begins where the last one ended is appended. One that begins later waits for the missing data,
until :meth:`ChannelBuffer.release` gives up and declares a gap. One that begins earlier is cut, or is a duplicate, or late. Where records
contradict each other, the first that came is kept.

The first records of a stretch wait too, so that records out of order at the beginning are sorted as well.

A single header with a time in the future moves nothing: a record that lies ahead is believed when another one lies ahead too, and not
while the stream continues where it was.

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> buffer = ChannelBuffer(Rings(length=6000), wait_ns=0, max_lead=3000)
>>> channel = Channel("XX", "A", "", "HHZ")
>>> buffer.insert(Segment(channel, 0, 100.0, np.zeros(50, np.int32)), delivery_ns=1).value
'good'
>>> buffer.release(delivery_ns=1)
[]
>>> buffer.stretches[-1].stop
50
>>> buffer.insert(Segment(channel, 0, 100.0, np.zeros(50, np.int32)), delivery_ns=2).value
'duplicate'
"""

from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

import numpy as np

from xiaod.domain.timegrid import BEFORE_ALL, GRID_NS, NS_PER_S, grid_index
from xiaod.domain.types import Channel, SampleArray, Segment
from xiaod.waveform.data_account import Coverage
from xiaod.waveform.recent_records import RecentRecords
from xiaod.waveform.record_order import WaitingRecords
from xiaod.waveform.resample import RATE_TOLERANCE, converter_for, meant_rate
from xiaod.waveform.rings import Rings
from xiaod.waveform.stretch import Stretch

TOLERANCE_SAMPLES = 0.5
"""A record continues the stretch when it begins within this of the predicted time; the usual tolerance of libmseed."""
PIECE_TOLERANCE_NS = 1000
"""A piece of a record begins where the piece before it ended, except for rounding."""
DRIFT_SAMPLES = 0.25
"""Drift since the first sample of the stretch at which the time is corrected."""
MAX_WAITING = 4096
"""At most so many records wait, however small they are."""
SET_BACK_NS = 10 * NS_PER_S
"""Contiguous data of the past, longer than this and without any new data, mean that the clock of the station was set back."""


class RecordOutcome(StrEnum):
    """What became of a record; the value is the label ``verdict`` of its metric."""

    GOOD = "good"
    DUPLICATE = "duplicate"
    OVERLAPPING = "overlapping"
    """Its beginning had come already; the rest was used."""
    LATE = "late"
    """Its time had come already with other samples, or was given up as a gap."""
    EXPIRED = "expired"
    FUTURE = "future"
    CLOCK_STEP = "clock_step"
    """The clock of the station was set back: the instrument starts anew with this record."""
    RATE = "rate"
    """The sampling rate cannot be used."""
    COMPONENT = "component"
    """The component letter has no row."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A record has other samples than those that came before for the same time: a header has a wrong time, or two sensors share a name."""

    channel: Channel
    start_ns: int
    """Time of the record; its samples for times that had not come yet are used."""
    overlap_s: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Time without data in one channel."""

    channel: Channel
    start_ns: int
    stop_ns: int

    @property
    def gap_s(self) -> float:
        """Length in seconds."""
        return (self.stop_ns - self.start_ns) / NS_PER_S


class ChannelBuffer:
    """Stretches of one channel, oldest first; the last one is open."""

    def __init__(
        self,
        rings: Rings,
        wait_ns: int,
        max_lead: int,
        least: int = 0,
        coverage: Coverage | None = None,
        contradictions: "list[Contradiction] | None" = None,
    ) -> None:
        """Begin.

        Args:
            rings: where samples lie.
            wait_ns: time after which missing data are given up,
            max_lead: or so many samples of later data after which they are.
            least: samples that a stretch must have; a shorter one is forgotten when it ends.
            coverage: where the data that are used are counted.
            contradictions: where records go that contradict others.
        """
        self.stretches: list[Stretch] = []
        self.contradictions: list[Contradiction] = [] if contradictions is None else contradictions
        self._coverage = Coverage() if coverage is None else coverage
        self._last: Segment | None = None
        """The last record that was appended."""
        self._rings = rings
        self._wait_ns = wait_ns
        self._max_lead = max_lead
        self._least = least
        self._pending = WaitingRecords()
        self._seen = RecentRecords()
        self._rate_hz = 0.0
        self._next_ns = 0
        """Where the next record should begin, by the last record's own header."""
        self._record_ns = 0
        """Time of the first sample of the last record, before it was cut, ..."""
        self._record_count = 0
        """... and how many it had."""
        self._told_hz = 0.0
        """The rate in the header of the last record of the open stretch; 0 before it."""
        self._rates_hz = (0.0, 0.0)
        """Lowest and highest rate of the headers of the open stretch, as written or as meant."""
        self._due_ns: int | None = None
        """Where the next record should begin, by the time and length of the last one; None while headers differ in their rate."""
        self._anchor_ns = 0
        """Time of the stretch's first sample, corrected for drift; with the rate it predicts, as the converter does."""
        self._count = 0
        """Samples pushed into the open stretch."""
        self._arrived_ns = 0
        """When the last record came, by the host's clock: data that waited for it are complete since then."""
        self._grown_ns = 0
        """Delivery time at which a record was appended last."""
        self.late_ns = 0
        """Length of the contiguous data of the past that have come since the last new data."""
        self._late_next_ns: int | None = None

    @property
    def edge(self) -> int:
        """Grid index just after the newest data, :data:`BEFORE_ALL` when there are none; a single record that lies ahead does not count."""
        edge, waiting = BEFORE_ALL, len(self._pending.records)
        if waiting and (waiting > 1 or not self.stretches):
            edge = grid_index(self._pending.newest_ns)
        if self.stretches:
            stretch = self.stretches[-1]
            # Samples that the converter holds back for its first output have come too.
            edge = max(edge, stretch.stop if stretch.started else grid_index(self._next_ns))
        return edge

    @property
    def rate_hz(self) -> float:
        """The sampling rate in the header of the last record; 0 before the first of a stretch."""
        return self._told_hz

    @property
    def begins(self) -> bool:
        """Whether the first records have come, and still wait."""
        return not self.stretches and bool(self._pending)

    @property
    def waits(self) -> bool:
        """Whether records wait for what lies before them."""
        return bool(self._pending.records)

    @property
    def release_ns(self) -> int | None:
        """Delivery time at which :meth:`release` gives up missing data; None when nothing waits."""
        if not self._pending:
            return None
        return max(self._pending.since_ns, self._grown_ns) + self._wait_ns

    def go_on(self, segment: Segment, delivery_ns: int) -> bool:
        """Take a record that is newer than all others and begins where the last one ended, as nearly all do.

        Returns:
            False: it is not such a record, and nothing was done; :meth:`insert` takes it.
        """
        start_ns, told_hz, due_ns, seen = segment.start_ns, self._told_hz, self._due_ns, self._seen
        if (
            due_ns is None
            or segment.sampling_rate_hz != told_hz
            or not -TOLERANCE_SAMPLES <= (due_ns - start_ns) * told_hz / NS_PER_S <= TOLERANCE_SAMPLES
            or start_ns <= seen.newest_ns
            or self._pending.records
        ):
            return False
        self._arrived_ns = segment.arrived_ns or 0
        self._append(segment, late_by=0.0)
        self._grown_ns, self.late_ns = delivery_ns, 0
        samples = segment.samples
        seen.add(start_ns, len(samples), crc32(np.ascontiguousarray(samples).data))
        return True

    def insert(self, segment: Segment, delivery_ns: int) -> RecordOutcome:
        """Take a record at a delivery time (:mod:`xiaod.waveform.delivery_clock`), which stays 0 in an offline run.

        The sampling rate must be one that :func:`~xiaod.waveform.resample.converter_for` takes.
        """
        if self.go_on(segment, delivery_ns):
            return RecordOutcome.GOOD
        start_ns, length = segment.start_ns, len(segment.samples)
        content = crc32(np.ascontiguousarray(segment.samples).data)
        if (known := self._seen.content_of(start_ns, length)) is not None:
            if content != known:
                self._contradicted(segment, length)
            return RecordOutcome.DUPLICATE
        self._arrived_ns = segment.arrived_ns or 0
        outcome = self._take(segment, delivery_ns)
        if outcome in (RecordOutcome.GOOD, RecordOutcome.OVERLAPPING):
            self._seen.add(start_ns, length, content)
            self.late_ns = 0
        return outcome

    def release(self, delivery_ns: int | None, final: bool = False) -> list[Gap]:
        """Give up data that have been missing for too long; the gaps they leave.

        Args:
            delivery_ns: delivery time; None in an offline run, where only the amount of later data counts.
            final: whether no more data will come: everything that is missing is given up.
        """
        gaps = []
        while self._pending and (final or self._is_due(delivery_ns)):
            first = self._pending.pop()
            if self.stretches and first.start_ns > self._next_ns:
                gaps.append(Gap(first.channel, self._next_ns, first.start_ns))
            self._open(first)
            self._drain()
        return gaps

    def _is_due(self, delivery_ns: int | None) -> bool:
        if delivery_ns is not None and (due_ns := self.release_ns) is not None and due_ns <= delivery_ns:
            return True
        if len(self._pending) > MAX_WAITING:
            return True
        if self.stretches and len(self._pending) == 1:
            return False
        oldest_ns = self._next_ns if self.stretches else self._pending.first.start_ns
        return self._pending.newest_ns - oldest_ns > self._max_lead * GRID_NS

    def _take(self, segment: Segment, delivery_ns: int) -> RecordOutcome:
        if not self.stretches:
            self._pending.add(segment, delivery_ns)
            return RecordOutcome.GOOD
        same_rate, late_by = self._relation(segment)
        if late_by < -TOLERANCE_SAMPLES:
            self._pending.add(segment, delivery_ns)
            return RecordOutcome.GOOD
        if not same_rate:
            if late_by > TOLERANCE_SAMPLES:
                return self._late(segment)
            self._open(segment)
            self._drain()
            return RecordOutcome.GOOD
        if late_by > TOLERANCE_SAMPLES:
            self._compare(segment)
        if round(late_by) >= len(segment.samples):
            return self._late(segment)
        self._append(segment, late_by)
        self._grown_ns = delivery_ns
        if self._pending:
            self._drain()
        return RecordOutcome.OVERLAPPING if late_by > TOLERANCE_SAMPLES else RecordOutcome.GOOD

    def _relation(self, segment: Segment) -> tuple[bool, float]:
        """Whether a record has the rate of the open stretch, and by how many samples it begins before that stretch's end.

        Where the rate in the headers differs from record to record, the end of a long record is not known to half a sample: it lies
        between the ends by the lowest and by the highest rate.
        """
        same_rate = abs(segment.sampling_rate_hz / self._rate_hz - 1) < 2 * RATE_TOLERANCE
        lowest_hz, highest_hz = self._rates_with(segment) if same_rate else self._rates_hz
        first_ns = last_ns = self._record_ns + round(self._record_count * NS_PER_S / highest_hz)
        if lowest_hz != highest_hz:
            last_ns = self._record_ns + round(self._record_count * NS_PER_S / lowest_hz)
        due_ns = min(max(segment.start_ns, first_ns), last_ns)
        return same_rate, (due_ns - segment.start_ns) * segment.sampling_rate_hz / NS_PER_S

    def _rates_with(self, segment: Segment) -> tuple[float, float]:
        told_hz = segment.sampling_rate_hz
        if told_hz == self._told_hz:
            return self._rates_hz
        meant_hz = meant_rate(told_hz)
        lowest_hz, highest_hz = self._rates_hz
        return min(lowest_hz, told_hz, meant_hz), max(highest_hz, told_hz, meant_hz)

    def _compare(self, segment: Segment) -> None:
        """Find out whether a record contradicts the last one where both have samples, however their times are rounded."""
        last = self._last
        if last is None:
            return
        offset = round((segment.start_ns - last.start_ns) * segment.sampling_rate_hz / NS_PER_S)
        overlap = min(offset + len(segment.samples), len(last.samples)) - max(offset, 0)
        if overlap > 0 and not any(
            _agree(last.samples, segment.samples, offset + jitter) for jitter in (0, 1, -1)
        ):
            self._contradicted(segment, overlap)

    def _contradicted(self, segment: Segment, overlap: int) -> None:
        # A record counts once, not once for each of its pieces.
        if not segment.continues:
            self.contradictions.append(
                Contradiction(segment.channel, segment.start_ns, overlap / segment.sampling_rate_hz)
            )

    def _late(self, segment: Segment) -> RecordOutcome:
        joins = (
            self._late_next_ns is not None
            and abs(segment.start_ns - self._late_next_ns) * segment.sampling_rate_hz <= NS_PER_S
        )
        length_ns = segment.next_ns - segment.start_ns
        self.late_ns = self.late_ns + length_ns if joins else length_ns
        self._late_next_ns = segment.next_ns
        return RecordOutcome.CLOCK_STEP if self.late_ns > SET_BACK_NS else RecordOutcome.LATE

    def _drain(self) -> None:
        """Append waiting records that now continue the stretch; drop those whose time has come meanwhile."""
        while self._pending:
            segment = self._pending.first
            same_rate, late_by = self._relation(segment)
            if late_by < -TOLERANCE_SAMPLES or (not same_rate and late_by <= TOLERANCE_SAMPLES):
                return
            self._pending.pop()
            if same_rate and late_by > TOLERANCE_SAMPLES:
                self._compare(segment)
            if same_rate and round(late_by) < len(segment.samples):
                self._append(segment, late_by)

    def _open(self, segment: Segment) -> None:
        self._rate_hz = segment.sampling_rate_hz
        self._told_hz, self._due_ns = 0.0, None
        self._rates_hz = (segment.sampling_rate_hz, segment.sampling_rate_hz)
        if self.stretches and self.stretches[-1].length < self._least:
            self.stretches.pop()
        self.stretches.append(Stretch(converter_for(segment.sampling_rate_hz, segment.start_ns), self._rings))
        self._next_ns = self._record_ns = self._anchor_ns = segment.start_ns
        self._count = self._record_count = 0
        self._append(segment, late_by=0.0)

    def _append(self, segment: Segment, late_by: float) -> None:
        samples, start_ns, rate_hz = segment.samples, segment.start_ns, segment.sampling_rate_hz
        if late_by >= TOLERANCE_SAMPLES and (cut := round(late_by)):
            samples = samples[cut:]
            start_ns += round(cut * NS_PER_S / rate_hz)
        stretch, length, count = self.stretches[-1], len(segment.samples), self._count
        drift_ns = start_ns - self._anchor_ns - round(count * NS_PER_S / self._rate_hz)
        # Most often there is none at all.
        if drift_ns and abs(drift_ns) > DRIFT_SAMPLES * NS_PER_S / rate_hz:
            stretch.drift(drift_ns)
            self._anchor_ns += drift_ns
        stretch.push(samples, self._arrived_ns, segment.last_ns)
        if not segment.continues or abs(segment.start_ns - self._next_ns) > PIECE_TOLERANCE_NS:
            self._record_ns, self._record_count = segment.start_ns, length
        else:
            self._record_count += length
        if rate_hz != self._told_hz:
            self._rates_hz = self._rates_with(segment)
            self._told_hz = rate_hz
        lowest_hz, highest_hz = self._rates_hz
        self._due_ns = None
        if lowest_hz == highest_hz:
            self._due_ns = self._record_ns + round(self._record_count * NS_PER_S / highest_hz)
        self._next_ns = segment.next_ns
        self._count = count = count + len(samples)
        self._coverage.add(len(samples) / self._rate_hz, count / self._rate_hz)
        self._last = segment


def _agree(first: SampleArray, second: SampleArray, offset: int) -> bool:
    """Whether two arrays have the same samples where they overlap; the second begins at an offset in the first, which may be negative."""
    length = min(offset + len(second), len(first)) - max(offset, 0)
    begin, other = max(offset, 0), max(-offset, 0)
    return length <= 0 or np.array_equal(first[begin : begin + length], second[other : other + length])

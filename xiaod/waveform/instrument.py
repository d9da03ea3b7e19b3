"""The channels of one instrument: records of its components in any order become samples in rings.

Each component has a buffer (:mod:`xiaod.waveform.channel`), and a row of the windows: Z, N, E, or what stands for them. A clock that is
set back resets this instrument only. Windows are cut from it by schedules (:mod:`xiaod.waveform.schedule`).

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> channels = InstrumentChannels(settings := BufferSettings(), settings.rings())
>>> channels.insert(Segment(Channel("XX", "A", "", "HHZ"), 0, 100.0, np.ones(100, np.int32)), delivery_ns=None).value
'good'
>>> channels.release(None, final=True)
[]
>>> channels.rows, channels.edge
([('Z', 0)], 100)
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from xiaod.config import BufferConfig, WindowConfig
from xiaod.domain.components import KNOWN_LETTERS, MISSING, ROWS, rows_of
from xiaod.domain.onsets import CONFIRM_SHIFT
from xiaod.domain.timegrid import (
    AFTER_ALL,
    BEFORE_ALL,
    GRID_NS,
    GRID_RATE_HZ,
    NS_PER_S,
    grid_index,
    ns_from_s,
    samples_from_s,
)
from xiaod.domain.timeliness import UNLIMITED, TimeLimits
from xiaod.domain.types import MAX_PIECE_S, Instrument, Segment
from xiaod.waveform.channel import ChannelBuffer, Contradiction, Gap, RecordOutcome
from xiaod.waveform.clock_set_back import SetBackClock
from xiaod.waveform.data_account import Coverage
from xiaod.waveform.resample import usable_rate
from xiaod.waveform.rings import Rings
from xiaod.waveform.stretch import Stretch

ADVANCING = frozenset({RecordOutcome.GOOD, RecordOutcome.OVERLAPPING, RecordOutcome.CLOCK_STEP})
"""Outcomes of records whose samples are used."""
RETIRED = samples_from_s(3600.0)
"""A component that is so far behind gives its row to one that has none: sensors are exchanged, and come back as Z12 instead of ZNE."""


def history_of(hop: int) -> int:
    """Samples before a window that it carries along: a hop, and the shifts at which an onset is confirmed."""
    return hop + CONFIRM_SHIFT + 1


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """Limits of what is buffered of an instrument, and where its windows lie; samples are those of the 100 Hz grid.

    The defaults are those of the configuration.
    """

    length: int = samples_from_s(WindowConfig().length_s)
    """Of a window; a stretch that ends with fewer samples is of no use."""
    hop: int = samples_from_s(WindowConfig().final_hop_s)
    wait_ns: int = ns_from_s(BufferConfig().max_component_wait_s)
    """Time for which missing data are waited for, ..."""
    max_lead: int = samples_from_s(BufferConfig().max_lead_s)
    """... or so many samples of later data."""
    limits: TimeLimits = UNLIMITED
    """What is refused for its time; in an offline run nothing is."""

    @property
    def history(self) -> int:
        """Samples before a window that it carries along: a hop, and the shifts at which an onset is confirmed."""
        return history_of(self.hop)

    def rings(self) -> Rings:
        """Rings for as many instruments as there are: usual ones, and longer ones for those of which a component lags."""
        # The next window, what lies before it, and a record that is written before windows are cut.
        usual = 2 * self.history + 2 * self.hop + self.length + samples_from_s(MAX_PIECE_S)
        return Rings(usual, longer=Rings(self.ring)) if usual < self.ring else Rings(self.ring)

    @property
    def ring(self) -> int:
        """Samples that a ring must hold at most."""
        # Where data begin, windows wait for a component that begins up to a window later, until it has filled one. It may be behind by
        # max_lead, and its missing data may hold back as much again. The last window before a gap reaches back before the next one, and a
        # record is written before windows are cut.
        return self.history + self.hop + 2 * (self.length + self.max_lead) + samples_from_s(MAX_PIECE_S)


class Needed(NamedTuple):
    """What windows will be cut from; grid indices."""

    first: int
    """The oldest sample."""
    stop: int
    """Where the next window ends."""


class Covered(NamedTuple):
    """Where the newest data of the components of an instrument lie; grid indices."""

    first: int
    """First sample that all have."""
    stop: int
    """Just after the last one that all have."""
    newest: int
    """Just after the last one that any has."""


class InstrumentChannels:
    """Channels and rows of one instrument.

    It reads no clock: waits are counted by the delivery time that its caller gives (:mod:`xiaod.waveform.delivery_clock`).
    """

    def __init__(self, settings: BufferSettings, rings: Rings, letters: Collection[str] = ()) -> None:
        """Begin.

        Args:
            settings: limits.
            rings: where samples lie.
            letters: components that the instrument has shown before: they count for the rows of the others.
        """
        self.settings = settings
        self.instrument = Instrument("", "", "", "")
        """Known with the first record."""
        self.resets = 0
        """How often the instrument began anew because its clock was set back."""
        self._rings = rings
        self._ring = settings.ring
        self._known = frozenset(letters)
        self.contradictions: list[Contradiction] = []
        """Records that contradict others; to be emptied by who reads it."""
        self._coverages: dict[str, Coverage] = {}
        self.channels = {letter: self._new_channel(letter) for letter in letters}
        self.rows: list[tuple[str, int]] = []
        """Components that have a row, and their rows, in the order of these."""
        self.components = ""
        """Component letters of the rows, as :attr:`~xiaod.domain.types.Window.components` of a window that has them all."""
        self._set_rows()
        self.edge = BEFORE_ALL
        """Grid index just after the newest data of any component; :data:`BEFORE_ALL` when there are none."""
        self.covered: Covered | None = None
        """What all components with a row cover without a gap, up to their newest data; None where one of them has none."""
        self.waits = False
        """Whether records of any component wait for what lies before them."""
        self._edges: dict[str, int] = {}
        """The same as :attr:`edge`, of each component."""
        self._leads: deque[tuple[int, int]] = deque()
        """Grid indices that the fastest component reached, each with the delivery time at which it did."""
        self._set_back = SetBackClock()

    def insert(self, segment: Segment, delivery_ns: int | None) -> RecordOutcome:
        """Take a record at a delivery time, None in an offline run. Call :meth:`release` afterwards."""
        letter = segment.channel.component
        channel = self.channels.get(letter)
        if (refused := self._refused(segment, channel)) is not None:
            return refused
        if channel is not None and not self.resets and channel.go_on(segment, delivery_ns or 0):
            self._grown(letter, channel.stretches[-1], delivery_ns)
            return RecordOutcome.GOOD
        self.instrument = segment.channel.instrument
        if channel is None:
            channel = self.channels[letter] = self._new_channel(letter)
            self._set_rows()
        if self.resets:
            self._set_back.goes_on(letter, grid_index(segment.start_ns), self._edges.get(letter, BEFORE_ALL))
        outcome = channel.insert(segment, delivery_ns or 0)
        if outcome is RecordOutcome.CLOCK_STEP and self._set_back.explains(
            channel.late_ns / NS_PER_S, self.edge
        ):
            outcome = RecordOutcome.LATE
        if outcome is RecordOutcome.CLOCK_STEP:
            self._set_back.set_back(dict(self._edges))
            self._start_anew()
            channel = self.channels[letter]
            channel.insert(segment, delivery_ns or 0)
        self.waits = self.waits or channel.waits
        if outcome in ADVANCING:
            edge = self._moved(letter)
            self.covered = self._covered_now()
            if delivery_ns is not None:
                self._lead(edge, delivery_ns)
        return outcome

    def release(self, delivery_ns: int | None, final: bool = False) -> list[Gap]:
        """Give up on what has been missing for too long, or on everything when no more will come; gaps that became facts."""
        gaps = []
        if self.waits:
            for letter, channel in self.channels.items():
                if channel.waits:
                    # Without a clock nothing but newer data ends a wait: what a component has held back counts before it is given up.
                    behind = delivery_ns is None and self.left_behind(letter)
                    gaps += channel.release(delivery_ns, final or behind)
                    self._moved(letter)
            self.waits = any(channel.waits for channel in self.channels.values())
            self.covered = self._covered_now()
        if not final and len(self.rows) < len(self.channels):
            self._retire()
        return gaps

    @property
    def release_ns(self) -> int | None:
        """Delivery time at which :meth:`release` should be called even if nothing comes; None when nothing waits."""
        if not self.waits:
            return None
        waiting = [due for channel in self.channels.values() if (due := channel.release_ns) is not None]
        return min(waiting) if waiting else None

    def left_behind(self, letter: str) -> bool:
        """Whether a component is so far behind the newest data that it is not waited for; records that wait for missing data count."""
        return self.edge - self._edges.get(letter, BEFORE_ALL) > self.settings.max_lead

    def led_ns(self, stop: int) -> int:
        """Delivery time at which the fastest component reached a grid index; when it has not, at which its newest data came."""
        if not self._leads:
            return 0
        number = bisect_left(self._leads, stop, key=lambda lead: lead[0])
        return self._leads[min(number, len(self._leads) - 1)][1]

    def forget(self, needed: Needed) -> None:
        """Forget what no window will need."""
        for channel in self.channels.values():
            while len(channel.stretches) > 1 and channel.stretches[0].stop <= needed.first:
                del channel.stretches[0]
            for stretch in channel.stretches:
                stretch.forget_before(needed.first)
        while len(self._leads) > 1 and self._leads[0][0] < needed.stop:
            self._leads.popleft()

    @property
    def filled(self) -> int:
        """Samples without a gap up to the newest one, of the component that has most; more than a window are not kept for long."""
        stretches = [channel.stretches[-1] for channel in self.channels.values() if channel.stretches]
        return max((one.stop - one.first for one in stretches if one.started), default=0)

    @property
    def coverage(self) -> Coverage:
        """Data that came so far, of the component that has most; the longest stretch of any."""
        coverages = self._coverages.values()
        return Coverage(
            max((coverage.data_s for coverage in coverages), default=0.0),
            max((coverage.longest_s for coverage in coverages), default=0.0),
        )

    def _refused(self, segment: Segment, channel: ChannelBuffer | None) -> RecordOutcome | None:
        """Whether a record is refused: for its component, its rate, or its time by the host's clock when it came."""
        if channel is None or segment.sampling_rate_hz != channel.rate_hz:
            if segment.channel.component not in KNOWN_LETTERS:
                return RecordOutcome.COMPONENT
            if not usable_rate(segment.sampling_rate_hz):
                return RecordOutcome.RATE
        if segment.arrived_ns is None:
            return None
        correction_ns = self.settings.limits.correction_ns(
            segment.start_ns,
            segment.next_ns,
            segment.arrived_ns,
            None if channel is None else self._edges.get(segment.channel.component, BEFORE_ALL) * GRID_NS,
        )
        if not correction_ns:
            return None
        return RecordOutcome.FUTURE if correction_ns > 0 else RecordOutcome.EXPIRED

    def _new_channel(self, letter: str) -> ChannelBuffer:
        settings, coverage = self.settings, self._coverages.setdefault(letter, Coverage())
        return ChannelBuffer(
            self._rings,
            settings.wait_ns,
            settings.max_lead,
            settings.length,
            coverage,
            self.contradictions,
        )

    def _set_rows(self) -> None:
        """Give components their rows; one odd record of another component moves none that has filled a window."""
        rows, window_s = rows_of(self.channels), self.settings.length / GRID_RATE_HZ
        proven = rows_of(
            [
                letter
                for letter in self.channels
                if letter in self._known or self._coverages[letter].data_s >= window_s
            ]
        )
        if any(rows.get(letter) != row for letter, row in proven.items()):
            rows = proven
        self.rows = sorted(rows.items(), key=lambda item: item[1])
        letters = {row: letter for letter, row in self.rows}
        self.components = "".join(letters.get(row, MISSING) for row in range(ROWS))

    def _covered_now(self) -> Covered | None:
        channels, first, stop, newest = self.channels, BEFORE_ALL, AFTER_ALL, BEFORE_ALL
        for letter, _ in self.rows:
            own = channels[letter].stretches
            if not own or not (stretch := own[-1]).started:
                return None
            # Comparisons: this is done after most records.
            begin, end = stretch.first, stretch.stop
            if begin > first:
                first = begin
            if end < stop:
                stop = end
            if end > newest:
                newest = end
        return Covered(first, stop, newest) if self.rows else None

    def _grown(self, letter: str, stretch: Stretch, delivery_ns: int | None) -> None:
        """The open stretch of a component has grown: what that changes, and nothing else has changed."""
        covered, edges, edge = self.covered, self._edges, stretch.stop
        if covered is None or self.waits or not len(self.rows) == len(self.channels) == len(edges):
            edge = self._moved(letter)
            self.covered = self._covered_now()
        else:
            edges[letter] = edge
            if edge > self.edge:
                self.edge = edge
            # All have a row and are where their samples end.
            self.covered = Covered(max(covered.first, stretch.first), min(edges.values()), self.edge)
        if delivery_ns is not None:
            self._lead(edge, delivery_ns)

    def _lead(self, edge: int, delivery_ns: int) -> None:
        """The data of a component end at a grid index since a delivery time."""
        leads = self._leads
        if not leads or edge > leads[-1][0]:
            leads.append((edge, delivery_ns))
            # Nothing that lies further back is waited for, though no window has been cut.
            while len(leads) > 1 and leads[0][0] < self.edge - self._ring:
                leads.popleft()

    def _moved(self, letter: str) -> int:
        """Note where the data of a component end now."""
        edge = self._edges[letter] = self.channels[letter].edge
        self.edge = edge if edge >= self.edge else max(self._edges.values())
        return edge

    def _start_anew(self) -> None:
        self.channels = {letter: self._new_channel(letter) for letter in self.channels}
        self._edges.clear()
        self.edge = BEFORE_ALL
        self.covered = None
        self.waits = False
        self._leads.clear()
        self.resets += 1

    def _retire(self) -> None:
        shown = {letter for letter, _ in self.rows}
        for letter in list(self.channels):
            own = self._edges.get(letter, BEFORE_ALL)
            if self.edge - own > RETIRED and (letter in shown or own != BEFORE_ALL):
                del self.channels[letter]
                self._edges.pop(letter, None)
        self._set_rows()
        self.covered = self._covered_now()

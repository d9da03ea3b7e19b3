"""The buffer of one instrument: records of its components in any order become windows on the absolute grid.

A window is ``length`` samples long and begins at a multiple of ``hop``, so that windows lie alike however the stream was chopped
and whenever it began. It holds a component only if that component covers it without a gap. It is cut as soon as every component
that may still cover it does; a slower component is waited for ``wait_ns`` of host time, then the window is cut without it (revision 0),
and once more when that component has come (revision 1). A component that lies more than ``max_lead`` samples behind the newest data is
not waited for: that bounds memory, to about ``4 (length + 2 max_lead)`` bytes for each component and as much again while growing
(at the defaults 30 kB, 60 kB at most), and makes offline runs, which have no clock, decide as live ones do.

Where data begin, components do so one after the other, as their first records do. Windows that lack those that begin later are waited for
until the first window with these is full; they say where that begins (:attr:`~xiaod.domain.types.Window.until`), and what can be seen in it
is left to it.

Where data end, at a gap or at the end of the stream, one window more is cut, off the multiples of ``hop``, so that the last
samples are looked at too. Stretches shorter than a window and a hop may give none.

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> buffer = InstrumentBuffer(BufferSettings(length=1000, hop=50))
>>> for component in "ZNE":
...     channel = Channel("XX", "A", "", "HH" + component)
...     _ = buffer.insert(Segment(channel, 0, 100.0, np.ones(1100, np.int32)), now_ns=None)
>>> [(window.index, window.components) for window in buffer.finish(None)]
[(0, 'ZNE'), (50, 'ZNE'), (100, 'ZNE')]
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from xiaod.config import BufferConfig, WindowConfig
from xiaod.domain.components import KNOWN_LETTERS, MISSING, ROWS, rows_of
from xiaod.domain.onsets import CONFIRM_SHIFT
from xiaod.domain.timegrid import (
    BEFORE_ALL,
    GRID_NS,
    GRID_RATE_HZ,
    NS_PER_S,
    grid_index,
    ns_from_s,
    samples_from_s,
)
from xiaod.domain.timeliness import UNLIMITED, TimeLimits
from xiaod.domain.types import Arrival, Instrument, Segment, Window
from xiaod.waveform.backfill import Backfill
from xiaod.waveform.channel import ChannelBuffer, Contradiction, Gap, RecordOutcome
from xiaod.waveform.data_account import Coverage
from xiaod.waveform.resample import usable_rate
from xiaod.waveform.run import Run

ADVANCING = frozenset({RecordOutcome.GOOD, RecordOutcome.OVERLAPPING, RecordOutcome.CLOCK_STEP})
"""Outcomes of records whose samples were used."""
RETIRED = samples_from_s(3600.0)
"""A component that is so far behind gives its row to one that has none: sensors are exchanged, and come back as Z12 instead of ZNE."""
LEVEL_HELD = float(2**23)
"""Counts by which a component may move away from what is taken out of its samples, before something else is."""
FOREVER_NS = 1 << 63
"""Host time that never comes."""


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """Limits of a buffer; samples are those of the 100 Hz grid. The defaults are those of the configuration."""

    length: int = samples_from_s(WindowConfig().length_s)
    hop: int = samples_from_s(WindowConfig().hop_s)
    wait_ns: int = ns_from_s(BufferConfig().max_component_wait_s)
    max_lead: int = samples_from_s(BufferConfig().max_lead_s)
    limits: TimeLimits = UNLIMITED
    """What is refused for its time; in an offline run nothing is."""

    @property
    def history(self) -> int:
        """Samples before a window that it carries along: a hop, and the shifts at which an onset is confirmed."""
        return self.hop + CONFIRM_SHIFT + 1


@dataclass(slots=True)
class _Revision:
    """Where a sequence of windows stands."""

    last: int | None = None
    letters: frozenset[str] = frozenset()
    levels: Mapping[str, float] = field(default_factory=dict)
    """What was taken out of the samples of each component."""


class InstrumentBuffer:
    """Buffers and window cutter of one instrument; no clock of its own."""

    def __init__(self, settings: BufferSettings, letters: Collection[str] = ()) -> None:
        """Begin; ``letters`` are components that the instrument has shown before: they count for the rows of the others."""
        self._settings = settings
        self._known = frozenset(letters)
        self._coverages: dict[str, Coverage] = {}
        self.windows = 0
        """Windows cut so far."""
        self.last_gaps: list[Gap] = []
        """Gaps that became facts because no more will come."""
        self._channels = {letter: self._new_channel(letter) for letter in letters}
        self._instrument = Instrument("", "", "", "")
        self._rows = self._rows_now()
        self._cursor: int | None = None
        self._beginning = BEFORE_ALL
        """First window since there was none before it: others of its components may be about to begin too."""
        self._revisions = (_Revision(), _Revision())
        self._incomplete: deque[tuple[int, frozenset[str]]] = deque()
        self._leads: deque[tuple[int, int]] = deque()
        self._backfill = Backfill()
        self._host_ns: int | None = None

    def insert(self, segment: Segment, now_ns: int | None) -> RecordOutcome:
        """Take a record; ``now_ns``, of a steady clock, is None in an offline run. Call :meth:`cut` afterwards."""
        letter = segment.channel.component
        if letter not in KNOWN_LETTERS:
            return RecordOutcome.COMPONENT
        if not usable_rate(segment.sampling_rate_hz):
            return RecordOutcome.RATE
        channel = self._channels.get(letter)
        if (refused := self._untimely(segment, channel)) is not None:
            return refused
        self._instrument = segment.channel.instrument
        if channel is None:
            channel = self._channels[letter] = self._new_channel(letter)
            self._rows = self._rows_now()
        self._backfill.goes_on(letter, grid_index(segment.start_ns), channel.edge)
        outcome = channel.insert(segment, now_ns or 0)
        if outcome is RecordOutcome.CLOCK_STEP and self._backfill.explains(
            channel.late_ns / NS_PER_S, self.edge
        ):
            outcome = RecordOutcome.LATE
        if outcome is RecordOutcome.CLOCK_STEP:
            self._backfill.set_back({one: other.edge for one, other in self._channels.items()})
            self._start_anew()
            channel = self._channels[letter]
            channel.insert(segment, now_ns or 0)
        if outcome in ADVANCING and now_ns is not None:
            edge = channel.edge
            if not self._leads or edge > self._leads[-1][0]:
                self._leads.append((edge, now_ns))
        return outcome

    def cut(self, now_ns: int | None, host_ns: int | None = None) -> tuple[list[Window], list[Gap]]:
        """Windows that are ready, in order, and gaps that became facts since; ``host_ns`` is the time that latencies are told by."""
        self._host_ns = now_ns if host_ns is None else host_ns
        edge = self.edge
        # Without a clock nothing but newer data ends a wait: what a component has held back counts before it is given up.
        gaps = [
            gap
            for channel in self._channels.values()
            for gap in channel.release(now_ns, final=now_ns is None and self._left_behind(channel, edge))
        ]
        if len(self._rows) < len(self._channels):
            self._retire(edge)
        windows = list(self._ready(now_ns, final=False))
        self._forget()
        return windows, gaps

    def finish(self, now_ns: int | None, host_ns: int | None = None) -> Iterator[Window]:
        """No more data will come: all windows that are left, cut as they are asked for."""
        self._host_ns = now_ns if host_ns is None else host_ns
        self.last_gaps = [
            gap for channel in self._channels.values() for gap in channel.release(now_ns, final=True)
        ]
        yield from self._ready(now_ns, final=True)
        self._forget()

    @property
    def position(self) -> int:
        """Grid index of the next window; :data:`BEFORE_ALL` before the first."""
        return BEFORE_ALL if self._cursor is None else self._cursor

    @property
    def deadline_ns(self) -> int | None:
        """Host time at which :meth:`cut` should be called even if nothing comes; None when nothing waits."""
        times = [due for channel in self._channels.values() if (due := channel.release_ns) is not None]
        if self._cursor is not None and (covering := self._covering(self._cursor)):
            until_ns = self._waited_until_ns(self._cursor, covering, self.edge)
            if until_ns is not None and until_ns < FOREVER_NS:
                times.append(until_ns)
        return min(times, default=None)

    @property
    def edge(self) -> int:
        """Grid index just after the newest data of any component; :data:`BEFORE_ALL` when there are none."""
        return max((channel.edge for channel in self._channels.values()), default=BEFORE_ALL)

    @property
    def filled(self) -> int:
        """Samples without a gap up to the newest one, of the component that has most; more than a window are not kept for long."""
        runs = [channel.runs[-1] for channel in self._channels.values() if channel.runs]
        return max((run.stop - run.first for run in runs if run.started), default=0)

    @property
    def coverage(self) -> Coverage:
        """Data that came so far, of the component that has most; the longest stretch of any."""
        coverages = self._coverages.values()
        return Coverage(
            max((coverage.data_s for coverage in coverages), default=0.0),
            max((coverage.longest_s for coverage in coverages), default=0.0),
        )

    def take_contradictions(self) -> list[Contradiction]:
        """Records that contradict others, of those that came since this was asked."""
        found = [one for channel in self._channels.values() for one in channel.contradictions]
        for channel in self._channels.values():
            channel.contradictions.clear()
        return found

    @property
    def held_bytes(self) -> int:
        """Memory held by samples."""
        return sum(run.held_bytes for channel in self._channels.values() for run in channel.runs)

    def _untimely(self, segment: Segment, channel: ChannelBuffer | None) -> RecordOutcome | None:
        """Whether a record is refused for its time, by the host's clock when it came."""
        if segment.arrived_ns is None:
            return None
        correction_ns = self._settings.limits.correction_ns(
            segment.start_ns,
            segment.next_ns,
            segment.arrived_ns,
            None if channel is None else channel.edge * GRID_NS,
        )
        if not correction_ns:
            return None
        return RecordOutcome.FUTURE if correction_ns > 0 else RecordOutcome.EXPIRED

    def _new_channel(self, letter: str) -> ChannelBuffer:
        settings, coverage = self._settings, self._coverages.setdefault(letter, Coverage())
        return ChannelBuffer(settings.wait_ns, settings.max_lead, settings.length, coverage)

    def _rows_now(self) -> list[tuple[str, int]]:
        """Components and their rows; one odd record of another component moves none that has filled a window."""
        rows, window_s = rows_of(self._channels), self._settings.length / GRID_RATE_HZ
        proven = rows_of(
            [
                letter
                for letter in self._channels
                if letter in self._known or self._coverages[letter].data_s >= window_s
            ]
        )
        if any(rows.get(letter) != row for letter, row in proven.items()):
            rows = proven
        return sorted(rows.items(), key=lambda item: item[1])

    def _start_anew(self) -> None:
        before = self._channels
        self._channels = {letter: self._new_channel(letter) for letter in before}
        for letter, channel in self._channels.items():
            # What has been noticed and not been asked for yet is still to be said.
            channel.contradictions += before[letter].contradictions
        self._cursor = None
        self._beginning = BEFORE_ALL
        self._revisions = (_Revision(), _Revision())
        self._incomplete.clear()
        self._leads.clear()

    def _ready(self, now_ns: int | None, final: bool) -> Iterator[Window]:
        edge = self.edge
        while self._cursor is not None or self._find_start():
            start = self._cursor
            if start is None:
                break
            covering = self._covering(start)
            hoping = not final and self._hopes(start, covering, edge)
            if not covering:
                if hoping:
                    break
                yield from self._tail(now_ns)
                if not self._find_start(start + 1):
                    break
                continue
            until_ns = None if final else self._waited_until_ns(start, covering, edge)
            if until_ns is not None and (now_ns is None or now_ns < until_ns):
                break
            yield self._window(start, covering, 0, now_ns, self._fuller(start, covering))
            if hoping:
                self._incomplete.append((start, frozenset(covering)))
            self._cursor = start + self._settings.hop
        yield from self._completed(now_ns, final, edge)

    def _completed(self, now_ns: int | None, final: bool, edge: int) -> Iterator[Window]:
        """Windows that were cut without a component that has come since."""
        while self._incomplete:
            start, had = self._incomplete[0]
            covering = self._covering(start)
            if not final and self._hopes(start, covering, edge):
                return
            self._incomplete.popleft()
            if covering.keys() > had:
                yield self._window(start, covering, 1, now_ns)

    def _tail(self, now_ns: int | None) -> Iterator[Window]:
        """The window that ends where the data of the last window's components end."""
        revision = self._revisions[0]
        if revision.last is None or revision.last % self._settings.hop:
            return
        stops = [
            run.stop
            for letter in revision.letters
            for run in self._channels[letter].runs
            if run.started and run.first <= revision.last < run.stop
        ]
        if stops and min(stops) - self._settings.length > revision.last:
            start = min(stops) - self._settings.length
            yield self._window(
                start,
                {letter: run for letter, run in self._covering(start).items() if letter in revision.letters},
                0,
                now_ns,
            )

    def _find_start(self, after: int = BEFORE_ALL) -> bool:
        """Set the cursor to the first possible window from ``after`` on; False when there is no data for one."""
        starts = [
            max(after, run.first)
            for channel in self._channels.values()
            for run in channel.runs
            if run.started and run.stop > after
        ]
        if not starts:
            return False
        self._cursor = self._first_window(min(starts))
        last = self._revisions[0].last
        if last is None or self._cursor - last > self._settings.hop:
            self._beginning = self._cursor
        return True

    def _first_window(self, first: int) -> int:
        """First window that may begin at or behind a sample."""
        return -(-first // self._settings.hop) * self._settings.hop

    def _covering(self, start: int) -> dict[str, Run]:
        """The runs that cover a window, by component."""
        stop = start + self._settings.length
        return {
            letter: run
            for letter, _ in self._rows
            for run in self._channels[letter].runs
            if run.first <= start and run.stop >= stop and run.started
        }

    def _hopes(self, start: int, covering: Container[str], edge: int) -> bool:
        """Whether a component that does not cover a window may still come to."""
        for letter, _ in self._rows:
            channel = self._channels[letter]
            if letter in covering or self._left_behind(channel, edge):
                continue
            # Only the open run grows, unless it has been overtaken by records that wait behind a hole.
            if not channel.runs or not channel.runs[-1].started or channel.runs[-1].first <= start:
                return True
        return False

    def _waited_until_ns(self, start: int, covering: Container[str], edge: int) -> int | None:
        """Host time until which a window is waited for; None when nothing that it lacks may still come."""
        length, wait_ns = self._settings.length, self._settings.wait_ns
        times = []
        if self._hopes(start, covering, edge):
            # First records that have come, and wait for those before them, are not slow.
            begun = not any(channel.begins for channel in self._channels.values())
            times.append(self._led_ns(start + length) + wait_ns if begun else FOREVER_NS)
        times += [
            self._led_ns(first + length) + wait_ns
            for first, run, channel in self._beginners(start, covering)
            if run.stop < first + length and run is channel.runs[-1] and not self._left_behind(channel, edge)
        ]
        return max(times, default=None)

    def _fuller(self, start: int, covering: Container[str]) -> int | None:
        """The first window that shows a component more than one at the beginning of the data, None when there is none."""
        length = self._settings.length
        return min(
            (first for first, run, _ in self._beginners(start, covering) if run.stop >= first + length),
            default=None,
        )

    def _beginners(self, start: int, covering: Container[str]) -> Iterator[tuple[int, Run, ChannelBuffer]]:
        """Components that began after others, within a window: their first window, its run, and the channel of that."""
        for letter, _ in self._rows:
            if letter in covering:
                continue
            for run in self._channels[letter].runs:
                first = self._first_window(run.began)
                if run.started and start < first <= self._beginning + self._settings.length:
                    yield first, run, self._channels[letter]

    def _left_behind(self, channel: ChannelBuffer, edge: int) -> bool:
        """Whether a component is so far behind the newest data that it is not waited for."""
        return edge - channel.edge > self._settings.max_lead

    def _led_ns(self, stop: int) -> int:
        """Host time at which the fastest component had come up to a grid index; as far as it has come, when it has not."""
        if not self._leads:
            return 0
        place = bisect_left(self._leads, stop, key=lambda lead: lead[0])
        return self._leads[min(place, len(self._leads) - 1)][1]

    def _window(
        self, start: int, runs: dict[str, Run], number: int, now_ns: int | None, until: int | None = None
    ) -> Window:
        stop = start + self._settings.length
        letters = frozenset(runs)
        oldest = max(run.first for run in runs.values())
        begin = max(start - self._settings.history, min(oldest, start))
        samples = np.zeros((ROWS, stop - begin), np.float32)
        names = [MISSING] * ROWS
        arrived_ns, record_end_ns, offset_ns = 0, 0, None
        revision = self._revisions[number]
        joins = (
            revision.last is not None
            and start - revision.last <= self._settings.hop
            and start > revision.last
        )
        fresh = not joins or letters > revision.letters
        levels = {letter: run.level(start, stop) for letter, run in runs.items()}
        if not fresh:
            # One that takes the place of another was not in the window before.
            kept = {letter: revision.levels.get(letter, level) for letter, level in levels.items()}
            # Who follows the stream would take a change for a step in the ground, unless it begins anew.
            fresh = any(abs(levels[letter] - kept[letter]) > LEVEL_HELD for letter in levels)
            levels = levels if fresh else kept
        for letter, row in self._rows:
            run = runs.get(letter)
            if run is None:
                continue
            samples[row] = run.view(begin, stop, levels[letter])
            names[row] = letter
            offset_ns = run.offset_at(stop - 1) if offset_ns is None else offset_ns
            if now_ns is not None:
                arrived_ns, record_end_ns = max((arrived_ns, record_end_ns), run.arrival_of(stop - 1))
        samples.flags.writeable = False
        revision.last, revision.letters, revision.levels = start, letters, levels
        self.windows += 1
        return Window(
            self._instrument,
            start,
            offset_ns or 0,
            samples[:, start - begin :],
            "".join(names),
            number,
            fresh,
            None if now_ns is None else Arrival(self._host_ns or 0, arrived_ns, record_end_ns),
            samples[:, : start - begin],
            until,
        )

    def _forget(self) -> None:
        """Let go of what no window will need."""
        if self._cursor is None:
            return
        needed = min(self._cursor, self._incomplete[0][0]) if self._incomplete else self._cursor
        # The tail window reaches back before the cursor, and each window's history before that.
        needed -= self._settings.hop + self._settings.history
        for channel in self._channels.values():
            while len(channel.runs) > 1 and channel.runs[0].stop <= needed:
                del channel.runs[0]
            for run in channel.runs:
                if run.started:
                    run.trim(needed)
        while len(self._leads) > 1 and self._leads[0][0] < self._cursor + self._settings.length:
            self._leads.popleft()

    def _retire(self, edge: int) -> None:
        shown = {letter for letter, _ in self._rows}
        for letter, own in [(letter, channel.edge) for letter, channel in self._channels.items()]:
            if edge - own > RETIRED and (letter in shown or own != BEFORE_ALL):
                del self._channels[letter]
                for revision in self._revisions:
                    revision.letters -= {letter}
        self._rows = self._rows_now()

"""Which windows of one instrument are due: windows of one length on the absolute grid.

A window is ``length`` samples long and begins at a multiple of ``hop`` and a phase, so that windows lie alike however the data were cut
into records and whenever they began; the phases of stations differ, so that they are not all due at once. A window holds a component only
if that component covers it without a gap. It is cut as soon as every component that may still cover it does; a slower component is waited
for ``wait_ns`` of delivery time (:mod:`xiaod.waveform.delivery_clock`), then the window is cut without it (revision 0), and once more when
that component has come (revision 1). A component that lies more than ``max_lead`` samples behind the newest data is not waited for: that
bounds what rings must hold, and makes offline runs, which have no clock, decide as live ones do.

Where data begin, the components begin one after the other, as their first records do. Windows that lack a component which begins later
wait until the first window with that component is full, and carry the start of it (:attr:`~xiaod.domain.types.Window.until`): they are
searched up to there only, and the fuller window from there on.

Where data end, at a gap or at the end of the stream, one window more is cut, off the multiples of ``hop``, so that the last
samples are looked at too. Stretches shorter than a window and a hop may give none.

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> from xiaod.waveform.instrument import BufferSettings
>>> from xiaod.waveform.rings import Rings
>>> settings = BufferSettings(length=1000, hop=50)
>>> channels = InstrumentChannels(settings, Rings(settings.ring))
>>> for component in "ZNE":
...     channel = Channel("XX", "A", "", "HH" + component)
...     _ = channels.insert(Segment(channel, 0, 100.0, np.ones(1100, np.int32)), delivery_ns=None)
>>> _ = channels.release(None, final=True)
>>> schedule, batches = WindowSchedule(channels), Batches(settings.history, settings.length, most=8)
>>> [(window.index, window.components) for window in schedule.cut(None, None, batches, final=True)]
[(0, 'ZNE'), (50, 'ZNE'), (100, 'ZNE')]
"""

from collections import deque
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from xiaod.domain.components import MISSING, ROWS
from xiaod.domain.timegrid import BEFORE_ALL
from xiaod.domain.types import Arrival, Window
from xiaod.waveform.batches import Batches
from xiaod.waveform.instrument import InstrumentChannels, Needed
from xiaod.waveform.stretch import Stretch

LEVEL_HELD = float(2**23)
"""Counts by which the level of a component (see :mod:`xiaod.waveform.stretch`) may change before a new one is subtracted."""
FOREVER_NS = 1 << 63
"""Delivery time that never comes."""


@dataclass(slots=True)
class _Revision:
    """Where a sequence of windows stands."""

    last: int | None = None
    letters: frozenset[str] = frozenset()
    levels: Mapping[str, float] = field(default_factory=dict)
    """What was taken out of the samples of each component."""


class WindowSchedule:
    """Windows of one instrument."""

    def __init__(self, channels: InstrumentChannels, phase: int = 0) -> None:
        """Begin.

        Args:
            channels: what windows are cut from.
            phase: samples by which their beginnings differ from multiples of a hop.
        """
        self._settings = channels.settings
        self._channels = channels
        self._phase = phase
        self.windows = 0
        """Windows cut so far."""
        self._resets = channels.resets
        self._start_anew()

    def is_due(self) -> bool:
        """Whether anything may be cut: a look that costs little, after every record."""
        if self._next is None or self._incomplete or self._resets != self._channels.resets:
            return True
        return self._channels.edge >= self._next + self._settings.length or self._broken()

    def cut(
        self, delivery_ns: int | None, host_ns: int | None, batches: Batches, final: bool = False
    ) -> Iterator[Window]:
        """Windows that are ready, in order; each is in the batches when it is given.

        Args:
            delivery_ns: delivery time, None in an offline run.
            host_ns: host time, from which latencies are computed; None in an offline run.
            batches: where their samples go.
            final: no more data will come: all windows that are left.
        """
        if self._resets != self._channels.resets:
            self._resets = self._channels.resets
            self._start_anew()
        for start, covering, revision, until in self._ready(delivery_ns, final):
            yield self._window(start, covering, revision, until, host_ns, batches)

    @property
    def position(self) -> int:
        """Grid index of the next window; :data:`BEFORE_ALL` before the first."""
        return BEFORE_ALL if self._next is None else self._next

    @property
    def needed(self) -> Needed:
        """What the next windows need."""
        if self._next is None:
            return Needed(BEFORE_ALL, BEFORE_ALL)
        first = min(self._next, self._incomplete[0][0]) if self._incomplete else self._next
        # The tail window reaches back before the next one, and each window's history before that.
        first -= self._settings.hop + self._settings.history
        return Needed(first, self._next + self._settings.length)

    @property
    def deadline_ns(self) -> int | None:
        """Delivery time at which :meth:`cut` should be called even if nothing comes; None when nothing waits."""
        if self._next is None or self._channels.edge < self._next + self._settings.length:
            return None
        if not (covering := self._covering(self._next)):
            return None
        until_ns = self._waited_until_ns(self._next, covering)
        return until_ns if until_ns is not None and until_ns < FOREVER_NS else None

    def _start_anew(self) -> None:
        self._next: int | None = None
        self._beginning = BEFORE_ALL
        """First window since there was none before it: others of its components may be about to begin too."""
        self._revisions = (_Revision(), _Revision())
        self._incomplete: deque[tuple[int, frozenset[str]]] = deque()

    def _broken(self) -> bool:
        """Whether a component has begun again after a gap: then the windows before it may be the last."""
        next_window = self.position
        return any(
            channel.stretches and channel.stretches[-1].started and channel.stretches[-1].began > next_window
            for channel in self._channels.channels.values()
        )

    def _ready(
        self, delivery_ns: int | None, final: bool
    ) -> Iterator[tuple[int, dict[str, Stretch], int, int | None]]:
        while self._next is not None or self._find_start():
            start = self._next
            if start is None:
                break
            covering = self._covering(start)
            may_still_come = not final and self._may_still_cover(start, covering)
            if not covering:
                if may_still_come:
                    break
                yield from self._tail()
                if not self._find_start(start + 1):
                    break
                continue
            until_ns = None if final else self._waited_until_ns(start, covering)
            if until_ns is not None and (delivery_ns is None or delivery_ns < until_ns):
                break
            yield start, covering, 0, self._fuller(start, covering)
            if may_still_come:
                self._incomplete.append((start, frozenset(covering)))
            self._next = start + self._settings.hop
        yield from self._completed(final)

    def _completed(self, final: bool) -> Iterator[tuple[int, dict[str, Stretch], int, int | None]]:
        """Windows that were cut without a component that has come since."""
        while self._incomplete:
            start, had = self._incomplete[0]
            covering = self._covering(start)
            if not final and self._may_still_cover(start, covering):
                return
            self._incomplete.popleft()
            if covering.keys() > had:
                yield start, covering, 1, None

    def _tail(self) -> Iterator[tuple[int, dict[str, Stretch], int, int | None]]:
        """The window that ends where the data of the last window's components end."""
        before = self._revisions[0]
        if before.last is None or (before.last - self._phase) % self._settings.hop:
            return
        stops = [
            stretch.stop
            for letter in before.letters
            if letter in self._channels.channels
            for stretch in self._channels.channels[letter].stretches
            if stretch.started and stretch.first <= before.last < stretch.stop
        ]
        if stops and min(stops) - self._settings.length > before.last:
            start = min(stops) - self._settings.length
            yield (
                start,
                {
                    letter: stretch
                    for letter, stretch in self._covering(start).items()
                    if letter in before.letters
                },
                0,
                None,
            )

    def _find_start(self, after: int = BEFORE_ALL) -> bool:
        """Make the first possible window the next one, from ``after`` on; False when there is no data for one."""
        starts = [
            max(after, stretch.first)
            for channel in self._channels.channels.values()
            for stretch in channel.stretches
            if stretch.started and stretch.stop > after
        ]
        if not starts:
            return False
        self._next = self._first_window(min(starts))
        last = self._revisions[0].last
        if last is None or self._next - last > self._settings.hop:
            self._beginning = self._next
        return True

    def _first_window(self, first: int) -> int:
        """First window that may begin at or after a sample."""
        return -(-(first - self._phase) // self._settings.hop) * self._settings.hop + self._phase

    def _covering(self, start: int) -> dict[str, Stretch]:
        """The stretches that cover a window, by component."""
        stop = start + self._settings.length
        return {
            letter: stretch
            for letter, _ in self._channels.rows
            for stretch in self._channels.channels[letter].stretches
            if stretch.stop >= stop and stretch.first <= start and stretch.started
        }

    def _may_still_cover(self, start: int, covering: Container[str]) -> bool:
        """Whether a component that does not cover a window yet may still come to cover it."""
        for letter, _ in self._channels.rows:
            if letter in covering:
                continue
            channel = self._channels.channels[letter]
            if self._channels.left_behind(letter):
                continue
            # Only the open stretch grows, unless it has been overtaken by records that wait for missing data before them.
            open_one = channel.stretches[-1] if channel.stretches else None
            if open_one is None or not open_one.started or open_one.first <= start:
                return True
        return False

    def _waited_until_ns(self, start: int, covering: Container[str]) -> int | None:
        """Delivery time until which a window is waited for; None when nothing that it lacks may still come."""
        channels, length = self._channels, self._settings.length
        wait_ns = channels.settings.wait_ns
        times = []
        if self._may_still_cover(start, covering):
            # First records that have come, and wait for those before them, are not slow.
            begun = not any(channel.begins for channel in channels.channels.values())
            times.append(channels.led_ns(start + length) + wait_ns if begun else FOREVER_NS)
        times += [
            channels.led_ns(first + length) + wait_ns
            for first, stretch, letter in self._begun_later(start, covering)
            if stretch.stop < first + length
            and stretch is channels.channels[letter].stretches[-1]
            and not channels.left_behind(letter)
        ]
        return max(times, default=None)

    def _fuller(self, start: int, covering: Container[str]) -> int | None:
        """The first window that shows a component more than one at the beginning of the data, None when there is none."""
        length = self._settings.length
        return min(
            (
                first
                for first, stretch, _ in self._begun_later(start, covering)
                if stretch.stop >= first + length
            ),
            default=None,
        )

    def _begun_later(self, start: int, covering: Container[str]) -> Iterator[tuple[int, Stretch, str]]:
        """Components that began after others, within a window: their first window, its stretch, and the component."""
        if start > self._beginning + self._settings.length:
            return
        for letter, _ in self._channels.rows:
            if letter in covering:
                continue
            for stretch in self._channels.channels[letter].stretches:
                first = self._first_window(stretch.began)
                if stretch.started and start < first <= self._beginning + self._settings.length:
                    yield first, stretch, letter

    def _window(
        self,
        start: int,
        stretches: dict[str, Stretch],
        revision: int,
        until: int | None,
        host_ns: int | None,
        batches: Batches,
    ) -> Window:
        length, history = self._settings.length, self._settings.history
        stop, letters = start + length, frozenset(stretches)
        begin = max(start - history, min(max(one.first for one in stretches.values()), start))
        before = self._revisions[revision]
        joins = before.last is not None and start - before.last <= self._settings.hop and start > before.last
        discontinuous = not joins or letters > before.letters
        levels = {letter: stretch.level(start, stop) for letter, stretch in stretches.items()}
        if not discontinuous:
            # One that takes the place of another was not in the window before.
            kept = {letter: before.levels.get(letter, level) for letter, level in levels.items()}
            # A network that follows the stream would take a change for a step in the ground, unless it begins anew.
            discontinuous = any(abs(levels[letter] - kept[letter]) > LEVEL_HELD for letter in levels)
            levels = levels if discontinuous else kept
        samples = batches.row()
        names = [MISSING] * ROWS
        arrived_ns, record_end_ns, offset_ns = 0, 0, None
        for letter, row in self._channels.rows:
            if (stretch := stretches.get(letter)) is None:
                continue
            stretch.read(begin, stop, levels[letter], samples[row, begin - start + history :])
            names[row] = letter
            offset_ns = stretch.offset_at(stop - 1) if offset_ns is None else offset_ns
            if host_ns is not None:
                arrived_ns, record_end_ns = max((arrived_ns, record_end_ns), stretch.arrival_of(stop - 1))
        before.last, before.letters, before.levels = start, letters, levels
        self.windows += 1
        window = Window(
            self._channels.instrument,
            start,
            offset_ns or 0,
            samples[:, history:],
            "".join(names),
            revision,
            discontinuous,
            None if host_ns is None else Arrival(host_ns, arrived_ns, record_end_ns),
            samples[:, begin - start + history : history],
            until,
        )
        batches.add(window)
        return window

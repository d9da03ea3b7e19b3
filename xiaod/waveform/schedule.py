"""Which windows of one instrument are due: windows of one length on the absolute grid.

A window is ``length`` samples long and begins at a multiple of ``hop`` and a phase, so that windows lie alike however the data were cut
into records and whenever they began; the phases of stations differ, so that they are not all due at once. Where data begin, the first
window begins at a multiple of :data:`FIRST_STEP`, so that a long hop leaves out none of them. A window holds a component only if that
component covers it without a gap. It is cut as soon as every component that may still cover it does; a slower component is waited for
``wait_ns`` of delivery time (:mod:`xiaod.waveform.delivery_clock`), then the window is cut without it (revision 0), and once more when
that component has come (revision 1). A component that lies more than ``max_lead`` samples behind the newest data is not waited for: that
bounds what rings must hold, and makes offline runs, which have no clock, decide as live ones do.

Where data begin, the components begin one after the other, as their first records do. Windows that lack a component which begins later
wait until the first window with that component is full, and carry the start of it (:attr:`~xiaod.domain.types.Window.until`): they are
searched up to there only, and the fuller window from there on.

Where data end, at a gap or at the end of the stream, one window more is cut, off the multiples of ``hop``, so that the last
samples are looked at too. Stretches shorter than a window and a step may give none.

>>> import numpy as np
>>> from xiaod.domain.types import Channel, Segment
>>> from xiaod.waveform.batches import Batches
>>> from xiaod.waveform.instrument import BufferSettings
>>> from xiaod.waveform.rings import Rings
>>> settings = BufferSettings(length=1000, hop=50)
>>> channels = InstrumentChannels(settings, settings.rings())
>>> for component in "ZNE":
...     channel = Channel("XX", "A", "", "HH" + component)
...     _ = channels.insert(Segment(channel, 0, 100.0, np.ones(1100, np.int32)), delivery_ns=None)
>>> _ = channels.release(None, final=True)
>>> schedule = WindowSchedule(channels, Cutting(length=1000, hop=50))
>>> batches = Batches(schedule.cutting.history, schedule.cutting.length, most=8)
>>> [(window.index, window.components) for window in schedule.cut(None, None, batches, final=True)]
[(0, 'ZNE'), (50, 'ZNE'), (100, 'ZNE')]
"""

from collections import deque
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from xiaod.domain.components import MISSING, ROWS
from xiaod.domain.timegrid import AFTER_ALL, BEFORE_ALL, samples_from_s
from xiaod.domain.types import Arrival, Stage, Window
from xiaod.waveform.awake import Awake
from xiaod.waveform.batches import Gathered
from xiaod.waveform.instrument import Covered, InstrumentChannels, Needed
from xiaod.waveform.stretch import Stretch

LEVEL_HELD = float(2**23)
"""Counts by which the level of a component (see :mod:`xiaod.waveform.stretch`) may change before a new one is subtracted."""
FOREVER_NS = 1 << 63
"""Delivery time that never comes."""
FIRST_STEP = samples_from_s(0.5)
"""Where data begin, the first window begins at a multiple of it."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How windows are cut, in samples."""

    length: int
    """Of a window."""
    hop: int
    """Between the beginnings of two windows."""
    history: int = 0
    """Samples before a window that it carries along."""
    revised: bool = True
    """Whether a window is cut again when a component has come late."""
    to_end: bool = False
    """Whether the last window before a gap is to be searched up to its end, although the one before it may end there too."""
    most: int = 1
    """Windows without an overlap that may come as one."""
    stage: Stage = "final"
    """Of the picks that are made of them."""
    read: int | None = None
    """Samples at the end of a window of which the probabilities are read; None: all. See :class:`xiaod.domain.types.WindowBatch`."""


@dataclass(frozen=True, slots=True)
class Cuttings:
    """How windows are cut, and where in them probabilities are read."""

    final: Cutting
    early: Cutting | None = None
    """None: there are no early picks."""
    stream: Cutting | None = None
    """For a net that follows streams: early windows are cut where it notices something. None: everywhere."""
    ahead: int = 0
    """Samples by which an early window ends after the onset that it is cut for, at least."""
    max_batch: int = 1
    """Windows of a batch."""


@dataclass(slots=True)
class _Revision:
    """Where a sequence of windows stands."""

    last: int | None = None
    levels: Mapping[str, float] = field(default_factory=dict)
    """What was taken out of the samples of each component of the last window."""


class _Cut(NamedTuple):
    """A window to be cut."""

    start: int
    stretches: dict[str, Stretch]
    revision: int = 0
    until: int | None = None
    ends: bool = False
    hops: int = 1


class WindowSchedule:
    """Windows of one instrument."""

    def __init__(
        self,
        channels: InstrumentChannels,
        cutting: Cutting,
        phase: int = 0,
        awake: Awake | None = None,
    ) -> None:
        """Begin.

        Args:
            channels: what windows are cut from.
            cutting: how.
            phase: samples by which their beginnings differ from multiples of a hop.
            awake: where windows are wanted; None: everywhere.
        """
        self.cutting = cutting
        self._channels = channels
        self._phase = phase
        self._awake = awake
        # A stream is whole hops.
        self._step = cutting.hop if cutting.most > 1 else min(cutting.hop, FIRST_STEP)
        self.windows = 0
        """Windows cut so far."""
        self._until_ns: int | None = None
        """Delivery time until which the next window is waited for; None when it is not."""
        self._lags = False
        """Whether it is waited for because a component lags that had data where the window begins."""
        self._resets = channels.resets
        self._start_anew()

    def is_due(self, delivery_ns: int | None) -> bool:
        """Whether anything may be cut at a delivery time, None in an offline run: a look that costs little, after every record."""
        if self._resets != self._channels.resets:
            return True
        if self._awake is not None and not self._awake:
            return False
        if self._next is None or self._incomplete:
            return True
        stop = self._next + self.cutting.length
        if (covered := self._steady()) is None:
            return self._channels.edge >= stop or self._broken()
        if covered.stop >= stop:
            return True
        if covered.newest < stop:
            return self._until_ns is not None
        # A component lags: nothing is due while it is known until when it is waited for.
        until_ns = self.deadline_ns
        if not self._lags or until_ns is None:
            return True
        return delivery_ns is not None and delivery_ns >= until_ns

    def cut_whole(self, host_ns: int | None, batches: Gathered) -> bool:
        """Cut the windows that all components cover, where a short look tells that nothing else is to be decided.

        So it is after nearly every record. The arguments are those of :meth:`cut`.

        Returns:
            whether nothing else is due; otherwise ask :meth:`is_due`.
        """
        if self._resets != self._channels.resets or (covered := self._steady()) is None:
            return False
        length = self.cutting.length
        if self.position + length <= covered.stop:
            for _ in self._whole(covered, host_ns, batches):
                pass
        self._until_ns, self._lags = None, False
        return covered.newest < self.position + length

    def cut(
        self,
        delivery_ns: int | None,
        host_ns: int | None,
        batches: Gathered,
        final: bool = False,
    ) -> Iterator[Window]:
        """Windows that are ready, in order; each is in the batches when it is given.

        Args:
            delivery_ns: delivery time, None in an offline run.
            host_ns: host time, from which latencies are computed; None in an offline run.
            batches: where their samples go.
            final: the data end here: all windows that are left.
        """
        if self._resets != self._channels.resets:
            self._resets = self._channels.resets
            self._start_anew()
        self._until_ns, self._lags = None, False
        if not final and (covered := self._steady()) is not None:
            yield from self._whole(covered, host_ns, batches)
            self._until_ns = self._lags_until_ns(covered)
            self._lags = self._until_ns is not None
            if not self.is_due(delivery_ns):
                return
        for cut in self._ready(delivery_ns, final):
            yield self._window(cut, host_ns, batches)

    @property
    def position(self) -> int:
        """Grid index of the next window; :data:`BEFORE_ALL` before the first."""
        return BEFORE_ALL if self._next is None else self._next

    @property
    def due(self) -> Needed:
        """What the next window needs, as long as all components cover what lies before it.

        Until they cover it too, nothing is to be cut. A stop :data:`BEFORE_ALL` says that this is not known without a look,
        :data:`AFTER_ALL` that no window is wanted.
        """
        if self._awake is not None:
            return Needed(AFTER_ALL, BEFORE_ALL if self._awake else AFTER_ALL)
        start, length = self._next, self.cutting.length
        if start is None or start <= self._beginning + length or self._incomplete:
            return Needed(BEFORE_ALL, BEFORE_ALL)
        return Needed(start, start + length)

    @property
    def needed(self) -> Needed:
        """What the next windows need."""
        following = self.position
        if self._awake is not None and not self._awake:
            # Nothing is wanted of what was looked at, however long ago the last window was.
            following = max(following, self._awake.looked_until - self.cutting.length)
        if following == BEFORE_ALL:
            return Needed(BEFORE_ALL, BEFORE_ALL)
        first = min(following, self._incomplete[0][0]) if self._incomplete else following
        # The tail window reaches back before the next one, and each window's history before that.
        first -= self.cutting.hop + self.cutting.history
        return Needed(first, following + self.cutting.length)

    @property
    def deadline_ns(self) -> int | None:
        """Delivery time at which :meth:`cut` should be called even if nothing comes; None when nothing waits."""
        until_ns = self._until_ns
        return until_ns if until_ns is not None and until_ns < FOREVER_NS else None

    def _start_anew(self) -> None:
        self._next: int | None = None
        self._beginning = BEFORE_ALL
        """First window since there was none before it: others of its components may be about to begin too."""
        self._revisions = (_Revision(), _Revision())
        self._until_ns, self._lags = None, False
        self._tail_cut = True
        """Whether the window at the end of the data has been cut, or there is none."""
        if self._awake is not None:
            self._awake.forget()
        self._incomplete: deque[tuple[int, frozenset[str]]] = deque()

    def _broken(self) -> bool:
        """Whether a component has begun again after a gap: then the windows before it may be the last."""
        next_window = self.position
        return any(
            channel.stretches and channel.stretches[-1].started and channel.stretches[-1].began > next_window
            for channel in self._channels.channels.values()
        )

    def _ready(self, delivery_ns: int | None, final: bool) -> Iterator[_Cut]:
        while self._next is not None or self._find_start():
            start = self._next
            if start is None or (start := self._first_wanted(start)) is None:
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
                self._until_ns = until_ns
                break
            until = self._fuller(start, covering)
            count = 1
            if self.cutting.most > 1 and not may_still_come and until is None:
                count += (min(one.stop for one in covering.values()) - start) // self.cutting.hop - 1
                count = min(count, self.cutting.most)
            if may_still_come and self.cutting.revised:
                self._incomplete.append((start, frozenset(covering)))
            self._tail_cut = False
            following = self._grid(start + (count - 1) * self.cutting.hop + 1)
            # Before the window is given: whoever wants only one goes on with the next one another time.
            self._next = following if until is None else min(following, until)
            yield _Cut(start, covering, until=until, hops=count)
        yield from self._completed(final)

    def _steady(self) -> Covered | None:
        """What the components cover, if all have data where the next window begins and none has been left behind; else None.

        So it is nearly always. Then the next window needs no look at each of them in turn.
        """
        covered, start = self._channels.covered, self._next
        if (
            covered is None
            or start is None
            or covered.first > start
            or start <= self._beginning + self.cutting.length
            or self._channels.edge - covered.stop > self._channels.settings.max_lead
            or self._awake is not None
            or self._incomplete
        ):
            return None
        return covered

    def _whole(self, covered: Covered, host_ns: int | None, batches: Gathered) -> Iterator[Window]:
        """Windows that all components cover with their newest data."""
        length, hop, most = self.cutting.length, self.cutting.hop, self.cutting.most
        start = self.position
        while start + length <= covered.stop:
            count = min(most, (covered.stop - start) // hop) if most > 1 else 1
            window = self._next_window(start, count, covered.first, host_ns, batches)
            if window is None:
                channels = self._channels.channels
                stretches = {letter: channels[letter].stretches[-1] for letter, _ in self._channels.rows}
                window = self._window(_Cut(start, stretches, hops=count), host_ns, batches)
            yield window
            self._tail_cut = False
            self._next = start = self._grid(start + (count - 1) * hop + 1)

    def _lags_until_ns(self, covered: Covered) -> int | None:
        """Delivery time until which the next window waits for a component that lags; None when none has reached its end."""
        stop = self.position + self.cutting.length
        if covered.newest < stop:
            return None
        return self._channels.led_ns(stop) + self._channels.settings.wait_ns

    def _first_wanted(self, start: int) -> int | None:
        """Move on to the first window that is wanted, from ``start`` on; None when it is not known yet which is."""
        if self._awake is None:
            return start
        length, looked_until = self.cutting.length, self._awake.looked_until
        if start == self._beginning:
            # The first window of data shows all that was noticed since they began.
            if start + length <= looked_until and self._awake.noticed_in(start, start + length):
                return start
            if start + length >= looked_until:
                return None
            start += 1
        stop = self._awake.first_wanted(start + length)
        if stop is None:
            # What is noticed next may want a window that ends as early as this, on the grid or not.
            self._next = max(start, looked_until - length)
            return None
        # The first one of a span ends where the span begins, wherever the grid lies: it must not wait for the next hop.
        self._next = max(start, stop - length)
        return self._next if self._next + length <= looked_until else None

    def _completed(self, final: bool) -> Iterator[_Cut]:
        """Windows that were cut without a component that has come since."""
        while self._incomplete:
            start, had = self._incomplete[0]
            covering = self._covering(start)
            if not final and self._may_still_cover(start, covering):
                return
            self._incomplete.popleft()
            if covering.keys() > had:
                yield _Cut(start, covering, revision=1)

    def _tail(self) -> Iterator[_Cut]:
        """The window that ends where the data of the last window's components end."""
        before, length = self._revisions[0], self.cutting.length
        if before.last is None or self._tail_cut or self._awake is not None:
            return
        self._tail_cut = True
        stops = [
            stretch.stop
            # One that has given its row to another is in no window any more.
            for letter, _ in self._channels.rows
            if letter in before.levels
            for stretch in self._channels.channels[letter].stretches
            if stretch.started and stretch.first <= before.last < stretch.stop
        ]
        if not stops:
            return
        start = min(stops) - length
        if start > before.last or (start == before.last and self.cutting.to_end):
            covering = {
                letter: stretch
                for letter, stretch in self._covering(start).items()
                if letter in before.levels
            }
            yield _Cut(start, covering, ends=True)

    def _find_start(self, after: int = BEFORE_ALL) -> bool:
        """Make the first possible window the next one, from ``after`` on; False when there is no data for one."""
        starts = [
            max(after, stretch.first)
            # One that has given its row to another begins nothing.
            for letter, _ in self._channels.rows
            for stretch in self._channels.channels[letter].stretches
            if stretch.started and stretch.stop > after
        ]
        if not starts:
            return False
        self._next = self._first_window(min(starts))
        last = self._revisions[0].last
        if last is None or self._next - last > self.cutting.hop:
            self._beginning = self._next
        return True

    def _first_window(self, first: int) -> int:
        """First window of data that begin with a sample."""
        return min(-(-first // self._step) * self._step, self._grid(first))

    def _grid(self, first: int) -> int:
        """First window on the grid that begins at or after a sample."""
        hop = self.cutting.hop
        return -(-(first - self._phase) // hop) * hop + self._phase

    def _covering(self, start: int) -> dict[str, Stretch]:
        """The stretches that cover a window, by component."""
        stop = start + self.cutting.length
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
        channels, length = self._channels, self.cutting.length
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
        length = self.cutting.length
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
        if start > self._beginning + self.cutting.length:
            return
        for letter, _ in self._channels.rows:
            if letter in covering:
                continue
            for stretch in self._channels.channels[letter].stretches:
                first = self._first_window(stretch.began)
                if stretch.started and start < first <= self._beginning + self.cutting.length:
                    yield first, stretch, letter

    def _window(self, cut: _Cut, host_ns: int | None, batches: Gathered) -> Window:
        start, stretches, cutting = cut.start, cut.stretches, self.cutting
        length, history = cutting.length + (cut.hops - 1) * cutting.hop, cutting.history
        stop = start + length
        oldest = max([one.first for one in stretches.values()])
        begin = max(start - history, min(oldest, start))
        before = self._revisions[cut.revision]
        if self._awake is not None:
            # Only the first one of data is new: what lies before others was looked at, without a window.
            discontinuous = self._first_window(oldest) >= start
        else:
            joins = before.last is not None and before.last <= start <= before.last + cutting.hop
            discontinuous = not joins or stretches.keys() > before.levels.keys()
        levels = {letter: stretch.level(start, stop) for letter, stretch in stretches.items()}
        if not discontinuous and levels != before.levels:
            # One that takes the place of another was not in the window before.
            kept = {letter: before.levels.get(letter, level) for letter, level in levels.items()}
            # A network that follows the stream would take a change for a step in the ground, unless it begins anew.
            discontinuous = any(abs(levels[letter] - kept[letter]) > LEVEL_HELD for letter in levels)
            levels = levels if discontinuous else kept
        samples = batches.row(length)
        names = [MISSING] * ROWS
        arrived, offset_ns, unused = (0, 0), None, begin - start + history
        for letter, row in self._channels.rows:
            if (stretch := stretches.get(letter)) is None:
                continue
            stretch.read(begin, stop, levels[letter], samples[row, unused:] if unused else samples[row])
            names[row] = letter
            if offset_ns is None:
                offset_ns = stretch.offset_at(stop - 1)
            if host_ns is not None and (last := stretch.arrival_of(stop - 1)) > arrived:
                arrived = last
        # The hops of one window count as windows.
        before.last, before.levels = stop - cutting.length, levels
        self.windows += 1
        window = Window(
            self._channels.instrument,
            start,
            offset_ns or 0,
            samples[:, history:] if history else samples,
            "".join(names),
            cut.revision,
            discontinuous,
            None if host_ns is None else Arrival(host_ns, *arrived),
            samples[:, unused:history] if history else None,
            cut.until,
            cut.ends,
            cutting.stage,
        )
        batches.add(window)
        return window

    def _next_window(
        self, start: int, hops: int, oldest: int, host_ns: int | None, batches: Gathered
    ) -> Window | None:
        """As :meth:`_window`, where all components cover the window, it follows the last one, and all is as it was there.

        Args:
            start: grid index of its first sample.
            hops: as of :class:`_Cut`.
            oldest: grid index of the first sample that all components hold.
            host_ns: as of :meth:`cut`.
            batches: likewise.

        Returns:
            None: it does not follow, or a component or a level is another one.
        """
        instrument, cutting, before = self._channels, self.cutting, self._revisions[0]
        hop, history, levels, last = cutting.hop, cutting.history, before.levels, before.last
        if last is None or not last <= start <= last + hop or len(levels) != len(instrument.rows):
            return None
        length = cutting.length + (hops - 1) * hop
        stop, begin = start + length, max(start - history, oldest)
        samples, unused = batches.row(length), begin - start + history
        channels, arrived, offset_ns = instrument.channels, (0, 0), None
        for letter, row in instrument.rows:
            stretch, level = channels[letter].stretches[-1], levels.get(letter)
            if level is None or not stretch.copy(begin, stop, level, samples[row, unused:]):
                return None
            if offset_ns is None:
                offset_ns = stretch.offset_at(stop - 1)
            if host_ns is not None and (found := stretch.arrival_of(stop - 1)) > arrived:
                arrived = found
        before.last = stop - cutting.length
        self.windows += 1
        window = Window(
            instrument.instrument,
            start,
            offset_ns or 0,
            samples[:, history:] if history else samples,
            instrument.components,
            arrival=None if host_ns is None else Arrival(host_ns, *arrived),
            history=samples[:, unused:history] if history else None,
            stage=cutting.stage,
        )
        batches.add(window)
        return window

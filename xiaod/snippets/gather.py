"""Gathers the records around final picks: those that the picker got, held until the picker has passed them and the picks have what follows.

A pick waits until every component has its ``after_s`` of data and the picker has seen them, or until :data:`WAIT_S` later; then
a :class:`Snippet` is ready. Records are held as far back as windows that are still to be picked may reach, and ``before_s`` more:
how far that is, the picker says with each window (:meth:`Gatherer.followed`), so that a run that catches up, whose windows wait in
queues, has its records too. Instruments of which no window comes, and all others when too much is held, keep the least that a
stream in real time needs.

It reads no clock: times of the monotonic clock are arguments.

>>> import numpy as np
>>> from xiaod.domain.timegrid import NS_PER_S
>>> from xiaod.domain.types import Channel, Pick
>>> gatherer = Gatherer(before_s=1.0, after_s=2.0, reach_s=20.0)
>>> channel = Channel("XX", "A", "", "HHZ")
>>> for second in range(5):
...     gatherer.take(Segment(channel, second * NS_PER_S, 100.0, np.full(100, second, np.int32)))
...     if second == 2:
...         gatherer.picked(Pick("an id", channel, "P", 2_200_000_000, 0.1, 0.9, 5.0, 1.0, "Z--", "m-1", ""), now_ns=0)
...     for snippet in gatherer.ready(now_ns=0):
...         print(second, snippet.pick.id, [segment.start_ns // NS_PER_S for segment in snippet.segments])
4 an id [1, 2, 3, 4]
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from xiaod.domain.timegrid import EARLIEST_NS, GRID_NS, ns_from_s
from xiaod.domain.types import Channel, Instrument, Pick, Segment, Window

WAIT_S = 30.0
"""How long after its time in the data a pick waits for a component that lags."""
MOST_WAITING = 2000
"""Picks that wait at most; one more, and the oldest waits no longer."""
SHOWN_PICKS = 16
"""Newest picks of an instrument that are remembered, to be shown beside each other."""
SPARE_BYTES = 32_000_000
"""What may be held beyond the least, of all instruments together."""
TYPICAL_BYTES_S = 1200
"""Of an instrument: three components of 100 Hz, four bytes a sample."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A pick, and the records around it."""

    pick: Pick
    start_ns: int
    """Begin of what is kept, ..."""
    stop_ns: int
    """... and its end."""
    segments: tuple[Segment, ...]
    """Whole records that overlap it, in the order in which they came."""
    picks: tuple[Pick, ...]
    """All final picks of the instrument in it that have been made by now."""


@dataclass(slots=True)
class _Held:
    """The newest records of one channel."""

    segments: deque[Segment] = field(default_factory=deque)
    held_s: float = 0.0
    reached_ns: int = EARLIEST_NS
    """End of the record that came last."""


@dataclass(slots=True)
class _Waiting:
    pick: Pick
    until_ns: int
    """Data until then are waited for, ..."""
    due_ns: int
    """... and at most until this time of the monotonic clock."""


@dataclass(slots=True)
class _Instrument:
    channels: dict[Channel, _Held] = field(default_factory=dict)
    waiting: list[_Waiting] = field(default_factory=list)
    picks: deque[Pick] = field(default_factory=lambda: deque(maxlen=SHOWN_PICKS))
    picked_ns: int | None = None
    """End of the last window that has been picked; None before the first one."""


class Gatherer:
    """Newest records of all instruments, and the picks that wait for data."""

    def __init__(self, before_s: float, after_s: float, reach_s: float) -> None:
        """Begin.

        Args:
            before_s: seconds before a pick that are kept.
            after_s: seconds after it.
            reach_s: how long before the end of a window that has been picked another one may begin, or a record before the newest
                one be needed.
        """
        self._before_ns, self._after_ns = ns_from_s(before_s), ns_from_s(after_s)
        self._after_s = after_s
        self._reach_ns = ns_from_s(reach_s)
        self._least_s = before_s + after_s + reach_s
        self._instruments: dict[Instrument, _Instrument] = {}
        self._ready: deque[Snippet] = deque()
        self._waiting = 0
        self.held_bytes = 0
        """Memory of the samples that are held."""

    @property
    def waiting(self) -> int:
        """Picks that wait for data."""
        return self._waiting

    def take(self, segment: Segment) -> None:
        """Hold a record, or a piece of one, whose samples are used."""
        own = self._instruments.get(segment.channel.instrument)
        if own is None:
            own = self._instruments[segment.channel.instrument] = _Instrument()
        held = own.channels.get(segment.channel)
        if held is None:
            held = own.channels[segment.channel] = _Held()
        if segment.samples.base is not None:
            # A view would hold all that it is a part of.
            segment = segment._replace(samples=segment.samples.copy())
        held.segments.append(segment)
        held.held_s += _length_s(segment)
        # Not the latest of all: a clock may be set back.
        held.reached_ns = segment.next_ns
        self.held_bytes += segment.samples.nbytes
        self._drop(own, held)
        if own.waiting:
            self._look(own)

    def followed(self, window: Window) -> None:
        """A window of final picks has been picked."""
        own = self._instruments.get(window.instrument)
        if own is not None:
            own.picked_ns = window.stop * GRID_NS
            if own.waiting:
                self._look(own)

    def picked(self, pick: Pick, now_ns: int) -> None:
        """A final pick has been made, at a time of the monotonic clock."""
        own = self._instruments.get(pick.channel.instrument)
        if own is None:
            return
        own.picks.append(pick)
        until_ns = pick.time_ns + self._after_ns
        own.waiting.append(_Waiting(pick, until_ns, now_ns + ns_from_s(self._after_s + WAIT_S)))
        self._waiting += 1
        self._look(own)
        if self._waiting > MOST_WAITING:
            oldest = min(
                (one for one in self._instruments.values() if one.waiting),
                key=lambda one: one.waiting[0].due_ns,
            )
            self._finish(oldest, [oldest.waiting[0]])

    def resumed(self, picks: Iterable[Pick], now_ns: int) -> None:
        """Final picks that an earlier run has made; those of which the data come again are gathered anew, should their files be missing."""
        for pick in picks:
            own = self._instruments.get(pick.channel.instrument)
            held = None if own is None else own.channels.get(pick.channel)
            if held is not None and held.segments[0].start_ns <= pick.time_ns:
                self.picked(pick, now_ns)

    def ready(self, now_ns: int) -> Iterator[Snippet]:
        """Snippets that have all their data; those that have waited too long by the monotonic clock, with what there is."""
        if self._waiting:
            for own in self._instruments.values():
                if own.waiting and (late := [one for one in own.waiting if one.due_ns <= now_ns]):
                    self._finish(own, late)
        while self._ready:
            yield self._ready.popleft()

    def depart(self, instruments: Collection[Instrument]) -> None:
        """Instruments have gone: what there is of their snippets is ready, and their records are forgotten."""
        for instrument in instruments:
            own = self._instruments.pop(instrument, None)
            if own is not None:
                self._finish(own, own.waiting)
                for held in own.channels.values():
                    self.held_bytes -= sum(segment.samples.nbytes for segment in held.segments)

    def finish(self) -> None:
        """No more data will come."""
        self.depart(list(self._instruments))

    def _look(self, own: _Instrument) -> None:
        """Snippets of an instrument are ready whose components have all come as far as they need, and been picked."""
        reached_ns = min(held.reached_ns for held in own.channels.values())
        if own.picked_ns is not None:
            reached_ns = min(reached_ns, own.picked_ns)
        self._finish(own, [one for one in own.waiting if one.until_ns <= reached_ns])

    def _finish(self, own: _Instrument, done: Collection[_Waiting]) -> None:
        for one in done:
            start_ns, stop_ns = one.pick.time_ns - self._before_ns, one.until_ns
            self._ready.append(
                Snippet(
                    one.pick,
                    start_ns,
                    stop_ns,
                    tuple(
                        segment
                        for held in own.channels.values()
                        for segment in held.segments
                        if segment.start_ns < stop_ns and segment.next_ns > start_ns
                    ),
                    tuple(pick for pick in own.picks if start_ns <= pick.time_ns < stop_ns),
                )
            )
        self._waiting -= len(done)
        own.waiting = [one for one in own.waiting if one not in done]

    def _drop(self, own: _Instrument, held: _Held) -> None:
        """Forget records that no pick needs any more, and others too where all together are too many."""
        needed_ns = EARLIEST_NS
        if own.picked_ns is not None:
            # No window that is still to be picked begins earlier.
            needed_ns = own.picked_ns - self._reach_ns - self._before_ns
        if own.waiting:
            needed_ns = min(needed_ns, min(one.pick.time_ns for one in own.waiting) - self._before_ns)
        crowded = self.held_bytes > SPARE_BYTES + TYPICAL_BYTES_S * self._least_s * len(self._instruments)
        segments = held.segments
        while len(segments) > 1:
            length_s = _length_s(segments[0])
            if segments[0].next_ns > needed_ns and not (crowded and held.held_s - length_s > self._least_s):
                return
            self.held_bytes -= segments.popleft().samples.nbytes
            held.held_s -= length_s


def _length_s(segment: Segment) -> float:
    return len(segment.samples) / segment.sampling_rate_hz

"""Records of a source that ends, joined: what follows without a gap comes as one segment, as long as one may be.

An offline run takes hours of data at once, and each segment costs the same whatever its length.

>>> import numpy as np
>>> from xiaod.domain.types import Channel
>>> channel = Channel("XX", "A", "", "HHZ")
>>> joined = Joined(lambda segment: print(segment.start_ns // 10**9, segment.samples.size))
>>> for second in range(12):
...     joined.take(Segment(channel, second * 10**9, 100.0, np.zeros(100, np.int32)))
0 1000
>>> joined.finish()
10 200
"""

from collections.abc import Sequence

import numpy as np

from xiaod.acquisition import Emit, Source
from xiaod.domain.timegrid import EARLIEST_NS
from xiaod.domain.types import MAX_PIECE_S, Channel, Segment, SourceItem

MAX_PIECE_NS = round(MAX_PIECE_S * 1e9)


class JoinedSource:
    """Implements :class:`xiaod.acquisition.Source` around another one that gives its records in order of time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._source.stop()

    def run(self, emit: Emit) -> None:
        """As the other one does, with fewer and longer segments."""
        joined = Joined(emit)
        self._source.run(joined.take)
        joined.finish()


class Joined:
    """Segments of channels that are not complete yet."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._open: dict[Channel, _Run] = {}
        """In order of their beginnings."""
        self._stops_ns: dict[Channel, int] = {}
        """Up to where each channel has come."""
        self._oldest_ns = EARLIEST_NS
        """No open one begins earlier."""

    def take(self, item: SourceItem) -> None:
        """Join a segment with those before it, and pass on what is complete; anything else is passed on at once."""
        if not isinstance(item, Segment):
            self._emit(item)
            return
        channel, start_ns = item.channel, item.start_ns
        if start_ns - self._oldest_ns > MAX_PIECE_NS:
            self._close_before(start_ns - MAX_PIECE_NS)
        stop_ns = self._stops_ns.get(channel, start_ns)
        run = self._open.get(channel)
        if run is not None and start_ns == stop_ns and run.takes(item):
            self._stops_ns[channel] = item.next_ns
            run.segments.append(item)
            run.samples += item.samples.size
            if run.samples >= run.most:
                self._cut(channel, run)
            return
        self._stops_ns[channel] = max(stop_ns, item.next_ns)
        if run is not None:
            del self._open[channel]
            self._pass_on(run)
        following = _Run(item)
        # What comes again is compared with what has come before, record by record; what is long is passed on as it comes.
        if start_ns < stop_ns or following.samples >= following.most:
            self._emit(item)
        else:
            self._open[channel] = following

    def finish(self) -> None:
        """Pass on the rest."""
        for run in self._open.values():
            self._pass_on(run)
        self._open.clear()

    def _cut(self, channel: Channel, run: "_Run") -> None:
        """Pass on what is long enough; the rest is open."""
        del self._open[channel]
        for piece in run.pieces():
            if piece.samples.size == run.most:
                self._emit(piece)
            else:
                self._open[channel] = _Run(piece)

    def _close_before(self, start_ns: int) -> None:
        """Pass on those that begin before a time: no component may be far ahead of the others."""
        for channel, run in list(self._open.items()):
            if run.start_ns < start_ns:
                del self._open[channel]
                self._pass_on(run)
        self._oldest_ns = min((run.start_ns for run in self._open.values()), default=start_ns)

    def _pass_on(self, run: "_Run") -> None:
        for piece in run.pieces():
            self._emit(piece)


class _Run:
    """Segments of a channel that follow each other."""

    __slots__ = ("most", "samples", "segments", "start_ns")

    def __init__(self, first: Segment) -> None:
        self.segments = [first]
        self.start_ns = first.start_ns
        self.samples = first.samples.size
        self.most = max(1, int(MAX_PIECE_S * first.sampling_rate_hz))

    def takes(self, segment: Segment) -> bool:
        """Whether a segment is of the same kind."""
        first = self.segments[0]
        return (
            first.sampling_rate_hz == segment.sampling_rate_hz
            and first.samples.dtype == segment.samples.dtype
        )

    def pieces(self) -> Sequence[Segment]:
        """All as one segment, or more if that is too long."""
        if len(self.segments) == 1:
            return self.segments[0].pieces()
        samples = np.concatenate([one.samples for one in self.segments])
        samples.flags.writeable = False
        size = sum(one.record_bytes for one in self.segments)
        return self.segments[0]._replace(samples=samples, record_bytes=size).pieces()

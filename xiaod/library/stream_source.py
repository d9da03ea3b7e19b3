"""An ObsPy stream as a source, in order of time.

Traces may come in any order, overlap, have gaps, and be of any stations and rates. Masked samples, and samples that are no numbers, are
gaps.

>>> from types import SimpleNamespace
>>> stats = SimpleNamespace(network="XX", station="A", location="", channel="HHZ", sampling_rate=50.0, starttime=SimpleNamespace(ns=0))
>>> trace = SimpleNamespace(id="XX.A..HHZ", stats=stats, data=np.array([1.0, np.nan, 2.0, 3.0]))
>>> [(segment.start_ns, segment.samples.tolist()) for segment in segments_of([trace])]
[(0, [1.0]), (40000000, [2.0, 3.0])]
"""

import heapq
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xiaod.acquisition import Emit
from xiaod.acquisition.miniseed import SANE_RATES_HZ, channel_of
from xiaod.domain.types import Channel, Segment

if TYPE_CHECKING:
    from obspy import Stream, Trace

INT32 = np.iinfo(np.int32)


class StreamSource:
    """A stream as a source; implements :class:`xiaod.acquisition.Source`."""

    name = "stream"

    def __init__(self, segments: Iterable[Segment]) -> None:
        """Set up, with the segments of a stream (:func:`segments_of`)."""
        self._segments = segments
        self._stop = threading.Event()

    def run(self, emit: Emit) -> None:
        """Yield all samples in pieces, in order of start time."""
        # One piece of each segment at a time: no component is far ahead of the others.
        pieces = (segment.pieces() for segment in self._segments)
        for piece in heapq.merge(*pieces, key=lambda piece: piece.start_ns):
            if self._stop.is_set():
                return
            emit(piece)

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stop.set()


def segments_of(stream: "Stream") -> list[Segment]:
    """The samples of a stream, without copies where their type allows it: a segment for each part of a trace without a gap.

    Raises:
        ValueError: when a trace has no usable codes or rate, or samples that are no real numbers; the message names it.
    """
    return [segment for trace in stream for segment in _segments(trace)]


def _segments(trace: "Trace") -> Iterator[Segment]:
    stats = trace.stats
    channel = _channel(trace)
    rate_hz = float(stats.sampling_rate)
    if not SANE_RATES_HZ[0] <= rate_hz <= SANE_RATES_HZ[1]:
        raise ValueError(
            f"trace {trace.id}: a sampling rate of {rate_hz:g} Hz; set trace.stats.sampling_rate"
        )
    samples = _numbers(trace.data, trace.id)
    for part in _gapless(trace.data):
        own = samples[part].view()
        own.flags.writeable = False
        start_ns = int(stats.starttime.ns) + round(part.start * 1_000_000_000 / rate_hz)
        yield Segment(channel, start_ns, rate_hz, own, StreamSource.name)


def _channel(trace: "Trace") -> Channel:
    stats = trace.stats
    codes = "_".join((stats.network, stats.station, stats.location, *stats.channel))
    if len(stats.channel) != 3 or (channel := channel_of(codes)) is None:
        raise ValueError(
            f"trace {trace.id}: must have a station code, and a channel code of three letters such as HHZ; "
            "set trace.stats.station and trace.stats.channel"
        )
    return channel


def _numbers(data: NDArray[Any], name: str) -> NDArray[Any]:
    """Samples as records hold them: int32, float32 or float64."""
    samples = np.asarray(np.ma.getdata(data))
    if samples.dtype in (np.int32, np.float32, np.float64):
        return samples
    if samples.dtype.kind in "iu":
        small = not len(samples) or (samples.min() >= INT32.min and samples.max() <= INT32.max)
        return samples.astype(np.int32 if small else np.float64)
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    raise ValueError(
        f"trace {name}: samples of type {samples.dtype}; must be integers or floating-point numbers"
    )


def _gapless(data: NDArray[Any]) -> list[slice]:
    """The parts of the samples of a trace that are numbers."""
    known = ~np.ma.getmaskarray(data)
    if data.dtype.kind == "f":
        known &= np.isfinite(np.ma.getdata(data))
    return runs_of(known)


def runs_of(wanted: NDArray[np.bool_]) -> list[slice]:
    """The parts of an array, shape ``(n,)``, that are true throughout.

    >>> runs_of(np.array([True, True, False, True]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).tolist()
    return [slice(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True)]

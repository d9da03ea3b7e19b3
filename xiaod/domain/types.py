"""The frozen types that flow through the daemon, one for each arrow of the data flow.

::

    Segment --waveform--> WindowBatch --inference--> Probabilities --picking--> Pick --> sinks

Times are integer nanoseconds UTC (see :mod:`xiaod.domain.timegrid`); arrays are read-only. Besides segments, a source yields a
:class:`BadRecord` for each record that cannot be decoded, and a :class:`LinkChange` when its connection changes.

>>> channel = Channel("BW", "RJOB", "", "EHZ")
>>> str(channel), channel.component, str(channel.instrument)
('BW.RJOB..EHZ', 'Z', 'BW.RJOB..EH')
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

Station = tuple[str, str]
"""Network and station code."""

Position = tuple[int, int]
"""Sequence number and start time (ns) of a packet: where to go on with a station."""

StationPositions = Mapping[Station, Position]
"""Position of each station of a source."""

Clock = Callable[[], int | None]
"""A time in nanoseconds, or None in an offline run."""

SampleArray = NDArray[np.int32] | NDArray[np.float32] | NDArray[np.float64]
"""Samples as they are encoded in a record."""


@dataclass(frozen=True, order=True)
class Instrument:
    """The channels of one sensor: a stream identifier without its component letter."""

    network: str
    station: str
    location: str
    band: str
    """Band and instrument code, the first two letters of the channel, for example ``HH``."""

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """``NET.STA.LOC.BI``, computed once: it labels metrics and logs."""
        return f"{self.network}.{self.station}.{self.location}.{self.band}"

    @cached_property
    def station_codes(self) -> Station:
        """Network and station."""
        return self.network, self.station

    @cached_property
    def station_text(self) -> str:
        """``NET.STA``."""
        return f"{self.network}.{self.station}"


@dataclass(frozen=True, order=True)
class Channel:
    """A stream identifier in the sense of the FDSN: network, station, location, channel; an empty location is ``""``."""

    network: str
    station: str
    location: str
    channel: str

    def __str__(self) -> str:
        return f"{self.network}.{self.station}.{self.location}.{self.channel}"

    @cached_property
    def station_codes(self) -> Station:
        """Network and station: one object for all channels of the instrument, as :attr:`instrument`."""
        return self.instrument.station_codes

    @cached_property
    def component(self) -> str:
        """The component letter, the last one of the channel code."""
        return self.channel[-1:]

    @cached_property
    def instrument(self) -> Instrument:
        """The instrument that this channel belongs to: one object for all its channels, so that tables find it quickly."""
        codes = self.network, self.station, self.location, self.channel[:-1]
        return _INSTRUMENTS.setdefault(codes, Instrument(*codes))


_INSTRUMENTS: WeakValueDictionary[tuple[str, str, str, str], Instrument] = WeakValueDictionary()
"""Those that anything refers to."""


MAX_PIECE_S = 10.0
"""Longer records are cut into pieces of this length, so that no record outgrows the buffer."""


class Segment(NamedTuple):
    """Samples of one channel without a gap: one decoded record."""

    channel: Channel
    start_ns: int
    """Time of the first sample."""
    sampling_rate_hz: float
    samples: SampleArray
    """Shape ``(n,)``, read-only, n >= 1."""
    source: str = ""
    """Name of the source it came from."""
    arrived_ns: int | None = None
    """Host time of arrival; None in an offline run, where latency has no meaning."""
    sequence: int | None = None
    """SeedLink sequence number."""
    record_bytes: int = 0
    """Size of the record in bytes, as it came."""
    continues: bool = False
    """Whether it is a later piece of a record that was cut; the first piece is counted as the record."""

    @property
    def last_ns(self) -> int:
        """Time of the last sample."""
        return self.start_ns + round((self.samples.size - 1) * 1e9 / self.sampling_rate_hz)

    @property
    def next_ns(self) -> int:
        """Time at which the sample after the last one is due."""
        return self.start_ns + round(self.samples.size * 1e9 / self.sampling_rate_hz)

    def pieces(self) -> "Sequence[Segment]":
        """Itself in pieces of at most :data:`MAX_PIECE_S`; nearly all records are one piece."""
        if len(self.samples) <= MAX_PIECE_S * self.sampling_rate_hz:
            return (self,)
        most = max(1, int(MAX_PIECE_S * self.sampling_rate_hz))
        return [
            Segment(
                self.channel,
                self.start_ns + round(begin * 1_000_000_000 / self.sampling_rate_hz),
                self.sampling_rate_hz,
                self.samples[begin : begin + most],
                self.source,
                self.arrived_ns,
                self.sequence,
                self.record_bytes if begin == 0 else 0,
                self.continues or begin > 0,
            )
            for begin in range(0, len(self.samples), most)
        ]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be used, and the reason under which it is counted."""

    source: str
    reason: str
    """A short word, the label of a metric: ``decode``, ``integrity``, ``encoding``, ``log``, ``empty``, ``rate``, ``timing``,
    ``unasked``, ``over_limit``."""
    detail: str = ""
    stream: str = ""
    """Stream identifier when it is known."""
    record_bytes: int = 0
    file: str = ""
    """The file it is in, in an offline run."""


LinkState = Literal["connecting", "connected", "streaming", "disconnected", "connect_failed", "idle", "ended"]
"""``connect_failed``: the server was not reached, or accepted no subscription. ``idle``: it has nothing that this process picks."""


@dataclass(frozen=True, slots=True)
class LinkChange:
    """A change in the state of a source's connection."""

    source: str
    state: LinkState
    at_ns: int
    detail: str = ""
    retry_s: float | None = None
    """Seconds until the next attempt, for ``disconnected`` and ``connect_failed``."""
    channels: tuple[Channel, ...] = ()
    """With ``streaming``: the channels known to be subscribed (empty where the server does not list them)."""
    left_out: tuple[str, ...] = ()
    """With ``streaming``: stations, ``NET.STA``, beyond ``max_stations``, which are not subscribed."""


@dataclass(frozen=True, slots=True)
class Departed:
    """Instruments that have gone. It follows their last windows; each stage then frees what it holds of them."""

    instruments: frozenset[Instrument]


SourceItem = Segment | BadRecord | LinkChange


class Arrival(NamedTuple):
    """When a window became ready, and by which record; from it follow the parts of the latency."""

    ready_ns: int
    """Host time at which the window was cut."""
    arrived_ns: int
    """Host time at which the record that completed its data arrived."""
    record_end_ns: int
    """Time of the last sample of that record."""


Stage = Literal["early", "final"]
"""When a pick is made. ``early``: within a second of the onset. ``final``: with some seconds of data after it; it does not depend on the
early one."""

DocumentStage = Literal["early", "final", "withdrawn"]
"""What a document says of an onset: an early pick, a final one, or that there is none where an early pick was."""

Stages = Literal["final", "early", "all"]
"""The picks that a sink takes: final ones; early ones and what withdraws them; all."""

Outcome = Literal["confirmed", "revised"]
"""How an early pick turned out that a final one followed: at the same time, or at another time."""

Polarity = Literal["up", "down", "undecidable"]
"""Sense of the first motion of a P, on the vertical as it was recorded: a sensor that is wired the wrong way gives the opposite."""


@dataclass(slots=True)
class Window:
    """Three components of one instrument on the 100 Hz grid, without a gap, ready for an engine.

    Nobody changes one. That it is not frozen saves three quarters of the time to make it.
    """

    instrument: Instrument
    index: int
    """Grid index of the first sample."""
    offset_ns: int
    """What to add to grid times to get true times: the sub-sample offset of the stream, at most half a sample."""
    samples: NDArray[np.float32]
    """Shape ``(3, n)``, rows Z N E, read-only; a component that is missing is all zeros."""
    components: str
    """Component letters of the rows as recorded, ``-`` for a missing row, for example ``Z12`` or ``Z--``."""
    revision: int = 0
    """0: cut in order of time. 1: cut again, because a component came after ``max_component_wait_s``."""
    discontinuous: bool = False
    """Whether the previous window of the revision does not reach this one, or had fewer components: then all of it is new."""
    arrival: Arrival | None = None
    """None in an offline run."""
    history: NDArray[np.float32] | None = None
    """Shape ``(3, h)``: samples before the window, as many as there are up to a limit, for the windows that confirm an onset."""
    until: int | None = None
    """Where data begin, and one component later than the others: grid index of the first window that has it too. This window is searched
    for onsets up to there, that one from there on. None: no component begins later."""
    ends: bool = False
    """Whether data end with this window: nothing more comes that an onset in it could wait for."""
    stage: Stage = "final"
    """Of the picks that are made of it."""

    @property
    def stop(self) -> int:
        """Grid index just after the last sample."""
        return self.index + int(self.samples.shape[1])


class Probabilities(NamedTuple):
    """Output of the engine for one window."""

    window: Window
    values: NDArray[np.float32]
    """Shape ``(2, n)``: probability of P and of S at every sample of the window, read-only."""
    valid: tuple[int, int] | None = None
    """First sample of the window with a known value, and the sample after the last; other values are zero. Those of a stateful engine that
    are not known yet come with a later window. None: all are known."""

    @property
    def known(self) -> NDArray[np.float32]:
        """Values at the end of the window, shape ``(2, m)``: from the first that is known."""
        return self.values if self.valid is None else self.values[:, self.valid[0] :]


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Windows of any stations, side by side."""

    windows: tuple[Window, ...]
    samples: NDArray[np.float32]
    """Shape ``(n, 3, length)``, read-only: the samples of the windows."""
    read: int
    """Samples at the end of a window of which the probabilities are read, unless it is discontinuous or has an ``until``."""


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """New samples of any stations, for a net that follows them: windows of different lengths, those of one instrument in order."""

    windows: tuple[Window, ...]


class Notice(NamedTuple):
    """What a net that follows the stream of an instrument has noticed in new samples."""

    instrument: Instrument
    looked_until: int
    """Grid index up to which it has looked: its output is a little late."""
    spans: tuple[tuple[int, int], ...] = ()
    """First and last grid index of what may be an onset, in order of time."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The parts of the latency of a pick in seconds; their sum is :attr:`total_s`."""

    lookahead_s: float
    """Data after the onset in the window that confirmed it: lookahead and hop."""
    record_fill_s: float
    """Data in the record after the end of that window: the wait until the record was full."""
    feed_s: float
    """Arrival of the record minus time of its last sample."""
    component_wait_s: float
    """Wait for slower components after that."""
    processing_s: float
    """Queues, inference and picking."""

    @property
    def total_s(self) -> float:
        """Time of emission minus time of the pick."""
        return self.lookahead_s + self.record_fill_s + self.feed_s + self.component_wait_s + self.processing_s


@dataclass(frozen=True, slots=True)
class GroundMotion:
    """How strongly the ground moved after an onset, by the response of the channel; see :mod:`xiaod.picking.ground_motion`."""

    velocity_m_s: float
    """Peak absolute velocity of the ground in :data:`~xiaod.domain.onsets.BAND_HZ`."""
    wood_anderson_mm: float
    """Peak absolute amplitude on the record of a Wood-Anderson seismograph."""
    wood_anderson_noise_mm: float
    """The same before the onset."""
    window_s: float
    """Both are peaks of so much after the onset."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One onset of one phase on one instrument."""

    id: str
    """Deterministic: the same data and model give the same id."""
    channel: Channel
    """The component that shows the phase best: the vertical for P, a horizontal for S."""
    phase: str
    """``P`` or ``S``."""
    time_ns: int
    time_uncertainty_s: float
    """One standard deviation."""
    probability: float
    snr: float
    """Root mean square after the onset divided by that before it, on ``channel``, in :data:`~xiaod.domain.onsets.BAND_HZ`."""
    amplitude: float
    """Peak absolute value after the onset in the same band, on ``channel``; in the unit of the samples, usually counts."""
    components: str
    """As in :attr:`Window.components`."""
    model: str
    """Name and version, for example ``micro-0.1.0``."""
    model_sha256: str
    created_ns: int | None = None
    """Host time of emission; None in an offline run."""
    latency: Latency | None = None
    """None in an offline run."""
    stage: DocumentStage = "final"
    early_id: str | None = None
    """Of a final pick: the early pick of the same onset, if there was one. Of a withdrawal: the early pick that is withdrawn."""
    outcome: Outcome | None = None
    """Of a final pick with :attr:`early_id`: how that early pick turned out."""
    moved_s: float | None = None
    """Of a final pick with :attr:`early_id`: its time minus that of the early pick."""
    raw_amplitude: float = math.nan
    """As :attr:`amplitude`, of the samples as they are, the mean of the noise removed."""
    polarity: Polarity | None = None
    """First motion, of a final P pick on a vertical; None of any other pick."""
    motion: GroundMotion | None = None
    """Of a final pick on a channel with a response."""
    snippet: str | None = None
    """Of a final pick whose waveforms are kept: the path below the address of the status page at which they will be."""


Wanted = Literal["picks", "events", "all", "rsam"]
"""What a sink takes: picks, events, or both; or means of the amplitude."""


@dataclass(frozen=True, slots=True)
class EventPick:
    """What an event keeps of one of its picks."""

    id: str
    channel: Channel
    phase: str
    """``P`` or ``S``."""
    time_ns: int
    time_uncertainty_s: float
    """One standard deviation."""
    stage: DocumentStage
    arrival: "EventArrival | None" = None
    """Of an event with an origin."""
    wood_anderson_mm: float | None = None
    """Peak on the record of a Wood-Anderson seismograph, of a pick that counts for the magnitude."""
    magnitude: float | None = None
    """That of its station, from this amplitude."""


@dataclass(frozen=True, slots=True)
class EventArrival:
    """How a pick fits the origin of its event."""

    distance_km: float
    """From the epicentre to the station."""
    azimuth_deg: float
    """From the epicentre to the station, clockwise from north."""
    residual_s: float
    """Time of the pick minus that of the velocity model."""


@dataclass(frozen=True, slots=True)
class EventOrigin:
    """Where and when an earthquake was, in a velocity model."""

    time_ns: int
    latitude_deg: float
    longitude_deg: float
    depth_km: float
    """Below sea level."""
    time_uncertainty_s: float
    """One standard deviation, as the next two: what the scatter of the residuals gives; the error of the velocity model is not in it."""
    horizontal_uncertainty_km: float
    """Along the longer axis of the ellipse."""
    depth_uncertainty_km: float
    """NaN: the picks do not tell the depth."""
    rms_s: float
    """Root mean square of the residuals."""
    azimuthal_gap_deg: float
    """The largest one between stations, as seen from the epicentre."""
    nearest_km: float
    """From the epicentre to the nearest station with a pick."""
    velocity_model: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class EventMagnitude:
    """How large an earthquake was."""

    value: float
    """Median of those of the stations."""
    uncertainty: float
    """One standard deviation of that of a station, by the median of their distances from the value."""
    stations: int
    kind: str = "ML"


@dataclass(frozen=True, slots=True)
class StationDistance:
    """How far an earthquake is from a station, by the time between P and S there; see :mod:`xiaod.association.distance`."""

    network: str
    station: str
    s_minus_p_s: float
    distance_km: float
    """From the hypocentre, along a straight ray."""
    uncertainty_km: float
    """One standard deviation."""


@dataclass(frozen=True, slots=True)
class Event:
    """One version of an event: picks that are taken for those of one earthquake. It has a place only where it was located."""

    id: str
    """Of this version: :attr:`event_id` and :attr:`version`."""
    event_id: str
    """The same in all versions; it follows from the first pick of the first one."""
    version: int
    """From 1 on."""
    stage: DocumentStage
    """``early``: announced, of the picks there are by now. ``final``: settled, of final picks alone. ``withdrawn``: no event."""
    method: str
    """How the picks were associated, for example ``coincidence``."""
    time_ns: int
    """Of the first P pick, which is later than the earthquake."""
    picks: tuple[EventPick, ...]
    """The first P of each station, in order of time, then S picks: those that distances come from, or that fit the origin."""
    distances: tuple[StationDistance, ...] = ()
    """Of the stations with P and S, the nearest first."""
    early_id: str | None = None
    """Of a final event: the :attr:`event_id` of the announced one, if there was one. Of a withdrawal: that of the one that is withdrawn."""
    created_ns: int | None = None
    """Host time of emission; None in an offline run."""
    origin: EventOrigin | None = None
    """None: nothing was located."""
    magnitude: EventMagnitude | None = None
    """None: too few stations have an amplitude."""

    @property
    def stations(self) -> int:
        """Number of stations with a P pick."""
        return sum(pick.phase == "P" for pick in self.picks)


StationCode = tuple[str, str]
"""Codes of network and station."""
PickOrEvent = Pick | Event
"""What is stored and goes to sinks."""


@dataclass(frozen=True, slots=True)
class RsamValue:
    """The mean absolute amplitude of a vertical over minutes of UTC (RSAM)."""

    channel: Channel
    minutes: int
    """Length of time."""
    time_ns: int
    """Its begin."""
    low_hz: float
    high_hz: float
    """The band."""
    counts: float
    """The mean; NaN: there are no data."""
    share: float
    """Part of the time of which there are samples, 0 to 1."""

    @property
    def id(self) -> str:
        """Follows from channel, time and length."""
        begin = datetime.fromtimestamp(self.time_ns // 1_000_000_000, UTC)
        return f"{begin:%Y%m%d.%H%M}-rsam{self.minutes}-{self.channel}"

    @property
    def stage(self) -> Literal["final"]:
        """It is made once."""
        return "final"


Delivered = PickOrEvent | RsamValue
"""What goes to sinks."""

"""Packets of a SeedLink server become segments: each is decoded, checked for losses before it, filtered, and noted as a position.

Packets of stations or channels that are not wanted, and packets that have come before, go no further. When packets are missing, or the
host's clock was set, an exception asks for a new connection, on which they are requested again.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from xiaod.acquisition import Emit
from xiaod.acquisition.admission import ELSEWHERE, OVER_LIMIT, UNASKED, Admission
from xiaod.acquisition.miniseed import channel_of, decode
from xiaod.acquisition.patterns import Subscription, matcher
from xiaod.acquisition.seedlink.framing import Frame, LinkError
from xiaod.acquisition.seedlink.losses import Losses
from xiaod.acquisition.seedlink.positions import Positions
from xiaod.acquisition.seedlink.unserved import UnservedPatterns
from xiaod.config import SeedLinkConfig
from xiaod.domain.sharding import Shard
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import BadRecord, Channel, Segment, Station, StationPositions

MAX_CHANNELS = 50_000
"""Most channels of which something is remembered; beyond it, all are forgotten."""
REFUSALS: Mapping[str, str] = {
    UNASKED: "its station was not asked for",
    OVER_LIMIT: "there are max_stations already",
}


class LostError(LinkError):
    """Packets were lost on the way; a new connection brings them."""


@dataclass(slots=True)
class _ChannelState:
    """What is remembered of a channel."""

    wanted: bool | None = None
    """Whether it is picked; None: not known yet on this connection."""
    edge_ns: int | None = None
    """Time of the sample after the newest that was not refused."""


class Receiver:
    """Takes the packets of one server, on one connection after the other."""

    def __init__(
        self,
        config: SeedLinkConfig,
        shard: Shard,
        positions: Positions,
        remember: Callable[[StationPositions], None] | None,
        limits: TimeLimits,
    ) -> None:
        """Set up.

        Args:
            config: of the source.
            shard: which stations this process picks.
            positions: where packets are noted.
            remember: called before the first packet of a station is handed on, with the position for a later run.
            limits: of the times of records, compared with the host's clock; beyond them channels refuse a record.
        """
        self.positions = positions
        self.losses = Losses()
        self.unserved = UnservedPatterns(config.streams)
        self.is_meant = matcher(config.streams)
        """Whether a pattern of the configuration matches a channel."""
        self._source = config.label
        self._max_stations = config.max_stations
        self._shard = shard
        self._remember = remember
        self._limits = limits
        self._channels: dict[Channel, _ChannelState] = {}
        self._admission = Admission((), config.max_stations, shard.holds)
        self._received = 0
        self._unselected = 0
        self._repeated = 0

    def continue_from(self, former: "Receiver") -> None:
        """Go on with the positions of another one."""
        self.positions, self._channels = former.positions, former._channels

    def begin(self, subscriptions: Collection[Subscription]) -> None:
        """A connection with these subscriptions begins."""
        self._admission = Admission(subscriptions, self._max_stations, self._shard.holds)
        for state in self._channels.values():
            state.wanted = None

    @property
    def stations(self) -> frozenset[Station]:
        """Stations that are subscribed on the connection, or have come by a wildcard."""
        return self._admission.stations

    def wants(self, channel: Channel) -> bool:
        """Whether a channel is picked here."""
        return (channel.network, channel.station) in self._admission and self.is_meant(channel)

    def counts(self) -> dict[str, int]:
        """Packets that came; of these, those that no pattern matches, and those that had come before."""
        return {
            "received": self._received,
            "unselected": self._unselected,
            "repeated": self._repeated,
        }

    def check_clock(self, offset_ns: int | None = None) -> None:
        """Connect anew when the host's clock was set, for packets that it had refused.

        Args:
            offset_ns: host time minus monotonic time; None: as it is now.

        Raises:
            LinkError: then.
        """
        if self.positions.asks_again(offset_ns):
            raise LinkError(
                "the clock of this machine was set: packets refused because of it are requested again"
            )

    def frame(self, frame: Frame, emit: Emit) -> None:
        """Take the next frame of a connection.

        Raises:
            LostError: when packets before it are missing: it is not handed on, and comes again with them.
            LinkError: when packets that the host's clock had refused have to come again.
        """
        if frame.skipped:
            complaint = f"{abs(frame.skipped)} bytes {'between packets' if frame.skipped > 0 else 'missing in a packet'}"
            emit(BadRecord(self._source, "framing", complaint))
            if self.losses.bytes_between():
                raise LostError(f"{complaint}: missing packets are requested again")
        if not frame.is_info:
            sequence = frame.sequence
            if missing := self.losses.of_connection(sequence):
                raise _lost(missing, sequence)
            self.packet(frame.record, sequence, emit)

    def packet(self, record: bytes, sequence: int, emit: Emit) -> None:
        """Take a packet whose number need not follow that of the one before.

        Raises:
            LostError, LinkError: as :meth:`frame`.
        """
        arrived_ns = time.time_ns()
        offset_ns = arrived_ns - time.monotonic_ns()
        # Before anything newer is handed on.
        self.check_clock(offset_ns)
        self._received += 1
        item = decode(record, self._source, arrived_ns, sequence)
        channel = channel_of(item.stream) if isinstance(item, BadRecord) else item.channel
        if channel is None:
            self.losses.of_nobody()
        elif missing := self.losses.of_station(channel.station_codes, sequence):
            raise _lost(missing, sequence, f" of {channel.network}.{channel.station}")
        if not isinstance(item, Segment):
            emit(item)
            return
        state = self._channels.get(item.channel)
        if state is None or not state.wanted:
            state = self._accepted(item, state, emit)
        if state is None:
            return
        if (position := self.losses.of_channel(item)) is not None:
            self.positions.ask_from(item.channel.station_codes, position)
            raise LostError(
                f"a gap in {item.channel}, whose packets may be missing: they are requested again"
            )
        self._hand_on(item, state, arrived_ns, offset_ns, emit)

    def _accepted(self, item: Segment, state: _ChannelState | None, emit: Emit) -> _ChannelState | None:
        """The state of the channel of a packet, if it is picked here; a packet that is not is counted."""
        channel = item.channel
        if state is None or state.wanted is None:
            if refusal := self._admission.refusal(channel.station_codes):
                self._refuse(item, refusal, emit)
                return None
            if state is None:
                if len(self._channels) >= MAX_CHANNELS:
                    self._channels.clear()
                state = self._channels[channel] = _ChannelState()
            # Its station is accepted as long as the connection lasts.
            state.wanted = self.wants(channel)
            self.unserved.brought(channel)
        if not state.wanted:
            self._unselected += 1
            return None
        return state

    def _refuse(self, segment: Segment, reason: str, emit: Emit) -> None:
        """Count a packet of a station that is not subscribed; one of another shard is no fault."""
        if reason == ELSEWHERE:
            self._unselected += 1
            return
        emit(BadRecord(self._source, reason, REFUSALS[reason], str(segment.channel), segment.record_bytes))

    def _hand_on(
        self, item: Segment, state: _ChannelState, arrived_ns: int, offset_ns: int, emit: Emit
    ) -> None:
        """Hand on a wanted packet that has not come before, and note its position."""
        if self.positions.has_come(item):
            self._repeated += 1
            return
        station = item.channel.station_codes
        if not self.positions.knows(station):
            position = self.positions.begins(item)
            if self._remember is not None:
                self._remember({station: position})
        next_ns = item.next_ns
        edge_ns = state.edge_ns
        correction_ns = self._limits.correction_ns(item.start_ns, next_ns, arrived_ns, edge_ns)
        if correction_ns:
            # Before it is handed on, which may block until the clock is set.
            self.positions.refused(item, correction_ns, offset_ns)
            emit(item)
            return
        emit(item)
        self.positions.passed(item)
        if edge_ns is None or edge_ns < next_ns:
            state.edge_ns = next_ns


def _lost(count: int, sequence: int, station: str = "") -> LostError:
    return LostError(
        f"{count} packets are missing before number {sequence:06X}{station}: they are requested again"
    )

"""A SeedLink server as a source: one thread that connects, subscribes, reads, and comes back when the link breaks.

In: a :class:`~xiaod.config.SeedLinkConfig`, and the positions of an earlier run. Out, through ``emit``: segments, records that could not be
used, and every change of the link. What it promises:

- a server that closes is noticed at once, one that is silent after ``network_timeout_s``; quiet links carry a keep-alive every
  ``keepalive_s``;
- no refusal, garbage or silence ends :meth:`SeedLinkSource.run`; it tries again after a random part of a delay that doubles from
  ``reconnect_min_s`` to ``reconnect_max_s`` (full jitter, so that many clients do not come back at once);
- after a cut it goes on behind the last packet of each station, by sequence number and time; a later run goes on behind an earlier one
  (:meth:`SeedLinkSource.resumable`), so that windows and filters are as they were. A ringserver numbers all stations together and
  begins a resumed subscription at the newest valid number, so it is asked with one number for all: that of the last packet of
  the connection, or of the oldest of an earlier run; what then comes twice is dropped by the buffers;
- stations of other shards are not asked for, and their packets not handed on;
- what lies further back than ``max_catch_up_s`` is not asked for;
- :meth:`SeedLinkSource.stop` takes effect within a second, whatever the server does.

>>> source = SeedLinkSource(SeedLinkConfig(server="localhost:18000", name="example"))
>>> source.name, source.positions()
('example', {})
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from xiaod.config import SeedLinkConfig
from xiaod.records import BadRecord, Channel, LinkChange, LinkState, Positions, Segment
from xiaod.shard import ALONE, Shard
from xiaod.sources import Emit
from xiaod.sources.discovery import DiscoveryError, discover
from xiaod.sources.miniseed import decode
from xiaod.sources.patterns import Subscription, matcher, needs_listing, plan
from xiaod.timebase import ns_from_iso, ns_from_s

if TYPE_CHECKING:
    from xiaod.sources.link import Link

TRAIL = 2000
"""Packets of a station that are remembered, to go back to one of them: minutes of many channels."""
USELESS_S = 600.0
"""A packet that came so long before others that have been picked for good will give no pick any more."""
HEALTHY_S = 30.0
"""A link that has streamed for so long makes the next delay short again."""
FIRST_LOOK_S = 60.0
"""After so long wildcards are expanded again for the first time, then after twice as long, until it is ``discover_s``."""
PART = 60.0
"""Part of the time that may go to that: meanwhile data wait in the socket."""
IDLE_S = 3600.0
"""A source whose stations are all with other shards looks again after so long, where ``discover_s`` does not say it."""
SHARED_NUMBERS = ("ringserver", "xiaod")
"""Servers, by their HELLO, that number the packets of all stations together."""
HALF_RANGE = 1 << 23
"""Sequence numbers wrap; of two, the one less than half the range behind is the older."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """A packet that was handed on."""

    place: tuple[int, int]
    """Sequence number and start time, ns."""
    next_ns: int
    """Time of the sample after its last one."""
    came_s: float
    """By the steady clock."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a connection was asked for."""

    subscriptions: tuple[Subscription, ...]
    """Of all shards."""
    known: tuple[tuple[str, str], ...]
    """Stations that had sent something before."""
    listed: tuple[Channel, ...]
    """Channels that the server has listed of it so far."""


class SeedLinkSource:
    """One server; implements :class:`xiaod.sources.Source`."""

    def __init__(
        self,
        config: SeedLinkConfig,
        resume: Positions | None = None,
        remember: Callable[[Positions], None] | None = None,
        lost_ns: int | None = None,
        shard: Shard = ALONE,
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: server, streams and time limits.
            resume: packets of an earlier run, to go on behind them.
            remember: called, in the source's thread, before the first packet of a station is handed on, with what a later run
                has to go on behind.
            lost_ns: with ``begin: resume``, time from which to ask where there is nothing to go on behind, because it
                was lost; None: from now on.
            shard: which stations this process picks; others are not asked for.
        """
        self._remember = remember
        self._shard = shard
        self._lost_ns = lost_ns
        self._config = config
        self._is_meant = matcher(config.streams)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._positions: dict[tuple[str, str], tuple[int, int]] = {
            # Where a station of another shard stood is old, and would lead far back.
            station: place
            for station, place in (resume or {}).items()
            if shard.holds(*station)
        }
        # What a later run may have to go back to.
        self._resumable = dict(self._positions)
        self._trails: dict[tuple[str, str], deque[_Passed]] = {}
        self._picked_s = 0.0
        """When the newest packet came that has been picked for good."""
        self._last: tuple[int, int] | None = None
        """The last packet of all that came, on the newest connection that brought any."""
        self._shared = False
        """Whether the server numbers all stations together."""
        self._received = 0
        self._unselected = 0
        self._link: Link | None = None
        self._wanted: dict[Channel, bool] = {}
        self._listing_s = 0.0
        """How long the server took for the list of its streams."""
        self._failures = 0
        self._streaming_since_s: float | None = None
        self._jitter = Random()  # noqa: S311  spreads reconnections, guards nothing

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._config.label

    def positions(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Last packet of each station that was handed on."""
        with self._lock:
            return dict(self._positions)

    def continue_from(self, former: "SeedLinkSource") -> None:
        """Go on where another source of the same server has ended; call it before :meth:`run`, and after the other's."""
        with former._lock:
            self._positions = dict(former._positions)
            self._resumable = dict(former._resumable)
            self._trails = dict(former._trails)
            self._picked_s = former._picked_s
            self._last = former._last

    def counts(self) -> dict[str, int]:
        """Packets that came, and those of them that no pattern of the configuration matches."""
        return {"received": self._received, "unselected": self._unselected}

    def resumable(self, needed_ns: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], tuple[int, int]]:
        """Packet of each station to go on behind so that everything that reaches beyond a time comes again.

        Args:
            needed_ns: that time, for each station; a station that is not in it keeps what it had.
        """
        with self._lock:
            for station, time_ns in needed_ns.items():
                trail = self._trails.get(station, deque())
                while trail and trail[0].next_ns <= time_ns:
                    passed = trail.popleft()
                    self._resumable[station] = passed.place
                    self._picked_s = max(self._picked_s, passed.came_s)
            if self._shared:
                self._catch_up()
            return dict(self._resumable)

    def _catch_up(self) -> None:
        """A station that is silent, or that sends what cannot be picked, holds nobody back.

        Packets are picked in the order in which they came, and are numbered so: before a packet that has been picked for good none
        is left of a station that has nothing on the way.
        """
        for station, trail in self._trails.items():
            while trail and trail[0].came_s < self._picked_s - USELESS_S:
                self._resumable[station] = trail.popleft().place
        if going := [self._resumable[station] for station, trail in self._trails.items() if trail]:
            oldest = _oldest(going)
            self._resumable |= {
                station: oldest for station in self._resumable if not self._trails.get(station)
            }

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stop.set()
        if (link := self._link) is not None:
            link.interrupt()

    def run(self, emit: Emit) -> None:
        """Stream until :meth:`stop`."""
        from obspy.clients.seedlink.seedlinkexception import SeedLinkException

        from xiaod.sources.link import LinkError, Stopped

        while not self._stop.is_set():
            emit(self._change("connecting"))
            self._streaming_since_s = None
            try:
                self._session(emit)
            except Stopped:
                break
            except (OSError, LinkError, DiscoveryError, SeedLinkException) as error:
                if self._stop.is_set():
                    break
                state: LinkState = "refused" if self._streaming_since_s is None else "disconnected"
                retry_s = self._delay_s()
                emit(self._change(state, str(error), retry_s))
                self._stop.wait(retry_s)
        emit(self._change("ended"))

    def _session(self, emit: Emit) -> None:
        """One connection, from discovery to its end, which is an exception unless there was nothing to subscribe to."""
        from xiaod.sources.link import Link

        config = self._config
        channels, remark = self._offers()
        # A server that has just started lists little of what it will have.
        known = tuple(self.positions())
        matching = plan(config.streams, channels, known)
        if not matching:
            raise DiscoveryError(f"the server has no stream that matches {', '.join(config.streams)}")
        subscriptions = tuple(one for one in matching if self._shard.holds(one.network, one.station))
        if not subscriptions:
            self._idle(len(matching), emit)
            return
        link = self._link = Link(config.server, config.connect_timeout_s, self._stop)
        try:
            link.connect()
            self._shared = any(word in link.greeting.lower() for word in SHARED_NUMBERS)
            positions, skipped = self._resume_from()
            link.subscribe(subscriptions, positions, self._begin_ns())
            selected = self._selected(channels)
            remarks = [remark] if remark else []
            remarks += [f"refused: {' '.join(link.refused)}"] if link.refused else []
            remarks += (
                [f"not resumed, live from now: {' '.join(link.not_resumed)}"] if link.not_resumed else []
            )
            remarks += [f"skipped, older than max_catch_up_s: {' '.join(skipped)}"] if skipped else []
            emit(self._change("streaming", "; ".join(remarks), channels=selected))
            self._streaming_since_s = time.monotonic()
            self._read(link, emit, _Asked(matching, known, selected))
        finally:
            self._link = None
            link.disconnect()

    def _selected(self, offered: Sequence[Channel]) -> tuple[Channel, ...]:
        return tuple(channel for channel in offered if self._wants(channel))

    def _wants(self, channel: Channel) -> bool:
        """Whether a channel is picked here."""
        return self._shard.holds(channel.network, channel.station) and self._is_meant(channel)

    def _idle(self, stations: int, emit: Emit) -> None:
        """All stations are with other shards: look again when there may be new ones."""
        emit(self._change("idle", f"none of {stations} stations is on shard {self._shard}"))
        self._stop.wait(self._config.discover_s or IDLE_S)

    def _offers(self) -> tuple[tuple[Channel, ...], str]:
        """Channels that the server lists, and a remark when it does not and they can be done without."""
        config = self._config
        begun_s = time.monotonic()
        try:
            info = discover(config.server, config.connect_timeout_s, self._stop)
        except DiscoveryError as error:
            if needs_listing(config.streams):
                raise
            return (), f"streams not listed: {error}"
        finally:
            self._listing_s = time.monotonic() - begun_s
        return tuple(item.channel for item in info.streams), ""

    def _read(self, link: "Link", emit: Emit, asked: "_Asked") -> None:
        from xiaod.sources.link import SLICE_S, LinkError

        config = self._config
        asked_s = discovered_s = time.monotonic()
        look_s = min(max(FIRST_LOOK_S, PART * self._listing_s), config.discover_s)
        while True:
            for frame in link.frames(SLICE_S):
                if frame.is_info:
                    continue
                self._packet(frame.record, frame.sequence, emit)
            if link.skipped_bytes:
                emit(BadRecord(self.name, "framing", f"{link.skipped_bytes} bytes between packets"))
                link.skipped_bytes = 0
            now_s = time.monotonic()
            silent_s = now_s - link.heard_s
            if silent_s > config.network_timeout_s:
                raise LinkError(f"nothing received for {silent_s:.0f} s")
            if config.keepalive_s and silent_s > config.keepalive_s and now_s - asked_s > config.keepalive_s:
                asked_s = now_s
                link.keep_alive()
            if look_s and now_s - discovered_s > look_s and needs_listing(config.streams):
                discovered_s, look_s = now_s, min(2 * look_s, config.discover_s)
                asked = self._look_for_more(asked, emit)

    def _packet(self, record: bytes, sequence: int, emit: Emit) -> None:
        self._received += 1
        item = decode(record, self.name, time.time_ns(), sequence)
        if isinstance(item, Segment):
            channel = item.channel
            wanted = self._wanted.get(channel)
            if wanted is None:
                wanted = self._wanted[channel] = self._wants(channel)
            if not wanted:
                self._unselected += 1
                return
            station = channel.network, channel.station
            if station not in self._resumable:
                self._begin_station(station, sequence, item.start_ns)
            emit(item)
            with self._lock:
                self._positions[station] = self._last = (sequence, item.start_ns)
                trail = self._trails.setdefault(station, deque(maxlen=TRAIL))
                trail.append(_Passed((sequence, item.start_ns), item.next_ns, time.monotonic()))
        else:
            emit(item)

    def _begin_station(self, station: tuple[str, str], sequence: int, start_ns: int) -> None:
        """Know from the first packet on where a later run has to begin."""
        place = ((sequence - 1) % (2 * HALF_RANGE), start_ns)
        with self._lock:
            self._resumable[station] = place
        if self._remember is not None:
            self._remember({station: place})

    def _look_for_more(self, asked: "_Asked", emit: Emit) -> "_Asked":
        """Connect anew, without loss, when the server has got streams that are wanted and not subscribed."""
        from xiaod.sources.link import LinkError

        try:
            offered, _ = self._offers()
        except DiscoveryError:
            # What flows is worth more than the question.
            return asked
        more = [
            f"{one.network}.{one.station}"
            for one in plan(self._config.streams, offered, asked.known)
            if one not in asked.subscriptions and self._shard.holds(one.network, one.station)
        ]
        if more:
            raise LinkError(f"new streams: {' '.join(more[:5])}")
        selected = self._selected(offered)
        if not set(selected) <= set(asked.listed):
            emit(self._change("streaming", "more is listed of what was asked for", channels=selected))
        return replace(asked, listed=selected)

    def _resume_from(self) -> tuple[dict[tuple[str, str], tuple[int | None, int]], list[str]]:
        """What to go on behind, and the stations of which something is left out."""
        positions = self.positions()
        if not positions:
            return {}, []
        limit_s = self._config.max_catch_up_s
        limit_ns = None if limit_s is None else time.time_ns() - ns_from_s(limit_s)
        shared = (self._last or _oldest(list(positions.values()))) if self._shared else None
        asked: dict[tuple[str, str], tuple[int | None, int]] = {}
        skipped = []
        for station, (sequence, time_ns) in positions.items():
            place: tuple[int | None, int] = (sequence, time_ns)
            if shared is not None:
                # A server that does not know the number goes by the oldest time: not by that of who has long been silent.
                place = (shared[0], max(time_ns, self._resumable[station][1]))
            if limit_ns is not None and (time_ns if shared is None else shared[1]) < limit_ns:
                place = (None, limit_ns)
                skipped.append(".".join(station))
            asked[station] = place
        if shared is not None and self._last is None:
            # All stations come again from there on: none may be gone on with behind what has come of the others.
            with self._lock:
                self._resumable = dict.fromkeys(self._resumable, shared)
        return asked, skipped

    def _begin_ns(self) -> int | None:
        if self._config.begin == "resume":
            return self._lost_ns
        return None if self._config.begin == "now" else ns_from_iso(self._config.begin)

    def _delay_s(self) -> float:
        since_s = self._streaming_since_s
        if since_s is not None and time.monotonic() - since_s > HEALTHY_S:
            self._failures = 0
        longest = min(
            self._config.reconnect_max_s, self._config.reconnect_min_s * 2 ** min(self._failures, 20)
        )
        self._failures += 1
        return self._jitter.uniform(min(self._config.reconnect_min_s, longest) / 2, longest)

    def _change(
        self,
        state: LinkState,
        detail: str = "",
        retry_s: float | None = None,
        channels: tuple[Channel, ...] = (),
    ) -> LinkChange:
        return LinkChange(self.name, state, time.time_ns(), detail, retry_s, channels)


def _oldest(places: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The place with the oldest sequence number, which may have wrapped."""
    origin = places[0][0]
    return min(places, key=lambda place: (place[0] - origin + HALF_RANGE) % (2 * HALF_RANGE))

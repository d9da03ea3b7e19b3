"""A SeedLink server as a source: one thread that connects, subscribes, reads, and comes back when the link breaks.

In: a :class:`~xiaod.config.SeedLinkConfig`, and the positions of an earlier run. Out, through ``emit``: segments, records that could not be
used, and every change of the link. What it promises:

- a server that closes is noticed at once, one that is silent after ``network_timeout_s``; quiet links carry a keep-alive every
  ``keepalive_s``;
- no refusal, garbage or silence ends :meth:`SeedLinkSource.run`; it tries again after a random part of a delay that doubles from
  ``reconnect_min_s`` to ``reconnect_max_s`` (full jitter, so that many clients do not come back at once);
- after a cut it goes on behind the last packet of each station, by sequence number and time; a later run goes on behind an earlier one
  (:meth:`SeedLinkSource.resumable`), so that windows and filters are as they were. A ringserver, which numbers all stations together,
  begins a resumed subscription at the newest of the numbers asked for, so it is asked with the oldest for all; what then comes twice is
  dropped by the buffers;
- :meth:`SeedLinkSource.stop` takes effect within a second, whatever the server does.

>>> source = SeedLinkSource(SeedLinkConfig(server="localhost:18000", name="example"))
>>> source.name, source.positions()
('example', {})
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

from xiaod.config import SeedLinkConfig
from xiaod.records import BadRecord, Channel, LinkChange, LinkState, Segment
from xiaod.sources import Emit
from xiaod.sources.discovery import DiscoveryError, discover
from xiaod.sources.miniseed import decode
from xiaod.sources.patterns import matches, needs_listing, plan
from xiaod.state import Positions
from xiaod.timebase import ns_from_iso

if TYPE_CHECKING:
    from xiaod.sources.link import Link

TRAIL = 2000
"""Packets of a station that are remembered, to go back to one of them: minutes of many channels."""
REMEMBER_S = 1.0
"""Least time between two such calls."""
HEALTHY_S = 30.0
"""A link that has streamed for so long makes the next delay short again."""
SHARED_NUMBERS = ("ringserver", "xiaod")
"""Servers, by their HELLO, that number the packets of all stations together."""
HALF_RANGE = 1 << 23
"""Sequence numbers wrap; of two, the one less than half the range behind is the older."""


class SeedLinkSource:
    """One server; implements :class:`xiaod.sources.Source`."""

    def __init__(
        self,
        config: SeedLinkConfig,
        resume: Positions | None = None,
        remember: Callable[[Positions], None] | None = None,
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: server, streams and time limits.
            resume: packets of an earlier run, to go on behind them.
            remember: called, in the source's thread, before the first packet of all is handed on, with what a later run
                has to go on behind; and again for stations that come a while later.
        """
        self._remember = remember
        self._remembered_s = -math.inf
        self._config = config
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._positions: dict[tuple[str, str], tuple[int, int]] = dict(resume or {})
        # What a later run may have to go back to.
        self._resumable: dict[tuple[str, str], tuple[int, int]] = dict(resume or {})
        self._trails: dict[tuple[str, str], deque[tuple[int, int, int]]] = {}
        self._link: Link | None = None
        self._wanted: dict[Channel, bool] = {}
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

    def resumable(self, needed_ns: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], tuple[int, int]]:
        """Packet of each station to go on behind so that everything that reaches beyond a time comes again.

        Args:
            needed_ns: that time, for each station; a station that is not in it keeps what it had.
        """
        with self._lock:
            for station, time_ns in needed_ns.items():
                trail = self._trails.get(station, deque())
                while trail and trail[0][2] <= time_ns:
                    sequence, start_ns, _ = trail.popleft()
                    self._resumable[station] = (sequence, start_ns)
            return dict(self._resumable)

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
        """One connection, from discovery to its end, which is always an exception."""
        from xiaod.sources.link import Link

        config = self._config
        channels, remark = self._offers()
        subscriptions = plan(config.streams, channels)
        if not subscriptions:
            raise DiscoveryError(f"the server has no stream that matches {', '.join(config.streams)}")
        link = self._link = Link(config.server, config.connect_timeout_s, self._stop)
        try:
            link.connect()
            link.subscribe(subscriptions, self._resume_from(link.greeting), self._begin_ns())
            selected = tuple(channel for channel in channels if matches(channel, config.streams))
            remarks = [remark] if remark else []
            remarks += [f"refused: {' '.join(link.refused)}"] if link.refused else []
            remarks += (
                [f"not resumed, live from now: {' '.join(link.not_resumed)}"] if link.not_resumed else []
            )
            emit(self._change("streaming", "; ".join(remarks), channels=selected))
            self._streaming_since_s = time.monotonic()
            self._read(link, emit, selected)
        finally:
            self._link = None
            link.disconnect()

    def _offers(self) -> tuple[tuple[Channel, ...], str]:
        """Channels that the server lists, and a remark when it does not and they can be done without."""
        config = self._config
        try:
            info = discover(config.server, config.connect_timeout_s, self._stop)
        except DiscoveryError as error:
            if needs_listing(config.streams):
                raise
            return (), f"streams not listed: {error}"
        return tuple(item.channel for item in info.streams), ""

    def _read(self, link: "Link", emit: Emit, selected: tuple[Channel, ...]) -> None:
        from xiaod.sources.link import SLICE_S, LinkError

        config = self._config
        asked_s = discovered_s = time.monotonic()
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
            if (
                config.discover_s
                and now_s - discovered_s > config.discover_s
                and needs_listing(config.streams)
            ):
                discovered_s = now_s
                self._look_for_more(selected)

    def _packet(self, record: bytes, sequence: int, emit: Emit) -> None:
        item = decode(record, self.name, time.time_ns(), sequence)
        if isinstance(item, Segment):
            channel = item.channel
            wanted = self._wanted.get(channel)
            if wanted is None:
                wanted = self._wanted[channel] = matches(channel, self._config.streams)
            if not wanted:
                return
            station = channel.network, channel.station
            if station not in self._resumable:
                self._begin_station(station, sequence, item.start_ns)
            emit(item)
            with self._lock:
                self._positions[station] = (sequence, item.start_ns)
                trail = self._trails.setdefault(station, deque(maxlen=TRAIL))
                trail.append((sequence, item.start_ns, item.next_ns))
        else:
            emit(item)

    def _begin_station(self, station: tuple[str, str], sequence: int, start_ns: int) -> None:
        """Know from the first packet on where a later run has to begin."""
        with self._lock:
            self._resumable[station] = ((sequence - 1) % (2 * HALF_RANGE), start_ns)
            positions = dict(self._resumable)
        now_s = time.monotonic()
        # Many stations begin at once: the rest is saved with the next heartbeat.
        if self._remember is not None and now_s - self._remembered_s > REMEMBER_S:
            self._remembered_s = now_s
            self._remember(positions)

    def _look_for_more(self, selected: tuple[Channel, ...]) -> None:
        """Connect anew, without loss, when the server has got streams that are wanted and not subscribed."""
        from xiaod.sources.link import LinkError

        try:
            offered, _ = self._offers()
        except DiscoveryError:
            # What flows is worth more than the question.
            return
        more = {channel for channel in offered if matches(channel, self._config.streams)} - set(selected)
        if more:
            raise LinkError(f"new streams: {' '.join(map(str, sorted(more)[:5]))}")

    def _resume_from(self, server: str) -> Mapping[tuple[str, str], tuple[int, int]]:
        positions = self.positions()
        if not positions or not any(word in server.lower() for word in SHARED_NUMBERS):
            return positions
        newest = next(iter(positions.values()))[0]
        oldest = min(
            (sequence - newest + HALF_RANGE) % (2 * HALF_RANGE) for sequence, _ in positions.values()
        )
        shared = (oldest + newest - HALF_RANGE) % (2 * HALF_RANGE)
        return {station: (shared, time_ns) for station, (_, time_ns) in positions.items()}

    def _begin_ns(self) -> int | None:
        return None if self._config.begin in {"now", "resume"} else ns_from_iso(self._config.begin)

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

"""A SeedLink server as a source: one thread that connects, subscribes, reads, and reconnects when the link breaks.

In: a :class:`~xiaod.config.SeedLinkConfig`, and the positions of an earlier run. Out, through ``emit``: segments, bad records, and
every change of the link. It promises:

- A server that closes the connection is noticed at once, a silent one after ``network_timeout_s``; quiet links carry a keep-alive every
  ``keepalive_s``.
- No refusal, garbage or silence ends :meth:`SeedLinkSource.run`. It tries again after a delay
  (:mod:`~xiaod.acquisition.seedlink.reconnect`).
- After a cut it goes on after the last packet of each station, by sequence number and time. A later run goes on after an earlier one
  (:meth:`SeedLinkSource.resumable`). A ringserver numbers the packets of all stations together: see
  :mod:`~xiaod.acquisition.seedlink.positions`.
- Stations of other shards are not subscribed, nor more than ``max_stations``; packets of other stations are refused.
- Data older than ``max_catch_up_s`` are not requested.
- :meth:`SeedLinkSource.stop` takes effect within a second, whatever the server does.

>>> source = SeedLinkSource(SeedLinkConfig(server="localhost:18000", name="example"))
>>> source.name, source.newest_positions()
('example', {})
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from obspy.clients.seedlink.seedlinkexception import SeedLinkException

from xiaod.acquisition import Emit
from xiaod.acquisition.admission import within_limit
from xiaod.acquisition.patterns import Subscription, is_wild, needs_listing
from xiaod.acquisition.seedlink import greetings
from xiaod.acquisition.seedlink.catalogue import FIRST_LOOK_S, Catalogue, CatalogueReader
from xiaod.acquisition.seedlink.connection import SLICE_S, Connection, StartPosition, Stopped
from xiaod.acquisition.seedlink.framing import EndOfDataError, LinkError
from xiaod.acquisition.seedlink.info import DiscoveryError
from xiaod.acquisition.seedlink.links import connector
from xiaod.acquisition.seedlink.positions import Positions
from xiaod.acquisition.seedlink.receiver import LostError, Receiver
from xiaod.acquisition.seedlink.reconnect import ReconnectDelay
from xiaod.acquisition.seedlink.refused_stations import RefusedStations
from xiaod.acquisition.seedlink.unserved import UNSERVED_S
from xiaod.acquisition.seedlink.waits import Waits
from xiaod.config import SeedLinkConfig
from xiaod.domain.seedlink import HALF_RANGE, SEQUENCE_MODULUS
from xiaod.domain.sharding import ALONE, Shard
from xiaod.domain.timegrid import ns_from_iso, ns_from_s
from xiaod.domain.timeliness import UNLIMITED, TimeLimits
from xiaod.domain.types import (
    Channel,
    LinkChange,
    LinkState,
    Position,
    Station,
    StationPositions,
)

IDLE_S = 3600.0
"""Seconds after which a source without stations of this shard looks again, if ``discover_s`` is 0."""
SHOWN_STATIONS = 10
"""Stations that one line of the log names."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The subscriptions of a connection."""

    subscriptions: tuple[Subscription, ...]
    """All that match the patterns, those of other shards too."""
    taken: tuple[Subscription, ...]
    """Those that were made."""
    known: tuple[Station, ...]
    """Stations that had sent something before."""
    listed: tuple[Channel, ...]
    """Channels of these that the server has listed so far."""
    left_out: tuple[str, ...]
    """Stations beyond ``max_stations``."""


class SeedLinkSource:
    """One server; implements :class:`xiaod.acquisition.Source`."""

    def __init__(
        self,
        config: SeedLinkConfig,
        resume: StationPositions | None = None,
        remember: Callable[[StationPositions], None] | None = None,
        lost_ns: int | None = None,
        shard: Shard = ALONE,
        limits: TimeLimits = UNLIMITED,
        lasting: bool = True,
    ) -> None:
        """Set up; nothing is opened before :meth:`run`.

        Args:
            config: server, streams and time limits.
            resume: positions of an earlier run, to go on after them.
            remember: called in the thread of the source before the first packet of a station is handed on, with the position for a
                later run.
            lost_ns: with ``begin: resume``, the time to begin at without a position, because positions were lost; None: now.
            shard: which stations this process picks; others are not subscribed.
            limits: by which buffers refuse records because of the host's clock; they are requested again if the clock was wrong.
            lasting: whether a later run goes on after this one.

        Raises:
            MissingExtraError: when ``protocol`` needs a package that is not installed.
        """
        self._shard = shard
        self._lost_ns = lost_ns
        self._config = config
        self._needs_listing = needs_listing(config.streams)
        self._stop = threading.Event()
        # The position of a station of another shard is old, and would lead far back.
        held = {station: position for station, position in (resume or {}).items() if shard.holds(*station)}
        self._receiver = Receiver(config, shard, Positions(held, lasting), remember, limits)
        self._connect = connector(config)
        self._catalogue = CatalogueReader(config, self._receiver.is_meant, self._stop)
        self._waits = Waits()
        self._first_streaming_s: float | None = None
        self._subscribed: set[str] = set()
        """Stations that the server accepted on the last connection."""
        longest_s = config.discover_s or IDLE_S
        self._refusals = RefusedStations(min(FIRST_LOOK_S, longest_s), longest_s)
        self._link: Connection | None = None
        self._delay = ReconnectDelay(config.reconnect_min_s, config.reconnect_max_s)
        self._streaming_since_s: float | None = None

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._config.label

    @property
    def positions(self) -> Positions:
        """Which packets have come, and where to go on."""
        return self._receiver.positions

    def newest_positions(self) -> dict[Station, Position]:
        """Last packet of each station that was handed on."""
        return self.positions.newest()

    def continue_from(self, former: "SeedLinkSource") -> None:
        """Go on where another source of the same server ended; called between its :meth:`run` and this one's."""
        self._receiver.continue_from(former._receiver)

    def counts(self) -> dict[str, int]:
        """Packets that came; of these, those that no pattern matches, and those that had come before."""
        return self._receiver.counts()

    def resumable(self, needed_ns: Mapping[Station, int]) -> dict[Station, Position]:
        """Where a later run has to begin: see :meth:`xiaod.acquisition.seedlink.positions.Positions.resumable`."""
        return self.positions.resumable(needed_ns)

    def gone(self) -> set[Station]:
        """Stations that were forgotten since the last call, and whose positions are not needed any more."""
        return self.positions.gone()

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stop.set()
        if (link := self._link) is not None:
            link.interrupt()

    def run(self, emit: Emit) -> None:
        """Stream until :meth:`stop`."""
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
                state: LinkState = "connect_failed" if self._streaming_since_s is None else "disconnected"
                if isinstance(error, LostError):
                    # The packets are there, and the server has done nothing wrong.
                    self._delay.forgive()
                retry_s = self._delay.next_s(self._streaming_since_s)
                emit(self._change(state, str(error), retry_s))
                self._stop.wait(retry_s)
        emit(self._change("ended"))

    def _session(self, emit: Emit) -> None:
        """One connection, from discovery to its end: an exception, unless there was nothing to subscribe."""
        config = self._config
        # A server that has just started lists only a part of its streams.
        known = tuple(self.newest_positions())
        catalogue = self._catalogue.at_connection(known)
        matching = catalogue.plan(config.streams, known)
        if not matching:
            complaint = f"the server has no stream that matches {', '.join(config.streams)}"
            raise DiscoveryError("; ".join(filter(None, (complaint, catalogue.remark))))
        subscriptions, left_out = self._chosen(matching, known)
        if not subscriptions:
            self._idle(len(matching), emit)
            return
        self._receiver.begin(subscriptions)
        self._look(catalogue, subscriptions)
        remarks = self._fetch(subscriptions, emit)
        link = self._link = self._connection()
        begun_s = time.monotonic()
        try:
            link.connect()
            self.positions.shared = greetings.numbers_together(link.greeting)
            positions, skipped = self.positions.asked(self._limit_ns())
            asked_ns = time.time_ns()
            try:
                if not (self.positions.shared and positions):
                    # Otherwise the server would begin all of them at the oldest time, should it not know the number.
                    positions = {**self._since(), **positions}
                link.subscribe(subscriptions, positions, self._begin_ns())
            except LinkError as error:
                raise LinkError("; ".join(filter(None, (str(error), catalogue.remark)))) from error
            self._waits.asked(asked_ns)
            names = {one.name for one in subscriptions}
            self._refusals.note(names, link.refused)
            self._subscribed = names.difference(link.refused)
            selected = self._selected(catalogue.channels)
            remarks += [catalogue.remark] if catalogue.remark else []
            remarks += [f"refused: {_some(link.refused)}"] if link.refused else []
            remarks += [f"not resumed, live from now: {_some(link.not_resumed)}"] if link.not_resumed else []
            remarks += [f"skipped, older than max_catch_up_s: {_some(skipped)}"] if skipped else []
            emit(self._change("streaming", "; ".join(remarks), channels=selected, left_out=left_out))
            self._streaming_since_s = time.monotonic()
            self._first_streaming_s = self._first_streaming_s or self._streaming_since_s
            self._receiver.losses.begins(self._streaming_since_s - begun_s)
            self._read(link, emit, _Asked(matching, subscriptions, known, selected, left_out))
        finally:
            self._link = None
            link.disconnect()

    def _connection(self) -> Connection:
        """A connection to the server, not opened yet."""
        return self._connect(self._config.server, self._config.connect_timeout_s, self._stop)

    def _look(self, catalogue: Catalogue, subscriptions: Collection[Subscription]) -> None:
        """Note listed stations, and subscribed stations that have sent nothing."""
        listed = {(channel.network, channel.station) for channel in catalogue.channels}
        self.positions.listed(listed.union(catalogue.stations) if catalogue.told else ())
        heard = self.newest_positions()
        silent = [
            one.station_codes for one in subscriptions if one.station_codes not in heard and not is_wild(one)
        ]
        self._waits.look(silent, catalogue.asked_ns)

    def _since(self) -> dict[Station, StartPosition]:
        """Where to begin with stations that have sent nothing and are waited for."""
        return {**self._waits.begins(self._limit_ns())} if self._begin_ns() is None else {}

    def _fetch(self, subscriptions: Collection[Subscription], emit: Emit) -> list[str]:
        """Fetch the data of stations that have sent nothing yet from a server that numbers all stations together.

        Such a server begins all stations at one number, that of the last packet. Earlier data of stations that were not subscribed on the
        last connection would not come.

        Returns:
            remarks.
        """
        since = self._since()
        silent = [
            one for one in subscriptions if one.station_codes in since and one.name not in self._subscribed
        ]
        with self.positions.on_second_connection() as last:
            if not silent or last is None or not self.positions.shared:
                return []
            link = self._link = self._connection()
            self._receiver.losses.begins(0.0)
            try:
                link.connect()
                link.fetch(silent, since)
                while time.monotonic() - link.heard_s < self._config.connect_timeout_s:
                    for frame in link.frames(SLICE_S):
                        if 0 < (frame.sequence - last[0]) % SEQUENCE_MODULUS < HALF_RANGE:
                            # From here on it comes with the other stations.
                            return []
                        self._receiver.packet(frame.record, frame.sequence, emit)
                return ["no end of what has come of new stations"]
            except EndOfDataError:
                return []
            except (OSError, LinkError) as error:
                return [f"what has come of new stations is not known: {error}"]
            finally:
                self._link = None
                link.disconnect()

    def _ask_refused(self, names: Collection[str], asked: "_Asked") -> None:
        """Connect anew when a station that was refused is accepted now."""
        again = [one for one in asked.taken if one.name in names]
        link = self._connection()
        try:
            link.connect()
            link.negotiate(again, {}, None)
        except (OSError, LinkError):
            # The data that flow are worth more than this.
            return
        finally:
            link.disconnect()
        accepted = [one.name for one in again if one.name not in link.refused]
        if accepted:
            raise LinkError(f"refused before, accepted now: {_some(accepted)}")

    def _selected(self, offered: Sequence[Channel]) -> tuple[Channel, ...]:
        return tuple(channel for channel in offered if self._receiver.wants(channel))

    def _chosen(
        self, matching: Sequence[Subscription], known: Collection[Station]
    ) -> tuple[tuple[Subscription, ...], tuple[str, ...]]:
        """Of the matching subscriptions, those that this process makes, and the stations beyond the limit."""
        held = [one for one in matching if is_wild(one) or self._shard.holds(*one.station_codes)]
        return within_limit(held, self._config.max_stations, self._config.streams, known)

    def _idle(self, stations: int, emit: Emit) -> None:
        """All stations belong to other shards: look again when there may be new ones."""
        emit(self._change("idle", f"none of {stations} stations is on shard {self._shard}"))
        self._stop.wait(self._config.discover_s or IDLE_S)

    def _read(self, link: Connection, emit: Emit, asked: "_Asked") -> None:
        config = self._config
        asked_s = time.monotonic()
        while True:
            for frame in link.frames(SLICE_S):
                self._receiver.frame(frame, emit)
            self._receiver.check_clock()
            now_s = time.monotonic()
            silent_s = now_s - link.heard_s
            if silent_s > config.network_timeout_s:
                raise LinkError(f"nothing received for {silent_s:.0f} s")
            if config.keepalive_s and silent_s > config.keepalive_s and now_s - asked_s > config.keepalive_s:
                asked_s = now_s
                link.keep_alive()
            asked = self._see_to(asked, emit)

    def _see_to(self, asked: "_Asked", emit: Emit) -> "_Asked":
        """Do what is due from time to time."""
        if self._needs_listing and self._catalogue.is_due():
            asked = self._look_for_more(asked, emit)
        if names := self._refusals.due():
            self._ask_refused(names, asked)
        now_s = time.monotonic()
        unserved = self._receiver.unserved
        if unserved and now_s - (self._first_streaming_s or now_s) > UNSERVED_S:
            complaint = unserved.complaint(asked.subscriptions, set(asked.taken), asked.listed)
            if complaint:
                text = f"no data for {UNSERVED_S:.0f} s from {complaint}"
                emit(self._change("streaming", text, channels=asked.listed, left_out=asked.left_out))
        return asked

    def _look_for_more(self, asked: "_Asked", emit: Emit) -> "_Asked":
        """Connect anew, without loss, when the server has wanted streams that are not subscribed."""
        try:
            catalogue = self._catalogue.ask()
        except DiscoveryError:
            # The data that flow are worth more than this.
            return asked
        if not catalogue.told:
            return asked
        # Stations that are subscribed already come before new ones.
        subscriptions, left_out = self._chosen(
            catalogue.plan(self._config.streams, asked.known), self._receiver.stations.union(asked.known)
        )
        self._look(catalogue, subscriptions)
        taken = set(asked.taken)
        more = [one.name for one in subscriptions if one not in taken]
        if more:
            raise LinkError(f"new streams: {_some(more)}")
        selected = self._selected(catalogue.channels)
        if not set(selected) <= set(asked.listed) or left_out != asked.left_out:
            remark = "more is listed of what was asked for"
            emit(self._change("streaming", remark, channels=selected, left_out=left_out))
        return replace(asked, listed=selected, left_out=left_out)

    def _limit_ns(self) -> int | None:
        """Older data are not requested."""
        limit_s = self._config.max_catch_up_s
        return None if limit_s is None else time.time_ns() - ns_from_s(limit_s)

    def _begin_ns(self) -> int | None:
        if self._config.begin == "resume":
            return self._lost_ns
        return None if self._config.begin == "now" else ns_from_iso(self._config.begin)

    def _change(
        self,
        state: LinkState,
        detail: str = "",
        retry_s: float | None = None,
        channels: tuple[Channel, ...] = (),
        left_out: tuple[str, ...] = (),
    ) -> LinkChange:
        return LinkChange(self.name, state, time.time_ns(), detail, retry_s, channels, left_out)


def _some(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = len(names) - SHOWN_STATIONS
    return " ".join(names[:SHOWN_STATIONS]) + (f" and {more} more" if more > 0 else "")

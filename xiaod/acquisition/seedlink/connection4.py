"""One connection to a server that speaks SeedLink 4: EarthScope's codec on the socket of :class:`Connection`.

This file uses what ``seedlink-client`` 0.2 offers without a socket: greeting, choice of a version, replies, selectors. Its clients are not
used: they cannot be stopped from another thread, trust no authority of one's own, give up all stations when one is refused, and resume
without a time.

**Resumption.** SeedLink 4 promises that the numbers of a station only increase. A ringserver breaks that when it was killed: it numbers
anew from the last packet that reached its disk, and a number means another packet then. It also takes a time after the number, and looks
whether the packet before begins at that time; if not, it begins at the time. So it gets both, and nothing is lost. For other servers a time
would be the begin of a window, which leaves out data that come late: they get the number alone.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from seedlink_client.protocol import Protocol, SeedLinkError, parse_hello, parse_reply, select_protocol
from seedlink_client.streams import v3_to_v4_selector

import xiaod
from xiaod.acquisition.patterns import DATA_TYPE, Subscription, is_wild
from xiaod.acquisition.seedlink import greetings
from xiaod.acquisition.seedlink.connection import MAX_REPLY_BYTES, Connection, StartPosition
from xiaod.acquisition.seedlink.framing import LinkError
from xiaod.acquisition.seedlink.framing4 import Framing4
from xiaod.acquisition.seedlink.listing import ListingParser
from xiaod.acquisition.seedlink.listing4 import Listing4
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Station

_VERSION = "4.0"


class Connection4(Connection):
    """A connection that speaks SeedLink 4, or 3 where the server does not speak 4 and that is allowed."""

    def __init__(
        self,
        address: str,
        connect_timeout_s: float,
        stop: threading.Event,
        tls: Callable[[], ssl.SSLContext] | None = None,
        demanded: bool = True,
        login: Callable[[], str] = str,
    ) -> None:
        """Set up; nothing is opened.

        Args:
            address: ``HOST:PORT``.
            connect_timeout_s: for opening the connection, and for each reply.
            stop: when set, the connection is given up.
            tls: gives what an encrypted connection needs; None: it is not encrypted.
            demanded: whether SeedLink 3 is not allowed.
            login: gives the words after AUTH; empty: there is no login.
        """
        super().__init__(address, connect_timeout_s, stop, tls)
        self._demanded = demanded
        self._login = login
        self._speaks_4 = False
        self._said = ""
        """The last refusal of the server, in its words."""

    def negotiate(
        self,
        subscriptions: Sequence[Subscription],
        positions: Mapping[Station, StartPosition],
        begin_ns: int | None,
    ) -> None:
        """See :meth:`Connection.negotiate`.

        The first request that matches a station counts (SeedLink 4, STATION), so those with wildcards come last.
        """
        if not self._speaks_4:
            super().negotiate(subscriptions, positions, begin_ns)
            return
        self._subscribe(sorted(subscriptions, key=is_wild), positions, begin_ns)
        if len(self.refused) == len(subscriptions):
            raise LinkError(f"subscription failed: no stations accepted ({self._said})")

    def _station_request(self, item: Subscription) -> str:
        if not self._speaks_4:
            return super()._station_request(item)
        return f"STATION {item.network}_{item.station}"

    def _stream_request(self, selector: str) -> str:
        if not self._speaks_4:
            return super()._stream_request(selector)
        return f"SELECT {stream_pattern(selector)}"

    def request(self, level: str) -> None:
        """See :meth:`Connection.request`."""
        if not self._speaks_4:
            super().request(level)
            return
        self.send_data(f"INFO {level}\r\n".encode(), self.sladdr, 0)

    def keep_alive(self) -> None:
        """See :meth:`Connection.keep_alive`."""
        self.request("ID")

    def listing(self, is_wanted: Callable[[Channel], bool]) -> ListingParser:
        """See :meth:`Connection.listing`."""
        return Listing4(is_wanted) if self._speaks_4 else super().listing(is_wanted)

    def _agree(self) -> None:
        first, second = (*self.greeting.splitlines(), "", "")[:2]
        _, _, _, spoken = parse_hello(first, second)
        try:
            version = select_protocol(spoken, Protocol.V4 if self._demanded else None)
        except SeedLinkError as error:
            advice = "write 'protocol: 3' or 'protocol: auto' for this source"
            if not self._demanded:
                advice = "ask its operator for SeedLink 3 or 4"
            raise LinkError(f"the server does not speak SeedLink 4: {advice} ({first})") from error
        words = self._login()
        if version is Protocol.V3:
            if words:
                raise LinkError(
                    "the server speaks SeedLink 3, which has no login: leave it out, or ask for SeedLink 4"
                )
            super()._agree()
            return
        self._speaks_4 = True
        self._framing = Framing4(self._received)
        if not self._command(f"SLPROTO {_VERSION}"):
            raise LinkError(f"the server refuses SeedLink {_VERSION}: {self._said}")
        # It is for the server's statistics only.
        self._command(f"USERAGENT xiaod/{xiaod.__version__}")
        if words and not self._command(f"AUTH {words}"):
            # Some servers repeat the command that they refuse.
            said = self._said.replace(words.rpartition(" ")[2], "***")
            raise LinkError(f"the server refuses the login: {said}")

    def _resumed(self, position: StartPosition) -> bool:
        """Whether the server accepts a position: after a packet, or at a time (SeedLink 4, DATA)."""
        if not self._speaks_4:
            return super()._resumed(position)
        sequence, time_ns = position
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // NS_PER_S))
        if sequence is not None:
            after = f"DATA {sequence + 1}"
            if self._command(f"{after} {moment}" if greetings.numbers_together(self.greeting) else after):
                return True
        # The word for "whatever number" was -1 in drafts.
        return self._command(f"DATA ALL {moment}") or self._command(f"DATA -1 {moment}")

    def _command(self, text: str) -> bool:
        """Send a command; whether the reply was OK."""
        if not self._speaks_4:
            return super()._command(text)
        line: bytes = self.send_data(text.encode("ascii") + b"\r\n", self.sladdr, MAX_REPLY_BYTES)
        reply = parse_reply(line.decode("ascii", "replace"))
        if not reply:
            self._said = " ".join(filter(None, (reply.status, reply.code, reply.message)))
        return bool(reply)


def stream_pattern(selector: str) -> str:
    """A selector of SeedLink 3 as a pattern of SeedLink 4: data of any format.

    >>> stream_pattern("00EH?.D"), stream_pattern("EHZ.D")
    ('00_E_H_?.?D', '*_E_H_Z.?D')
    """
    plain = selector.removesuffix(DATA_TYPE)
    return f"{v3_to_v4_selector(plain) or '*'}.?{DATA_TYPE[1:]}"

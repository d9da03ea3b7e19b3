"""One connection to a SeedLink 3 server: ObsPy's handshake on a socket that can be trusted.

This file builds on ``SeedLinkConnection`` of ObsPy 1.5: it uses ``say_hello``, ``send_info_request`` and ``check_version``, replaces
``connect``, ``send_data``, ``config_link`` and ``disconnect``, and does not use ``collect``. The reasons, in ObsPy:

- ``connect`` has no time-out unless told and knows only IPv4; ``select`` fails for descriptors of 1024 and above;
- a reply that comes in two pieces, or with the first packets after it, counts as wrong;
- an end of file counts as "nothing yet", a blocking read cannot be interrupted, and no keep-alive is sent meanwhile;
- sequence numbers do not wrap in ``DATA``, and its time is text where bytes are wanted;
- an odd reply to ``STATION`` loses all stations, and the time to subscribe grows with the square of their number;
- a state file is rewritten for every packet;
- records have 512 bytes: :mod:`xiaod.acquisition.seedlink.framing` reads their headers.
"""

import contextlib
import encodings.idna  # noqa: F401  getaddrinfo looks for it in the thread that connects
import errno
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from obspy.clients.seedlink.client.seedlinkconnection import SeedLinkConnection
from obspy.clients.seedlink.seedlinkexception import SeedLinkException

from xiaod.acquisition.patterns import Subscription
from xiaod.acquisition.seedlink import greetings
from xiaod.acquisition.seedlink.framing import ClosedError, Frame, Framing, LinkError
from xiaod.acquisition.seedlink.listing import Listing, ListingParser
from xiaod.domain.seedlink import SEQUENCE_MODULUS
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Station

MULTI_STATION_VERSION = 2.5
"""First version of SeedLink with STATION."""
SLICE_S = 0.25
"""Longest wait in one system call, so that a stop is noticed soon."""
READ_BYTES = 1 << 16
FEW_BYTES, GATHER_S = 1 << 12, 0.01
"""When no more has come, the next read waits so long for more: one read of some packets costs less than a read for each."""
MAX_REPLY_BYTES = 4096
LOOK_AGAIN_S = 1.0
"""Wait for the answer of a server that does not know HELLO to an empty line."""
TCP_KEEPALIVE_S = (60, 20, 3)
"""Idle time, interval and number of TCP's own keep-alives."""

StartPosition = tuple[int | None, int]
"""Sequence number and start time (ns) of the last packet of a station; without a number: the time to begin at."""


class Stopped(Exception):  # noqa: N818  not an error
    """A stop was requested."""


class Connection(SeedLinkConnection):  # type: ignore[misc]  # ObsPy is not typed
    """A connection that notices its end, keeps its time limits, and can be stopped from another thread."""

    def __init__(
        self,
        address: str,
        connect_timeout_s: float,
        stop: threading.Event,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        super().__init__(timeout=connect_timeout_s)
        self._tls = tls
        """Gives what an encrypted connection needs; None: it is not encrypted."""
        # ObsPy writes every command of every station to its log.
        logging.getLogger("obspy.clients.seedlink").setLevel(logging.CRITICAL)
        self.sladdr = address
        self.socket: socket.socket | None = None
        self._limit_s = connect_timeout_s
        self._stop = stop
        self._received = bytearray()
        self._framing = Framing(self._received)
        self._read_bytes = READ_BYTES
        """How many bytes the last read brought."""
        self.heard_s = time.monotonic()
        """When anything was received last."""
        self.refused: list[str] = []
        """Stations that the server has refused."""
        self.not_resumed: list[str] = []
        """Stations whose position the server has refused: they go on from now."""
        self.greeting = ""
        """The server's answer to HELLO."""

    def connect(self) -> None:
        """Open the connection and say HELLO.

        Raises:
            OSError: when the connection cannot be opened in time.
            LinkError: when the name cannot be resolved, nothing listens there, or no SeedLink 3 server answers; with a remedy.
            Stopped: when a stop was requested meanwhile.
        """
        self._open()
        self.heard_s = time.monotonic()
        try:
            self.say_hello()
        except SeedLinkException as error:
            advice = greetings.foreign(self.greeting.encode()) or error.value
            raise LinkError(f"no SeedLink server: {advice}") from error
        except ssl.SSLError as error:
            # With TLS 1.3 the server looks at the client's certificate after the handshake.
            raise LinkError(greetings.refused_by_tls(error.reason or str(error))) from error
        except (LinkError, ConnectionError) as error:
            advice = greetings.foreign(self._further_words()) or greetings.unheard(
                self.sladdr, self._tls is None and self._is_tls()
            )
            raise LinkError(f"{error}: {advice}") from error
        self._agree()

    def subscribe(
        self,
        subscriptions: Sequence[Subscription],
        positions: Mapping[Station, StartPosition],
        begin_ns: int | None,
    ) -> None:
        """Subscribe streams, and start the flow of data.

        Args:
            subscriptions: stations and selectors.
            positions: where to begin with each station; may be empty.
            begin_ns: for stations without a position: time to begin at, or None for now.

        Raises:
            LinkError: when the server accepts none of them.
        """
        self._start(b"END", subscriptions, positions, begin_ns)

    def fetch(
        self, subscriptions: Sequence[Subscription], positions: Mapping[Station, StartPosition]
    ) -> None:
        """The same for the data that the server has now; :meth:`frames` tells their end (SeedLink 3, ENDFETCH)."""
        self._start(b"ENDFETCH", subscriptions, positions, None)

    def _agree(self) -> None:
        """Agree on a version of SeedLink after HELLO.

        Raises:
            LinkError: when the server speaks no version that is spoken here.
        """
        if newer := greetings.newer(self.greeting):
            raise LinkError(newer)

    def _start(
        self,
        command: bytes,
        subscriptions: Sequence[Subscription],
        positions: Mapping[Station, StartPosition],
        begin_ns: int | None,
    ) -> None:
        self.negotiate(subscriptions, positions, begin_ns)
        if len(self.refused) == len(subscriptions):
            raise LinkError("subscription failed: no stations accepted")
        self.send_data(command + b"\r", self.sladdr, 0)

    def negotiate(
        self,
        subscriptions: Sequence[Subscription],
        positions: Mapping[Station, StartPosition],
        begin_ns: int | None,
    ) -> None:
        """The same without the flow of data: afterwards :attr:`refused` and :attr:`not_resumed` are known."""
        if self.check_version(MULTI_STATION_VERSION) < 0:
            raise LinkError(
                f"SeedLink {self.server_version} knows one station only; a server of version 3 is needed"
            )
        self._subscribe(subscriptions, positions, begin_ns)

    def _subscribe(
        self,
        subscriptions: Sequence[Subscription],
        positions: Mapping[Station, StartPosition],
        begin_ns: int | None,
    ) -> None:
        """Request stations in this order, as :meth:`negotiate` says."""
        for item in subscriptions:
            position = positions.get(item.station_codes, None if begin_ns is None else (None, begin_ns))
            taken = self._command(self._station_request(item)) and sum(
                self._command(self._stream_request(selector)) for selector in item.selectors
            )
            if not taken:
                self.refused.append(item.name)
                continue
            if position is not None:
                if self._resumed(position):
                    continue
                self.not_resumed.append(item.name)
            if not self._command("DATA"):
                self.refused.append(item.name)

    def _station_request(self, item: Subscription) -> str:
        # ObsPy sends these blanks: servers know them.
        return f"STATION  {item.station} {item.network}"

    def _stream_request(self, selector: str) -> str:
        return f"SELECT {selector}"

    def _resumed(self, position: StartPosition) -> bool:
        """Whether the server accepts a position: after a packet, or at a time (SeedLink 3, DATA and TIME)."""
        sequence, time_ns = position
        moment = _seedlink_time(time_ns)
        if sequence is not None:
            number = f"{(sequence + 1) % SEQUENCE_MODULUS:06X}"
            # Some servers do not accept a time after the number.
            if self._command(f"DATA {number} {moment}") or self._command(f"DATA {number}"):
                return True
        return self._command(f"TIME {moment}")

    def send_data(self, sendbytes: bytes, code: str, resplen: int) -> bytes:
        """Send a command and, if ``resplen`` is above 0, read its whole reply; called by ObsPy.

        Raises:
            LinkError, Stopped, OSError: when the reply does not come. The connection cannot be used any more: a late reply would be
                taken for that of the next command.
        """
        del code
        until_s = time.monotonic() + self._limit_s
        rest = memoryview(sendbytes)
        while rest:
            self._wait(select.POLLOUT, until_s, "the server does not read")
            try:
                rest = rest[self._opened().send(rest) :]
            except ssl.SSLWantWriteError:
                continue
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, until_s, "the server does not answer")
        hello = sendbytes.startswith(b"HELLO")
        reply = self._lines(0 if resplen <= 0 else 2 if hello else 1, until_s, sendbytes)
        if hello:
            self.greeting = reply.decode("ascii", "replace")
        return reply

    def disconnect(self) -> None:
        """Close the socket; called from the thread that reads."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def interrupt(self) -> None:
        """Wake the thread that reads; called from another one."""
        if (sock := self.socket) is not None:
            try:
                # That of an encrypted socket would let the other thread go on in the clear.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                # It is not connected any more, so no thread waits.
                return

    def keep_alive(self) -> None:
        """Send INFO ID: the answer shows that the server is alive, and keeps routers in between from dropping the connection."""
        self.send_info_request("ID", 3)

    def request(self, level: str) -> None:
        """Send INFO; the answer comes as frames."""
        self.send_info_request(level, 3)

    def listing(self, is_wanted: Callable[[Channel], bool]) -> ListingParser:
        """What parses the answer to INFO STREAMS and INFO STATIONS."""
        return Listing(is_wanted)

    def frames(self, wait_s: float) -> Iterator[Frame]:
        """Frames that have come, after waiting for at most ``wait_s`` for the first bytes.

        Raises:
            EndOfDataError: when the server has sent everything.
            LinkError: when the server has closed the connection, or sends something else.
            Stopped: when a stop was requested.
        """
        heard = self._fill(wait_s, gather=True)
        # Some may have come with the last reply.
        for frame in self._framing.cut():
            heard = True
            yield frame
        if heard:
            # The consumer may have blocked: silence counts from the next read.
            self.heard_s = time.monotonic()

    def _is_tls(self) -> bool:
        """Whether the address that did not answer HELLO starts a TLS handshake: most TLS servers close such a connection silently."""
        self.disconnect()
        context = ssl.create_default_context()
        # Nothing is sent or trusted, so no certificate is needed.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self._open_plain()
            self._opened().settimeout(LOOK_AGAIN_S)
            with context.wrap_socket(self._opened()):
                return True
        except ssl.SSLError as error:
            # An alert is TLS as well; a text is not.
            return error.reason != "WRONG_VERSION_NUMBER"
        except (OSError, LinkError):
            return False

    def _open(self) -> None:
        """Open the connection, encrypted where that is asked for."""
        until_s = time.monotonic() + self._limit_s
        self._open_plain()
        if self._tls is None:
            return
        sock = self.socket = self._tls().wrap_socket(
            self._opened(),
            server_hostname=self.sladdr.rpartition(":")[0].strip("[]"),
            do_handshake_on_connect=False,
        )
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, until_s, f"no TLS handshake within {self._limit_s:g} s")
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, until_s, f"no TLS handshake within {self._limit_s:g} s")
            except ssl.SSLCertVerificationError as error:
                raise LinkError(greetings.untrusted(error.verify_message)) from error
            except (ssl.SSLError, ConnectionError) as error:
                raise LinkError(greetings.no_tls(self.sladdr, error.strerror or str(error))) from error
            else:
                return
            if time.monotonic() > until_s:
                # Something comes again and again, but never all of it.
                raise LinkError(f"no TLS handshake within {self._limit_s:g} s")

    def _open_plain(self) -> None:
        host, _, port = self.sladdr.rpartition(":")
        host = host.strip("[]")
        until_s = time.monotonic() + self._limit_s
        problem: OSError = TimeoutError(f"no connection within {self._limit_s:g} s")
        try:
            addresses = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise LinkError(greetings.unresolved(host, error.strerror or str(error))) from error
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                _set_keepalive(sock)
                sock.setblocking(False)
                self.socket = sock
                code = sock.connect_ex(address)
                if code in (0, errno.EINPROGRESS):
                    self._wait(select.POLLOUT, until_s, f"no connection within {self._limit_s:g} s")
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return
                problem = OSError(code, os.strerror(code))
            except LinkError as error:
                problem = TimeoutError(str(error))
            except Stopped:
                sock.close()
                self.socket = None
                raise
            sock.close()
            self.socket = None
        if isinstance(problem, ConnectionRefusedError):
            raise LinkError(greetings.nothing_listens(self.sladdr)) from problem
        raise problem

    def _opened(self) -> socket.socket:
        if self.socket is None:
            raise LinkError("the connection is closed")
        return self.socket

    def _command(self, text: str) -> bool:
        """Send a command; whether the reply was OK."""
        reply: bytes = self.send_data(text.encode("ascii") + b"\r", self.sladdr, MAX_REPLY_BYTES)
        return reply.strip().upper() == b"OK"

    def _lines(self, count: int, until_s: float, command: bytes) -> bytes:
        while self._received.count(b"\n") < count:
            if len(self._received) > MAX_REPLY_BYTES:
                raise LinkError(f"answers {_shown(command)!r} with {bytes(self._received[:40])!r}...")
            if time.monotonic() > until_s:
                raise LinkError(f"no answer to {_shown(command)!r} within {self._limit_s:g} s")
            self._fill(SLICE_S)
        end = 0
        for _ in range(count):
            end = self._received.index(b"\n", end) + 1
        reply = bytes(self._received[:end])
        del self._received[:end]
        return reply

    def _further_words(self) -> bytes:
        """Bytes that came instead of an answer to HELLO, or that come after the line end of another protocol."""
        with contextlib.suppress(OSError, LinkError):
            until_s = time.monotonic() + LOOK_AGAIN_S
            if not self._received and self.socket is not None:
                self._opened().send(b"\n\r\n")
            while not self._received and time.monotonic() < until_s:
                self._fill(SLICE_S)
        return bytes(self._received)

    def _fill(self, wait_s: float, gather: bool = False) -> bool:
        """Read what has come; False when nothing came in time.

        Args:
            wait_s: for the first bytes.
            gather: whether to wait for some more where little came before.
        """
        poll = select.poll()
        poll.register(self._opened(), select.POLLIN)
        ready = self._holds_some() or poll.poll(min(wait_s, SLICE_S) * 1000)
        if ready and gather and self._read_bytes < FEW_BYTES:
            time.sleep(GATHER_S)
        if self._stop.is_set():
            raise Stopped
        if not ready:
            return False
        try:
            piece = self._opened().recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not piece:
            raise ClosedError("the server closed the connection")
        self._received += piece
        self._read_bytes = len(piece)
        self.heard_s = time.monotonic()
        return True

    def _holds_some(self) -> bool:
        """Whether decrypted bytes wait, of which the system knows nothing."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def _wait(self, event: int, until_s: float, complaint: str) -> None:
        poll = select.poll()
        poll.register(self._opened(), event)
        while not poll.poll(SLICE_S * 1000):
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() > until_s:
                raise LinkError(complaint)
        if self._stop.is_set():
            raise Stopped


def _shown(command: bytes) -> str:
    """A command as an error may show it: without a secret."""
    text = command.strip().decode()
    return "AUTH" if text.startswith("AUTH ") else text


def _seedlink_time(time_ns: int) -> str:
    """``year,month,day,hour,minute,second`` (SeedLink 3, DATA and TIME)."""
    return time.strftime("%Y,%m,%d,%H,%M,%S", time.gmtime(time_ns // NS_PER_S))


def _set_keepalive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), TCP_KEEPALIVE_S, strict=True):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

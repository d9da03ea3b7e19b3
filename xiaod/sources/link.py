"""One connection to a SeedLink 3 server: ObsPy's handshake on a socket that can be trusted.

This file relies on ObsPy 1.5's ``SeedLinkConnection``: it uses ``say_hello``, ``config_link`` (with ``negotiate_multi_station`` and the
list ``streams``), ``send_info_request`` and ``check_version`` as they are, and puts its own in place of ``connect``, ``send_data``,
``negotiate_station`` and ``disconnect``. It does not use ``collect``. What that guards against:

- ``connect`` has no time-out unless told and knows only IPv4; ``select`` fails for descriptors of 1024 and above;
- a reply that comes in two pieces, or with the first packets behind it, is taken for a wrong one;
- an end of file is taken for "nothing yet", a blocking read cannot be interrupted, keep-alives are not sent meanwhile;
- sequence numbers do not wrap in ``DATA``, and its time is text where bytes are wanted;
- a state file is rewritten for every packet;
- records are taken to have 512 bytes: :mod:`xiaod.sources.framing` goes by their headers.

>>> Link("localhost:18000", 1.0, threading.Event()).sladdr
'localhost:18000'
"""

import encodings.idna  # noqa: F401  getaddrinfo looks for it in the thread that connects
import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from obspy.clients.seedlink.client.seedlinkconnection import SeedLinkConnection
from obspy.clients.seedlink.client.slnetstation import SLNetStation
from obspy.clients.seedlink.seedlinkexception import SeedLinkException

from xiaod.sources.framing import Frame, Framing, LinkError
from xiaod.sources.patterns import Subscription
from xiaod.timebase import NS_PER_S

SEQUENCE_MODULUS = 1 << 24
SLICE_S = 0.25
"""Longest wait in one system call, so that a stop is noticed soon."""
READ_BYTES = 1 << 16
MAX_REPLY_BYTES = 4096
TCP_KEEPALIVE_S = (60, 20, 3)
"""Idle time, interval and number of TCP's own keep-alives."""

Position = tuple[int | None, int]
"""Sequence number and start time (ns) of the last packet of a station; without a number: the time to begin at."""


class Stopped(Exception):  # noqa: N818  not an error
    """A stop was asked for."""


class Link(SeedLinkConnection):  # type: ignore[misc]  # ObsPy is not typed
    """A connection that notices its end, keeps its time limits, and can be stopped from another thread."""

    def __init__(self, address: str, connect_timeout_s: float, stop: threading.Event) -> None:
        super().__init__(timeout=connect_timeout_s)
        # ObsPy writes every command of every station to its log.
        logging.getLogger("obspy.clients.seedlink").setLevel(logging.CRITICAL)
        self.sladdr = address
        self.socket: socket.socket | None = None
        self._limit_s = connect_timeout_s
        self._stop = stop
        self._received = bytearray()
        self._framing = Framing(self._received)
        self.heard_s = time.monotonic()
        """When anything was received last."""
        self.refused: list[str] = []
        """Stations that the server did not accept."""
        self.not_resumed: list[str] = []
        """Stations whose position the server did not accept, and which go on from now."""
        self.accepted: list[str] = []
        self.greeting = ""
        """The server's answer to HELLO."""
        self._failed: Exception | None = None
        """Why nothing more can be said on this connection."""
        self._positions: Mapping[tuple[str, str], Position] = {}
        self._begin_ns: int | None = None

    def connect(self) -> None:
        """Open the connection and say HELLO.

        Raises:
            OSError: when the connection cannot be opened in time.
            LinkError: when what answers is not a SeedLink server.
            Stopped: when a stop was asked for meanwhile.
        """
        host, _, port = self.sladdr.rpartition(":")
        self.socket = self._open(host.strip("[]"), int(port))
        self.heard_s = time.monotonic()
        try:
            self.say_hello()
        except SeedLinkException as error:
            raise LinkError(f"no SeedLink server: {error.value}") from error

    def subscribe(
        self,
        subscriptions: Sequence[Subscription],
        positions: Mapping[tuple[str, str], Position],
        begin_ns: int | None,
    ) -> None:
        """Ask for streams and start the flow of data.

        Args:
            subscriptions: stations and selectors.
            positions: last packet known of each station, to go on behind it; may be empty.
            begin_ns: for stations without a position: time to begin at, or None for now.

        Raises:
            LinkError: when the server accepts none of them.
        """
        self._positions = positions
        self._begin_ns = begin_ns
        for item in subscriptions:
            self.add_stream(item.network, item.station, " ".join(item.selectors), -1, None)
        try:
            self.config_link()
        except SeedLinkException as error:
            raise LinkError(f"subscription failed: {error.value}") from error
        accepted = set(self.accepted)
        self.refused = [
            name for item in subscriptions if (name := f"{item.network}.{item.station}") not in accepted
        ]

    def negotiate_station(self, stream: SLNetStation) -> None:
        """Send SELECT for each selector, then DATA or TIME (SeedLink 3, multi-station mode); called by ObsPy."""
        name = f"{stream.net}.{stream.station}"
        taken = sum(self._command(f"SELECT {selector}") for selector in stream.get_selectors())
        if not taken:
            raise SeedLinkException(f"{name}: no selector accepted")
        position = self._positions.get((stream.net, stream.station))
        if position is not None:
            sequence, time_ns = position
            command = "TIME" if sequence is None else f"DATA {(sequence + 1) % SEQUENCE_MODULUS:06X}"
            if self._command(f"{command} {_seedlink_time(time_ns)}"):
                self.accepted.append(name)
                return
            self.not_resumed.append(name)
        from_now = self._begin_ns is None or position is not None
        if not self._command("DATA" if from_now else f"TIME {_seedlink_time(self._begin_ns or 0)}"):
            raise SeedLinkException(f"{name}: neither TIME nor DATA accepted")
        self.accepted.append(name)

    def send_data(self, sendbytes: bytes, code: str, resplen: int) -> bytes:
        """Send a command and, if ``resplen`` is above 0, read its whole reply; called by ObsPy.

        Raises:
            LinkError, Stopped, OSError: when the reply does not come, and from then on: ObsPy takes the error for that of one station
                and goes on with the next, whose replies would be taken for those of others.
        """
        del code
        if self._failed is not None:
            raise self._failed
        try:
            return self._exchange(sendbytes, resplen)
        except Exception as error:
            self._failed = error
            raise

    def _exchange(self, sendbytes: bytes, resplen: int) -> bytes:
        until_s = time.monotonic() + self._limit_s
        rest = memoryview(sendbytes)
        while rest:
            self._wait(select.POLLOUT, until_s, "the server does not read")
            rest = rest[self._opened().send(rest) :]
        hello = sendbytes.startswith(b"HELLO")
        lines = 0 if resplen <= 0 else 2 if hello else 1
        reply = b"".join(self._line(until_s, sendbytes) for _ in range(lines))
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
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Not connected any more: then nobody waits for it.
                return

    def keep_alive(self) -> None:
        """Send INFO ID: its answer shows that the server lives, and keeps what lies between from forgetting us."""
        self.send_info_request("ID", 3)

    def request(self, level: str) -> None:
        """Send INFO; the answer comes as frames."""
        self.send_info_request(level, 3)

    def frames(self, wait_s: float) -> Iterator[Frame]:
        """Frames that have come, after waiting for at most ``wait_s`` for the first bytes.

        Raises:
            LinkError: when the server has closed the connection, ended the data, or sends something else.
            Stopped: when a stop was asked for.
        """
        heard = self._fill(wait_s)
        # Some may have come with the last reply.
        for frame in self._framing.cut():
            heard = True
            yield frame
        if heard:
            # Who takes them may have had to wait: silence counts from when it is listened for again.
            self.heard_s = time.monotonic()

    def _open(self, host: str, port: int) -> socket.socket:
        until_s = time.monotonic() + self._limit_s
        problem: OSError = TimeoutError(f"no connection within {self._limit_s:g} s")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
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
                    return sock
                problem = OSError(code, os.strerror(code))
            except LinkError as error:
                problem = TimeoutError(str(error))
            except Stopped:
                sock.close()
                self.socket = None
                raise
            sock.close()
            self.socket = None
        raise problem

    def _opened(self) -> socket.socket:
        if self.socket is None:
            raise LinkError("the connection is closed")
        return self.socket

    def _command(self, text: str) -> bool:
        """Send a command; whether the reply was OK."""
        reply: bytes = self.send_data(text.encode("ascii") + b"\r", self.sladdr, MAX_REPLY_BYTES)
        return reply.strip().upper() == b"OK"

    def _line(self, until_s: float, command: bytes) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > MAX_REPLY_BYTES:
                raise LinkError(f"answers {command!r} with {bytes(self._received[:40])!r}...")
            if time.monotonic() > until_s:
                raise LinkError(f"no answer to {command.strip().decode()!r} within {self._limit_s:g} s")
            self._fill(SLICE_S)
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    def _fill(self, wait_s: float) -> bool:
        """Read what there is; False when nothing came in time."""
        poll = select.poll()
        poll.register(self._opened(), select.POLLIN)
        ready = poll.poll(min(wait_s, SLICE_S) * 1000)
        if self._stop.is_set():
            raise Stopped
        if not ready:
            return False
        try:
            piece = self._opened().recv(READ_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            raise LinkError("the server closed the connection")
        self._received += piece
        self.heard_s = time.monotonic()
        return True

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


def _seedlink_time(time_ns: int) -> str:
    """``year,month,day,hour,minute,second`` (SeedLink 3, DATA and TIME)."""
    return time.strftime("%Y,%m,%d,%H,%M,%S", time.gmtime(time_ns // NS_PER_S))


def _set_keepalive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), TCP_KEEPALIVE_S, strict=True):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

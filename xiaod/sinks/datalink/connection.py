"""A connection to a DataLink server, of EarthScope's codec on a socket of our own: writes packets and waits for their acknowledgments.

Source: DataLink protocol 1.1, as ringserver 4.5 speaks it (https://earthscope.github.io/libdali/datalink-protocol.html). The client of
``datalink-client`` is not used: it trusts no authority of one's own, takes replies of any length, and has one packet under way at a time.

A ringserver that refuses a packet says why and hangs up, with what follows unread. So a reply is looked for even when sending fails.

>>> from contextlib import closing
>>> with closing(DataLinkConnection(DataLinkConfig(kind="datalink", server="127.0.0.1:9"))) as connection:
...     connection.open()
Traceback (most recent call last):
xiaod.sinks.datalink.connection.ServerError: 127.0.0.1:9: cannot connect: Connection refused
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from datalink_client.protocol import (
    PREHEADER_LEN,
    DataLinkError,
    DataLinkPacket,
    encode_frame,
    expected_payload_size,
    parse_capabilities,
    parse_packet,
    parse_response,
    validate_preheader_magic,
)

from xiaod.config.sinks.datalink import DataLinkConfig
from xiaod.config.tls import tls_context
from xiaod.process.secret_file import credential

UNDER_WAY = 20
"""Packets that are sent before the acknowledgment of the first is waited for."""
LEAST_PACKET = {"json": 2048, "quakeml": 8192}
"""Bytes of a packet that any pick fits into. A server that takes less would take some picks and not others."""
LEAST_EVENT_PACKET = {"json": 32_768, "quakeml": 131_072}
"""The same for an event with a place of 40 stations, with P and S of each: one of 30 has 16,918 bytes, as QuakeML 69,218."""
MAX_REPLY_BYTES = 16_000_000
"""Replies are short; the longest is a packet of anybody that is read again."""
READ_BYTES = 65_536
MAX_SAID = 200
"""Letters of what a server says that are passed on."""


class ServerError(OSError):
    """The server cannot be reached, or does not take what is sent; the message names it, the reason and what helps."""


class Packet(NamedTuple):
    """What is written: one document."""

    stream_id: str
    start_us: int
    """Time of the data (microseconds since 1970)."""
    end_us: int
    content: bytes


class DataLinkConnection:
    """A connection, with methods for one thread; after any error it is closed."""

    def __init__(self, config: DataLinkConfig) -> None:
        self._config = config
        self._where = f"{config.host}:{config.port}"
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._hidden = ""
        """The credential of the login; some servers repeat what they refuse."""
        self.most = 0
        """Bytes that a packet may have."""

    def is_open(self) -> bool:
        """Whether there is a connection that the server has not ended, as far as is known."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(0)
            # Nobody has asked anything: what there is to read is the end of the connection, or of an encrypted one something of its own.
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        self.close()
        return False

    def secrets(self) -> tuple[str, str] | None:
        """What to log in with: USERPASS or JWT, and the credential; None: there is no login.

        Raises:
            OSError: when a secret or a certificate cannot be read.
        """
        config = self._config
        if config.tls is not None:
            tls_context(config.tls)
        token = credential("token", config.token, config.token_file)
        if token is not None:
            return "JWT", token
        password = credential("password", config.password, config.password_file)
        return None if password is None else ("USERPASS", f"{config.username}\r{password}")

    def open(self) -> None:
        """Connect, log in, and look what the server allows.

        Raises:
            ServerError: when one of these fails.
            OSError: when a secret or a certificate cannot be read.
        """
        self.close()
        secrets = self.secrets()
        self._hidden = secrets[1].rpartition("\r")[2] if secrets else ""
        try:
            self._connect()
            capabilities = self._identify()
            if secrets is not None:
                self._log_in(*secrets)
                # What the user may do is known only now.
                capabilities = self._identify()
            if "WRITE" not in capabilities:
                raise ServerError(
                    f"{self._where}: the server does not let this {'machine' if secrets is None else 'user'} write: "
                    "its ring.conf needs WriteIP with the address of this machine, or log in as a user with write_permission"
                )
            self.most = _packet_size(capabilities)
            what, least = "a pick", LEAST_PACKET[self._config.format]
            if self._config.of != "picks":
                what, least = "an event", LEAST_EVENT_PACKET[self._config.format]
            if self.most < least:
                raise ServerError(
                    f"{self._where}: the server takes packets of {self.most} bytes at most, and {what} as {self._config.format} "
                    f"may have {least}: write 'MaxPacketSize {least}' or more into its ring.conf, and start it again"
                )
        except BaseException:
            self.close()
            raise

    def write(self, packets: Sequence[Packet]) -> Iterator[int]:
        """Write packets in order, :data:`UNDER_WAY` at most; gives the number that the server has given to each, once it is acknowledged.

        Raises:
            ServerError: when the next one is not.
        """
        try:
            self._send(
                b"".join(
                    encode_frame(f"WRITE {one.stream_id} {one.start_us} {one.end_us} A {len(one.content)}")
                    + one.content
                    for one in packets
                )
            )
            for one in packets:
                yield self._ok(f"packet of {one.stream_id}")
        except ServerError:
            self.close()
            raise

    def newest(self) -> int:
        """The number of the newest packet in the ring; 0: it is empty.

        Raises:
            ServerError: when the server does not say.
        """
        try:
            self._send(encode_frame("POSITION SET LATEST"))
            return self._ok("POSITION SET LATEST")
        except ServerError:
            self.close()
            raise

    def read(self, number: int) -> DataLinkPacket | None:
        """The packet of a number; None: it is not there, or may not be read.

        Raises:
            ServerError: when the server does not answer.
        """
        try:
            self._send(encode_frame(f"READ {number}"))
            header, content = self._reply()
            return parse_packet(header, content) if header.startswith("PACKET ") else None
        except ServerError:
            self.close()
            raise
        except DataLinkError as error:
            self.close()
            raise self._odd(error) from error

    def close(self) -> None:
        """Close the connection."""
        sock, self._socket = self._socket, None
        self._received.clear()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _connect(self) -> None:
        config = self._config
        try:
            sock = socket.create_connection((config.host, config.port), timeout=config.timeout_s)
            self._socket = sock
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if config.tls is not None:
                self._socket = tls_context(config.tls).wrap_socket(sock, server_hostname=config.host)
        except (OSError, UnicodeError) as error:
            raise ServerError(f"{self._where}: cannot connect: {_said(error)}{_remedy(error)}") from error

    def _identify(self) -> dict[str, str | bool]:
        """What the server can do and allows."""
        self._send(encode_frame(f"ID xiaod:{self._config.name}:0:python"))
        header, _ = self._reply()
        if not header.startswith("ID "):
            raise ServerError(
                f"{self._where}: no DataLink server: it answers {self._passed_on(header)[:40]!r}"
            )
        capabilities: dict[str, str | bool] = parse_capabilities(header)
        return capabilities

    def _log_in(self, way: str, secret: str) -> None:
        content = secret.encode()
        self._send(encode_frame(f"AUTH {way} {len(content)}") + content)
        try:
            self._ok(f"login ({way})")
        except ServerError as error:
            raise ServerError(f"{error}; check username and password, or the token") from None

    def _ok(self, what: str) -> int:
        """The value of a reply that is OK.

        Raises:
            ServerError: when it says anything else.
        """
        header, content = self._reply()
        reply = parse_response(header, content)
        if reply.status == "OK":
            return int(reply.value)
        said = self._passed_on(reply.message or header)
        if "permission denied" in said.lower():
            said += "; AllowedStreamsIP of its ring.conf, or allowed_streams of the user, must have this stream ID"
        raise ServerError(f"{self._where}: {what}: the server says {said!r}")

    def _send(self, content: bytes) -> None:
        if self._socket is None:
            raise ServerError(f"{self._where}: not connected")
        try:
            self._socket.settimeout(self._config.timeout_s)
            self._socket.sendall(content)
        except OSError as error:
            told = ""
            with contextlib.suppress(ServerError, DataLinkError):
                header, content = self._reply()
                told = f": {self._passed_on(parse_response(header, content).message or header)}"
            raise ServerError(f"{self._where}: {_said(error)}{told}") from error

    def _reply(self) -> tuple[str, bytes]:
        """Header and content of the next packet of the server."""
        until_s = time.monotonic() + self._config.timeout_s
        try:
            head = self._take(PREHEADER_LEN, until_s)
            validate_preheader_magic(head)
            header = self._take(head[2], until_s).decode("ascii", "replace")
            size = expected_payload_size(header)
        except DataLinkError as error:
            raise self._odd(error) from error
        if size > MAX_REPLY_BYTES:
            raise ServerError(f"{self._where}: a reply of {size} bytes is not waited for")
        return header, self._take(size, until_s)

    def _take(self, size: int, until_s: float) -> bytes:
        """So many bytes, at the latest at a moment of the monotonic clock."""
        while len(self._received) < size:
            if self._socket is None:
                raise ServerError(f"{self._where}: not connected")
            try:
                self._socket.settimeout(max(until_s - time.monotonic(), 0.001))
                some = self._socket.recv(READ_BYTES)
            except TimeoutError:
                raise ServerError(
                    f"{self._where}: no acknowledgment within {self._config.timeout_s:g} s"
                ) from None
            except OSError as error:
                raise ServerError(f"{self._where}: connection lost: {_said(error)}") from error
            if not some:
                raise ServerError(f"{self._where}: the server has closed the connection")
            self._received += some
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _odd(self, error: DataLinkError) -> ServerError:
        return ServerError(
            f"{self._where}: no DataLink server, or bytes were lost: {self._passed_on(str(error))}"
        )

    def _passed_on(self, said: str) -> str:
        """What a server says, without the credential, and no longer than is read."""
        for hidden in {self._hidden, repr(self._hidden)[1:-1]} - {""}:
            # Before anything is cut off or quoted: the rest of it would not be found.
            said = said.replace(hidden, "***")
        return said[:MAX_SAID]


def _packet_size(capabilities: dict[str, str | bool]) -> int:
    """Bytes that a packet may have; a server that does not say takes what ringserver takes by default."""
    size = str(capabilities.get("PACKETSIZE", ""))
    return int(size) if size.isascii() and size.isdigit() and len(size) < 10 else 512


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _remedy(error: Exception) -> str:
    return "; check server and tls" if isinstance(error, ssl.SSLError) else ""

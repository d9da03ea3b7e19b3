"""DataLink servers on a loopback port: a small one, which answers as ringserver 4.5 does byte for byte, and ringserver itself.

The small one speaks what the sink and ``datalink-client`` need (DataLink 1.1: ID, AUTH, WRITE, READ, POSITION SET). Like a ringserver that
is killed, it forgets all that came since it was first started. The real one runs where the environment variable ``XIAOD_RINGSERVER`` names
its program; ``tests/unit/sinks/datalink`` compares the two.
"""

import contextlib
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from datalink_client import DataLink, DataLinkPacket

from tests.ports import free_port

RINGSERVER = "XIAOD_RINGSERVER"
LIMIT_S = 60.0
MAX_STREAM_ID = 63


@dataclass(frozen=True)
class Rules:
    """What a server allows."""

    packet_size: int = 131072
    writing: bool = True
    """Whether it lets this machine write without a login."""
    user: tuple[str, str] | None = None
    """Name and password of the one user, who may write."""
    token: str | None = None
    """A token instead."""
    repeats: bool = False
    """Whether it repeats what it refuses (the small server alone)."""
    streams: str = ""
    """Regular expression of stream IDs that may be written; empty: all."""
    certificate: tuple[Path, Path] | None = None
    """PEM files for TLS."""

    @property
    def login(self) -> bool:
        """Whether one can log in."""
        return self.user is not None or self.token is not None


class Server(ABC):
    """A server that a test can kill and start again on the same port."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.port = free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def server(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it listens."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it."""

    def client(self) -> DataLink:
        """The client of its makers."""
        tls = self.rules.certificate is not None
        return DataLink("127.0.0.1", self.port, timeout=LIMIT_S, tls=tls, tls_noverify=tls)

    def packets(self) -> list[DataLinkPacket]:
        """All that is in the ring, in order."""
        with self.client() as client:
            first, last = (client.position_set(word).value for word in ("EARLIEST", "LATEST"))
            return [client.read(number) for number in range(first, last + 1)] if last else []

    def ids(self) -> list[str]:
        """Identifiers of the documents in the ring."""
        return [str(json.loads(packet.data)["id"]) for packet in self.packets()]


class DataLinkServer(Server):
    """The small one."""

    def __init__(self, rules: Rules = Rules()) -> None:
        super().__init__(rules)
        self.ring: list[DataLinkPacket] = []
        self.commands: list[str] = []
        """All that came, without payloads."""
        self.mute = False
        """Whether it takes packets and acknowledges none."""
        self.cut_after: int | None = None
        """After how many further packets, each of them taken, it hangs up without an acknowledgment."""
        self._listening: _Listening | None = None

    def start(self) -> None:
        self._listening = _Listening(self)
        threading.Thread(target=self._listening.serve_forever, args=(0.01,), daemon=True).start()

    def kill(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.end()
        self.ring.clear()

    def hang_up(self) -> None:
        """End all connections, and go on listening."""
        assert self._listening is not None
        self._listening.hang_up()

    def reply(self, words: list[str], payload: bytes, session: "_Session") -> bytes | None:
        """What it answers; None: nothing. Texts are those of ringserver (``dlclient.c``)."""
        match words:
            case ["ID", *_]:
                write = " WRITE" if session.may_write else ""
                auth = " AUTH" if self.rules.login else ""
                size = self.rules.packet_size
                return frame(
                    f"ID DataLink v1.1 (RingServer/4.5.3) :: DLPROTO:1.1 PACKETSIZE:{size}{write}{auth}"
                )
            case ["AUTH", way, _]:
                return self._authenticated(way, payload, session)
            case ["POSITION", "SET", ("EARLIEST" | "LATEST") as place]:
                if not self.ring:
                    return status("OK", 0, f"Positioned to {place} packet")
                number = self.ring[0 if place == "EARLIEST" else -1].pktid
                return status("OK", number, f"Positioned to packet ID {number}")
            case ["READ", number]:
                for one in self.ring:
                    if one.pktid == int(number):
                        times = f"{one.pkttime} {one.datastart} {one.dataend}"
                        header = f"PACKET {one.streamid} {one.pktid} {times} {len(one.data)}"
                        return frame(header) + bytes(one.data)
                return status("ERROR", 0, f"Packet {number} not found in ring")
        return status("ERROR", 0, "Unrecognized command")

    def refusal(self, words: list[str], session: "_Session") -> str:
        """Why it refuses to take a packet; empty: it takes it."""
        _, stream_id, _, _, _, size = words
        if not session.may_write:
            return "Write permission not granted, no soup for you!"
        if len(stream_id) > MAX_STREAM_ID:
            return "Error, stream ID too long"
        if self.rules.streams and not re.search(self.rules.streams, stream_id):
            return f"Error, permission denied for WRITE of stream ID: {stream_id}"
        # It compares with the size of a packet and its description in the ring.
        most = self.rules.packet_size + 120
        if int(size) > most:
            return f"Packet size ({size}) is too large for ring, maximum is {most} bytes"
        return ""

    def take(self, words: list[str], payload: bytes) -> bytes | None:
        """Put a packet into the ring; gives the acknowledgment."""
        _, stream_id, start, end, _, _ = words
        number = self.ring[-1].pktid + 1 if self.ring else 1
        self.ring.append(
            DataLinkPacket(stream_id, number, time.time_ns() // 1000, int(start), int(end), payload)
        )
        return None if self.mute else frame(f"OK {number} 0")

    def _authenticated(self, way: str, payload: bytes, session: "_Session") -> bytes:
        user, token = self.rules.user, self.rules.token
        known = {"USERPASS": user and "\r".join(user).encode(), "JWT": token and token.encode()}
        if not self.rules.login:
            return status("ERROR", 0, "Error performing authentication")
        if known.get(way) != payload:
            if self.rules.repeats:
                return status("ERROR", 0, f"Not known, {payload.decode()}")
            return status("ERROR", 0, "Authentication failed, not allowed to connect")
        session.may_write = True
        return status("OK", 0, "Authentication successful")


def frame(header: str) -> bytes:
    """A packet of the server without a payload."""
    return b"DL" + bytes([len(header)]) + header.encode("ascii")


def status(word: str, value: int, text: str) -> bytes:
    """A reply with a text."""
    return frame(f"{word} {value} {len(text)}") + text.encode()


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    server: "_Listening"

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.may_write = self.server.owner.rules.writing
        self.server.sessions.add(self.request)

    def handle(self) -> None:
        owner = self.server.owner
        with contextlib.suppress(OSError, ValueError):
            while (head := self.rfile.read(3)) and head[:2] == b"DL":
                text = self.rfile.read(head[2]).decode("ascii")
                owner.commands.append(text)
                words = text.split(" ")
                if words[0] != "WRITE":
                    size = int(words[2]) if words[0] == "AUTH" else 0
                    reply = owner.reply(words, self.rfile.read(size), self)
                elif said := owner.refusal(words, self):
                    self.wfile.write(status("ERROR", 0, said))
                    # It leaves the packet unread.
                    return
                else:
                    reply = owner.take(words, self.rfile.read(int(words[5])))
                    if owner.cut_after is not None:
                        owner.cut_after -= 1
                        if owner.cut_after < 0:
                            owner.cut_after = None
                            return
                if reply is not None:
                    self.wfile.write(reply)

    def finish(self) -> None:
        self.server.sessions.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()


class _Listening(socketserver.ThreadingTCPServer):
    """Its socket, and its connections."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, owner: DataLinkServer) -> None:
        self.owner = owner
        self.sessions: set[socket.socket] = set()
        self.tls: ssl.SSLContext | None = None
        if owner.rules.certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*owner.rules.certificate)
        super().__init__(("127.0.0.1", owner.port), _Session)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that trusts no certificate hangs up."""

    def hang_up(self) -> None:
        for session in list(self.sessions):
            with contextlib.suppress(OSError):
                session.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.shutdown()
        self.hang_up()
        self.server_close()


class Ringserver(Server):
    """The real one."""

    def __init__(self, folder: Path, rules: Rules = Rules()) -> None:
        program = os.environ.get(RINGSERVER)
        if not program:
            pytest.skip(f"needs {RINGSERVER}, the path of ringserver 4.5 (github.com/EarthScope/ringserver)")
        super().__init__(rules)
        (folder / "ring").mkdir(parents=True)
        lines = [
            f"RingDirectory {folder / 'ring'}",
            "RingSize 20M",
            f"MaxPacketSize {rules.packet_size}",
            f"ListenPort {self.port} DataLink SeedLink{' TLS' if rules.certificate else ''} IPv4",
            f"WriteIP {'127.0.0.1' if rules.writing else '192.0.2.1'}",
        ]
        if rules.certificate:
            lines += [f"TLSCertFile {rules.certificate[0]}", f"TLSKeyFile {rules.certificate[1]}"]
        if rules.streams:
            lines.append(f"AllowedStreamsIP 127.0.0.1 {rules.streams}")
        if rules.login:
            name, password = rules.user or ("", "")
            script = folder / "authorize.sh"
            script.write_text(
                "#!/bin/sh\n"
                f'if [ "$AUTH_USERNAME/$AUTH_PASSWORD/$AUTH_JWTOKEN" = "{name}/{password}/{rules.token or ""}" ]\n'
                'then echo \'{"authenticated": true, "write_permission": true}\'\n'
                "else echo '{\"authenticated\": false}'\nfi\n"
            )
            script.chmod(0o755)
            # Without an argument ringserver 4.5.3 crashes at the first login.
            lines.append(f"AuthCommand {script} login")
        self._config = folder / "ring.conf"
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._log = folder / "ring.log"
        self._command = [program, str(self._config)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S):
                    return
            except OSError:
                assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            time.sleep(0.02)
        raise AssertionError("ringserver does not listen")

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

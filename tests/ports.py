"""Ports for servers that are told where to listen, or that stop and listen again."""

import contextlib
import secrets
import socket
from pathlib import Path

GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""First and last of the ports that Linux gives to whoever asks for any, or connects (ip(7))."""
FIRST, TRIES = 10_000, 100


def free_port() -> int:
    """A port at which nobody listens, and that nobody is given who asks for any: it stays free until it is named."""
    first_given = int(GIVEN_OUT.read_text(encoding="ascii").split()[0])
    for _ in range(TRIES):
        port = FIRST + secrets.randbelow(first_given - FIRST)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no port is free from {FIRST} to {first_given}")

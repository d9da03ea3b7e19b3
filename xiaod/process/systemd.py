"""The state of the service for systemd: READY, RELOADING, STOPPING, STATUS, WATCHDOG.

The protocol is one datagram of ``KEY=VALUE`` lines to the socket named in ``NOTIFY_SOCKET`` (sd_notify(3)). Without that variable nothing
is sent. The watchdog expects a keep-alive within ``WATCHDOG_USEC``; one is sent after half of that, as sd_watchdog_enabled(3) advises.

>>> Notifier({}).send("READY=1")
False
>>> watchdog = Watchdog(interval_s=60.0)
>>> watchdog.due(0.0, alive=True), watchdog.due(10.0, alive=True), watchdog.due(30.0, alive=False), watchdog.due(31.0, alive=True)
(True, False, False, True)
"""

import os
import socket
from collections.abc import Mapping

USEC_PER_S = 1_000_000
WATCHDOG_PART = 0.5
"""Part of the watchdog's time after which a keep-alive is sent."""


class Notifier:
    """Sends messages to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # An abstract socket: its name begins with a zero byte.
            self._address = "\0" + self._address[1:]
        self._status = ""

    def send(self, *lines: str) -> bool:
        """Send lines; False when they reach no service manager."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.connect(self._address)
                channel.sendall("\n".join(lines).encode())
        except OSError:
            return False
        return True

    def status(self, text: str) -> None:
        """Send the line that ``systemctl status`` shows, if it has changed."""
        if text != self._status and self.send(f"STATUS={text}"):
            self._status = text


class Watchdog:
    """When a keep-alive is due: at the interval of the service manager, and only from a program that is alive."""

    def __init__(self, interval_s: float | None) -> None:
        """Take the time of the watchdog in seconds; None: there is no watchdog."""
        self.keepalive_s = None if interval_s is None else WATCHDOG_PART * interval_s
        """Seconds between keep-alives."""
        self._next_s: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Watchdog":
        """The watchdog that systemd has announced to this process.

        >>> Watchdog.from_environment({"WATCHDOG_USEC": "3000000"}).keepalive_s
        1.5
        >>> Watchdog.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).keepalive_s
        """
        interval = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid()))
        wanted = interval.isdecimal() and int(interval) > 0 and meant == str(os.getpid())
        return cls(int(interval) / USEC_PER_S if wanted else None)

    def due(self, now_s: float, *, alive: bool) -> bool:
        """Whether to send a keep-alive now, by the monotonic clock; while ``alive`` is False it stays due."""
        if self.keepalive_s is None or not alive or (self._next_s is not None and now_s < self._next_s):
            return False
        self._next_s = now_s + self.keepalive_s
        return True

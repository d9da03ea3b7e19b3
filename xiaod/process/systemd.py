"""Telling systemd how the service is: READY, RELOADING, STOPPING, STATUS, WATCHDOG.

The protocol is one datagram of ``KEY=VALUE`` lines to the socket named in ``NOTIFY_SOCKET`` (sd_notify(3)). Without that
variable nothing is sent. The watchdog wants a sign of life within ``WATCHDOG_USEC``; one is given every half of that, as
sd_watchdog_enabled(3) advises.

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
PACE = 0.5
"""Signs of life come after this part of the time within which one must come."""


class Notifier:
    """Speaks to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # An abstract socket: its name begins with a zero byte.
            self._address = "\0" + self._address[1:]
        self._status = ""

    def send(self, *lines: str) -> bool:
        """Send lines; False when nobody listens."""
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
        """Send what ``systemctl status`` shows, when it has changed."""
        if text != self._status and self.send(f"STATUS={text}"):
            self._status = text


class Watchdog:
    """When a sign of life has to be given: at the pace that the service manager wants, and only by who is alive."""

    def __init__(self, interval_s: float | None) -> None:
        """Take the time within which a sign must come, in seconds; None when nobody waits for one."""
        self.pace_s = None if interval_s is None else PACE * interval_s
        """Seconds between signs."""
        self._next_s: float | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Watchdog":
        """The watchdog that systemd has announced to this process.

        >>> Watchdog.from_environment({"WATCHDOG_USEC": "3000000"}).pace_s
        1.5
        >>> Watchdog.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).pace_s
        """
        interval = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid()))
        wanted = interval.isdecimal() and int(interval) > 0 and meant == str(os.getpid())
        return cls(int(interval) / USEC_PER_S if wanted else None)

    def due(self, now_s: float, *, alive: bool) -> bool:
        """Whether to give a sign now, by the steady clock; who is not alive is asked again at the next look."""
        if self.pace_s is None or not alive or (self._next_s is not None and now_s < self._next_s):
            return False
        self._next_s = now_s + self.pace_s
        return True

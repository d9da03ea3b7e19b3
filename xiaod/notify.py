"""Telling systemd how the service is: READY, STOPPING, STATUS, WATCHDOG.

The protocol is one datagram of ``KEY=VALUE`` lines to the socket named in ``NOTIFY_SOCKET`` (sd_notify(3)). Without that
variable nothing is sent.

>>> Notifier({}).send("READY=1")
False
"""

import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # An abstract socket: its name begins with a zero byte.
            self._address = "\0" + self._address[1:]

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

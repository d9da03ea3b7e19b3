"""The service manager's end of the notify socket, as systemd has it: what was said, and when."""

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.end_to_end.harness import wait_until

TICK_S = 0.2


@dataclass(frozen=True)
class Notice:
    """One datagram."""

    at_s: float
    """By the monotonic clock."""
    lines: tuple[str, ...]

    def value(self, key: str) -> str | None:
        """What stands behind a key."""
        values = [line.partition("=")[2] for line in self.lines if line.startswith(key + "=")]
        return values[0] if values else None


class Manager:
    """A notify socket that is read in a thread."""

    def __init__(self, folder: Path, watchdog_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "notify"
        self._watchdog_s = watchdog_s
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._ended = threading.Event()
        self.notices: list[Notice] = []

    def environment(self, log: Path) -> dict[str, str]:
        """What systemd gives a service whose standard error is the journal, here a file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        status = os.stat(log)  # noqa: PTH116  the numbers are what is wanted
        return {
            "NOTIFY_SOCKET": str(self._path),
            "WATCHDOG_USEC": str(round(self._watchdog_s * 1e6)),
            "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
        }

    def __enter__(self) -> Self:
        self._channel.bind(str(self._path))
        self._channel.settimeout(TICK_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._channel.close()

    def said(self, line: str, after_s: float = 0.0) -> list[Notice]:
        """Notices with a line, or a key, since a time of the monotonic clock."""
        return [
            notice
            for notice in list(self.notices)
            if notice.at_s >= after_s
            and any(said == line or said.startswith(line + "=") for said in notice.lines)
        ]

    def wait_for(self, line: str, count: int = 1, after_s: float = 0.0) -> list[Notice]:
        """The same, once there are so many."""

        def enough() -> list[Notice] | None:
            found = self.said(line, after_s)
            return found if len(found) >= count else None

        found: list[Notice] = wait_until(enough, f"{count} x {line}")
        return found

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                content = self._channel.recv(4096)
            except TimeoutError:
                continue
            self.notices.append(Notice(time.monotonic(), tuple(content.decode().splitlines())))

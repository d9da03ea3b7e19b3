"""A real mosquitto broker on a loopback port, and its own clients; tests are skipped where the package is missing."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Self

import pytest

from tests.ports import free_port

LIMIT_S = 60.0
SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
MISSING = "mosquitto is not installed: apt install mosquitto mosquitto-clients"
PROGRAMS = ("mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_passwd")


def program(name: str) -> str:
    """The path of one of its programs; skips the test if it is missing."""
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        pytest.skip(MISSING)
    return found


class Mosquitto:
    """A broker that a test can stop, kill and start again on the same port; sessions stay in its folder."""

    def __init__(self, folder: Path, *lines: str) -> None:
        for name in PROGRAMS:
            program(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.config_path = folder / "mosquitto.conf"
        self.options = ["-h", "127.0.0.1", "-p", str(self.port)]
        self.log_path = folder / "mosquitto.log"
        content = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            # A watcher that is away gets all that comes.
            "max_queued_messages 0",
            f"persistence_location {folder}/",
            "log_dest stderr",
            # As root it would become another user, who cannot read this folder.
            *(["user root"] if os.geteuid() == 0 else []),
            *(line.replace("{folder}", str(folder)) for line in lines or ["allow_anonymous true"]),
        ]
        self.config_path.write_text("\n".join(content) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [program("mosquitto"), "-c", str(self.config_path)], stdout=log, stderr=log
            )
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            assert self._process.poll() is None, self.log_path.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        """End in order: sessions and retained messages are kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LIMIT_S)

    def kill(self) -> None:
        """End as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _client(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [program(name), *self.options, *arguments], capture_output=True, text=True, timeout=LIMIT_S
        )
        # 27: the time is over.
        assert done.returncode in (0, 27), done.stderr
        return done.stdout

    def watch(self, topic: str, watcher: str = "watcher") -> None:
        """Subscribe a watcher: the broker keeps its messages while it is away."""
        self._client("mosquitto_sub", "-c", "-i", watcher, "-q", "1", "-t", topic, "-E")

    def drain(self, topic: str, watcher: str = "watcher") -> list[str]:
        """Messages for a watcher since the last call, in order."""
        end = f"end {uuid.uuid4()}"
        self.send(topic.replace("+", "end").replace("#", "end"), end)
        arguments = ["-c", "-i", watcher, "-q", "1", "-t", topic, "-W", str(int(LIMIT_S))]
        found: list[str] = []
        with subprocess.Popen(
            [program("mosquitto_sub"), *self.options, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == end:
                    # Several round trips: by then the broker has read what the watcher has acknowledged.
                    self.send("settled", "now")
                    process.terminate()
                    break
                if not line.startswith("end "):
                    found.append(line.strip())
            else:
                raise AssertionError(f"only {len(found)} messages and no end")
        return found

    def retained(self, topic: str, count: int) -> dict[str, str]:
        """So many retained messages, by topic."""
        arguments = ("-t", topic, "--retained-only", "-v", "-C", str(count), "-W", str(int(LIMIT_S)))
        lines = self._client("mosquitto_sub", *arguments).splitlines()
        assert len(lines) == count
        return dict(line.split(" ", 1) for line in lines)

    def first(self, topic: str) -> str:
        """The retained message of a topic; while there is none, the next one."""
        return self._client("mosquitto_sub", "-t", topic, "-C", "1", "-W", str(int(LIMIT_S))).strip()

    def send(self, topic: str, payload: str, *options: str) -> None:
        """Publish something."""
        self._client("mosquitto_pub", "-t", topic, "-m", payload, "-q", "1", *options)

    def user(self, name: str, password: str) -> None:
        """Add a user to the password file ``users``, before the broker starts."""
        path = self.folder / "users"
        flags = ["-b"] if path.exists() else ["-b", "-c"]
        subprocess.run([program("mosquitto_passwd"), *flags, str(path), name, password], check=True)
        path.chmod(0o600)

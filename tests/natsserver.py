"""The real ``nats-server`` of the distribution, started for a test and ended with it."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import StreamInfo

from tests.ports import free_port

LIMIT_S = 60.0


class NatsServer:
    """``nats-server -js`` with its store in a folder."""

    def __init__(self, folder: Path, *arguments: str, config: str = "") -> None:
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("needs nats-server (apt install nats-server)")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._command = [program, "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(folder), *arguments]
        if config:
            path = folder / "server.conf"
            path.write_text(config, encoding="utf-8")
            self._command += ["-c", str(path)]
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def server(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(encoding="utf-8")

    def start(self) -> None:
        """Start it, with what it stored before, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as sock:
                    if sock.recv(4) == b"INFO":
                        return
            except OSError:
                assert self._process.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(f"nats-server does not listen: {self.log()}")

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that runs."""
        assert self._process is not None
        return self._process

    def ask(self, work: Callable[[Client], Coroutine[Any, Any, Any]], **login: Any) -> Any:
        """What a client of its own finds."""

        async def asked() -> Any:
            client = await nats.connect(self.server, connect_timeout=30, **login)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def info(self, stream: str = "XIAOD", **login: Any) -> StreamInfo:
        """What the server says of a stream."""

        async def work(client: Client) -> StreamInfo:
            return await client.jetstream(timeout=30).stream_info(stream)

        found: StreamInfo = self.ask(work, **login)
        return found

    def messages(self, stream: str = "XIAOD", **login: Any) -> list[tuple[str, dict[str, Any]]]:
        """Subject and content of every message of a stream, in order; none when there is no stream."""

        async def work(client: Client) -> list[tuple[str, dict[str, Any]]]:
            context = client.jetstream(timeout=30)
            try:
                state = (await context.stream_info(stream)).state
            except Error:
                return []
            found = []
            for sequence in range(state.first_seq, state.last_seq + 1):
                message = await context.get_msg(stream, sequence)
                found.append((message.subject or "", json.loads(message.data or b"{}")))
            return found

        found: list[tuple[str, dict[str, Any]]] = self.ask(work, **login)
        return found

    def ids(self, stream: str = "XIAOD", **login: Any) -> list[str]:
        """Identifiers of the picks in a stream, in order."""
        return [content["id"] for _, content in self.messages(stream, **login)]

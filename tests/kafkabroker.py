"""A broker that speaks Kafka's protocol, for tests: the one that XIAOD_KAFKA names, or ``noida-db`` if it is installed.

Nothing installs ``noida-db``: it is a program of others without its source. It has one node, keeps topics in a file, and knows no TLS
and no SASL. With ``XIAOD_KAFKA=HOST:PORT`` the tests run against any other cluster, with topics of their own; those that stop or kill
the broker are skipped then.
"""

import asyncio
import importlib.resources
import importlib.util
import json
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from tests.ports import free_port

LIMIT_S = 60.0
MISSING = "needs a Kafka broker: pip install noida-db, or XIAOD_KAFKA=HOST:PORT"
NAMED = os.environ.get("XIAOD_KAFKA", "")


def broker_is_there() -> bool:
    """Whether tests can have a broker."""
    return bool(NAMED) or importlib.util.find_spec("noida_db") is not None


class KafkaBroker:
    """A broker that a test can kill and start again on the same port, unless XIAOD_KAFKA names it."""

    def __init__(self, folder: Path) -> None:
        if not broker_is_there():
            pytest.skip(MISSING)
        self.topic = f"test-{uuid.uuid4().hex}"
        """For this test alone."""
        self._process: subprocess.Popen[bytes] | None = None
        self.server = NAMED
        if not NAMED:
            folder.mkdir(parents=True, exist_ok=True)
            self.port = free_port()
            self.server = f"127.0.0.1:{self.port}"
            program = str(importlib.resources.files("noida_db").joinpath("noida-db"))
            self._command = [program, "start", "--host", "127.0.0.1", "--only", "kafka"]
            self._command += ["--kafka-port", str(self.port), "--data-dir", str(folder / "data")]
            self._log = folder / "broker.log"

    def __enter__(self) -> Self:
        if not NAMED:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

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
                with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S):
                    return
            except OSError:
                assert self._process.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(f"the broker does not listen: {self.log()}")

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that runs; skips the test where it is not ours."""
        if self._process is None:
            pytest.skip("the broker of XIAOD_KAFKA cannot be killed")
        return self._process

    def kill(self) -> None:
        """``kill -9``."""
        process = self.process
        process.kill()
        process.wait(LIMIT_S)
        self._process = None

    def stop(self) -> None:
        """Stop it in good order: what it holds is on the disk then."""
        process = self.process
        process.terminate()
        process.wait(LIMIT_S)
        self._process = None

    def records(self, topic: str = "") -> list[ConsumerRecord]:
        """All messages of a topic in the order of its partitions; none when there is no topic."""
        return asyncio.run(self._records(topic or self.topic))

    def documents(self, topic: str = "") -> list[dict[str, Any]]:
        """What the messages of a topic hold."""
        return [json.loads(record.value) for record in self.records(topic)]

    def ids(self, topic: str = "") -> list[str]:
        """Identifiers of the picks in a topic."""
        return [document["id"] for document in self.documents(topic)]

    async def _records(self, topic: str) -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.server, enable_auto_commit=False)
        await consumer.start()
        try:
            if topic not in await consumer.topics():
                return []
            partitions = [
                TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found = []
            for partition in partitions:
                consumer.seek(partition, 0)
            for partition in partitions:
                position = 0
                while position < ends[partition]:
                    batch = (await consumer.getmany(partition, timeout_ms=1000)).get(partition, [])
                    found += batch
                    position = await consumer.position(partition)
            return found
        finally:
            await consumer.stop()

"""Reads picks back from topics of Kafka, each partition from a number on.

There is no consumer group: where to go on is the number of the next message of each partition, which the caller keeps. So the brokers and
the store cannot disagree.

>>> reader = KafkaReader(KafkaConfig(kind="kafka", brokers=["127.0.0.1:9"], timeout_s=5.0), {})
>>> reader.read(10, wait_s=1.0)
Traceback (most recent call last):
xiaod.sinks.kafka.connection.BusError: 127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9)
>>> reader.close()
"""

import asyncio
import re
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.process.logs import get_logger
from xiaod.sinks.kafka.connection import FIRST_S, BusError, KafkaConnection, cancel_others, ended
from xiaod.sinks.reading import Portion, Positions

NS_PER_MS = 1_000_000
REFRESH_S = 10.0
"""How often topics and partitions are listed anew, which also tells that the brokers are there."""
BEGUN = ("", "")
"""A position of no topic."""
PARTITION_BYTES = 1_000_000
FETCH_BYTES = 8_000_000
"""Of one answer, at most; a message that is larger comes all the same."""


class KafkaReader:
    """Reads topics; implements :class:`xiaod.sinks.reading.Reader`."""

    def __init__(self, config: KafkaConfig, positions: Positions, since_ns: int | None = None) -> None:
        """Set up; nothing is opened before the first :meth:`read`.

        Args:
            config: of the sink that brings the picks.
            positions: where an earlier run has come.
            since_ns: where there was none, begin with messages of this time; None: with those that come from now on.
        """
        self._config = config
        self._where = ", ".join(config.brokers)
        parts = re.split(r"\{\w+\}", config.topic)
        self._topic = re.compile("[A-Za-z0-9_-]*".join(re.escape(part) for part in parts))
        self._offsets = {
            TopicPartition(topic, int(partition)): number
            for (topic, partition), (number, _) in positions.items()
            if partition.isdigit() and self._topic.fullmatch(topic)
        }
        """Number of the next message of each partition."""
        self._known = self._begun = bool(positions)
        """Whether topics have been listed: what comes later is read from its beginning."""
        self._since_ns = since_ns
        self._connection = KafkaConnection(config)
        self._runner: asyncio.Runner | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._listed_s = 0.0
        self._log = get_logger("bus").bind(sink=config.name)

    def read(self, limit: int, wait_s: float) -> Portion:
        """See :class:`~xiaod.sinks.reading.Reader`.

        Raises:
            BusError: when no broker can be reached, or one refuses.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._read(limit, wait_s))

    def stored(self) -> None:
        """The brokers need not know."""

    def close(self) -> None:
        """End the connection."""
        if self._runner is not None:
            self._runner.run(self._drop())
            self._runner.close()
            self._runner = None

    async def _read(self, limit: int, wait_s: float) -> Portion:
        before, begun = dict(self._offsets), self._begun
        try:
            contents = await self._next(limit, wait_s)
        except Exception as error:
            self._offsets = before
            await self._drop()
            raise BusError(f"{self._where}: cannot connect: {self._connection.because(error)}") from error
        self._begun = self._known
        return Portion(
            contents,
            # The first says that it has begun, where there is no topic yet.
            ({} if begun or not self._begun else {BEGUN: (1, 0)})
            | {
                (part.topic, str(part.partition)): (number, 0)
                for part, number in self._offsets.items()
                if before.get(part) != number
            },
        )

    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        consumer = self._consumer
        if consumer is None:
            consumer = await self._open()
        if not self._offsets or time.monotonic() - self._listed_s > REFRESH_S:
            self._connection.listen_anew()
            async with asyncio.timeout(self._config.timeout_s):
                await self._assign(consumer)
            self._listed_s = time.monotonic()
        if not self._offsets:
            # No topic yet.
            await asyncio.sleep(wait_s)
            return ()
        found = await consumer.getmany(timeout_ms=round(1000 * wait_s), max_records=limit)
        for part in found:
            self._offsets[part] = await consumer.position(part)
        return tuple(record.value or b"" for records in found.values() for record in records)

    async def _open(self) -> AIOKafkaConsumer:
        config = self._config
        self._connection.listen_anew()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        consumer = self._consumer = AIOKafkaConsumer(
            bootstrap_servers=list(config.brokers),
            client_id=f"xiaod-events-{config.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            request_timeout_ms=max(1, round(1000 * FIRST_S * config.timeout_s)),
            **self._connection.login(),
        )
        async with asyncio.timeout(config.timeout_s * (1 + len(config.brokers))):
            await consumer.start()
        self._listed_s = -REFRESH_S
        return consumer

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """Read all partitions of all topics that there are by now."""
        # What the consumer says of partitions is of topics that it has been assigned alone.
        cluster = await consumer._client.fetch_all_metadata()
        parts = {
            TopicPartition(topic, number)
            for topic in cluster.topics()
            if self._topic.fullmatch(topic)
            for number in cluster.partitions_for_topic(topic) or ()
        }
        if not parts or parts == consumer.assignment():
            # A topic that comes later is read whole.
            self._known = True
            return
        consumer.assign(sorted(parts))
        first, end = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        begin = await self._begin(consumer, parts)
        for part in parts:
            number = self._offsets.get(part)
            if number is None:
                # What comes before the first message is read, and before the next start, counts too. Later partitions are read whole.
                number = first[part] if self._known else begin.get(part, end[part])
            elif number > end[part]:
                self._log.warning(
                    "bus.begun_anew", stream=f"{part.topic}/{part.partition}", read=number, newest=end[part]
                )
                number = first[part]
            elif number < first[part]:
                self._log.warning(
                    "bus.gap", stream=f"{part.topic}/{part.partition}", read=number, oldest=first[part]
                )
                number = first[part]
            self._offsets[part] = number
            consumer.seek(part, number)
        self._known = True

    async def _begin(
        self, consumer: AIOKafkaConsumer, parts: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where messages of the first time to be read begin."""
        if self._known or self._since_ns is None:
            return {}
        found = await consumer.offsets_for_times(dict.fromkeys(parts, self._since_ns // NS_PER_MS))
        return {part: one.offset for part, one in found.items() if one is not None}

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        await ended(consumer.stop)
        # It may have ended before that.
        await ended(consumer._client.close)
        await cancel_others()

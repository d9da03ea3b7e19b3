"""Reads picks back from topics of Kafka, each partition from a number on.

There is no consumer group: where to go on is the number of the next message of each partition.

>>> reader = KafkaReader(KafkaConfig(kind="kafka", brokers=["127.0.0.1:9"], timeout_s=5.0), {})
>>> reader.read(10, wait_s=1.0)
Traceback (most recent call last):
xiaod.sinks.bus.BusError: 127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9); check brokers and tls
>>> reader.close()
"""

import asyncio
import re
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.sinks.bus import BusReader
from xiaod.sinks.kafka.connection import KafkaConnection, cancel_others, ended
from xiaod.sinks.reading import Positions

NS_PER_MS = 1_000_000
REFRESH_S = 10.0
"""How often topics and partitions are listed anew, which also tells that the brokers are there."""
BEGUN = ("", "")
"""A position of no topic, of a reader that has listed topics once: what comes later is read from its beginning."""
PARTITION_BYTES = 1_000_000
FETCH_BYTES = 8_000_000
"""Of one answer, at most; a message that is larger comes all the same."""


class KafkaReader(BusReader):
    """Reads topics; implements :class:`xiaod.sinks.reading.Reader`."""

    _connection: KafkaConnection

    def __init__(self, config: KafkaConfig, positions: Positions, since_ns: int | None = None) -> None:
        """Set up; nothing is opened before the first :meth:`read`.

        Args:
            config: of the sink that brings the picks.
            positions: where an earlier run has come.
            since_ns: where there was none, begin with messages of this time; None: with those that come from now on.
        """
        self._config = config
        super().__init__(config, KafkaConnection(config), positions)
        parts = re.split(r"\{\w+\}", config.topic)
        self._topic = re.compile("[A-Za-z0-9_-]*".join(re.escape(part) for part in parts))
        self._since_ns = since_ns
        self._consumer: AIOKafkaConsumer | None = None
        self._listed_s = 0.0

    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        consumer = self._consumer
        if consumer is None:
            consumer = await self._open()
        if not consumer.assignment() or time.monotonic() - self._listed_s > REFRESH_S:
            async with asyncio.timeout(self._config.timeout_s):
                await self._assign(consumer)
            self._listed_s = time.monotonic()
        if not consumer.assignment():
            # No topic yet.
            await asyncio.sleep(wait_s)
            return ()
        found = await consumer.getmany(timeout_ms=round(1000 * wait_s), max_records=limit)
        self._positions |= {_key(part): await consumer.position(part) for part in found}
        return tuple(record.value or b"" for records in found.values() for record in records)

    async def _open(self) -> AIOKafkaConsumer:
        consumer = self._consumer = AIOKafkaConsumer(
            client_id=f"xiaod-events-{self._config.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            **self._connection.options(),
        )
        await self._connection.start(consumer)
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
            self._positions[BEGUN] = 1
            return
        consumer.assign(sorted(parts))
        first, end = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        begin = await self._begin(consumer, parts)
        positions = {BEGUN: 1}
        for part in parts:
            number = self._positions.get(_key(part))
            if number is None:
                # What comes before the first message is read, and before the next start, counts too. Later partitions are read whole.
                number = first[part] if self._positions else begin.get(part, end[part])
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
            positions[_key(part)] = number
            consumer.seek(part, number)
        self._positions |= positions

    async def _begin(
        self, consumer: AIOKafkaConsumer, parts: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where messages of the first time to be read begin."""
        if self._positions or self._since_ns is None:
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


def _key(part: TopicPartition) -> tuple[str, str]:
    """A partition in the positions, whose number is that of its next message."""
    return part.topic, str(part.partition)

"""Picks into topics of Apache Kafka: the bus that many networks already run.

In: picks. Out: nothing once all replicas in sync have acknowledged each one. The key of a message is the station, so that its picks stay in
one partition, in order; the header ``id`` holds the identifier of the pick. What was under way when a connection broke, or a process, may
arrive twice: readers compare ``id``. The connection lives in an event loop of the sink's own thread, which runs only during calls of the
sink: the tick each second lets it notice a connection that was lost.

>>> sink = KafkaSink(KafkaConfig(kind="kafka", brokers=["127.0.0.1:9"]), AgencyConfig())
>>> sink.deliver([], now_ns=0)
>>> topic_of("picks.{station}.{location}.{phase}.{stage}", Channel("A B", "X.*", "", "EHZ"), "P", "final")
'picks.X__.--.P.final'
"""

import asyncio
from collections.abc import Sequence

from xiaod.config import AgencyConfig
from xiaod.config.sinks.kafka import MAX_TOPIC, KafkaConfig
from xiaod.domain.codes import safe
from xiaod.domain.event import json_of
from xiaod.domain.sharding import ALONE
from xiaod.domain.types import Channel, DocumentStage, Event, PickOrEvent
from xiaod.sinks import ConfiguredSink, Refused
from xiaod.sinks.kafka.connection import BusError, KafkaConnection, Message, TooLargeError
from xiaod.sinks.words import words_of

SERVICE_S = 0.005
"""How long the connection's own tasks run in a tick, and before it is used again."""


def topic_of(template: str, channel: Channel, phase: str, stage: DocumentStage) -> str:
    """Topic of a pick; what a topic cannot hold becomes ``_``."""
    return template.format(**words_of(channel, phase, stage), shard=ALONE.index)[:MAX_TOPIC]


class KafkaSink(ConfiguredSink):
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: KafkaConfig, agency: AgencyConfig) -> None:
        """Check that all secrets can be read; nothing is opened.

        Raises:
            OSError: when one cannot.
        """
        super().__init__(config)
        self._config = config
        self._agency = agency
        self._connection = KafkaConnection(config)
        self._runner: asyncio.Runner | None = None
        self._acknowledged: set[str] = set()
        """Picks of a delivery that failed otherwise: they are not sent again."""
        self._connection.login()

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Publish picks, each acknowledged; without picks, run the connection's own tasks.

        Raises:
            Refused: when one is larger than the broker takes.
            BusError: when no broker can be reached, or one refuses or does not acknowledge in time.
        """
        del now_ns
        if not picks and not self._connection.opened:
            return
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(self._publish(picks) if picks else asyncio.sleep(SERVICE_S))

    def close(self) -> None:
        """Close the connection; nothing is held back."""
        if self._runner is not None:
            self._runner.run(self._connection.close())
            self._runner.close()
            self._runner = None

    async def _publish(self, picks: Sequence[PickOrEvent]) -> None:
        if self._connection.opened:
            # If it was lost meanwhile, that is noticed before anything is sent.
            await asyncio.sleep(SERVICE_S)
        waiting = [pick for pick in picks if pick.id not in self._acknowledged]
        try:
            await self._connection.publish([self._message(pick) for pick in waiting])
        except BusError as error:
            self._acknowledged.update(waiting[number].id for number in self._connection.taken)
            if isinstance(error, TooLargeError):
                raise Refused(str(error), [waiting[number].id for number in error.numbers]) from error
            raise
        self._acknowledged.clear()

    def _message(self, pick: PickOrEvent) -> Message:
        content = json_of(pick, self._agency).encode()
        if isinstance(pick, Event):
            topic = self._config.event_topic.format(stage=pick.stage, shard=ALONE.index)
            # All that is said of one event stays in order.
            return Message(topic, safe(pick.early_id or pick.event_id).encode(), content, pick.id)
        topic = topic_of(self._config.topic, pick.channel, pick.phase, pick.stage)
        key = f"{safe(pick.channel.network)}.{safe(pick.channel.station)}"
        return Message(topic, key.encode(), content, pick.id)

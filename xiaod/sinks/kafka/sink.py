"""Picks into topics of Apache Kafka: the bus that many networks already run.

In: picks. Out: nothing once all replicas in sync have acknowledged each one. The key of a message is the station, so that its picks stay in
one partition, in order; the header ``id`` holds the identifier of the pick. What was under way when a connection broke, or a process, may
arrive twice: readers compare ``id``.

>>> sink = KafkaSink(KafkaConfig(kind="kafka", brokers=["127.0.0.1:9"]), AgencyConfig())
>>> sink.deliver([], now_ns=0)
"""

from xiaod.config import AgencyConfig
from xiaod.config.sinks.kafka import MAX_TOPIC, KafkaConfig
from xiaod.sinks.bus import BusSink
from xiaod.sinks.kafka.connection import KafkaConnection


class KafkaSink(BusSink):
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    LONGEST_TOPIC = MAX_TOPIC

    def __init__(self, config: KafkaConfig, agency: AgencyConfig) -> None:
        """See :class:`xiaod.sinks.bus.BusSink`."""
        super().__init__(config, agency, KafkaConnection(config), config.topic, config.event_topic)

"""Picks into a stream of NATS JetStream: the bus for networks that outgrow one machine.

In: picks. Out: nothing once the server has acknowledged each one; it is then in the stream. The header ``Nats-Msg-Id`` holds the
identifier of the pick, by which the server drops a repetition.

>>> sink = NatsSink(NatsConfig(kind="nats", servers=["127.0.0.1:9"]), AgencyConfig())
>>> sink.deliver([], now_ns=0)
"""

from xiaod.config import AgencyConfig
from xiaod.config.sinks.nats import NatsConfig
from xiaod.sinks.bus import BusSink
from xiaod.sinks.nats.connection import NatsConnection


class NatsSink(BusSink):
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: NatsConfig, agency: AgencyConfig) -> None:
        """See :class:`xiaod.sinks.bus.BusSink`."""
        super().__init__(config, agency, NatsConnection(config), config.subject, config.event_subject)

"""Reads picks back from a stream of NATS JetStream, from a number in the stream on.

The consumer lives as long as the connection and acknowledges nothing: where to go on is the number of the last message.

>>> reader = NatsReader(NatsConfig(kind="nats", servers=["127.0.0.1:9"], timeout_s=5.0), {})
>>> reader.read(10, wait_s=1.0)
Traceback (most recent call last):
xiaod.sinks.bus.BusError: nats://127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9); check servers and tls
>>> reader.close()
"""

from datetime import UTC, datetime

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.timegrid import NS_PER_S
from xiaod.sinks.bus import BusError, BusReader
from xiaod.sinks.nats.connection import NatsConnection
from xiaod.sinks.reading import Positions

INACTIVE_S = 60.0
"""After so long the server forgets the consumer of a connection that was lost."""


class NatsReader(BusReader):
    """Reads a stream; implements :class:`xiaod.sinks.reading.Reader`."""

    _connection: NatsConnection

    def __init__(self, config: NatsConfig, positions: Positions, since_ns: int | None = None) -> None:
        """Set up; nothing is opened before the first :meth:`read`.

        Args:
            config: of the sink that brings the picks.
            positions: where an earlier run has come.
            since_ns: where there was none, begin with messages of this time; None: with those that come from now on.
        """
        self._config = config
        super().__init__(config, NatsConnection(config), positions)
        self._part = (config.stream.name, "")
        """Its position is the number of the last message that was read."""
        self._since_ns = since_ns
        self._pulled: JetStreamContext.PullSubscription | None = None
        self._pulled_from: JetStreamContext | None = None
        self._count = 0
        """Messages that the consumer has sent."""

    async def _drop(self) -> None:
        self._pulled = None
        await self._connection.close()

    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        stream = await self._connection.connected()
        if self._pulled is None or self._pulled_from is not stream:
            self._pulled, self._pulled_from = await self._open(stream), stream
        try:
            messages = await self._pulled.fetch(limit, timeout=wait_s)
        except (NatsTimeoutError, TimeoutError):
            messages = []
        sequences = [message.metadata.sequence for message in messages]
        for sequence in sequences:
            self._count += 1
            if sequence.consumer != self._count:
                raise BusError(
                    f"{self._connection.where}: message {self._count} of the consumer did not come; it is read again"
                )
        if sequences:
            self._positions[self._part] = sequences[-1].stream
        return tuple(message.data for message in messages)

    async def _open(self, stream: JetStreamContext) -> JetStreamContext.PullSubscription:
        # The first subject is that of picks.
        name, subject = self._config.stream.name, self._config.stream_subjects[0]
        try:
            state = (await stream.stream_info(name)).state
            after = self._positions.get(self._part)
            if after is not None and after > state.last_seq:
                self._log.warning("bus.begun_anew", stream=name, read=after, newest=state.last_seq)
                after = 0
            if after is not None and state.first_seq > after + 1:
                self._log.warning("bus.gap", stream=name, read=after, oldest=state.first_seq)
            consumer = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=INACTIVE_S,
                mem_storage=True,
                num_replicas=1,
            )
            if after is None and self._since_ns is not None:
                consumer.deliver_policy = DeliverPolicy.BY_START_TIME
                consumer.opt_start_time = datetime.fromtimestamp(self._since_ns / NS_PER_S, UTC)
            else:
                # What comes before the first message is read, and before the next start, counts too.
                after = self._positions[self._part] = state.last_seq if after is None else after
                consumer.opt_start_seq = after + 1
            self._count = 0
            return await stream.pull_subscribe(subject, stream=name, config=consumer)
        except NotFoundError as error:
            raise BusError(
                f"{self._connection.where}: no stream {name}; a daemon makes it with stream.create: true, or you do: "
                f"nats stream add {name} --subjects '{subject}'"
            ) from error
        except APIError as error:
            raise self._connection.refused(f"stream {name}", error) from error

"""Reads picks back from a stream of NATS JetStream, from a number in the stream on.

The consumer lives as long as the connection and acknowledges nothing: where to go on is the number of the last message, which the caller
keeps. So the server and the store cannot disagree.

>>> reader = NatsReader(NatsConfig(kind="nats", servers=["127.0.0.1:9"], timeout_s=5.0), {})
>>> reader.read(10, wait_s=1.0)
Traceback (most recent call last):
xiaod.sinks.nats.connection.BusError: nats://127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9); check servers and tls
>>> reader.close()
"""

import asyncio
from datetime import UTC, datetime

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.timegrid import NS_PER_S
from xiaod.process.logs import get_logger
from xiaod.sinks.nats.connection import BusError, NatsConnection
from xiaod.sinks.reading import Portion, Positions

INACTIVE_S = 60.0
"""After so long the server forgets the consumer of a connection that was lost."""


class NatsReader:
    """Reads a stream; implements :class:`xiaod.sinks.reading.Reader`."""

    def __init__(self, config: NatsConfig, positions: Positions, since_ns: int | None = None) -> None:
        """Set up; nothing is opened before the first :meth:`read`.

        Args:
            config: of the sink that brings the picks.
            positions: where an earlier run has come.
            since_ns: where there was none, begin with messages of this time; None: with those that come from now on.
        """
        self._config = config
        self._where = ", ".join(config.servers)
        self._part = (config.stream.name, "")
        self._after: int | None = positions[self._part][0] if self._part in positions else None
        """Number of the last message that was read."""
        self._since_ns = since_ns
        self._connection = NatsConnection(config)
        self._runner: asyncio.Runner | None = None
        self._pulled: JetStreamContext.PullSubscription | None = None
        self._pulled_from: JetStreamContext | None = None
        self._count = 0
        """Messages that the consumer has sent."""
        self._log = get_logger("bus").bind(sink=config.name)

    def read(self, limit: int, wait_s: float) -> Portion:
        """See :class:`~xiaod.sinks.reading.Reader`.

        Raises:
            BusError: when the server cannot be reached, refuses, or has no stream.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._read(limit, wait_s))

    def stored(self) -> None:
        """The server need not know."""

    def close(self) -> None:
        """End the connection."""
        if self._runner is not None:
            self._runner.run(self._connection.close())
            self._runner.close()
            self._runner = self._pulled = None

    async def _read(self, limit: int, wait_s: float) -> Portion:
        before = self._after
        try:
            contents = await self._next(limit, wait_s)
        except Exception as error:
            self._pulled, self._after = None, before
            await self._connection.close()
            if isinstance(error, BusError):
                raise
            # Whatever a server sends that the client cannot handle, the process goes on.
            raise BusError(f"{self._where}: {type(error).__name__}: {error}") from error
        moved = self._after is not None and self._after != before
        return Portion(contents, {self._part: (self._after or 0, 0)} if moved else {})

    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        stream = await self._connection.connected()
        if self._pulled is None or self._pulled_from is not stream:
            self._pulled, self._pulled_from = await self._open(stream), stream
        try:
            messages = await self._pulled.fetch(limit, timeout=wait_s)
        except (NatsTimeoutError, TimeoutError):
            messages = []
        for message in messages:
            sequence = message.metadata.sequence
            self._count += 1
            if sequence.consumer != self._count:
                raise BusError(
                    f"{self._where}: message {self._count} of the consumer did not come; it is read again"
                )
            self._after = sequence.stream
        return tuple(message.data for message in messages)

    async def _open(self, stream: JetStreamContext) -> JetStreamContext.PullSubscription:
        name = self._config.stream.name
        subject = ".".join("*" if "{" in word else word for word in self._config.subject.split("."))
        try:
            state = (await stream.stream_info(name)).state
            if self._after is not None and self._after > state.last_seq:
                self._log.warning("bus.begun_anew", stream=name, read=self._after, newest=state.last_seq)
                self._after = 0
            if self._after is not None and state.first_seq > self._after + 1:
                self._log.warning("bus.gap", stream=name, read=self._after, oldest=state.first_seq)
            consumer = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=INACTIVE_S,
                mem_storage=True,
                num_replicas=1,
            )
            if self._after is None and self._since_ns is not None:
                consumer.deliver_policy = DeliverPolicy.BY_START_TIME
                consumer.opt_start_time = datetime.fromtimestamp(self._since_ns / NS_PER_S, UTC)
            else:
                # What comes before the first message is read, and before the next start, counts too.
                self._after = state.last_seq if self._after is None else self._after
                consumer.opt_start_seq = self._after + 1
            self._count = 0
            return await stream.pull_subscribe(subject, stream=name, config=consumer)
        except NotFoundError as error:
            raise BusError(
                f"{self._where}: no stream {name}; a daemon makes it with stream.create: true, or you do: "
                f"nats stream add {name} --subjects '{subject}'"
            ) from error
        except APIError as error:
            raise BusError(f"{self._where}: stream {name}: {error.description}") from error

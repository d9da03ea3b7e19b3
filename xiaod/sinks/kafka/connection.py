"""A connection to a Kafka cluster.

In: messages. Out: nothing once all replicas in sync have acknowledged each one (``acks=all``), or an error that names the brokers, the
reason and a remedy. The client is aiokafka. Its producer is idempotent (KIP-98): what it sends again within a connection is there once, and
messages of one key stay in order.

The event loop must be this connection's alone: to give it up, all other tasks of the loop are cancelled.

>>> connection = KafkaConnection(KafkaConfig(kind="kafka", brokers=["127.0.0.1:9"], timeout_s=5.0))
>>> asyncio.run(connection.publish([]))
Traceback (most recent call last):
xiaod.sinks.bus.BusError: 127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9); check brokers and tls
"""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import aiokafka.conn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, errors
from aiokafka.conn import AIOKafkaConnection

from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.config.tls import tls_context
from xiaod.process.secret_file import credential
from xiaod.sinks.bus import BusConnection, BusError, Message, Result, TooLargeError

CLOSE_LIMIT_S = 2.0
"""Longest time for a clean disconnection."""
MAX_MESSAGE_BYTES = 1_000_000
"""Of a message; a broker takes as much unless it is told otherwise (``message.max.bytes``)."""
MAX_INCOMING_BYTES = 16_000_000
"""The list of all topics of a large cluster; by itself aiokafka buffers as much as the server announces, up to 2 GB."""
MAX_SAID = 300
"""Letters of a reason that are passed on."""
FIRST_S = 0.9
"""Part of the time limit after which the client itself gives up, with a better reason than a time limit has."""
ID = "id"
"""The header with the identifier."""
TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.RecordTooLargeError)
LOGIN = "check username, password and mechanism"
TIMED_OUT = (TimeoutError, errors.RequestTimedOutError, errors.KafkaTimeoutError)
REMEDIES: dict[type[BaseException], str] = {
    errors.SaslAuthenticationFailed: LOGIN,
    errors.AuthenticationFailedError: LOGIN,
    errors.UnsupportedSaslMechanismError: "set mechanism to one that the broker enables",
    errors.IllegalSaslStateError: "that listener asks for no user name: leave out username, or take another port",
    errors.TopicAuthorizationFailedError: "the broker's access list must allow this user to write to it",
    errors.ClusterAuthorizationFailedError: "the broker's access list must allow this user IdempotentWrite on the cluster",
    errors.NotEnoughReplicasError: "the topic wants more replicas in sync (min.insync.replicas) than brokers are up",
    errors.NotEnoughReplicasAfterAppendError: "the topic wants more replicas in sync (min.insync.replicas) than brokers are up",
    errors.InvalidTopicError: "change topic",
    ssl.SSLCertVerificationError: "name its authority in tls.ca_file, and the broker as its certificate does in brokers",
    ssl.SSLError: "does this port speak TLS?",
}
"""What helps against an error, the first that fits."""


class _Heard(logging.Handler):
    """What aiokafka says in the log alone: why it cannot connect, or why a broker does not take something. One list for each thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._of_thread = threading.local()

    @property
    def reasons(self) -> list[tuple[bool, Any]]:
        """Whether it was about a broker that the cluster named, and the reason; the newest last."""
        found: list[tuple[bool, Any]] = self._of_thread.__dict__.setdefault("reasons", [])
        return found

    def emit(self, record: logging.LogRecord) -> None:
        reason = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if isinstance(reason, str | BaseException | type):
            del self.reasons[:-3]
            self.reasons.append((str(record.msg).startswith("Unable connect to node"), reason))


class _BoundedConnection(AIOKafkaConnection):  # type: ignore[misc]
    """aiokafka's connection, which gives up a broker that announces an answer beyond all measure."""

    def _create_reader_task(self) -> Any:
        read_exactly = self._reader.readexactly

        async def bounded(size: int) -> bytes:
            if not 0 <= size <= MAX_INCOMING_BYTES:
                raise ConnectionError(f"an answer of {size} bytes: is this a Kafka broker?")
            content: bytes = await read_exactly(size)
            return content

        self._reader.readexactly = bounded
        return super()._create_reader_task()


# aiokafka makes its connections by this name, and has no other place to say how.
aiokafka.conn.AIOKafkaConnection = _BoundedConnection
_HEARD = _Heard()
_LOGGER = logging.getLogger("aiokafka")
_LOGGER.addHandler(_HEARD)
_LOGGER.propagate = False


class KafkaConnection(BusConnection):
    """A connection."""

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(", ".join(config.brokers))
        self._config = config
        self._producer: AIOKafkaProducer | None = None

    @property
    def opened(self) -> bool:
        """Whether there is a connection, lost or not."""
        return self._producer is not None

    async def attempt(
        self, work: Coroutine[Any, Any, Result], give_up: Callable[[], Coroutine[Any, Any, None]]
    ) -> Result:
        """See :meth:`xiaod.sinks.bus.BusConnection.attempt`."""
        # What aiokafka has said before is no reason now.
        _HEARD.reasons.clear()
        return await super().attempt(work, give_up)

    async def close(self) -> None:
        """Close the connection, and give up what is under way."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        await cancel_others()
        await ended(producer.stop)
        await cancel_others()

    def login(self) -> dict[str, Any]:
        """The options to log in with; secrets are read anew for each connection.

        Raises:
            OSError: when a secret or a certificate cannot be read.
        """
        config = self._config
        options: dict[str, Any] = {}
        if config.tls is not None:
            options["ssl_context"] = tls_context(config.tls)
        if config.username is not None:
            options["sasl_mechanism"] = config.mechanism
            options["sasl_plain_username"] = config.username
            options["sasl_plain_password"] = credential("password", config.password, config.password_file)
        encrypted = "PLAINTEXT" if config.tls is None else "SSL"
        options["security_protocol"] = encrypted if config.username is None else f"SASL_{encrypted}"
        return options

    async def _connected(self) -> AIOKafkaProducer:
        """The producer, started when there is none."""
        if self._producer is not None:
            return self._producer
        producer = self._producer = AIOKafkaProducer(
            client_id=f"xiaod-{self._config.name}",
            acks="all",
            enable_idempotence=True,
            max_request_size=2 * MAX_MESSAGE_BYTES,
            **self.options(),
        )
        await self.start(producer)
        return producer

    def options(self) -> dict[str, Any]:
        """Those of any client: where the brokers are, and how to log in.

        Raises:
            OSError: when a secret or a certificate cannot be read.
        """
        return {
            "bootstrap_servers": list(self._config.brokers),
            "request_timeout_ms": max(1, round(1000 * FIRST_S * self._config.timeout_s)),
            **self.login(),
        }

    async def start(self, client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
        """Connect a client.

        Raises:
            BusError: when no broker can be reached, or one refuses.
        """
        config = self._config
        # What its tasks have to say of an end is said by our own error.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        try:
            async with asyncio.timeout(config.timeout_s * (1 + len(config.brokers))):
                await client.start()
        except Exception as error:
            reason = self.because(error)
            # aiokafka does not know all ways in which brokers refuse a login.
            known = config.username is None or isinstance(error, errors.KafkaConnectionError | TimeoutError)
            doubt = "check brokers and tls" if known else LOGIN
            hint = "" if "; " in reason else f"; {doubt}"
            raise BusError(f"{self.where}: cannot connect: {reason}{hint}") from error

    async def _publish(self, messages: Sequence[Message]) -> None:
        _refuse_large(messages)
        producer = await self._connected()
        limit_s = self._config.timeout_s
        futures: list[asyncio.Future[Any]] = []
        failed = 0
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(limit_s):
                for message in messages:
                    headers = [(ID, message.identifier.encode("utf-8", "surrogatepass"))]
                    futures.append(
                        await producer.send(message.topic, message.content, key=message.key, headers=headers)
                    )
        except (errors.KafkaError, TimeoutError) as error:
            failed, failure = len(futures), error
        if futures:
            await asyncio.wait(futures, timeout=limit_s)
        for number, future in enumerate(futures):
            told = future.exception() if future.done() and not future.cancelled() else TimeoutError()
            if told is None:
                self.taken.add(number)
            elif failure is None or isinstance(failure, TimeoutError):
                failed, failure = number, told
        if failure is None:
            return
        if isinstance(failure, TOO_LARGE):
            # A broker refuses all that came together.
            numbers = [0] if len(messages) == 1 else []
            raise TooLargeError(
                f"{self.where}: larger than the topic or the broker takes", numbers
            ) from failure
        if isinstance(failure, errors.UnknownTopicOrPartitionError):
            topic = messages[failed].topic
            raise BusError(
                f"{self.where}: no topic {topic}; make it with: kafka-topics.sh --create --topic {topic} "
                f"--bootstrap-server {self._config.brokers[0]}"
            ) from failure
        raise BusError(f"{self.where}: {self.because(failure)}") from failure

    def because(self, error: BaseException) -> str:
        """What an error says, or what was heard before if that says more; with what helps."""
        heard = _HEARD.reasons
        by_cluster = False
        reason: Any = error
        # Of a time limit, and of a list of brokers, the log alone has the reason.
        if heard and isinstance(error, TimeoutError | errors.KafkaConnectionError):
            by_cluster, reason = heard[-1]
        cause = getattr(reason, "__cause__", None)
        if isinstance(cause, Exception) and not isinstance(cause, EOFError):
            # Why the connection was closed, where it was not the other side that did it.
            reason = cause
        said = _text(reason)
        kind = reason if isinstance(reason, type) else type(reason)
        if issubclass(kind, TIMED_OUT):
            said = f"no answer within {self._config.timeout_s:g} s"
        if by_cluster:
            return f"{said}; the cluster named this broker so, and it must be reachable from here (advertised.listeners)"
        remedy = next((text for known, text in REMEDIES.items() if issubclass(kind, known)), "")
        if not remedy and said.endswith("closed"):
            remedy = "does this port expect TLS, or a user name?"
        return f"{said}; {remedy}" if remedy else said


def _refuse_large(messages: Sequence[Message]) -> None:
    large = [
        number
        for number, message in enumerate(messages)
        if len(message.content) + len(message.key) + len(message.identifier) > MAX_MESSAGE_BYTES
    ]
    if large:
        raise TooLargeError(f"{messages[large[0]].topic}: larger than {MAX_MESSAGE_BYTES} bytes", large)


async def ended(end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """End something of aiokafka, which may wait for tasks that have been cancelled, and end as they have."""
    task = asyncio.ensure_future(end())
    await asyncio.wait({task}, timeout=CLOSE_LIMIT_S)
    if task.done() and not task.cancelled():
        task.exception()


async def cancel_others() -> None:
    """End all other tasks of this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CLOSE_LIMIT_S)


def _text(reason: object) -> str:
    """An error as a person reads it."""
    if isinstance(reason, type):
        return reason.__name__
    said = str(getattr(reason, "strerror", None) or reason)
    known = isinstance(reason, str | OSError | errors.KafkaError) and said
    return (said if known else f"{type(reason).__name__}: {said}")[:MAX_SAID]

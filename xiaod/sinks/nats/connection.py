"""A connection to NATS JetStream.

In: messages. Out: nothing once the stream has acknowledged each one, or an error that names the server, the reason and a remedy. Each
message is sent after the acknowledgment of the one before, so a refusal in the middle never changes their order. The client is nats-py.
Once the server reports an error, its acknowledgment is not waited for.

>>> connection = NatsConnection(NatsConfig(kind="nats", servers=["127.0.0.1:9"], timeout_s=5.0))
>>> asyncio.run(connection.publish([Message("xiaod.picks.BW.RJOB.P", b"{}", "id")]))
Traceback (most recent call last):
xiaod.sinks.bus.BusError: nats://127.0.0.1:9: cannot connect: Connect call failed ('127.0.0.1', 9); check servers and tls
"""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import nkeys
from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError, ProtocolError
from nats.js import JetStreamContext
from nats.js.api import Header, StorageType, StreamConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError, ServiceUnavailableError
from nats.protocol.parser import Parser

from xiaod.config.sinks.nats import NatsConfig
from xiaod.config.tls import tls_context
from xiaod.process.secret_file import credential
from xiaod.sinks.bus import BusConnection, BusError, Message, TooLargeError

CLOSE_LIMIT_S = 2.0
"""Longest time for a clean disconnection."""
TOO_LARGE = 10054
"""JetStream's error code for a message larger than the stream takes."""
OTHER_STREAM = 10060
"""JetStream's error code for a subject that belongs to another stream."""
CREDENTIALS = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")
"""The parts of a credentials file."""
MAX_CREDENTIALS_BYTES = 65_536
MAX_INCOMING_BYTES = 1_000_000
"""Of what is no message: the server's own description; nats-py reads 32 kB at a time."""
MAX_PAYLOAD_BYTES = 67_108_864
"""The largest ``max_payload`` that a nats-server can have."""
MAX_SAID = 200
"""Letters of a server's error that are passed on."""

_ID = re.compile(r"[!-~]{1,200}")


class _BoundedParser(Parser):
    """nats-py's parser, which by itself buffers as much of a message as the server announces."""

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data)
        # Who reads gets whatever the server lets anybody publish.
        if len(self.buf) > MAX_INCOMING_BYTES + min(self.nc.max_payload, MAX_PAYLOAD_BYTES):
            raise ProtocolError


class NatsConnection(BusConnection):
    """A connection and its stream."""

    def __init__(self, config: NatsConfig) -> None:
        super().__init__(", ".join(config.servers))
        self._config = config
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._said: list[str] = []
        """The last errors that the server reported."""
        self._failed = asyncio.Event()

    @property
    def opened(self) -> bool:
        """Whether there is a connection, lost or not."""
        return self._client is not None

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            with contextlib.suppress(Error, OSError, asyncio.CancelledError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await client.close()

    def login(self) -> dict[str, Any]:
        """The options to log in with; secrets are read anew for each connection.

        Raises:
            OSError: when a secret or a certificate cannot be read.
        """
        config = self._config
        options: dict[str, Any] = {}
        if config.tls is not None:
            options["tls"] = tls_context(config.tls)
        if config.username is not None:
            options["user"] = config.username
            options["password"] = credential("password", config.password, config.password_file)
        if (token := credential("token", config.token, config.token_file)) is not None:
            options["token"] = token
        if (seed := credential("nkey", None, config.nkey_file)) is not None:
            try:
                nkeys.from_seed(bytearray(seed.encode()))
            except (nkeys.NkeysError, ValueError):
                raise OSError(f"nkey_file: {config.nkey_file}: must hold the seed of an NKey") from None
            options["nkeys_seed_str"] = seed
        if config.credentials_file is not None:
            _check_credentials(config.credentials_file)
            options["user_credentials"] = str(config.credentials_file)
        return options

    async def _publish(self, messages: Sequence[Message]) -> None:
        stream = await self.connected()
        for number, message in enumerate(messages):
            await self._put(stream, message, number)
            self.taken.add(number)

    async def _put(self, stream: JetStreamContext, message: Message, number: int) -> None:
        """Put a message into the stream."""
        name, subject = self._config.stream.name, message.topic
        sending = stream.publish(
            subject,
            message.content,
            timeout=self._config.timeout_s,
            stream=name,
            headers={Header.MSG_ID: message_id(message.identifier)},
        )
        try:
            await self._unless_failed(sending, subject)
        except MaxPayloadError as error:
            raise TooLargeError(f"{subject}: larger than the server takes", [number]) from error
        except NoStreamResponseError as error:
            subjects = ",".join(self._config.stream_subjects)
            raise BusError(
                f"{self.where}: no stream takes {subject}; make it with: nats stream add {name} --subjects '{subjects}', "
                f"or set stream.create: true; if {name} is there, give it that subject with nats stream edit"
            ) from error
        except APIError as error:
            if error.err_code == TOO_LARGE:
                raise TooLargeError(f"{subject}: larger than the stream takes", [number]) from error
            elsewhere = f"; it goes to another stream than {name}: change stream.name or subject"
            hint = elsewhere if error.err_code == OTHER_STREAM else ""
            raise BusError(f"{self.where}: {subject}: {error.description}{hint}") from error
        except (Error, TimeoutError, asyncio.CancelledError) as error:
            raise BusError(f"{self.where}: {subject}: no acknowledgment{self._because()}") from error

    async def connected(self) -> JetStreamContext:
        """The stream, over a connection that is opened when there is none.

        Raises:
            BusError: when the server cannot be reached, or refuses.
        """
        if self._client is not None and self._client.is_connected and self._stream is not None:
            return self._stream
        await self.close()
        config = self._config
        self._said = []
        self._failed = asyncio.Event()
        client = self._client = Client()
        client._ps = _BoundedParser(client)
        # Our own error says what went wrong; nats-py would also write a traceback into the log.
        logging.getLogger("nats").setLevel(logging.CRITICAL)
        try:
            async with asyncio.timeout(config.timeout_s):
                await client.connect(
                    list(config.servers),
                    error_cb=self._hear,
                    closed_cb=self._lose,
                    name=f"xiaod {config.name}",
                    # A lost connection is opened anew at the next delivery.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=config.timeout_s,  # type: ignore[arg-type]
                    **self.login(),
                )
                stream = client.jetstream(timeout=config.timeout_s)
                self._failed.clear()
                if config.stream.create:
                    await self._unless_failed(self._make_stream(stream), f"stream {config.stream.name}")
        except BusError:
            raise
        except (Error, OSError, ValueError, nkeys.NkeysError) as error:
            # A wait that was cut says nothing.
            reason = str(error) or f"no answer within {config.timeout_s:g} s; check servers and tls"
            said = self._because() or f": {reason}"
            raise BusError(f"{self.where}: cannot connect{said}{_remedy(said)}") from error
        self._stream = stream
        return stream

    async def _make_stream(self, stream: JetStreamContext) -> None:
        """Make the stream if it is missing."""
        wanted = self._config.stream
        try:
            try:
                await stream.stream_info(wanted.name)
            except NotFoundError:
                await stream.add_stream(
                    StreamConfig(
                        name=wanted.name,
                        subjects=list(self._config.stream_subjects),
                        storage=StorageType.FILE,
                        max_age=wanted.max_age_s or None,
                        max_bytes=wanted.max_bytes or -1,
                        num_replicas=wanted.replicas,
                        duplicate_window=wanted.duplicates_s,
                    )
                )
        except APIError as error:
            raise self.refused(f"stream {wanted.name} cannot be made", error) from error

    def refused(self, what: str, error: APIError) -> BusError:
        """What the server says of a stream, with what helps."""
        if isinstance(error, ServiceUnavailableError):
            said = error.description or "no answer"
            return BusError(f"{self.where}: no JetStream there: {said}; start nats-server with -js")
        return BusError(f"{self.where}: {what}: {error.description}")

    async def _unless_failed(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Do something, but do not wait for its answer once the server has reported an error or gone."""
        doing, failed = asyncio.ensure_future(work), asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait({doing, failed}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                said = self._said[-1] if self._said else "connection lost"
                raise BusError(f"{self.where}: {what}: {said}{_remedy(said)}")
            doing.result()
        finally:
            doing.cancel()
            failed.cancel()

    async def _lose(self) -> None:
        """The connection is closed."""
        self._failed.set()

    async def _hear(self, error: Exception) -> None:
        """The server reports an error, such as a subject that is not allowed."""
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._said = [*self._said[-3:], text.removeprefix("nats: ")[:MAX_SAID]]
        self._failed.set()

    def _because(self) -> str:
        return f": {self._said[-1]}" if self._said else ""


def message_id(identifier: str) -> str:
    """An identifier as a header holds it: its hash where a damaged code made one that none can.

    >>> message_id("a pick")
    '47128357df3d2f7997ab8ff3ca1e03579a17d542b8a792ad6b1cc3de82cdc3fe'
    """
    if _ID.fullmatch(identifier):
        return identifier
    return hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


def _check_credentials(path: Path) -> None:
    """Refuse what is no file of ``nsc``: nats-py would search for its parts without end."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CREDENTIALS_BYTES)
    except OSError as error:
        raise OSError(f"credentials_file: {path}: cannot be read: {error.strerror}") from error
    if any(part not in content for part in CREDENTIALS):
        raise OSError(f"credentials_file: {path}: must hold a user's JWT and key, as nsc makes it")


def _remedy(said: str) -> str:
    text = said.lower()
    if "permissions violation" in text:
        return "; the server must allow this user to publish there, to use $JS.API.> when stream.create is set, and to listen to _INBOX.>"
    if "authorization" in text or "authentication" in text:
        return "; check username and password, token, credentials_file or nkey_file"
    return "; check servers and tls" if "connect" in text or "ssl" in text else ""

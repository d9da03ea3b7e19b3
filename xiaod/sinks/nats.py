"""Picks into a stream of NATS JetStream: the bus for networks that outgrow one machine.

In: picks. Out: nothing, once the server has acknowledged each one: then it is in the stream. The identifier of the pick goes along as
``Nats-Msg-Id``, by which the server drops what comes twice. Picks go one after the other, each after the acknowledgment of the one
before, so that what is refused in the midst never changes their order. The client is nats-py; it lives in an event loop of the sink's
own thread, and that loop runs only in calls of the sink: the tick each second answers the server's pings.

>>> sink = NatsSink(NatsConfig(kind="nats", servers=["127.0.0.1:9"], timeout_s=2.0), AgencyConfig())
>>> subject_of("picks.{station}.{location}.{phase}", Channel("A B", "X.*", "", "EHZ"), "P")
'picks.X__.--.P'
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Coroutine, Sequence
from typing import Any

import nkeys
from nats.aio.client import Client
from nats.errors import Error, MaxPayloadError
from nats.js import JetStreamContext
from nats.js.api import Header, StorageType
from nats.js.api import StreamConfig as NatsStreamConfig
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError, ServiceUnavailableError

from xiaod.config import AgencyConfig, NatsConfig
from xiaod.credential import credential
from xiaod.records import Channel, Pick
from xiaod.sinks import Refused, SinkError
from xiaod.sinks.document import pick_json
from xiaod.sinks.naming import safe
from xiaod.sinks.tls import tls_context

BREATH_S = 0.005
"""How long the connection is attended to in a tick."""
CLOSE_LIMIT_S = 2.0
NO_LOCATION = "--"
TOO_LARGE = 10054
"""JetStream's error code of a message larger than the stream takes."""
OTHER_STREAM = 10060
"""JetStream's error code of a subject that another stream takes."""

_ID = re.compile(r"[!-~]{1,200}")


class BusError(OSError):
    """The server cannot be reached, or does not take what is sent; the message names it, the reason and what helps."""


def subject_of(template: str, channel: Channel, phase: str) -> str:
    """Subject of a pick: what a word of a subject cannot carry becomes ``_``."""
    codes = {
        "network": channel.network,
        "station": channel.station,
        "location": channel.location or NO_LOCATION,
        "channel": channel.channel,
        "phase": phase,
    }
    return template.format_map({key: safe(code).replace(".", "_") or "_" for key, code in codes.items()})


def message_id(pick: Pick) -> str:
    """The pick's identifier, or where a damaged code made one that no header carries, its hash."""
    if _ID.fullmatch(pick.id):
        return pick.id
    return hashlib.sha256(pick.id.encode("utf-8", "surrogatepass")).hexdigest()


class NatsSink:
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: NatsConfig, agency: AgencyConfig) -> None:
        """Look whether all secrets can be read; nothing is opened.

        Raises:
            SinkError: when one cannot.
        """
        self._config = config
        self._agency = agency
        self._where = ", ".join(config.servers)
        self._runner: asyncio.Runner | None = None
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._said: list[str] = []
        """What the server said last, without being asked."""
        self._complained = asyncio.Event()
        self._acknowledged: set[str] = set()
        """Picks of a delivery that then failed: not sent again, however long the server has been away."""
        try:
            self._login()
        except OSError as error:
            raise SinkError(f"sinks: {config.name}: {error}") from error

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self._config.name

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Publish picks, each acknowledged; without any, attend to the connection.

        Raises:
            Refused: when one is larger than the server takes.
            BusError: when the server cannot be reached, refuses, or does not acknowledge in time.
        """
        del now_ns
        if not picks and self._client is None:
            return
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(self._publish(picks) if picks else asyncio.sleep(BREATH_S))

    def close(self) -> None:
        """Close the connection; nothing is held back."""
        if self._runner is not None:
            self._runner.run(self._disconnect())
            self._runner.close()
            self._runner = None

    async def _publish(self, picks: Sequence[Pick]) -> None:
        try:
            stream = await self._connected()
            for pick in picks:
                if pick.id not in self._acknowledged:
                    await self._publish_one(stream, pick)
                    self._acknowledged.add(pick.id)
        except Refused:
            raise
        except BusError:
            # Nothing of a connection that failed comes later.
            await self._disconnect()
            raise
        except Exception as error:
            # Whatever a server sends and the client stumbles over, it is no reason for the daemon to end.
            await self._disconnect()
            raise BusError(f"{self._where}: {type(error).__name__}: {error}") from error
        self._acknowledged.clear()

    async def _publish_one(self, stream: JetStreamContext, pick: Pick) -> None:
        subject = subject_of(self._config.subject, pick.channel, pick.phase)
        sending = stream.publish(
            subject,
            pick_json(pick, self._agency).encode(),
            timeout=self._config.timeout_s,
            stream=self._config.stream.name,
            headers={Header.MSG_ID: message_id(pick)},
        )
        try:
            await self._unless_told(sending, subject)
        except MaxPayloadError as error:
            raise Refused(f"{subject}: larger than the server takes", [pick.id]) from error
        except NoStreamResponseError as error:
            raise BusError(f"{self._where}: no stream takes {subject}; {self._stream_remedy}") from error
        except APIError as error:
            if error.err_code == TOO_LARGE:
                raise Refused(f"{subject}: larger than the stream takes", [pick.id]) from error
            hint = (
                f"; {subject} goes to another stream than {self._config.stream.name}: change stream.name or subject"
                if error.err_code == OTHER_STREAM
                else ""
            )
            raise BusError(f"{self._where}: {subject}: {error.description}{hint}") from error
        except (Error, TimeoutError, asyncio.CancelledError) as error:
            raise BusError(f"{self._where}: {subject}: no acknowledgment{self._because()}") from error

    async def _connected(self) -> JetStreamContext:
        """The stream, over a connection that is opened when there is none."""
        if self._client is not None and self._client.is_connected and self._stream is not None:
            return self._stream
        await self._disconnect()
        config = self._config
        self._said = []
        self._complained = asyncio.Event()
        client = self._client = Client()
        try:
            async with asyncio.timeout(config.timeout_s):
                await client.connect(
                    list(config.servers),
                    error_cb=self._hear,
                    closed_cb=self._lose,
                    name=f"xiaod {config.name}",
                    # A connection that is lost is opened anew at the next delivery.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=config.timeout_s,  # type: ignore[arg-type]
                    **self._login(),
                )
                stream = client.jetstream(timeout=config.timeout_s)
                self._complained.clear()
                if config.stream.create:
                    await self._unless_told(self._make_stream(stream), f"stream {config.stream.name}")
        except BusError:
            raise
        except (Error, OSError, ValueError, nkeys.NkeysError) as error:
            said = self._because() or (f": {error}" if str(error) else "")
            raise BusError(f"{self._where}: cannot connect{said}{_remedy(said)}") from error
        self._stream = stream
        return stream

    async def _make_stream(self, stream: JetStreamContext) -> None:
        """Make the stream when it is not there."""
        wanted = self._config.stream
        try:
            try:
                await stream.stream_info(wanted.name)
            except NotFoundError:
                await stream.add_stream(
                    NatsStreamConfig(
                        name=wanted.name,
                        subjects=[self._config.stream_subject],
                        storage=StorageType.FILE,
                        max_age=wanted.max_age_s or None,
                        max_bytes=wanted.max_bytes or -1,
                        num_replicas=wanted.replicas,
                        duplicate_window=wanted.duplicates_s,
                    )
                )
        except ServiceUnavailableError as error:
            raise BusError(
                f"{self._where}: no JetStream there: {error.description or 'no answer'}; start nats-server with -js"
            ) from error
        except APIError as error:
            raise BusError(
                f"{self._where}: stream {wanted.name} cannot be made: {error.description}"
            ) from error

    async def _disconnect(self) -> None:
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            # Whatever a connection that is given up still has to say.
            with contextlib.suppress(Error, OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await client.close()

    async def _unless_told(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Do something, but not wait for its answer once the server complains or has gone."""
        doing, told = asyncio.ensure_future(work), asyncio.ensure_future(self._complained.wait())
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not doing.done():
            doing.cancel()
            said = self._said[-1] if self._said else "connection lost"
            raise BusError(f"{self._where}: {what}: {said}{_remedy(said)}")
        doing.result()

    async def _lose(self) -> None:
        """The connection is closed."""
        self._complained.set()

    async def _hear(self, error: Exception) -> None:
        """What the server says besides, such as that a subject is not allowed."""
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._said = [*self._said[-3:], text.removeprefix("nats: ")[:200]]
        self._complained.set()

    def _because(self) -> str:
        return f": {self._said[-1]}" if self._said else ""

    @property
    def _stream_remedy(self) -> str:
        stream = self._config.stream.name
        return f"make it with: nats stream add {stream} --subjects '{self._config.stream_subject}', or set stream.create: true"

    def _login(self) -> dict[str, Any]:
        """How to be let in; secrets are read anew for each connection."""
        config = self._config
        options: dict[str, Any] = {}
        if config.tls is not None:
            options["tls"] = tls_context(config.tls)
        if config.username is not None:
            options["user"] = config.username
            options["password"] = credential("password", config.password, config.password_file)
        if (token := credential("token", config.token, config.token_file)) is not None:
            options["token"] = token
        for key, name in (("credentials_file", "user_credentials"), ("nkey_file", "nkeys_seed")):
            path = getattr(config, key)
            if path is not None:
                try:
                    path.read_bytes()
                except OSError as error:
                    raise OSError(f"{key}: {path}: cannot be read: {error.strerror}") from error
                options[name] = str(path)
        return options


def _remedy(said: str) -> str:
    text = said.lower()
    if "permissions violation" in text:
        return "; the server must allow this user to publish there, to use $JS.API.> when stream.create is set, and to listen to _INBOX.>"
    if "authorization" in text or "authentication" in text:
        return "; check username and password, token, credentials_file or nkey_file"
    return "; check servers and tls" if "connect" in text or "ssl" in text else ""

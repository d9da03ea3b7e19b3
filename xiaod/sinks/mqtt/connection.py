"""One connection to an MQTT broker: opened, used, closed. Each attempt gets a new one, so that nothing of a failed one arrives later.

In: messages. Out: nothing once the broker has acknowledged each one (PUBACK), or an ``OSError`` that names the broker, the reason and a
remedy. MQTT 5 (OASIS, 2019): its reason codes say what a broker refuses, which older versions drop in silence. A clean session, no
reconnection of its own. A thread of paho-mqtt reads and keeps the connection alive; it calls the methods ``_on_...``.

>>> from xiaod.config.sinks.mqtt import MqttConfig
>>> BrokerConnection(MqttConfig(kind="mqtt", server="127.0.0.1:9"), "example", None).connect()
Traceback (most recent call last):
xiaod.sinks.mqtt.refusals.BrokerError: 127.0.0.1:9: Connection refused
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.config.tls import tls_context
from xiaod.process.secret_file import credential
from xiaod.sinks.mqtt.refusals import (
    CONNECT_REMEDIES,
    PERMANENT,
    PUBLISH_REMEDIES,
    BrokerError,
    MessageError,
    with_remedy,
)

INFLIGHT = 20
"""Messages that are sent before the first of them is acknowledged."""
CLOSE_LIMIT_S = 5.0
"""Longest time for a clean disconnection."""
MAX_INCOMING_BYTES = 65_536
"""The broker is asked to send no larger packets: what is subscribed to is one word."""
NO_TLS = "does this port speak TLS?"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: str
    qos: int
    retain: bool = False


def password_of(config: MqttConfig) -> str | None:
    """The password; None: there is none.

    Raises:
        OSError: when it cannot be read.
    """
    return credential("password", config.password, config.password_file)


class BrokerConnection:
    """A connection; not to be used again once it is lost or closed."""

    def __init__(self, config: MqttConfig, client_id: str, will: Message | None) -> None:
        """Set up; nothing is opened.

        Raises:
            OSError: when the password cannot be read.
        """
        self._config = config
        self._client_id = client_id
        self._where = f"{config.host}:{config.port}"
        self._changed = threading.Condition()
        self._answer: ReasonCode | None = None
        self._limits: Properties | None = None
        self._lost: str | None = None
        self._acknowledged: dict[int, ReasonCode] = {}
        self._progress_s = 0.0
        self._heard: list[str] = []
        self._taken = 0
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = config.timeout_s
        client.username = config.username
        client.password = password_of(config)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._client = client

    @property
    def alive(self) -> bool:
        """Whether the broker has accepted the connection and it has not been lost since."""
        with self._changed:
            return self._answer is not None and self._lost is None

    @property
    def lost(self) -> BrokerError | None:
        """Why the connection is lost, or None."""
        with self._changed:
            lost = self._lost
        if lost is None:
            return None
        return BrokerError(
            f"{self._where}: {lost}; when that comes again and again, another client may have the client_id {self._client_id}"
        )

    def connect(self) -> None:
        """Open the connection and wait until the broker accepts it.

        Raises:
            BrokerError: with the reason, and what to check.
        """
        config = self._config
        self._open()
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._answer is not None or self._lost is not None, config.timeout_s
            )
            answer, lost = self._answer, self._lost
        if answer is not None and not answer.is_failure and lost is None:
            return
        self.cut()
        if answer is not None and answer.is_failure:
            raise BrokerError(
                f"{self._where}: connection refused: {with_remedy(str(answer), CONNECT_REMEDIES)}"
            )
        hint = "; does it ask for a tls.cert_file?" if config.tls else "; does this port expect TLS?"
        raise BrokerError(f"{self._where}: {lost or 'no answer'} before the connection was accepted{hint}")

    def subscribe(self, topic: str) -> None:
        """Receive the messages of a topic; see :meth:`heard`."""
        self._client.subscribe(topic, qos=1)

    def heard(self) -> list[str]:
        """Messages received since the last call."""
        with self._changed:
            heard, self._heard = self._heard, []
        return heard

    def publish(self, messages: Sequence[Message]) -> None:
        """Send messages in order; returns when the broker has acknowledged all (QoS 0: when they are sent).

        Raises:
            MessageError: when the broker will never take some of them.
            BrokerError: when it refuses some, or the connection is lost, or nothing is acknowledged for ``timeout_s``;
                any of the messages may have arrived.
        """
        self._taken = 0
        largest = getattr(self._limits, "MaximumPacketSize", None)
        # Topic, lengths, identifier and properties take less than this.
        too_large = [
            number
            for number, message in enumerate(messages)
            if largest is not None
            and len(message.payload.encode()) + len(message.topic.encode()) + 32 > largest
        ]
        if too_large:
            raise MessageError(
                f"{self._where}: takes packets of at most {largest} bytes, {messages[too_large[0]].topic} needs more",
                frozenset(too_large),
            )
        best = getattr(self._limits, "MaximumQoS", 1)
        if any(message.qos > best for message in messages):
            raise BrokerError(f"{self._where}: takes QoS {best} at most; set qos: {best}")
        for first in range(0, len(messages), self.together):
            self._publish(messages[first : first + self.together], first)

    @property
    def together(self) -> int:
        """How many messages are under way at a time: all of them have been sent when :meth:`publish` finds one that is refused."""
        return min(INFLIGHT, getattr(self._limits, "ReceiveMaximum", INFLIGHT))

    @property
    def taken(self) -> int:
        """How many messages, from the first on, of the last :meth:`publish` the broker has acknowledged."""
        return self._taken

    def close(self, farewell: Message | None) -> None:
        """Publish a last message and disconnect, in bounded time; raises nothing."""
        until_s = time.monotonic() + min(CLOSE_LIMIT_S, self._config.timeout_s)
        if self.alive:
            with contextlib.suppress(OSError):
                if farewell is not None:
                    self._publish([farewell], 0, until_s)
            self._client.disconnect()
            with self._changed:
                self._changed.wait_for(lambda: self._lost is not None, max(0.0, until_s - time.monotonic()))
        self.cut()

    def cut(self) -> None:
        """Cut the connection: the broker publishes the will."""
        client = self._client
        opened = client.socket()
        if opened is not None:
            # Not the method of an encrypted socket, which would answer our thread in the clear.
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)  # type: ignore[arg-type]
        client.loop_stop()
        # Without this circle of references its descriptors are closed at once, not when the collector runs.
        client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
        with self._changed:
            self._lost = self._lost or "closed"

    def _open(self) -> None:
        """Connect, without waiting for the broker's answer.

        Raises:
            BrokerError: with the reason, and what to check.
        """
        config, client = self._config, self._client
        clean_start, properties = self._session()
        if config.tls is not None:
            client.tls_set_context(tls_context(config.tls))
            client.tls_insecure_set(config.tls.insecure)
        try:
            client.connect(
                config.host, config.port, config.keepalive_s, clean_start=clean_start, properties=properties
            )
        except ssl.SSLCertVerificationError as error:
            raise BrokerError(
                f"{self._where}: certificate not accepted: {error.verify_message}; name its authority in tls.ca_file, and "
                "the broker as its certificate does in server"
            ) from error
        except ssl.SSLError as error:
            raise BrokerError(f"{self._where}: TLS: {error.reason or error}; {NO_TLS}") from error
        except (OSError, ValueError) as error:
            hint = f"; {NO_TLS}" if config.tls and isinstance(error, ConnectionResetError) else ""
            raise BrokerError(f"{self._where}: {getattr(error, 'strerror', None) or error}{hint}") from error

    def _session(self) -> tuple[bool, Properties]:
        """Whether it begins without what was left of an earlier one, and what the broker is asked for."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_INCOMING_BYTES
        return True, properties

    def _publish(self, messages: Sequence[Message], first: int, until_s: float | None = None) -> None:
        with self._changed:
            self._acknowledged.clear()
            self._progress_s = time.monotonic()
        sent: dict[int, int] = {}
        for number, message in enumerate(messages, first):
            info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
            sent[info.mid] = number
        with self._changed:
            while self._lost is None and not sent.keys() <= self._acknowledged.keys():
                limit_s = until_s or self._progress_s + self._config.timeout_s
                if (left_s := limit_s - time.monotonic()) <= 0:
                    break
                self._changed.wait(left_s)
            answers = {number: self._acknowledged.get(mid) for mid, number in sent.items()}
            lost = self._lost
        good = (answer is not None and not answer.is_failure for answer in answers.values())
        self._taken = first + sum(1 for _ in takewhile(bool, good))
        refused = {
            number: str(answer)
            for number, answer in answers.items()
            if answer is not None and answer.is_failure
        }
        if refused:
            number = next(iter(refused))
            reason = with_remedy(refused[number], PUBLISH_REMEDIES)
            said = f"{self._where}: {messages[number - first].topic} refused: {reason}"
            permanent = frozenset(number for number, reason in refused.items() if reason in PERMANENT)
            raise MessageError(said, permanent) if number in permanent else BrokerError(said)
        if None in answers.values():
            if lost is None:
                # What has been sent may still be acknowledged: then it must not count for what is sent again.
                self.cut()
            missing = sum(answer is None for answer in answers.values())
            waited = f"no acknowledgment for {self._config.timeout_s:g} s"
            raise BrokerError(f"{self._where}: {lost or waited}; {missing} messages are not acknowledged")

    def _on_connect(
        self,
        client: Client,
        data: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        with self._changed:
            self._answer, self._limits = reason, properties
            self._changed.notify_all()

    def _on_disconnect(
        self,
        client: Client,
        data: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        told = flags.is_disconnect_packet_from_server
        with self._changed:
            self._lost = (
                f"disconnected by the broker: {with_remedy(str(reason), CONNECT_REMEDIES)}"
                if told
                else "connection lost"
            )
            self._changed.notify_all()

    def _on_publish(
        self, client: Client, data: Any, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._changed:
            self._acknowledged[mid] = reason
            self._progress_s = time.monotonic()
            self._changed.notify_all()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self._heard = [*self._heard[-INFLIGHT:], message.payload.decode("utf-8", "replace")]

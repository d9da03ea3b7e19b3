"""One connection to an MQTT broker: opened, used, closed; a new one for each attempt, so that nothing of a failed one comes later.

In: messages. Out: nothing, once the broker has acknowledged every one (PUBACK with QoS 1, PUBCOMP with QoS 2), or an ``OSError`` that names
the broker, the reason and a remedy. MQTT 5 (OASIS, 2019), whose reason codes tell what a broker refuses; older versions lose it in silence.
A thread of paho-mqtt reads and keeps the connection alive.

>>> link = BrokerLink(MqttConfig(kind="mqtt", server="127.0.0.1:9"), "example", None, None)
>>> link.connect()
Traceback (most recent call last):
xiaod.sinks.mqtt.refusals.BrokerError: 127.0.0.1:9: Connection refused
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.sinks.mqtt.client import BrokerClient, Message
from xiaod.sinks.mqtt.refusals import (
    CONNECT_REMEDIES,
    FAILURE,
    FOR_GOOD,
    PUBLISH_REMEDIES,
    BrokerError,
    MessageError,
    acknowledgment,
    with_remedy,
)

INFLIGHT = 20
"""Messages that are sent before the first of them is acknowledged."""
CLOSE_LIMIT_S = 5.0
"""Longest time for a farewell."""


class BrokerLink:
    """A connection; not to be used again once it is lost or closed."""

    def __init__(
        self, config: MqttConfig, client_id: str, password: str | None, will: Message | None
    ) -> None:
        self._config = config
        self._where = f"{config.host}:{config.port}"
        self._changed = threading.Condition()
        self._answer: ReasonCode | None = None
        self._limits: Properties | None = None
        self._lost: str | None = None
        self._acknowledged: dict[int, int] = {}
        self._progress_s = 0.0
        self._heard: list[str] = []
        self._taken = 0
        client = BrokerClient(config, client_id, password, will)
        client.refused = self._on_refused
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._client = client

    @property
    def alive(self) -> bool:
        """Whether the broker has let us in and the connection has not been lost since."""
        with self._changed:
            return self._answer is not None and self._lost is None

    @property
    def lost(self) -> str | None:
        """Why the connection is lost, or None."""
        with self._changed:
            return self._lost

    def connect(self) -> None:
        """Open the connection and be let in.

        Raises:
            BrokerError: with the reason.
        """
        config = self._config
        self._client.open()
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._answer is not None or self._lost is not None, config.timeout_s
            )
            answer, lost = self._answer, self._lost
        if answer is not None and not answer.is_failure and lost is None:
            return
        self.abandon()
        if answer is not None and answer.is_failure:
            raise BrokerError(
                f"{self._where}: connection refused: {with_remedy(str(answer), CONNECT_REMEDIES)}"
            )
        hint = "; does it ask for a tls.cert_file?" if config.tls else "; does this port expect TLS?"
        raise BrokerError(f"{self._where}: {lost or 'no answer'} before it had let us in{hint}")

    def listen(self, topic: str) -> None:
        """Ask for the messages of a topic; see :meth:`heard`."""
        self._client.subscribe(topic, qos=1)

    def heard(self) -> list[str]:
        """Messages that have come since the last call."""
        with self._changed:
            heard, self._heard = self._heard, []
        return heard

    def publish(self, messages: Sequence[Message]) -> None:
        """Send messages in order; done when the broker has acknowledged all (QoS 0: when they are sent).

        Raises:
            MessageError: when the broker refuses some for good.
            BrokerError: when it refuses some, or the connection is lost, or nothing is acknowledged for ``timeout_s``;
                any of the messages may have arrived.
        """
        self._taken = 0
        largest = getattr(self._limits, "MaximumPacketSize", None)
        # Topic, lengths, identifier and properties take less than this.
        too_large = [
            place
            for place, message in enumerate(messages)
            if largest is not None
            and len(message.payload.encode()) + len(message.topic.encode()) + 32 > largest
        ]
        if too_large:
            raise MessageError(
                f"{self._where}: takes packets of at most {largest} bytes, {messages[too_large[0]].topic} needs more",
                frozenset(too_large),
            )
        best = getattr(self._limits, "MaximumQoS", 2)
        if any(message.qos > best for message in messages):
            raise BrokerError(f"{self._where}: takes QoS {best} at most; set qos: {best}")
        step = min(INFLIGHT, getattr(self._limits, "ReceiveMaximum", INFLIGHT))
        for first in range(0, len(messages), step):
            self._publish(messages[first : first + step], first)

    @property
    def taken(self) -> int:
        """How many messages, from the first on, of the last :meth:`publish` the broker has acknowledged."""
        return self._taken

    def close(self, farewell: Message | None) -> None:
        """Say farewell and end the connection in order, in bounded time; without a complaint."""
        until_s = time.monotonic() + min(CLOSE_LIMIT_S, self._config.timeout_s)
        if self.alive:
            with contextlib.suppress(OSError):
                if farewell is not None:
                    self._publish([farewell], 0, until_s)
            self._client.disconnect()
            with self._changed:
                self._changed.wait_for(lambda: self._lost is not None, max(0.0, until_s - time.monotonic()))
        self.abandon()

    def abandon(self) -> None:
        """End the connection as it is: the broker publishes the will."""
        self._client.cut()
        with self._changed:
            self._lost = self._lost or "closed"

    def _publish(self, messages: Sequence[Message], first: int, until_s: float | None = None) -> None:
        with self._changed:
            self._acknowledged.clear()
            self._progress_s = time.monotonic()
        sent: dict[int, int] = {}
        for place, message in enumerate(messages, first):
            info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
            sent[info.mid] = place
        with self._changed:
            while self._lost is None and not sent.keys() <= self._acknowledged.keys():
                limit_s = until_s or self._progress_s + self._config.timeout_s
                if (left_s := limit_s - time.monotonic()) <= 0:
                    break
                self._changed.wait(left_s)
            codes = {place: self._acknowledged.get(mid) for mid, place in sent.items()}
            lost = self._lost
        good = (code is not None and code < FAILURE for code in codes.values())
        self._taken = first + sum(1 for _ in takewhile(bool, good))
        refused = {place: code for place, code in codes.items() if code is not None and code >= FAILURE}
        if refused:
            self._raise_refused({place: messages[place - first] for place in refused}, refused)
        if None in codes.values():
            if lost is None:
                # What has been sent may still be acknowledged: then it must not count for what is sent again.
                self.abandon()
            missing = sum(code is None for code in codes.values())
            waited = f"no acknowledgment for {self._config.timeout_s:g} s"
            raise BrokerError(f"{self._where}: {lost or waited}; {missing} messages are not acknowledged")

    def _raise_refused(self, messages: dict[int, Message], codes: dict[int, int]) -> None:
        place, message = next(iter(messages.items()))
        reasons = {place: acknowledgment(code) for place, code in codes.items()}
        said = f"{self._where}: {message.topic} refused: {with_remedy(reasons[place], PUBLISH_REMEDIES)}"
        for_good = frozenset(place for place, reason in reasons.items() if reason in FOR_GOOD)
        raise MessageError(said, for_good) if place in for_good else BrokerError(said)

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
        self._acknowledge(mid, reason.value)

    def _on_refused(self, mid: int, code: int) -> None:
        self._acknowledge(mid, code)

    def _acknowledge(self, mid: int, code: int) -> None:
        with self._changed:
            # A refusal stands, whatever follows it.
            self._acknowledged[mid] = max(code, self._acknowledged.get(mid, 0))
            self._progress_s = time.monotonic()
            self._changed.notify_all()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self._heard = [*self._heard[-INFLIGHT:], message.payload.decode("utf-8", "replace")]

"""Reads picks back from an MQTT 5 broker, which keeps those that come while the reader is away.

The session outlives the connection (``Session Expiry Interval``; OASIS, MQTT 5, 3.1.2.11.2), and a message is acknowledged once it is
stored: what was not comes again, in order, at the next connection. How many messages a broker keeps for a session is its own affair.

>>> reader = MqttReader(MqttConfig(kind="mqtt", server="127.0.0.1:9", timeout_s=1.0), {})
>>> reader.read(10, wait_s=1.0)
Traceback (most recent call last):
xiaod.sinks.mqtt.refusals.BrokerError: 127.0.0.1:9: Connection refused
>>> reader.close()
"""

import socket
from collections import deque
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.domain.codes import safe
from xiaod.process.logs import get_logger
from xiaod.sinks.mqtt.connection import BrokerConnection
from xiaod.sinks.mqtt.refusals import BrokerError
from xiaod.sinks.reading import Portion, Positions

SESSION_S = 30 * 86_400
"""For so long a broker is asked to keep the session of a reader that is away."""
UNDER_WAY = 256
"""Messages that the broker sends before the first of them is acknowledged."""
NO_RETAINED = 2
"""Retain Handling: messages that the broker retains are not sent at the subscription (MQTT 5, 3.8.3.1)."""


class _Subscription(BrokerConnection):
    """A connection that receives."""

    def __init__(self, config: MqttConfig, client_id: str) -> None:
        super().__init__(config, client_id, None)
        self._received: deque[MQTTMessage] = deque()
        self._granted: list[ReasonCode] | None = None
        self.resumed = False
        """Whether the broker has kept the session (``Session Present``; MQTT 5, 3.2.2.1.1)."""
        self._client.manual_ack_set(True)
        self._client.on_subscribe = self._on_subscribe

    def listen(self, pattern: str) -> None:
        """Subscribe, and wait until the broker has accepted it.

        Raises:
            BrokerError: when it refuses.
        """
        options = SubscribeOptions(qos=1, retainHandling=NO_RETAINED)
        self._client.subscribe(pattern, options=options)
        with self._changed:
            self._changed.wait_for(
                lambda: self._granted is not None or self._lost is not None, self._config.timeout_s
            )
            granted, lost = self._granted, self._lost
        if granted is None:
            raise BrokerError(f"{self._where}: {lost or 'no answer'} to the subscription of {pattern}")
        refused = next((reason for reason in granted if reason.is_failure), None)
        if refused is not None:
            raise BrokerError(
                f"{self._where}: {pattern}: {refused}; the broker's access list must allow this user to read it"
            )

    def next(self, limit: int, wait_s: float) -> list[MQTTMessage]:
        """Messages that have come."""
        with self._changed:
            self._changed.wait_for(lambda: self._received or self._lost is not None, wait_s)
            return [self._received.popleft() for _ in range(min(limit, len(self._received)))]

    def acknowledge(self, message: MQTTMessage) -> None:
        """The broker may forget a message."""
        self._client.ack(message.mid, message.qos)

    def _session(self) -> tuple[bool, Properties]:
        _, properties = super()._session()
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = UNDER_WAY
        return False, properties

    def _on_connect(
        self,
        client: Client,
        data: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.resumed = flags.session_present
        super()._on_connect(client, data, flags, reason, properties)

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        with self._changed:
            self._received.append(message)
            self._changed.notify_all()

    def _on_subscribe(
        self, client: Client, data: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        with self._changed:
            self._granted = reasons
            self._changed.notify_all()


class MqttReader:
    """Reads topics; implements :class:`xiaod.sinks.reading.Reader`."""

    def __init__(self, config: MqttConfig, positions: Positions, since_ns: int | None = None) -> None:
        """Set up; nothing is opened before the first :meth:`read`. Where to go on is the broker's affair here.

        Args:
            config: of the sink that brings the picks.
            positions: say whether the broker has had a session before, which it should have kept.
            since_ns: not used.
        """
        del since_ns
        self._config = config
        # Not that of a sink of this process, which may have the same configuration.
        names = {"host": safe(socket.gethostname()), "name": config.name, "shard": "events"}
        self._client_id = f"{config.client_id.format(**names)}-bus"
        self._pattern = "/".join("+" if "{" in level else level for level in config.topic.split("/"))
        self._session = (f"{config.host}:{config.port}", self._client_id)
        self._begun = self._noted = self._session in positions
        """Whether the broker has a session of this reader, and whether the caller knows."""
        self._connection: _Subscription | None = None
        self._unstored: list[MQTTMessage] = []
        self._log = get_logger("bus").bind(sink=config.name)

    def read(self, limit: int, wait_s: float) -> Portion:
        """See :class:`~xiaod.sinks.reading.Reader`.

        Raises:
            BrokerError: when the broker cannot be reached, or refuses.
        """
        connection = self._connected()
        messages = connection.next(limit, wait_s)
        if not messages and (lost := connection.lost) is not None:
            self.close()
            raise lost
        self._unstored += messages
        noted, self._noted = self._noted, True
        return Portion(
            tuple(bytes(message.payload) for message in messages), {} if noted else {self._session: (1, 0)}
        )

    def stored(self) -> None:
        """Acknowledge what was read."""
        if self._connection is not None:
            for message in self._unstored:
                self._connection.acknowledge(message)
        self._unstored = []

    def close(self) -> None:
        """End the connection; the broker keeps the session."""
        connection, self._connection, self._unstored = self._connection, None, []
        if connection is not None:
            connection.close(None)

    def _connected(self) -> _Subscription:
        if self._connection is None:
            connection = _Subscription(self._config, self._client_id)
            connection.connect()
            try:
                connection.listen(self._pattern)
            except OSError:
                connection.close(None)
                raise
            if self._begun and not connection.resumed:
                self._log.warning(
                    "bus.gap",
                    stream=self._pattern,
                    reason=f"the broker has not kept the session of {self._client_id}; what came since the last connection is lost",
                    remedy="let the broker keep sessions on disk (mosquitto: persistence true), and for long enough",
                )
            self._begun = True
            self._connection = connection
        return self._connection

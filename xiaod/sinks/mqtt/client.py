"""paho-mqtt's client as a :class:`~xiaod.sinks.mqtt.connection.BrokerLink` uses it: for one connection, that is opened and cut.

MQTT 5, a clean session, no reconnection of its own. Callbacks are set by who uses it, and are called by its thread.

>>> BrokerClient(MqttConfig(kind="mqtt", server="127.0.0.1:9"), "example", None, None).open()
Traceback (most recent call last):
xiaod.sinks.mqtt.refusals.BrokerError: 127.0.0.1:9: Connection refused
"""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.sinks.mqtt.refusals import FAILURE, BrokerError
from xiaod.sinks.tls import tls_context

MAX_INCOMING_BYTES = 65_536
"""The broker keeps what is larger to itself; all that is listened for is a word."""
NO_TLS = "does this port speak TLS?"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: str
    qos: int
    retain: bool = False


class BrokerClient(Client):
    """A client for one connection."""

    refused: Callable[[int, int], None]
    """Called with packet identifier and reason code of a QoS 2 message that the broker refuses (PUBREC with a failure): paho-mqtt itself
    takes it for a delivered one."""

    def __init__(
        self, config: MqttConfig, client_id: str, password: str | None, will: Message | None
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._settings = config
        self._where = f"{config.host}:{config.port}"
        self.refused = _ignored
        self.connect_timeout = config.timeout_s
        self.username = config.username
        self.password = password
        if will is not None:
            self.will_set(will.topic, will.payload, will.qos, will.retain)

    def open(self) -> None:
        """Connect, without waiting for the broker's answer; then :meth:`loop_start`.

        Raises:
            BrokerError: with the reason, and what to check.
        """
        config = self._settings
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_INCOMING_BYTES
        if config.tls is not None:
            self.tls_set_context(tls_context(config.tls))
            self.tls_insecure_set(config.tls.insecure)
        try:
            self.connect(
                config.host, config.port, config.keepalive_s, clean_start=True, properties=properties
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

    def cut(self) -> None:
        """End the connection as it is: the broker publishes the will."""
        opened = self.socket()
        if opened is not None:
            # Not the method of an encrypted socket, which would answer our thread in the clear.
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)  # type: ignore[arg-type]
        self.loop_stop()
        # Whoever set them holds this client: its descriptors would stay open until somebody looks for such circles.
        self.on_connect = self.on_disconnect = self.on_publish = self.on_message = None
        self.refused = _ignored

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        # Packet identifier, then the reason code where there is one (MQTT 5, 3.5.2).
        if len(packet) > 2 and packet[2] >= FAILURE:
            self.refused(int.from_bytes(packet[:2], "big"), packet[2])
        return super()._handle_pubrec()


def _ignored(mid: int, code: int) -> None:
    """Nobody asks."""

"""The ``mqtt`` sink: picks as MQTT messages, and the discovery of Home Assistant.

A secret is given as the name of a file, as the name of an environment variable, ``${NAME}``, or, least well, as it is.

>>> config = MqttConfig(kind="mqtt", server="broker.local", tls=TlsConfig())
>>> config.host, config.port, config.topic
('broker.local', 8883, 'xiaod/{network}/{station}/{phase}/{stage}')
>>> MqttConfig(kind="mqtt", server="broker.local", username="me", password="hush").password
SecretStr('**********')
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from xiaod.config.model import Model, PositiveSeconds, Seconds
from xiaod.config.sinks.checks import address, host_and_port, names_in, template
from xiaod.config.sinks.kind import EVENT_FIELDS, SHARD, TEMPLATE_FIELDS, SinkName, SinkOfAll, SinkStages
from xiaod.config.sinks.login import LoginModel, Password, PasswordFile
from xiaod.config.tls import TlsConfig

MQTT_PORT = 1883
MQTT_TLS_PORT = 8883
"""Ports registered for MQTT in the clear and over TLS."""
RSAM_FIELDS = ("network", "station", "location", "channel", "minutes", SHARD)
CLIENT_FIELDS = ("host", "name", SHARD)
STATUS_FIELDS = ("client_id", SHARD)
RSAM_SENSOR_FIELDS = {"network", "station", "minutes"}
SENSOR_FIELDS = {"network", "station", "phase"}
"""What tells one sensor of Home Assistant from another, besides the stage."""
MAX_TOPIC = 256
"""Letters of a topic in the configuration; the protocol allows 65,535 bytes."""


def _topic_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    """A check of a topic to publish to, with the names that may stand in braces."""
    return template(
        allowed,
        rf"[^$+#\x00{{}}][^+#\x00{{}}]{{0,{MAX_TOPIC - 1}}}",
        f"must be a topic to publish to: 1 to {MAX_TOPIC} letters, without + and #, not beginning with $",
    )


_client_id = template(
    CLIENT_FIELDS, "[A-Za-z0-9_.-]{1,64}", "must be made of 1 to 64 letters, digits, _ . and -"
)


def _qos(value: Any) -> Any:
    """Refuse QoS 2, which earlier versions took.

    Raises:
        ValueError: with what to write instead.
    """
    if value == 2:
        raise ValueError("must be 0 or 1: write 1, which delivers every pick at least once, as 2 did")
    return value


class DiscoveryConfig(Model):
    """Home Assistant finds the stations by itself."""

    enabled: bool = False
    """Whether each station and phase is announced to Home Assistant."""
    shaking_s: Seconds = 180.0
    """Seconds for which the binary sensor Shaking stays on after the first P of an event, with 'of: picks' after a pick of a station; 0:
    there is none."""
    prefix: Annotated[str, AfterValidator(_topic_of(()))] = "homeassistant"
    """Discovery prefix of the MQTT integration of Home Assistant."""


class MqttConfig(LoginModel):
    """Picks as MQTT messages."""

    EXAMPLE: ClassVar = {"server": "broker.local"}
    CODE = "xiaod.sinks.mqtt.sink:MqttSink"
    EXTRA = "mqtt"
    ASKS_PASSWORD = False
    READER = "xiaod.sinks.mqtt.reader:MqttReader"
    DESTINATION = "server"
    TEMPLATES = ("topic", "event_topic", "rsam_topic", "status_topic", "client_id")
    READERS = "brokers, Home Assistant"
    DELIVERED = "acknowledged by the broker (`qos: 1`); sent, and possibly lost (`qos: 0`)"
    REPEATED = "at most the 20 messages that were under way when the connection broke, and after a crash"
    TOLD_APART = "`{stage}` of `topic`; `stage` of the document"

    kind: Literal["mqtt"]
    """MQTT 5 messages; needs the extra mqtt."""
    name: SinkName = "mqtt"
    stage: SinkStages = "all"
    of: SinkOfAll = "picks"
    server: Annotated[str, AfterValidator(address(MQTT_PORT))]
    """HOST or HOST:PORT of a broker that speaks MQTT 5; the default port is 1883, with tls 8883."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not; {}: with the authorities that the system trusts."""
    username: str | None = None
    """User name; null: none."""
    password: Password = None
    password_file: PasswordFile = None
    client_id: Annotated[str, AfterValidator(_client_id)] = "xiaod-{host}-{name}-{shard}"
    """Must differ between all clients of the broker: two with the same id expel each other again and again."""
    topic: Annotated[str, AfterValidator(_topic_of(TEMPLATE_FIELDS))] = (
        "xiaod/{network}/{station}/{phase}/{stage}"
    )
    """Topic of a pick; also {location}, {channel}, {shard}; {stage} is final, early or withdrawn. What a topic level cannot
    carry becomes _, an empty location --."""
    qos: Annotated[Literal[0, 1], BeforeValidator(_qos)] = 1
    """Of every message. 0: sent once, may be lost. 1: at least once."""
    retain: bool = False
    """Whether the broker keeps the last pick of each topic for later subscribers."""
    event_topic: Annotated[str, AfterValidator(_topic_of(EVENT_FIELDS))] = "xiaod/events/{stage}"
    """Topic of an event; also {shard}."""
    rsam_topic: Annotated[str, AfterValidator(_topic_of(RSAM_FIELDS))] = (
        "xiaod/{network}/{station}/rsam/{minutes}"
    )
    """Topic of a mean of the amplitude, of 1 or 10 minutes; also {location}, {channel}, {shard}."""
    status_topic: Annotated[str, AfterValidator(_topic_of(STATUS_FIELDS))] | None = "xiaod/status/{client_id}"
    """Topic of the retained messages online and offline; null: none are sent."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 60
    """Seconds of silence after which a ping is sent; after half as many more the broker closes the connection."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for the connection, and for the next acknowledgment."""
    discovery: DiscoveryConfig = DiscoveryConfig()
    """Home Assistant finds the stations by itself."""

    @model_validator(mode="after")
    def _consistent(self) -> "MqttConfig":
        if self.discovery.enabled:
            fields = names_in(self.topic, TEMPLATE_FIELDS)
            if fields - {SHARD, "stage"} != SENSOR_FIELDS:
                raise ValueError(
                    "topic must be made of {network}, {station}, {phase} and {stage} alone while discovery.enabled is true: "
                    "each station and phase is one sensor"
                )
            if self.stage == "all" and "stage" not in fields:
                raise ValueError(
                    "topic must have {stage} while discovery.enabled is true: a sensor shows final picks or early ones; "
                    "add it, or write stage: final"
                )
            if names_in(self.rsam_topic, RSAM_FIELDS) - {SHARD} != RSAM_SENSOR_FIELDS:
                raise ValueError(
                    "rsam_topic must be made of {network}, {station} and {minutes} alone while discovery.enabled is true: "
                    "each station and length is one sensor"
                )
        return self

    def for_trial(self) -> Self:
        """The same with a client identifier of its own, so that it disconnects nobody, and leaving nothing behind at the broker.

        >>> MqttConfig(kind="mqtt", server="broker", client_id="pi", retain=True).for_trial().client_id
        'pi-trial'
        """
        changes = {
            "client_id": f"{self.client_id}-trial",
            "status_topic": None,
            "retain": False,
            "discovery": DiscoveryConfig(),
        }
        return self.model_copy(update=changes)

    @property
    def host(self) -> str:
        """Name or address of the broker."""
        return host_and_port(self.server, MQTT_PORT)[0]

    @property
    def port(self) -> int:
        """The port given, or the one of the protocol."""
        return host_and_port(self.server, MQTT_PORT if self.tls is None else MQTT_TLS_PORT)[1]

"""The ``mqtt`` sink, and what the sinks of the network have in common.

A secret is given as the name of a file, as the name of an environment variable, ``${NAME}``, or, least well, as it is.

>>> config = MqttConfig(kind="mqtt", server="broker.local", tls=TlsConfig())
>>> config.host, config.port, config.topic
('broker.local', 8883, 'xiaod/{network}/{station}/{phase}')
>>> MqttConfig(kind="mqtt", server="broker.local", username="me", password="hush").password
SecretStr('**********')
"""

import re
from collections.abc import Callable
from pathlib import Path
from string import Formatter
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds

MQTT_PORT = 1883
MQTT_TLS_PORT = 8883
"""Ports registered for MQTT in the clear and over TLS."""
SHARD = "shard"
"""Name, in any text, of the index of this process among several."""
TOPIC_FIELDS = ("network", "station", "location", "channel", "phase", SHARD)
"""What the topic of a pick can be made of."""
CLIENT_FIELDS = ("host", "name", SHARD)
STATUS_FIELDS = ("client_id", SHARD)
SENSOR_FIELDS = {"network", "station", "phase"}
"""What tells one sensor of Home Assistant from another."""
MAX_TOPIC = 256
"""Letters of a topic in the configuration; the protocol allows 65,535 bytes."""

_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:-]+")


def _server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        good = parts.netloc == text and _HOST_PATTERN.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in text:
        raise ValueError("must be HOST or HOST:PORT, for example 'broker.local:1883'")
    return text


def _fields(template: str, allowed: tuple[str, ...]) -> set[str]:
    """Names in braces.

    Raises:
        ValueError: when a brace stands alone, or a name is none of those allowed.
    """
    listed = ", ".join(f"{{{name}}}" for name in allowed)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {listed}") from error
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if name not in allowed or spec or conversion:
            raise ValueError(f"{{{name}}} is not known; allowed are {listed}")
    return {name for name, _, _ in names}


def _topic_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    """A check of a topic to publish to, with the names that may stand in braces."""

    def check(text: str) -> str:
        _fields(text, allowed)
        filled = re.sub(r"\{\w+\}", "x", text)
        if not filled or len(text) > MAX_TOPIC or re.search(r"[+#\x00{}]", filled) or text.startswith("$"):
            raise ValueError(
                f"must be a topic to publish to: 1 to {MAX_TOPIC} letters, without + and #, not beginning with $"
            )
        return text

    return check


def _client_id(text: str) -> str:
    _fields(text, CLIENT_FIELDS)
    if not re.fullmatch(r"([A-Za-z0-9_.-]|\{\w+\}){1,64}", text):
        raise ValueError("must be made of 1 to 64 letters, digits, _ . and -")
    return text


class TlsConfig(Model):
    """How a connection is encrypted; ``{}`` trusts the authorities that the system trusts."""

    ca_file: Path | None = Field(default=None, strict=False)
    """PEM file with the authority that signed the certificate of the server; null: the authorities that the system trusts."""
    cert_file: Path | None = Field(default=None, strict=False)
    """PEM file with a client certificate, for a server that requires one."""
    key_file: Path | None = Field(default=None, strict=False)
    """PEM file with the key of the client certificate."""
    insecure: bool = False
    """Whether the certificate of the server is not verified: anybody can then read and answer. For trials only."""

    @model_validator(mode="after")
    def _consistent(self) -> "TlsConfig":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or none")
        if self.insecure and self.ca_file is not None:
            raise ValueError("insecure: with a ca_file the certificate is looked at; leave one of them out")
        return self


class DiscoveryConfig(Model):
    """Home Assistant finds the stations by itself."""

    enabled: bool = False
    """Whether each station and phase is announced to Home Assistant."""
    prefix: Annotated[str, AfterValidator(_topic_of(()))] = "homeassistant"
    """Discovery prefix of the MQTT integration of Home Assistant."""


class MqttConfig(Model):
    """Picks as MQTT messages."""

    EXAMPLE: ClassVar = {"server": "broker.local"}

    kind: Literal["mqtt"]
    """MQTT 5 messages; needs the extra mqtt."""
    name: str = Field(default="mqtt", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; different for each sink."""
    server: Annotated[str, AfterValidator(_server)]
    """HOST or HOST:PORT of a broker that speaks MQTT 5; the default port is 1883, with tls 8883."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not; {}: with the authorities that the system trusts."""
    username: str | None = None
    """User name; null: none."""
    password: SecretStr | None = None
    """The password, or "${NAME}" for the environment variable of that name; better in a file."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    client_id: Annotated[str, AfterValidator(_client_id)] = "xiaod-{host}-{name}-{shard}"
    """Must differ between all clients of the broker: two with the same id expel each other again and again."""
    topic: Annotated[str, AfterValidator(_topic_of(TOPIC_FIELDS))] = "xiaod/{network}/{station}/{phase}"
    """Topic of a pick; also {location}, {channel}, {shard}. What a topic level cannot carry becomes _, an empty location --."""
    qos: Literal[0, 1, 2] = 1
    """0: sent once, may be lost. 1: at least once. 2: exactly once between this program and the broker, per attempt."""
    retain: bool = False
    """Whether the broker keeps the last pick of each topic for later subscribers."""
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
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file and password are both given; give one")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("username is missing beside the password")
        if self.discovery.enabled and _fields(self.topic, TOPIC_FIELDS) - {SHARD} != SENSOR_FIELDS:
            raise ValueError(
                "topic must be made of {network}, {station} and {phase} alone while discovery.enabled is true: "
                "each station and phase is one sensor"
            )
        return self

    def for_trial(self) -> "MqttConfig":
        """The same for a trial beside a daemon that runs: it expels nobody, and leaves nothing behind at the broker.

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
        return urlsplit(f"//{self.server}").hostname or ""

    @property
    def port(self) -> int:
        """The port given, or the one of the protocol."""
        return urlsplit(f"//{self.server}").port or (MQTT_PORT if self.tls is None else MQTT_TLS_PORT)

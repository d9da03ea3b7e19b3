"""Where picks go over the network: one model for each kind of sink, and what they have in common.

A secret is given by the name of a file, by the name of an environment variable, ``${NAME}``, or, least well, as it is.

>>> config = MqttConfig(kind="mqtt", server="broker.local", tls=TlsConfig())
>>> config.host, config.port, config.topic
('broker.local', 8883, 'xiaod/{network}/{station}/{phase}')
>>> MqttConfig(kind="mqtt", server="broker.local", username="me", password="hush").password
SecretStr('**********')
"""

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds

MQTT_PORT = 1883
MQTT_TLS_PORT = 8883
"""Ports registered for MQTT in the clear and over TLS."""
TOPIC_FIELDS = ("network", "station", "location", "channel", "phase")
"""What a topic can be made of."""
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


def _fields(template: str) -> set[str]:
    """Names in braces.

    Raises:
        ValueError: when a brace stands alone, or a name is none of ours.
    """
    allowed = ", ".join(f"{{{name}}}" for name in TOPIC_FIELDS)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {allowed}") from error
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if name not in TOPIC_FIELDS or spec or conversion:
            raise ValueError(f"{{{name}}} is not known; allowed are {allowed}")
    return {name for name, _, _ in names}


def _plain_topic(text: str) -> str:
    if not text or len(text) > MAX_TOPIC or re.search(r"[+#\x00{}]", text) or text.startswith("$"):
        raise ValueError(
            f"must be a topic to publish to: 1 to {MAX_TOPIC} letters, without + # {{ }}, not beginning with $"
        )
    return text


def _topic(text: str) -> str:
    _fields(text)
    _plain_topic(re.sub(r"\{\w+\}", "x", text))
    return text


class TlsConfig(Model):
    """How a connection is encrypted; empty, ``{}``, trusts the authorities that the system trusts."""

    ca_file: Path | None = Field(default=None, strict=False)
    """PEM file with the authority that has signed the server's certificate; None: those of the system."""
    cert_file: Path | None = Field(default=None, strict=False)
    """PEM file with our own certificate, for a server that asks for one."""
    key_file: Path | None = Field(default=None, strict=False)
    """PEM file with its key."""
    insecure: bool = False
    """Whether the server's certificate is not looked at: anybody can then read and answer. For trials only."""

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
    prefix: Annotated[str, AfterValidator(_plain_topic)] = "homeassistant"
    """The discovery prefix of Home Assistant's MQTT integration."""


class MqttConfig(Model):
    """Picks as MQTT messages."""

    kind: Literal["mqtt"]
    name: str = Field(default="mqtt", pattern=NAME_PATTERN)
    server: Annotated[str, AfterValidator(_server)]
    """HOST or HOST:PORT of a broker that speaks MQTT 5; without a port 1883, with ``tls`` 8883."""
    tls: TlsConfig | None = None
    username: str | None = None
    password: SecretStr | None = None
    """The password, or ``${NAME}`` for the environment variable of that name; better in a file."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    client_id: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    """Must differ between all clients of the broker; by default ``xiaod-HOSTNAME-NAME``."""
    topic: Annotated[str, AfterValidator(_topic)] = "xiaod/{network}/{station}/{phase}"
    """Topic of a pick, made of its codes; what a topic level cannot carry becomes ``_``, an empty location ``--``."""
    qos: Literal[0, 1, 2] = 1
    """0: sent once, may be lost. 1: at least once. 2: exactly once between this program and the broker, per attempt."""
    retain: bool = False
    """Whether the broker keeps the last pick of each topic for those who subscribe later."""
    status_topic: Annotated[str, AfterValidator(_plain_topic)] | None = None
    """Retained ``online`` and ``offline``; by default ``xiaod/status/CLIENT_ID``."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 60
    """Silence after which the broker is asked for a sign of life; after one and a half of it the broker gives us up."""
    timeout_s: PositiveSeconds = 10.0
    """Longest wait for a connection, and for the next acknowledgment."""
    discovery: DiscoveryConfig = DiscoveryConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "MqttConfig":
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file and password are both given; give one")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("username is missing beside the password")
        if self.discovery.enabled and _fields(self.topic) != SENSOR_FIELDS:
            raise ValueError(
                "topic must be made of {network}, {station} and {phase} alone while discovery.enabled is true: "
                "each station and phase is one sensor"
            )
        return self

    @property
    def host(self) -> str:
        """Name or address of the broker."""
        return urlsplit(f"//{self.server}").hostname or ""

    @property
    def port(self) -> int:
        """The port given, or the one of the protocol."""
        return urlsplit(f"//{self.server}").port or (MQTT_PORT if self.tls is None else MQTT_TLS_PORT)

"""The ``kafka`` sink: picks into topics of Apache Kafka, or of a server that speaks its protocol.

>>> config = KafkaConfig(kind="kafka", brokers=["broker.local"])
>>> config.brokers, config.topic
(('broker.local:9092',), 'xiaod.picks')
"""

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from xiaod.config.model import PositiveSeconds
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkModel, SinkName, SinkOf, SinkStages
from xiaod.config.tls import TlsConfig

DEFAULT_PORT = 9092
MAX_TOPIC = 249
"""Characters of a topic (Kafka, ``Topic.java``)."""

_TOPIC = re.compile(r"([A-Za-z0-9._-]|\{\w+\})+")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


def _broker(text: str) -> str:
    """The address with its port."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port or DEFAULT_PORT
        good = parts.netloc == text and _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in text:
        raise ValueError(
            "must be HOST or HOST:PORT, for example 'broker.local:9092'; a user name goes into username"
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{port}"


def _topic(template: str, fields: tuple[str, ...] = TEMPLATE_FIELDS) -> str:
    allowed = ", ".join(f"{{{name}}}" for name in fields)
    try:
        names = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {allowed}") from error
    if any(name not in fields or spec or conversion for _, name, spec, conversion in names):
        raise ValueError(f"only {allowed} can stand in braces")
    if not _TOPIC.fullmatch(template) or len(template) > MAX_TOPIC or template in {".", ".."}:
        raise ValueError(f"must be 1 to {MAX_TOPIC} letters, digits, full stops, _ and -")
    return template


def _event_topic(template: str) -> str:
    return _topic(template, EVENT_FIELDS)


class KafkaConfig(SinkModel):
    """Picks into Apache Kafka."""

    CODE = "xiaod.sinks.kafka.sink:KafkaSink"
    EXTRA = "kafka"
    READER = "xiaod.sinks.kafka.reader:KafkaReader"
    DESTINATION = "brokers"
    TEMPLATES = ("topic", "event_topic")
    READERS = "programs on a bus"
    DELIVERED = "acknowledged by all replicas in sync (`acks=all`)"
    REPEATED = "when the acknowledgment was lost, and after a crash: with the same header `id`"
    TOLD_APART = "`stage` of the document, or `{stage}` of `topic`"

    kind: Literal["kafka"]
    """Messages in topics of Apache Kafka; needs the extra kafka."""
    name: SinkName = "kafka"
    stage: SinkStages = "all"
    of: SinkOf = "picks"
    brokers: Annotated[
        tuple[Annotated[str, AfterValidator(_broker)], ...], Field(min_length=1, strict=False)
    ] = (f"localhost:{DEFAULT_PORT}",)
    """HOST or HOST:PORT of one or more brokers of a cluster, which names the others; the default port is 9092."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not."""
    username: str | None = None
    """User name; null: none is asked for."""
    password: SecretStr | None = None
    """The password, or "${NAME}" for the environment variable of that name; better in a file."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """How user name and password are told (SASL); with PLAIN, encrypt the connection."""
    topic: Annotated[str, AfterValidator(_topic)] = "xiaod.picks"
    """Topic of a pick; also {network}, {station}, {location}, {channel}, {phase}, {stage}, {shard}; {stage} is final, early or withdrawn.
    What a topic cannot carry becomes _, an empty location --. The message's key is NETWORK.STATION: picks of a station stay in order."""
    event_topic: Annotated[str, AfterValidator(_event_topic)] = "xiaod.events"
    """Topic of an event; also {stage} and {shard}."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for each broker, for a topic, and for acknowledgments."""

    @model_validator(mode="after")
    def _consistent(self) -> "KafkaConfig":
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file and password are both given; give one")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password belong together; give both or none")
        return self

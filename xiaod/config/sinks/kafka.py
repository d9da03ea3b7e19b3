"""The ``kafka`` sink: picks into topics of Apache Kafka, or of a server that speaks its protocol.

>>> config = KafkaConfig(kind="kafka", brokers=["broker.local"])
>>> config.brokers, config.topic
(('broker.local:9092',), 'xiaod.picks')
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from xiaod.config.model import PositiveSeconds
from xiaod.config.sinks.checks import full_address, template
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkName, SinkOf, SinkStages
from xiaod.config.sinks.login import LoginModel, Password, PasswordFile
from xiaod.config.tls import TlsConfig

DEFAULT_PORT = 9092
MAX_TOPIC = 249
"""Characters of a topic (Kafka, ``Topic.java``)."""

_LETTERS = (
    rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._-]{{1,{MAX_TOPIC}}}",
    f"must be 1 to {MAX_TOPIC} letters, digits, full stops, _ and -",
)


def _broker(text: str) -> str:
    return full_address(text, DEFAULT_PORT)


class KafkaConfig(LoginModel):
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
    password: Password = None
    password_file: PasswordFile = None
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    """How user name and password are told (SASL); with PLAIN, encrypt the connection."""
    topic: Annotated[str, AfterValidator(template(TEMPLATE_FIELDS, *_LETTERS))] = "xiaod.picks"
    """Topic of a pick; also {network}, {station}, {location}, {channel}, {phase}, {stage}, {shard}; {stage} is final, early or withdrawn.
    What a topic cannot carry becomes _, an empty location --. The message's key is NETWORK.STATION: picks of a station stay in order."""
    event_topic: Annotated[str, AfterValidator(template(EVENT_FIELDS, *_LETTERS))] = "xiaod.events"
    """Topic of an event; also {stage} and {shard}."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for each broker, for a topic, and for acknowledgments."""

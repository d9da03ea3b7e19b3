"""The ``nats`` sink: picks into a stream of NATS JetStream.

>>> config = NatsConfig(kind="nats", servers=["broker.local"])
>>> config.servers, config.stream_subjects
(('nats://broker.local:4222',), ('xiaod.picks.*.*.*.*',))
"""

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from xiaod.config.model import Model, PositiveSeconds, Seconds
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkModel, SinkName, SinkOf, SinkStages
from xiaod.config.tls import TlsConfig

DEFAULT_PORT = 4222
_STREAM_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
_SUBJECT = re.compile(r"[A-Za-z0-9_{}-]+(\.[A-Za-z0-9_{}-]+)*")


def _server(text: str) -> str:
    """The address in full."""
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise ValueError("must be HOST or HOST:PORT, for example 'broker.local:4222'") from None
    if "@" in text:
        raise ValueError("must not hold a password: use username and password_file, or token_file")
    if parts.scheme not in {"nats", "tls"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must be HOST or HOST:PORT, for example 'broker.local:4222'")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _subject(template: str, fields: tuple[str, ...] = TEMPLATE_FIELDS) -> str:
    allowed = ", ".join(f"{{{name}}}" for name in fields)
    try:
        names = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {allowed}") from error
    if any(name not in fields or spec or conversion for _, name, spec, conversion in names):
        raise ValueError(f"only {allowed} can stand in braces")
    if not _SUBJECT.fullmatch(template):
        raise ValueError("must be words of letters, digits, _ and -, joined by full stops")
    return template


def _event_subject(template: str) -> str:
    return _subject(template, EVENT_FIELDS)


class StreamConfig(Model):
    """The stream that keeps the picks."""

    name: str = Field(default="XIAOD", pattern=_STREAM_PATTERN)
    """Name of the stream; a pick that would go into another stream is an error."""
    create: bool = False
    """Whether a missing stream is made, on disk, with the settings below; one that exists is left as it is."""
    max_age_s: Seconds = 0.0
    """Seconds after which the server forgets a pick; 0: never."""
    max_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes after which the oldest picks go; 0: no limit."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Servers of a cluster that keep the stream."""
    duplicates_s: PositiveSeconds = 3600.0
    """Seconds for which the server recognizes a pick that is sent again, and drops it."""

    @model_validator(mode="after")
    def _consistent(self) -> "StreamConfig":
        if self.max_age_s and self.duplicates_s > self.max_age_s:
            raise ValueError("duplicates_s must be at most max_age_s")
        return self


class NatsConfig(SinkModel):
    """Picks into NATS JetStream."""

    CODE = "xiaod.sinks.nats.sink:NatsSink"
    EXTRA = "nats"
    READER = "xiaod.sinks.nats.reader:NatsReader"
    DESTINATION = "servers"
    TEMPLATES = ("subject", "event_subject")
    READERS = "programs on a bus"
    DELIVERED = "acknowledged by the stream"
    REPEATED = "never within `duplicates_s`: `Nats-Msg-Id` is the `id`"
    TOLD_APART = "`{stage}` of `subject`; `stage` of the document"

    kind: Literal["nats"]
    """Messages in a stream of NATS JetStream; needs the extra nats."""
    name: SinkName = "nats"
    stage: SinkStages = "all"
    of: SinkOf = "picks"
    servers: Annotated[
        tuple[Annotated[str, AfterValidator(_server)], ...], Field(min_length=1, strict=False)
    ] = ("nats://localhost:4222",)
    """HOST or HOST:PORT of one or more servers of a cluster; the default port is 4222."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not, unless the server insists."""
    username: str | None = None
    """User name; at most one of username, token, credentials_file and nkey_file."""
    password: SecretStr | None = None
    """The password, or "${NAME}" for the environment variable of that name; better in a file."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    token: SecretStr | None = None
    """Instead of a user name: the token, or "${NAME}"."""
    token_file: Path | None = Field(default=None, strict=False)
    """File with the token in its first line; read at each connection."""
    credentials_file: Path | None = Field(default=None, strict=False)
    """Instead of a user name: file with JWT and key, as nsc writes it."""
    nkey_file: Path | None = Field(default=None, strict=False)
    """Instead of a user name: file with the seed of an NKey."""
    subject: Annotated[str, AfterValidator(_subject)] = "xiaod.picks.{network}.{station}.{phase}.{stage}"
    """Subject of a pick; also {location}, {channel}, {shard}; {stage} is final, early or withdrawn. What a subject cannot
    carry becomes _, an empty location --."""
    event_subject: Annotated[str, AfterValidator(_event_subject)] = "xiaod.events.{stage}"
    """Subject of an event, which the stream must take too; also {shard}."""
    stream: StreamConfig = StreamConfig()
    """The stream of JetStream that keeps the picks."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for the connection, and for each acknowledgment."""
    _stream_subjects: tuple[str, ...] = PrivateAttr()

    @model_validator(mode="after")
    def _consistent(self) -> "NatsConfig":
        for key in ("password", "token"):
            if getattr(self, key) is not None and getattr(self, f"{key}_file") is not None:
                raise ValueError(f"{key}_file and {key} are both given; give one")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password belong together; give both or none")
        ways = {
            "username": self.username,
            "token": self.token or self.token_file,
            "credentials_file": self.credentials_file,
            "nkey_file": self.nkey_file,
        }
        given = [key for key, value in ways.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{given[1]} and {given[0]} are both given; there is one way to log in")
        return self

    def model_post_init(self, context: object) -> None:
        """Note the subjects of the sink as it is written: each process has a copy of it for its part, and all copies use one stream."""
        templates = {"picks": (self.subject,), "events": (self.event_subject,)}
        self._stream_subjects = tuple(
            ".".join("*" if "{" in word else word for word in template.split("."))
            for template in templates.get(self.of, (self.subject, self.event_subject))
        )

    @property
    def stream_subjects(self) -> tuple[str, ...]:
        """What the stream takes: of picks, of events, or both, of all processes that use the configuration."""
        return self._stream_subjects

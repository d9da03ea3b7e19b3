"""The ``nats`` sink: picks into a stream of NATS JetStream.

>>> config = NatsConfig(kind="nats", servers=["broker.local"])
>>> config.servers, config.stream_subjects
(('nats://broker.local:4222',), ('xiaod.picks.*.*.*.*',))
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from xiaod.config.model import Model, PositiveSeconds, Seconds
from xiaod.config.sinks.checks import full_address, template
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkName, SinkOf, SinkStages
from xiaod.config.sinks.login import LoginModel, Password, PasswordFile, TokenFile
from xiaod.config.tls import TlsConfig

DEFAULT_PORT = 4222
_STREAM_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
_WORD = "[A-Za-z0-9_-]+"
_WORDS = rf"{_WORD}(\.{_WORD})*", "must be words of letters, digits, _ and -, joined by full stops"


def _server(text: str) -> str:
    """The address in full."""
    if "@" in text:
        raise ValueError("must not hold a password: use username and password_file, or token_file")
    scheme, _, rest = text.rpartition("://")
    # Schemes are written in letters of any size (RFC 3986, 3.1). What is no scheme of NATS makes no good address either.
    known = scheme.lower() in {"", "nats", "tls"}
    address = full_address(rest.removesuffix("/") if known else text, DEFAULT_PORT)
    return f"{scheme.lower() or 'nats'}://{address}"


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


class NatsConfig(LoginModel):
    """Picks into NATS JetStream."""

    CODE = "xiaod.sinks.nats.sink:NatsSink"
    EXTRA = "nats"
    LOGINS = ("username", "token", "credentials_file", "nkey_file")
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
    password: Password = None
    password_file: PasswordFile = None
    token: SecretStr | None = None
    """Instead of a user name: the token, or "${NAME}"."""
    token_file: TokenFile = None
    credentials_file: Path | None = Field(default=None, strict=False)
    """Instead of a user name: file with JWT and key, as nsc writes it."""
    nkey_file: Path | None = Field(default=None, strict=False)
    """Instead of a user name: file with the seed of an NKey."""
    subject: Annotated[str, AfterValidator(template(TEMPLATE_FIELDS, *_WORDS))] = (
        "xiaod.picks.{network}.{station}.{phase}.{stage}"
    )
    """Subject of a pick; also {location}, {channel}, {shard}; {stage} is final, early or withdrawn. What a subject cannot
    carry becomes _, an empty location --."""
    event_subject: Annotated[str, AfterValidator(template(EVENT_FIELDS, *_WORDS))] = "xiaod.events.{stage}"
    """Subject of an event, which the stream must take too; also {shard}."""
    stream: StreamConfig = StreamConfig()
    """The stream of JetStream that keeps the picks."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for the connection, and for each acknowledgment."""
    _stream_subjects: tuple[str, ...] = PrivateAttr()

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

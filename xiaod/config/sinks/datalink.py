"""The ``datalink`` sink: picks as packets in a ringserver.

>>> config = DataLinkConfig(kind="datalink", server="ring.local", tls=TlsConfig())
>>> config.host, config.port, config.stream_id
('ring.local', 16500, '{source_id}/{type}')
>>> DataLinkConfig(kind="datalink", format="quakeml").payload_type
'TEXT'
"""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from xiaod.config.model import PositiveSeconds
from xiaod.config.sinks.checks import address, names_in
from xiaod.config.sinks.file import Authority
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkModel, SinkName, SinkOf, SinkStages
from xiaod.config.tls import TlsConfig

DATALINK_PORT = 16000
DATALINK_TLS_PORT = 16500
"""Ports that are usual for DataLink in the clear and over TLS."""
TYPE_FIELD = "type"
STREAM_FIELDS = ("source_id", TYPE_FIELD, *TEMPLATE_FIELDS)
EVENT_STREAM_FIELDS = (TYPE_FIELD, *EVENT_FIELDS)
PAYLOAD_TYPES = {"json": "JSON", "quakeml": "TEXT"}
"""What ringserver recommends as the suffix of the stream IDs of JSON, and of other text in UTF-8."""
MAX_STREAM_ID = 63
"""Bytes of a stream ID that a ringserver takes."""


def _stream_id(text: str, fields: tuple[str, ...] = STREAM_FIELDS) -> str:
    names_in(text, fields)
    filled = re.sub(r"\{\w+\}", "x", text)
    if not re.fullmatch(r"[A-Za-z0-9:_./-]+", filled) or len(filled) > MAX_STREAM_ID:
        raise ValueError(f"must be at most {MAX_STREAM_ID} letters, digits, : _ . / and -")
    return text


def _event_stream_id(text: str) -> str:
    return _stream_id(text, EVENT_STREAM_FIELDS)


class DataLinkConfig(SinkModel):
    """Picks as packets of DataLink."""

    CODE = "xiaod.sinks.datalink.sink:DataLinkSink"
    EXTRA = "datalink"
    DESTINATION = "server"
    TEMPLATES = ("stream_id", "event_stream_id")
    READERS = "ringserver and its clients"
    DELIVERED = "acknowledged by the server"
    REPEATED = "at most the 20 packets that were under way when the connection broke, and after a crash"
    TOLD_APART = "`stage` of the document; `{stage}` of `stream_id`"

    kind: Literal["datalink"]
    """Packets in a ringserver, over DataLink; needs the extra datalink."""
    name: SinkName = "datalink"
    stage: SinkStages = "all"
    of: SinkOf = "picks"
    server: Annotated[str, AfterValidator(address)] = "localhost"
    """HOST or HOST:PORT of a ringserver; the default port is 16000, with tls 16500. It must allow this machine, or this
    user, to write, and take packets of 2048 bytes, with quakeml of 8192, with events of 16384
    (WriteIP and MaxPacketSize of its ring.conf)."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not; {}: with the authorities that the system trusts."""
    username: str | None = None
    """User name; null: none. At most one of username and token."""
    password: SecretStr | None = None
    """The password, or "${NAME}" for the environment variable of that name; better in a file."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    token: SecretStr | None = None
    """Instead of a user name: the token (JWT), or "${NAME}"."""
    token_file: Path | None = Field(default=None, strict=False)
    """File with the token in its first line; read at each connection."""
    format: Literal["json", "quakeml"] = "json"
    """What a packet carries: the document as JSON, or as QuakeML 1.2."""
    authority: Authority = "local"
    stream_id: Annotated[str, AfterValidator(_stream_id)] = "{source_id}/{type}"
    """Stream ID of a pick, at most 63 bytes. {source_id} is the FDSN source identifier of its channel, {type} is JSON, with
    quakeml TEXT. Also {network}, {station}, {location}, {channel}, {phase}, {stage}, {shard}: {source_id}/{type}/{phase}-{stage}
    gives readers a label to choose by. What a stream ID cannot carry becomes -."""
    event_stream_id: Annotated[str, AfterValidator(_event_stream_id)] = "xiaod_events/{type}"
    """Stream ID of an event; also {stage} and {shard}."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for the connection, and for the next acknowledgment."""

    @model_validator(mode="after")
    def _consistent(self) -> "DataLinkConfig":
        for key in ("password", "token"):
            if getattr(self, key) is not None and getattr(self, f"{key}_file") is not None:
                raise ValueError(f"{key}_file and {key} are both given; give one")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password belong together; give both or none")
        if self.username is not None and (self.token or self.token_file) is not None:
            raise ValueError("token and username are both given; there is one way to log in")
        return self

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return urlsplit(f"//{self.server}").hostname or ""

    @property
    def port(self) -> int:
        """The port given, or the usual one."""
        return urlsplit(f"//{self.server}").port or (DATALINK_PORT if self.tls is None else DATALINK_TLS_PORT)

    @property
    def payload_type(self) -> str:
        """The suffix of stream IDs for what is sent."""
        return PAYLOAD_TYPES[self.format]

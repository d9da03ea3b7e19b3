"""The ``datalink`` sink: picks as packets in a ringserver.

>>> config = DataLinkConfig(kind="datalink", server="ring.local", tls=TlsConfig())
>>> config.host, config.port, config.stream_id
('ring.local', 16500, '{source_id}/{type}')
>>> DataLinkConfig(kind="datalink", format="quakeml").payload_type
'TEXT'
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr

from xiaod.config.model import PositiveSeconds
from xiaod.config.sinks.checks import address, host_and_port, template
from xiaod.config.sinks.file import Authority
from xiaod.config.sinks.kind import EVENT_FIELDS, TEMPLATE_FIELDS, SinkName, SinkOf, SinkStages
from xiaod.config.sinks.login import LoginModel, Password, PasswordFile, TokenFile
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
_LETTERS = (
    f"[A-Za-z0-9:_./-]{{1,{MAX_STREAM_ID}}}",
    f"must be at most {MAX_STREAM_ID} letters, digits, : _ . / and -",
)


class DataLinkConfig(LoginModel):
    """Picks as packets of DataLink."""

    CODE = "xiaod.sinks.datalink.sink:DataLinkSink"
    EXTRA = "datalink"
    LOGINS = ("username", "token")
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
    server: Annotated[str, AfterValidator(address(DATALINK_PORT))] = "localhost"
    """HOST or HOST:PORT of a ringserver; the default port is 16000, with tls 16500. It must allow this machine, or this
    user, to write, and take packets of 2048 bytes, with quakeml of 8192; with events of 32768, with both of 131072, and
    more for an event of more than 40 stations (WriteIP and MaxPacketSize of its ring.conf)."""
    tls: TlsConfig | None = None
    """How the connection is encrypted; null: it is not; {}: with the authorities that the system trusts."""
    username: str | None = None
    """User name; null: none. At most one of username and token."""
    password: Password = None
    password_file: PasswordFile = None
    token: SecretStr | None = None
    """Instead of a user name: the token (JWT), or "${NAME}"."""
    token_file: TokenFile = None
    format: Literal["json", "quakeml"] = "json"
    """What a packet carries: the document as JSON, or as QuakeML 1.2."""
    authority: Authority = "local"
    stream_id: Annotated[str, AfterValidator(template(STREAM_FIELDS, *_LETTERS))] = "{source_id}/{type}"
    """Stream ID of a pick, at most 63 bytes. {source_id} is the FDSN source identifier of its channel, {type} is JSON, with
    quakeml TEXT. Also {network}, {station}, {location}, {channel}, {phase}, {stage}, {shard}: {source_id}/{type}/{phase}-{stage}
    gives readers a label to choose by. What a stream ID cannot carry becomes -."""
    event_stream_id: Annotated[str, AfterValidator(template(EVENT_STREAM_FIELDS, *_LETTERS))] = (
        "xiaod_events/{type}"
    )
    """Stream ID of an event; also {stage} and {shard}."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds; longest wait for the connection, and for the next acknowledgment."""

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return host_and_port(self.server, DATALINK_PORT)[0]

    @property
    def port(self) -> int:
        """The port given, or the usual one."""
        return host_and_port(self.server, DATALINK_PORT if self.tls is None else DATALINK_TLS_PORT)[1]

    @property
    def payload_type(self) -> str:
        """The suffix of stream IDs for what is sent."""
        return PAYLOAD_TYPES[self.format]

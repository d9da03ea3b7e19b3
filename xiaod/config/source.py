"""Where data come from: one model for each kind of source.

>>> SeedLinkConfig(server="seedlink://rs.local").server
'rs.local:18000'
"""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from xiaod.config.model import MAX_PORT, Model, PositiveSeconds, Seconds
from xiaod.config.tls import TlsConfig
from xiaod.domain.seedlink import PORT
from xiaod.domain.timegrid import ns_from_iso

REPLAY_PREFIX = "replay:"

_CODE = r"(?:[A-Z0-9*?-]|\[!?[A-Z0-9]+(?:-[A-Z0-9]+)*\])"
_STREAM_PATTERN = re.compile(rf"{_CODE}+\.{_CODE}+\.{_CODE}*\.{_CODE}+")

_STREAM_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_STREAM_PATTERN.pattern}$"})


def _stream_pattern(text: str) -> str:
    if _STREAM_PATTERN.fullmatch(text) is None:
        if _STREAM_PATTERN.fullmatch(text.upper()):
            raise ValueError(f"must be in upper case: {text.upper()!r}")
        raise ValueError("must be NET.STA.LOC.CHA with * ? [..] wildcards, for example 'AM.R0E05.00.EH?'")
    return text


def _server(text: str) -> str:
    if text.startswith(REPLAY_PREFIX):
        if len(text) == len(REPLAY_PREFIX):
            raise ValueError("must name what to replay: 'replay:example' or 'replay:/path/to/miniseed'")
        return text
    bare = text.removeprefix("seedlink://").rstrip("/")
    host, _, port = bare.rpartition(":") if ":" in bare else (bare, "", str(PORT))
    if _is_host(host) and port.isdigit() and not 0 < int(port) <= MAX_PORT:
        raise ValueError(f"the port must be 1 to {MAX_PORT}")
    if not _is_host(host) or not port.isdigit():
        raise ValueError("must be HOST, HOST:PORT, 'replay:example' or 'replay:/path/to/miniseed'")
    return f"{host}:{port}"


def _is_host(text: str) -> bool:
    """Whether it is a host name or address; an IPv6 address needs brackets."""
    try:
        if text.startswith("["):
            return text.endswith("]") and ip_address(text[1:-1]).version == 6
        # A name that IDNA cannot encode would raise UnicodeError at each attempt to connect.
        text.encode("idna")
    except ValueError:
        return False
    return bool(text) and not re.search(r"[\s/@:]", text)


def _begin(text: str) -> str:
    if text not in {"now", "resume"}:
        try:
            ns_from_iso(text)
        except ValueError as error:
            raise ValueError("must be 'now', 'resume' or a time such as '2026-01-31T12:00:00Z'") from error
    return text


class SeedLinkConfig(Model):
    """One SeedLink server."""

    EXAMPLE: ClassVar = {"server": "replay:example", "name": "demo"}

    kind: Literal["seedlink"] = "seedlink"
    """A server that speaks SeedLink 3 or 4."""
    server: Annotated[str, AfterValidator(_server)]
    """HOST or HOST:PORT (default port 18000): a Raspberry Shake (rs.local), a ringserver or SeisComP, or a public server such as
    geofon.gfz.de. Or replay:PATH: this process plays miniSEED files, shifted to now (replay:example: ObsPy's example event)."""
    protocol: Literal["auto", 3, 4] = 3
    """Version of SeedLink: 3, which nearly every server speaks; 4 (extra seedlink4); or auto: 4 where the server speaks it, else 3."""
    tls: TlsConfig | None = None
    """Encryption, for which servers have another port (18500 by custom); {} trusts the authorities that the system trusts; null: none."""
    username: Annotated[str, Field(pattern=r"^[!-~]{1,100}$")] | None = None
    """For a server that wants a login, with password_file; needs tls and SeedLink 4."""
    password_file: Path | None = Field(default=None, strict=False)
    """File with the password in its first line; read at each connection."""
    token_file: Path | None = Field(default=None, strict=False)
    """Instead of a user name: file with a token (JWT) in its first line; read at each connection."""
    name: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,32}$")
    """Label in logs, metrics and state; by default the address of the server."""
    streams: Annotated[
        tuple[Annotated[str, AfterValidator(_stream_pattern), _STREAM_SCHEMA], ...],
        Field(min_length=1, strict=False),
    ] = ("*.*.*.*",)
    """Patterns NET.STA.LOC.CHA with * ? [..]; -- or * stands for an empty location. From a public server choose few, such as GE.APE.*.BH?.
    Wildcards are expanded with the list of the server; a server without a list is asked for the patterns themselves."""
    begin: Annotated[str, AfterValidator(_begin)] = "now"
    """now: only new data. resume: go on after the last packet of the last run. Or a time such as 2026-01-31T12:00:00Z."""
    max_catch_up_s: PositiveSeconds | None = None
    """Seconds; after an interruption older data are not requested; null: all that the server still has."""
    connect_timeout_s: PositiveSeconds = 10.0
    """Seconds for opening the connection, and for each reply of the server."""
    network_timeout_s: PositiveSeconds = 60.0
    """Seconds without a byte after which the connection is closed and opened again."""
    keepalive_s: Seconds = 20.0
    """Seconds of silence after which a keep-alive is sent; 0: never."""
    reconnect_min_s: PositiveSeconds = 1.0
    """Seconds before the first attempt to reconnect; doubled each time, ..."""
    reconnect_max_s: PositiveSeconds = 60.0
    """... up to this; each delay is shortened at random."""
    max_stations: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Stations of this server at most, those named by patterns first. The others are not requested; the log names them."""
    discover_s: Seconds = 3600.0
    """Longest time in seconds between two searches for new streams and refused stations; 0: only when connecting."""

    @model_validator(mode="after")
    def _consistent(self) -> "SeedLinkConfig":
        if self.reconnect_max_s < self.reconnect_min_s:
            raise ValueError("reconnect_max_s must not be below reconnect_min_s")
        if self.keepalive_s and self.keepalive_s >= self.network_timeout_s:
            raise ValueError("keepalive_s must be below network_timeout_s, or 0")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together; give both or none")
        if self.username is not None and self.token_file is not None:
            raise ValueError("token_file and username are both given; there is one way to log in")
        if self.logs_in and self.tls is None:
            raise ValueError("username and token_file need tls: a secret is not sent in the clear")
        if self.logs_in and self.protocol == 3:
            raise ValueError("username and token_file need 'protocol: 4' or 'auto': SeedLink 3 has no login")
        if self.tls is not None and self.replay_input is not None:
            raise ValueError("tls is for a real server, not for replay:")
        return self

    @property
    def logs_in(self) -> bool:
        """Whether it has a user name or a token."""
        return self.username is not None or self.token_file is not None

    @property
    def label(self) -> str:
        """The name, or the address where there is none."""
        return self.name or self.server

    @property
    def replay_input(self) -> str | None:
        """What the embedded replay server plays, or None for a real server."""
        return self.server.removeprefix(REPLAY_PREFIX) if self.server.startswith(REPLAY_PREFIX) else None

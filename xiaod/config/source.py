"""Where data come from: one model for each kind of source.

>>> SeedLinkConfig(server="seedlink://rs.local").server
'rs.local:18000'
"""

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from xiaod.config.model import Model, PositiveSeconds, Seconds
from xiaod.domain.timegrid import ns_from_iso

REPLAY_PREFIX = "replay:"
DEFAULT_SEEDLINK_PORT = 18000

_CODE = r"(?:[A-Z0-9*?-]|\[!?[A-Z0-9]+(?:-[A-Z0-9]+)*\])"
_STREAM_PATTERN = re.compile(rf"{_CODE}+\.{_CODE}+\.{_CODE}*\.{_CODE}+")

_STREAM_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_STREAM_PATTERN.pattern}$"})


def _stream_pattern(text: str) -> str:
    if _STREAM_PATTERN.fullmatch(text) is None:
        raise ValueError("must be NET.STA.LOC.CHA with * ? [..] wildcards, for example 'AM.R0E05.00.EH?'")
    return text


def _server(text: str) -> str:
    if text.startswith(REPLAY_PREFIX):
        if len(text) == len(REPLAY_PREFIX):
            raise ValueError("must name what to replay: 'replay:example' or 'replay:/path/to/miniseed'")
        return text
    bare = text.removeprefix("seedlink://").rstrip("/")
    host, _, port = bare.rpartition(":") if ":" in bare else (bare, "", str(DEFAULT_SEEDLINK_PORT))
    if not _is_host(host) or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST, HOST:PORT, 'replay:example' or 'replay:/path/to/miniseed'")
    return f"{host}:{port}"


def _is_host(text: str) -> bool:
    """Whether a resolver can be asked for it: an IPv6 address stands in brackets."""
    try:
        if text.startswith("["):
            return text.endswith("]") and ip_address(text[1:-1]).version == 6
        # What cannot be written so would be an error of its own kind at each attempt to connect.
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

    kind: Literal["seedlink"] = "seedlink"
    """A server that speaks SeedLink 3."""
    name: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,32}$")
    """Label in logs and metrics; by default the server's address."""
    server: Annotated[str, AfterValidator(_server)]
    """HOST, HOST:PORT, or ``replay:PATH`` for miniSEED played by this process (``replay:example``: ObsPy's example event)."""
    streams: Annotated[
        tuple[Annotated[str, AfterValidator(_stream_pattern), _STREAM_SCHEMA], ...],
        Field(min_length=1, strict=False),
    ] = ("*.*.*.*",)
    """Streams to subscribe to: NET.STA.LOC.CHA with * ? [..] wildcards."""
    begin: Annotated[str, AfterValidator(_begin)] = "now"
    """``now``: what comes from now on. ``resume``: go on behind the last packet of the last run. Or a time such as 2026-01-31T12:00:00Z."""
    max_catch_up_s: PositiveSeconds | None = None
    """After an interruption, data that are older are not asked for; null: whatever the server still has."""
    connect_timeout_s: PositiveSeconds = 10.0
    """Seconds for opening the connection, and for each answer of the server."""
    network_timeout_s: PositiveSeconds = 60.0
    """Silence (data and keep-alive answers) after which the connection is given up."""
    keepalive_s: Seconds = 20.0
    """Silence after which a keep-alive is sent; 0 sends none."""
    reconnect_min_s: PositiveSeconds = 1.0
    """Seconds before the first new attempt; doubled each time, ..."""
    reconnect_max_s: PositiveSeconds = 60.0
    """... up to this; each is shortened at random."""
    max_stations: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Stations of this server at most, and on the average four instruments of each; those beyond are not asked for, counted and named."""
    discover_s: Seconds = 3600.0
    """Longest time between looks for new streams and for refused stations; 0: wildcards are expanded only when connecting."""

    @model_validator(mode="after")
    def _consistent(self) -> "SeedLinkConfig":
        if self.reconnect_max_s < self.reconnect_min_s:
            raise ValueError("reconnect_max_s must not be below reconnect_min_s")
        if self.keepalive_s and self.keepalive_s >= self.network_timeout_s:
            raise ValueError("keepalive_s must be below network_timeout_s, or 0")
        return self

    @property
    def label(self) -> str:
        """The name, or the address where there is none."""
        return self.name or self.server

    @property
    def replay_input(self) -> str | None:
        """What the embedded replay server plays, or None for a real server."""
        return self.server.removeprefix(REPLAY_PREFIX) if self.server.startswith(REPLAY_PREFIX) else None

"""The configuration: every key with its type, default, unit and limits.

The models are strict: a wrong type, a value out of range or an unknown key is an error. ``config.yaml`` at the top of the
project shows every key with its default. Reading a file with line numbers in the errors is :mod:`xiaod.configfile`.

>>> config = Config.model_validate({"sources": [{"server": "rs.local:18000"}]})
>>> config.sources[0].streams
('*.*.*.*',)
>>> config.windows.hop_s
0.5
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from xiaod.timebase import ns_from_iso

REPLAY_PREFIX = "replay:"
DEFAULT_SEEDLINK_PORT = 18000

_CODE = r"(?:[A-Z0-9*?-]|\[!?[A-Z0-9]+(?:-[A-Z0-9]+)*\])"
_STREAM_PATTERN = re.compile(rf"{_CODE}+\.{_CODE}+\.{_CODE}*\.{_CODE}+")
_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
_STATION_PATTERN = re.compile(r"[A-Z0-9]{1,8}\.[A-Z0-9]{1,8}")

Seconds = Annotated[float, Field(ge=0)]
PositiveSeconds = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]


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
    if not host or re.search(r"[\s/@]", host) or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST, HOST:PORT, 'replay:example' or 'replay:/path/to/miniseed'")
    return f"{host}:{port}"


def _begin(text: str) -> str:
    if text not in {"now", "resume"}:
        try:
            ns_from_iso(text)
        except ValueError as error:
            raise ValueError("must be 'now', 'resume' or a time such as '2026-01-31T12:00:00Z'") from error
    return text


class Model(BaseModel):
    """Base of all parts: strict types, unknown keys refused, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SeedLinkConfig(Model):
    """One SeedLink server."""

    kind: Literal["seedlink"] = "seedlink"
    name: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,32}$")
    """Label in logs and metrics; by default the server's address."""
    server: Annotated[str, AfterValidator(_server)]
    streams: Annotated[
        tuple[Annotated[str, AfterValidator(_stream_pattern)], ...], Field(min_length=1, strict=False)
    ] = ("*.*.*.*",)
    begin: Annotated[str, AfterValidator(_begin)] = "now"
    max_catch_up_s: PositiveSeconds | None = None
    """After an interruption, data that are older are not asked for; None: whatever the server still has."""
    connect_timeout_s: PositiveSeconds = 10.0
    network_timeout_s: PositiveSeconds = 60.0
    """Silence (data and keep-alive answers) after which the connection is given up."""
    keepalive_s: Seconds = 20.0
    """Silence after which a keep-alive is sent; 0 sends none."""
    reconnect_min_s: PositiveSeconds = 1.0
    reconnect_max_s: PositiveSeconds = 60.0
    discover_s: Seconds = 3600.0
    """How often wildcards are expanded again while connected; 0: only when connecting."""

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


class BufferConfig(Model):
    """How records become continuous data."""

    max_component_wait_s: Seconds = 5.0
    max_lead_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    max_age_s: PositiveSeconds | None = None
    max_future_s: PositiveSeconds | None = 60.0


class WindowConfig(Model):
    """How continuous data are cut."""

    length_s: Annotated[float, Field(ge=5, le=120)] = 20.0
    hop_s: Annotated[float, Field(ge=0.05, le=30)] = 0.5

    @model_validator(mode="after")
    def _consistent(self) -> "WindowConfig":
        if self.hop_s > self.length_s / 4:
            raise ValueError("hop_s must be at most a quarter of length_s, so that windows overlap")
        return self


class EngineConfig(Model):
    """What computes probabilities."""

    kind: Literal["onnx", "stateful", "torch"] = "onnx"
    model: str = "micro"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 16


class StationConfig(Model):
    """What differs at one station."""

    threshold_p: Probability | None = None
    threshold_s: Probability | None = None


class PickerConfig(Model):
    """How probabilities become picks."""

    threshold_p: Probability | None = None
    threshold_s: Probability | None = None
    lookahead_s: Annotated[float, Field(ge=0.1, le=30)] = 0.5
    settle_s: Annotated[float, Field(ge=0, le=30)] = 0.5
    min_separation_s: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    stations: dict[str, StationConfig] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "PickerConfig":
        for key in self.stations:
            if _STATION_PATTERN.fullmatch(key) is None:
                raise ValueError(f"stations: {key!r} must be NET.STA, for example 'AM.R0E05'")
        return self


class JsonLinesConfig(Model):
    """Picks as JSON Lines."""

    kind: Literal["jsonl"]
    name: str = Field(default="jsonl", pattern=_NAME_PATTERN)
    path: Path = Field(strict=False)
    rotate: Literal["none", "day", "size"] = "day"
    rotate_mb: Annotated[float, Field(gt=0)] = 50.0
    """Megabytes (10^6 bytes) after which a file is rotated, with ``rotate: size``."""
    keep_files: Annotated[int, Field(ge=0)] = 0
    """Rotated files kept; 0 keeps all."""
    fsync: Literal["always", "interval", "never"] = "interval"
    fsync_interval_s: PositiveSeconds = 10.0


class QuakeMLConfig(Model):
    """Picks as QuakeML 1.2 files."""

    kind: Literal["quakeml"]
    name: str = Field(default="quakeml", pattern=_NAME_PATTERN)
    folder: Path = Field(strict=False)
    interval_s: Seconds = 0.0
    """0: a file for each pick; otherwise one file for the picks of that many seconds."""
    authority: str = Field(default="local", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~*-]{2,}$")


class ConsoleConfig(Model):
    """A line for each pick on standard output, for a person watching."""

    kind: Literal["console"]
    name: str = Field(default="console", pattern=_NAME_PATTERN)


SinkConfig = Annotated[JsonLinesConfig | QuakeMLConfig | ConsoleConfig, Field(discriminator="kind")]


class HttpConfig(Model):
    """Metrics and health over HTTP."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9808
    stale_after_s: PositiveSeconds = 60.0
    """A station whose newest sample is older than this is stale."""


class StateConfig(Model):
    """What survives a restart."""

    folder: Path = Field(default=Path("var/state"), strict=False)
    save_interval_s: PositiveSeconds = 30.0
    keep_days: Annotated[float, Field(ge=0)] = 30.0
    """Days for which picks stay in the store once all sinks have got them; 0: for ever."""


class LogConfig(Model):
    """Logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class AgencyConfig(Model):
    """Who signs the picks."""

    agency_id: str = Field(default="XX", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    author: str = "xiaod"


class Config(Model):
    """The whole configuration."""

    config_version: Literal[1] = 1
    sources: Annotated[tuple[SeedLinkConfig, ...], Field(min_length=1, strict=False)]
    buffer: BufferConfig = BufferConfig()
    windows: WindowConfig = WindowConfig()
    engine: EngineConfig = EngineConfig()
    picker: PickerConfig = PickerConfig()
    sinks: Annotated[tuple[SinkConfig, ...], Field(strict=False)] = ()
    http: HttpConfig = HttpConfig()
    state: StateConfig = StateConfig()
    logs: LogConfig = LogConfig()
    agency: AgencyConfig = AgencyConfig()
    grace_s: PositiveSeconds = 20.0
    """Time for an orderly stop before it is cut short."""

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        for what, names in (
            ("sources", [source.label for source in self.sources]),
            ("sinks", [sink.name for sink in self.sinks]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(
                    f"{what}: the name {twice[0]!r} is given twice; give each a 'name' of its own"
                )
        if self.picker.lookahead_s + self.windows.hop_s > self.windows.length_s / 2:
            raise ValueError("picker.lookahead_s + windows.hop_s must be at most half of windows.length_s")
        return self

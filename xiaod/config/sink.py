"""Where picks go: one model for each kind of sink.

>>> JsonLinesConfig(kind="jsonl", path="picks.jsonl").rotate
'day'
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds, Seconds
from xiaod.config.nats import NatsConfig
from xiaod.config.netsink import MqttConfig
from xiaod.config.webhook import WebhookConfig


class AppendedConfig(Model):
    """A file that lines are appended to."""

    name: str = Field(pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    path: Path = Field(strict=False)
    """File; relative to the working directory."""
    rotate: Literal["none", "day", "size"] = "day"
    """When a new file is begun: never, every day (UTC), or at ``rotate_mb``."""
    rotate_mb: Annotated[float, Field(gt=0)] = 50.0
    """Megabytes (10^6 bytes) after which a file is rotated, with ``rotate: size``."""
    keep_files: Annotated[int, Field(ge=0)] = 0
    """Rotated files kept; 0 keeps all."""
    fsync: Literal["always", "interval", "never"] = "interval"
    """When lines are forced onto the disk."""
    fsync_interval_s: PositiveSeconds = 10.0
    """Seconds between two of these, with ``fsync: interval``."""


class JsonLinesConfig(AppendedConfig):
    """Picks as JSON Lines."""

    kind: Literal["jsonl"]
    """JSON Lines, appended to a file."""
    name: str = Field(default="jsonl", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""


class QuakeMLConfig(Model):
    """Picks as QuakeML 1.2 files."""

    kind: Literal["quakeml"]
    """QuakeML 1.2, a file for each pick or for those of some seconds."""
    name: str = Field(default="quakeml", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    folder: Path = Field(strict=False)
    """Folder of the files; relative to the working directory."""
    interval_s: Seconds = 0.0
    """0: a file for each pick; otherwise one file for the picks of that many seconds."""
    authority: str = Field(default="local", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~*-]{2,}$")
    """Who names things in resource identifiers: smi:AUTHORITY/..."""


class ConsoleConfig(Model):
    """A line for each pick on standard output, for a person watching."""

    kind: Literal["console"]
    """A line for each pick on standard output."""
    name: str = Field(default="console", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""


SinkConfig = Annotated[
    JsonLinesConfig | QuakeMLConfig | ConsoleConfig | MqttConfig | WebhookConfig | NatsConfig,
    Field(discriminator="kind"),
]

"""Where picks go: one model for each kind of sink.

>>> JsonLinesConfig(kind="jsonl", path="picks.jsonl").rotate
'day'
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds, Seconds


class JsonLinesConfig(Model):
    """Picks as JSON Lines."""

    kind: Literal["jsonl"]
    name: str = Field(default="jsonl", pattern=NAME_PATTERN)
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
    name: str = Field(default="quakeml", pattern=NAME_PATTERN)
    folder: Path = Field(strict=False)
    interval_s: Seconds = 0.0
    """0: a file for each pick; otherwise one file for the picks of that many seconds."""
    authority: str = Field(default="local", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~*-]{2,}$")


class ConsoleConfig(Model):
    """A line for each pick on standard output, for a person watching."""

    kind: Literal["console"]
    name: str = Field(default="console", pattern=NAME_PATTERN)


SinkConfig = Annotated[JsonLinesConfig | QuakeMLConfig | ConsoleConfig, Field(discriminator="kind")]

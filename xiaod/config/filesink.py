"""Files that picks go to: lines appended to one, or a folder of documents.

>>> JsonLinesConfig(kind="jsonl", path="picks.jsonl").rotate
'day'
>>> ScmlConfig(kind="scml", folder="scml").schema_version
'0.12'
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds, Seconds

ScmlVersion = Literal["0.12", "0.13", "0.14"]
"""Versions that ObsPy carries schemas for; 0.14 has a namespace of its own."""
TableStyle = Literal["csv", "gamma", "pyocto", "quakeflow"]


class AppendedConfig(Model):
    """A file that lines are appended to."""

    kind: str
    """Which format; the first key of each sink, as people write it."""
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


class AnssConfig(AppendedConfig):
    """Picks in the JSON of the ANSS."""

    kind: Literal["anss"]
    """ANSS pick JSON, one a line, appended to a file."""
    name: str = Field(default="anss", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    stations_file: Path | None = Field(default=None, strict=False)
    """Coordinates of stations: CSV, FDSN text or StationXML; without it picks carry none."""


class TableConfig(AppendedConfig):
    """Picks as a table with the columns that another program reads."""

    kind: Literal["table"]
    """CSV with the columns of a consumer, appended to a file."""
    name: str = Field(default="table", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    style: TableStyle = "csv"
    """Whose columns: all of ours, or those of an associator."""


class FolderConfig(Model):
    """A folder that documents are written into."""

    kind: str
    """Which format; the first key of each sink, as people write it."""
    name: str = Field(pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    folder: Path = Field(strict=False)
    """Folder of the files; relative to the working directory."""
    interval_s: Seconds = 0.0
    """0: a file for each pick; otherwise one file for the picks of that many seconds."""


class QuakeMLConfig(FolderConfig):
    """Picks as QuakeML 1.2 files."""

    kind: Literal["quakeml"]
    """QuakeML 1.2, a file for each pick or for those of some seconds."""
    name: str = Field(default="quakeml", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    authority: str = Field(default="local", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~*-]{2,}$")
    """Who names things in resource identifiers: smi:AUTHORITY/..."""


class ScmlConfig(FolderConfig):
    """Picks as SeisComP SCML files."""

    kind: Literal["scml"]
    """SeisComP SCML, a file for each pick or for those of some seconds."""
    name: str = Field(default="scml", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; another for each sink."""
    schema_version: ScmlVersion = "0.12"
    """Version of the schema; a SeisComP reads its own and older ones."""
    mb_amplitudes: bool = True
    """Whether each pick has an amplitude of type mb (peak counts) too: scautoloc takes no pick without; it is no ground motion."""

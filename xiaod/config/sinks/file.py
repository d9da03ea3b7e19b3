"""Sinks that write files: lines appended to one file, or a folder of documents.

>>> JsonLinesConfig(kind="jsonl", path="picks.jsonl").rotate
'day'
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from xiaod.config.model import PositiveSeconds, Seconds
from xiaod.config.sinks.kind import SinkModel, SinkName, SinkOf, SinkOfAll, SinkStages

SCML_VERSION = "0.12"
"""Version of SeisComP's schema that is written; every newer SeisComP reads it."""
Authority = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~*-]{2,}$",
        description="The authority of resource identifiers in QuakeML, smi:AUTHORITY/...",
    ),
]
TableStyle = Literal["csv", "gamma", "pyocto", "quakeflow"]


class AppendedConfig(SinkModel):
    """A file that lines are appended to."""

    DESTINATION = "path"
    DELIVERED = "on the disk, within `fsync_interval_s`"
    REPEATED = "never"

    stage: SinkStages = "final"
    path: Path = Field(strict=False)
    """File to append to."""
    rotate: Literal["none", "day", "size"] = "day"
    """When a new file is begun: never, every day (UTC), or at ``rotate_mb``."""
    rotate_mb: Annotated[float, Field(gt=0)] = 50.0
    """Megabytes (10^6 bytes) at which a file is rotated with ``rotate: size``."""
    keep_files: Annotated[int, Field(ge=0)] = 0
    """Rotated files that are kept; 0: all."""
    fsync: Literal["always", "interval", "never"] = "interval"
    """When lines are synced to the disk."""
    fsync_interval_s: PositiveSeconds = 10.0
    """Seconds between two syncs with ``fsync: interval``."""

    def for_trial(self) -> Self:
        """The same, but that it only appends: a daemon that has the file open syncs it, and nothing of its lines is written anew."""
        return self.model_copy(update={"fsync": "never"})


class JsonLinesConfig(AppendedConfig):
    """Picks as JSON Lines."""

    EXAMPLE: ClassVar = {"path": "var/picks.jsonl"}
    CODE = "xiaod.sinks.file.jsonl:JsonLinesSink"
    READERS = "whatever reads JSON"

    kind: Literal["jsonl"]
    """JSON Lines, appended to a file."""
    name: SinkName = "jsonl"
    of: SinkOfAll = "picks"


class AnssConfig(AppendedConfig):
    """Picks in the JSON of the ANSS."""

    EXAMPLE: ClassVar = {"path": "var/picks.anss.jsonl"}
    CODE = "xiaod.sinks.file.anss:AnssSink"
    LOCATED = True
    READERS = "USGS's `anss-formats`"
    TOLD_APART = (
        "`stage` in `analyticsInfo.extensions`; withdrawals are left out: the format has none for picks"
    )

    kind: Literal["anss"]
    """ANSS pick JSON, one pick a line, appended to a file."""
    name: SinkName = "anss"
    stations_file: Path | None = Field(default=None, strict=False)
    """Coordinates of stations for this sink alone; null: those of the key of this name below."""


class TableConfig(AppendedConfig):
    """Picks as a table with the columns that another program reads."""

    EXAMPLE: ClassVar = {"path": "var/picks.csv"}
    CODE = "xiaod.sinks.file.table:TableSink"
    READERS = "spreadsheets; associators"
    TOLD_APART = "column `stage` of `style: csv`; the other styles take final picks only"

    kind: Literal["table"]
    """CSV, appended to a file."""
    name: SinkName = "table"
    of: Annotated[
        Literal["picks", "rsam"],
        Field(
            description="Whether it takes picks, or means of the amplitude (see 'rsam' below), with columns of their own."
        ),
    ] = "picks"
    style: TableStyle = "csv"
    """csv: all columns; the others: the columns of an associator, with 'stage: final' only."""

    @model_validator(mode="after")
    def _one_table_of_amplitudes(self) -> "TableConfig":
        if self.of == "rsam" and self.style != "csv":
            raise ValueError(f"style: {self.style} has columns of picks; write of: picks, or style: csv")
        return self

    @model_validator(mode="after")
    def _each_onset_once(self) -> "TableConfig":
        if self.style != "csv" and self.stage != "final":
            raise ValueError(
                f"stage must be final with style: {self.style}, whose readers take each row for an onset of its own; "
                "write stage: final, or style: csv, which has a column stage"
            )
        return self


class FolderConfig(SinkModel):
    """A folder that documents are written into."""

    DESTINATION = "folder"
    DELIVERED = "file synced and renamed"
    REPEATED = "never: the same file again"
    TOLD_APART = (
        "`evaluationStatus`: `preliminary`, `confirmed`; `rejected` with the `publicID` of the early pick"
    )

    stage: SinkStages = "final"
    folder: Path = Field(strict=False)
    """Folder of the files."""
    interval_s: Seconds = 0.0
    """Seconds of picks in one file; 0: a file for each pick."""


class QuakeMLConfig(FolderConfig):
    """Picks as QuakeML 1.2 files."""

    EXAMPLE: ClassVar = {"folder": "var/quakeml"}
    CODE = "xiaod.sinks.file.quakeml:QuakeMLSink"
    READERS = "ObsPy and others"

    kind: Literal["quakeml"]
    """QuakeML 1.2 files."""
    name: SinkName = "quakeml"
    of: SinkOf = "picks"
    authority: Authority = "local"


class ScmlConfig(FolderConfig):
    """Picks as SeisComP SCML files."""

    EXAMPLE: ClassVar = {"folder": "var/scml"}
    CODE = "xiaod.sinks.file.scml:ScmlSink"
    READERS = "SeisComP: `scautoloc`, displays"

    kind: Literal["scml"]
    """SeisComP SCML 0.12 files, which newer SeisComP reads too."""
    name: SinkName = "scml"
    mb_amplitudes: bool = True
    """Whether each pick also has an amplitude of type mb, its peak in counts and no ground motion: scautoloc takes no pick without."""

    @model_validator(mode="before")
    @classmethod
    def _one_version(cls, keys: Any) -> Any:
        """Refuse the choice of a version, which earlier versions of this program had."""
        if isinstance(keys, dict) and "schema_version" in keys:
            raise ValueError(
                f"schema_version is no key any more: remove it; version {SCML_VERSION} is written, which newer SeisComP reads"
            )
        return keys

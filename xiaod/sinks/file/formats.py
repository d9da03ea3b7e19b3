"""All formats by name: lines, which are written pick by pick, and documents, which need all picks at once.

>>> sorted(FORMATS)
['anss', 'csv', 'gamma', 'jsonl', 'pyocto', 'quakeflow', 'quakeml', 'scml']
>>> render("csv", [], AgencyConfig()).startswith(b"id,network")
True
"""

from collections.abc import Sequence
from typing import get_args

from xiaod.config import AgencyConfig
from xiaod.config.inventory import Stations
from xiaod.config.sinks.file import TableStyle
from xiaod.domain.types import Pick
from xiaod.process.plugins import imported
from xiaod.sinks.file.anss import AnssLines
from xiaod.sinks.file.jsonl import JsonLines
from xiaod.sinks.file.table import TableLines
from xiaod.sinks.file.tail import LineFormat

DOCUMENTS: dict[str, str] = {
    "quakeml": "xiaod.sinks.file.quakeml:quakeml_bytes",
    "scml": "xiaod.sinks.file.scml:scml_bytes",
}
"""Format of documents -> the function that makes one; imported only when it is used."""
TABLES: dict[str, TableStyle] = {style: style for style in get_args(TableStyle)}
LOCATED_FORMATS = ("anss",)
"""Those with the coordinates of stations."""
FORMATS = ("jsonl", *DOCUMENTS, "anss", *TABLES)


def line_format(name: str, agency: AgencyConfig, stations: Stations | None = None) -> LineFormat | None:
    """The lines of a format; None for a format of documents.

    Raises:
        KeyError: when there is no such format.
    """
    if name in DOCUMENTS:
        return None
    if name == "jsonl":
        return JsonLines(agency)
    return AnssLines(agency, stations or Stations()) if name == "anss" else TableLines(TABLES[name], agency)


def render(name: str, picks: Sequence[Pick], agency: AgencyConfig, stations: Stations | None = None) -> bytes:
    """All picks in one format.

    Raises:
        KeyError: when there is no such format.
    """
    lines = line_format(name, agency, stations)
    if lines is None:
        document: bytes = imported(DOCUMENTS[name])(sorted(picks, key=lambda pick: pick.time_ns), agency)
        return document
    return lines.header + b"".join(map(lines.line, picks))

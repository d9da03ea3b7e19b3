"""Picks, events and means of the amplitude as JSON Lines: one document a line, appended (:mod:`xiaod.sinks.file.appended`).

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     sink = JsonLinesSink(JsonLinesConfig(kind="jsonl", path=Path(folder) / "picks.jsonl"), AgencyConfig())
...     sink.deliver([], now_ns=0)
...     sink.close()
"""

import json

from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import JsonLinesConfig
from xiaod.domain.event import json_of
from xiaod.domain.types import Delivered
from xiaod.sinks.file.appended import AppendingSink


def json_line(item: Delivered, agency: AgencyConfig) -> str:
    """A document as one line, newline included."""
    return json_of(item, agency) + "\n"


def json_identity(line: bytes) -> str:
    """The ``id`` of a document; empty if it has none.

    >>> json_identity(b'{"id": "a"}'), json_identity(b'{"type": "Pick"}')
    ('a', '')

    Raises:
        ValueError: when the line is not a JSON object.
    """
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return str(document.get("id", ""))


class JsonLines:
    """Lines of the canonical document; implements :class:`xiaod.sinks.file.tail.LineFormat`."""

    header = b""
    closed = True
    """A line that lacks only its newline is whole JSON, an incomplete one is not."""

    def __init__(self, agency: AgencyConfig) -> None:
        self._agency = agency

    def line(self, pick: Delivered) -> bytes:
        """A document as one line, newline included."""
        return json_line(pick, self._agency).encode()

    def identity(self, line: bytes) -> str:
        """The pick's ``id``.

        Raises:
            ValueError: when it is not a whole line.
        """
        return json_identity(line)


class JsonLinesSink(AppendingSink):
    """Appends to a file; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: JsonLinesConfig, agency: AgencyConfig) -> None:
        """Set up; the file is opened when there is something to write."""
        super().__init__(config, JsonLines(agency))

"""Where a configuration was read from, so that whoever finds a problem later can name file and line too.

>>> origin = Origin("config.yaml", {("engine",): 7, ("engine", "model"): 8, ("sinks", 0): 12})
>>> origin.where("engine", "model"), origin.where("sinks", 0, "path"), origin.where("windows", "hop_s")
('config.yaml:8: engine.model', 'config.yaml:12: sinks[0].path', 'config.yaml: windows.hop_s')
>>> Origin().where("engine", "model")
'engine.model'
>>> Origin(given={("engine", "model"): "--model"}).where("engine", "model")
'--model'
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file to a value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """File and lines of a configuration. All are equal: configurations with the same values are, wherever they stand."""

    file: str = field(default="", compare=False)
    """Name of the file; empty when there is none."""
    lines: Mapping[Place, int] = field(default_factory=dict, compare=False)
    """Line, from 1 on, of each key and entry that stands in the file."""
    given: Mapping[Place, str] = field(default_factory=dict, compare=False)
    """Options of the command line that stand for what the file says."""

    def where(self, *place: str | int) -> str:
        """``FILE:LINE: KEY`` of a value, with the line of the part that it belongs to when it is not in the file itself."""
        if place in self.given:
            return self.given[place]
        return f"{self.beginning(*place)}{dotted(place)}"

    def beginning(self, *place: str | int) -> str:
        """``FILE:LINE: ``, without the line when nothing of the place is in the file, and nothing without a file."""
        if not self.file:
            return ""
        # The top of the file is a place too, and its line says nothing.
        known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in self.lines), None)
        return f"{self.file}: " if known is None else f"{self.file}:{self.lines[known]}: "


def dotted(place: Place) -> str:
    """A place as it is written in messages.

    >>> dotted(("sinks", 2, "tls", "ca_file"))
    'sinks[2].tls.ca_file'
    """
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text

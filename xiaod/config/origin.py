"""The file and lines that a configuration was read from, so that later checks can name them too.

>>> origin = Origin("config.yaml", {("engine",): 7, ("engine", "model"): 8, ("sinks", 0): 12})
>>> origin.where("engine", "model"), origin.where("sinks", 0, "path"), origin.where("windows", "early_hop_s")
('config.yaml:8: engine.model', 'config.yaml:12: sinks[0].path', 'config.yaml: windows.early_hop_s')
>>> Origin().where("engine", "model")
'engine.model'
>>> Origin(given={("engine", "model"): "--model"}).where("engine", "model")
'--model'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file to a value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """File and lines of a configuration. All origins are equal, so that configurations with the same values are."""

    file: str = field(default="", compare=False)
    """Name of the file; empty when there is none."""
    lines: Mapping[Place, int] = field(default_factory=dict, compare=False)
    """Line, from 1 on, of each key and entry that stands in the file."""
    given: Mapping[Place, str] = field(default_factory=dict, compare=False)
    """Options of the command line that replace values of the file."""

    def where(self, *place: str | int) -> str:
        """``FILE:LINE: KEY`` of a value; of one that is not in the file, the line of the part that it belongs to."""
        if place in self.given:
            return self.given[place]
        return f"{self.beginning(*place)}{dotted(place)}"

    def kept(self, key: str, numbers: Sequence[int]) -> "Origin":
        """The origin of a configuration that has only some entries of a list.

        >>> origin = Origin("config.yaml", {("sinks", 0): 7, ("sinks", 1): 9}).kept("sinks", [1])
        >>> origin.where("sinks", 0)
        'config.yaml:9: sinks[0]'
        """
        now = {old: new for new, old in enumerate(numbers)}
        lines = {
            place: line
            for place, line in self.lines.items()
            if len(place) < 2 or place[0] != key or not isinstance(place[1], int)
        }
        for place, line in self.lines.items():
            if len(place) > 1 and place[0] == key and isinstance(place[1], int) and place[1] in now:
                lines[(key, now[place[1]], *place[2:])] = line
        return replace(self, lines=lines)

    def beginning(self, *place: str | int) -> str:
        """``FILE:LINE: ``; without the line when the file has nothing of the place, and empty without a file."""
        if not self.file:
            return ""
        # The top of the file is a place too, but its line tells nothing.
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

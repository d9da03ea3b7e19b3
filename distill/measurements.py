"""The measurements of the shipped networks: one file, and every text that shows numbers is made from it.

``measurements.json`` is written by :mod:`distill.measure`. A test checks README, cards and ``docs`` against the file, so that no
number has two values.

The cost of a network is given relative to PhaseNet, both measured in turn in one process: times depend on the machine and its load. Those
of the daemon and of a day offline are of the machine that is named beside them.

>>> held = Measurements({}, "a", {"a": "first"}, [Number("accuracy", "a", "P", "0.1 s", "f1", 0.9, 10, 0.8, 0.95)])
>>> Measurements.parsed(held.text()).text() == held.text()
True
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from distill.report.scoring import Number

PATH = Path(__file__).parent / "measurements.json"
TOLERANCES = ("0.1 s", "0.5 s")


@dataclass(frozen=True)
class Measurements:
    """Everything that texts show."""

    provenance: Mapping[str, Any]
    reference: str
    """The picker to which others are compared."""
    pickers: Mapping[str, str]
    """Name -> description."""
    numbers: Sequence[Number] = ()
    trade_offs: Sequence[Mapping[str, Any]] = ()
    """Of P: F1 and delay by lookahead and hop."""
    costs: Sequence[Mapping[str, Any]] = ()
    """Form, batch, times cheaper than PhaseNet."""
    evaluation_data: Mapping[str, Any] = field(default_factory=dict)
    students: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> results measured for students only, and the training data."""
    daemon: Sequence[Mapping[str, Any]] = ()
    """Loads: stations, data, what makes early picks, CPU time, memory, latencies; see :func:`xiaod.tools.bench.load.run_load`."""
    offline: Sequence[Mapping[str, Any]] = ()
    """A day of a station; see :func:`xiaod.tools.bench.offline.offline_costs`."""
    early: Sequence[Mapping[str, Any]] = ()
    """Data after an onset until it can be picked early; see :func:`xiaod.tools.bench.early.data_until_early`."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """On which these three were measured."""

    def number(self, table: str, picker: str, phase: str, condition: str, metric: str) -> Number | None:
        """Look up one number."""
        wanted = (table, picker, phase, condition, metric)
        return next(
            (
                one
                for one in self.numbers
                if (one.table, one.contender, one.phase, one.condition, one.metric) == wanted
            ),
            None,
        )

    def text(self) -> str:
        """As JSON, one number on a line, so that a diff shows changes."""
        parts = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "numbers":
                value = [list(astuple(one)) for one in value]
            parts.append(f"{json.dumps(name)}: {_lines(value)}")
        return "{\n" + ",\n".join(parts) + "\n}\n"

    @classmethod
    def parsed(cls, text: str) -> "Measurements":
        """Read :meth:`text`."""
        content = json.loads(text)
        return cls(**{**content, "numbers": [Number(*row) for row in content["numbers"]]})

    @classmethod
    def load(cls, path: Path = PATH) -> "Measurements":
        """Read the file."""
        return cls.parsed(path.read_text(encoding="utf-8"))


def _lines(value: Any) -> str:
    """JSON with a line for each entry."""
    if isinstance(value, Mapping) and value:
        inner = [f" {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(inner) + "\n}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f" {json.dumps(entry)}" for entry in value) + "\n]"
    return json.dumps(value)

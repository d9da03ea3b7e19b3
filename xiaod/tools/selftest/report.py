"""The report of a self-test: a step for the source, one for the engine, one for each sink.

>>> steps = Step("source", "seedlink", "streaming", 0.2, "60 packets"), Step("sink", "jsonl", "hung", 30.0, "picks.jsonl")
>>> report = SelftestReport(steps)
>>> report.ok
False
>>> print(report.text())
source  seedlink  streaming    0.20 s  60 packets
sink    jsonl     hung        30.00 s  picks.jsonl
failed: jsonl
"""

from dataclasses import asdict, dataclass
from typing import Any

GOOD = frozenset({"streaming", "picked", "delivered"})
"""Good results; the others are ``failed``, ``refused`` and ``hung``."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the program and its result."""

    part: str
    """``source``, ``engine`` or ``sink``."""
    name: str
    result: str
    """``streaming``, ``picked``, ``delivered``; or ``failed``, ``refused``, ``hung``."""
    took_s: float
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the result is good."""
        return self.result in GOOD


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """All steps, in the order of the data flow."""

    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether P and S arrived at every sink."""
        return all(step.ok for step in self.steps)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        steps = [{**asdict(step), "took_s": round(step.took_s, 3), "ok": step.ok} for step in self.steps]
        return {"ok": self.ok, "steps": steps}

    def text(self) -> str:
        """As a table, with a last line that sums it up."""
        widths = [max(len(getattr(step, key)) for step in self.steps) for key in ("part", "name", "result")]
        lines = []
        for step in self.steps:
            cells = (
                cell.ljust(width)
                for cell, width in zip((step.part, step.name, step.result), widths, strict=True)
            )
            lines.append(f"{'  '.join(cells)}  {step.took_s:6.2f} s  {step.detail}".rstrip())
        bad = ", ".join(step.name for step in self.steps if not step.ok)
        tried = any(step.part == "sink" for step in self.steps)
        good = "P and S arrived at every sink" if tried else "P and S were picked; no sink was tried"
        return "\n".join([*lines, f"failed: {bad}" if bad else f"passed: {good}"])

"""The results of an evaluation, from which the report is written."""

from dataclasses import dataclass, field
from typing import Any

from distill.report.latency import TradeOff
from distill.report.scoring import Number, PrecisionRecall
from distill.report.sizes import Length, Size
from xiaod.domain.figure import OnsetFigure


@dataclass
class EvaluationResult:
    """Filled step by step by :mod:`distill.report.evaluation`."""

    title: str
    contenders: dict[str, str] = field(default_factory=dict)
    """Name -> description."""
    reference: str = ""
    numbers: list[Number] = field(default_factory=list)
    residuals_s: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Contender and phase -> pick minus label within a second."""
    curves: list[PrecisionRecall] = field(default_factory=list)
    examples: dict[tuple[str, str], OnsetFigure] = field(default_factory=dict)
    """Contender and rank (``best``, ``median``, ``worst`` by the residual of P) -> a window."""
    trade_offs: list[TradeOff] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    lengths: list[Length] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    """Command, versions, hashes, machine, time."""
    skipped: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def value(self, table: str, contender: str, phase: str, condition: str, metric: str) -> Number | None:
        """Look up one number."""
        wanted = (table, contender, phase, condition, metric)
        for one in self.numbers:
            if (one.table, one.contender, one.phase, one.condition, one.metric) == wanted:
                return one
        return None

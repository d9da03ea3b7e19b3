"""Time uncertainty: the expected residual of a pick, from its probability and the width of its peak.

``ln sigma = a + b ln(p / (1 - p)) + c ln(width)``, for each phase, fitted on training data and kept in the model's
specification. (Probabilities need no such correction in service: theirs is part of the weights,
see :mod:`distill.calibration`.)

>>> calibration = Calibration({"P": (-3.0, -0.2, 0.0)})
>>> round(calibration.uncertainty_s("P", probability=0.5, width_s=0.1), 3)
0.05
>>> Calibration.from_spec(calibration.to_spec()) == calibration
True
>>> Calibration.from_spec({}).uncertainty_s("S", probability=0.5, width_s=0.1)
0.1
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIME = "time"
"""Key of the coefficients in a specification."""
MOST_SURE = 0.999
LEAST_SURE = 0.01
LIMITS_S = (0.01, 2.0)
"""No pick is better than its sample, and none so bad."""


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the time uncertainty of each phase."""

    time: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    def uncertainty_s(self, phase: str, probability: float, width_s: float) -> float:
        """Standard deviation to be expected of the residual; the width itself where nothing was fitted.

        Args:
            phase: ``P`` or ``S``.
            probability: of the peak.
            width_s: standard deviation of the Gaussian that the peak resembles.
        """
        coefficients = self.time.get(phase)
        if coefficients is None:
            return width_s
        constant, by_odds, by_width = coefficients
        sure = min(max(probability, LEAST_SURE), MOST_SURE)
        exponent = (
            constant + by_odds * math.log(sure / (1 - sure)) + by_width * math.log(max(width_s, LIMITS_S[0]))
        )
        return min(max(math.exp(min(exponent, 1.0)), LIMITS_S[0]), LIMITS_S[1])

    def to_spec(self) -> dict[str, Any]:
        """As plain lists, for a specification."""
        return {TIME: {phase: list(values) for phase, values in self.time.items()}}

    @classmethod
    def from_spec(cls, content: Mapping[str, Any]) -> "Calibration":
        """Read what :meth:`to_spec` gave.

        Raises:
            ValueError: when it is not three numbers for each phase.
        """
        time = content.get(TIME, {})
        if not isinstance(time, Mapping):
            raise ValueError(f"calibration.{TIME} must be a table; got {time!r}")
        for phase, values in time.items():
            numbers = isinstance(values, list | tuple) and len(values) == 3
            if not numbers or not all(
                isinstance(value, int | float) and math.isfinite(value) for value in values
            ):
                raise ValueError(f"calibration.{TIME}.{phase} must be three numbers; got {values!r}")
        return cls({phase: (values[0], values[1], values[2]) for phase, values in time.items()})

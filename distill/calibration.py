"""Calibration: of picks with probability 0.8, 80 % are right; of picks with an uncertainty of 0.1 s, 68 % are within it.

Fitted on the training corpus alone, on the output of the daemon's picker. A pick is right when an onset of its phase, the
analyst's or the teacher's, lies within :data:`NEAR_S`.

Probabilities: ``logit p' = a logit p + b`` for each phase (Platt 1999; for networks Guo et al. 2017, arXiv:1706.04599,
sec. 4.2). Where one phase and noise share a sample, that is a linear map of the logits, so it is folded into the last
convolution: every form and engine gives calibrated probabilities, and thresholds are in their unit.

Times: see :class:`models.calibration.Calibration`; residuals against the teacher's onsets on held-out stations, plus the error of
the teacher against analysts' picks on training records; least misfit under a Student distribution, scaled so that
:data:`ONE_SIGMA` of the residuals lie within one standard deviation.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> odds = rng.normal(0, 2, 4000)
>>> right = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * odds + 1)))
>>> a, b = fit_probability(1 / (1 + np.exp(-odds)), right)
>>> abs(a - 0.5) < 0.05, abs(b - 1) < 0.1
(True, True)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from models.calibration import LEAST_SURE, LIMITS_S, MOST_SURE, Calibration
from models.geometry import NetConfig

NEAR_S = 0.5
ONE_SIGMA = 0.6827
FREEDOM = 4.0
"""Degrees of freedom of the Student distribution: a Gaussian would be too sensitive to the tails of the residuals."""
CAUTION = 4.0
"""Weight of the output of the network itself, as a number of picks."""
SEED = 5
DRAWS = 8
"""How often a residual is used, each time with another error added."""
BINS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Judged:
    """A pick, and its distance to the nearest onset."""

    phase: str
    probability: float
    width_s: float
    residual_s: float | None
    """Pick minus onset; None when no onset is near."""


def fit_probability(probability: NDArray[np.floating], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and constant of the logit, by maximum likelihood with weak regularisation; (1, 0) without data."""
    if not len(probability):
        return 1.0, 0.0
    odds = _logit(probability)
    sign = np.where(right, 1.0, -1.0)

    def misfit(values: NDArray[np.floating]) -> float:
        likely = np.logaddexp(0, -sign * (values[0] * odds + values[1])).sum()
        return float(likely + CAUTION * ((values[0] - 1) ** 2 + values[1] ** 2))

    found = minimize(misfit, np.array([1.0, 0.0]), method="BFGS")
    return float(max(found.x[0], 0.1)), float(found.x[1])


def fold(
    weights: Mapping[str, Tensor], net: NetConfig, by_phase: Mapping[str, tuple[float, float]]
) -> dict[str, Tensor]:
    """Weights of the same network with calibrated probabilities: logits of P and S are taken against that of noise.

    Args:
        weights: of a network with the phases N, P, S.
        net: its sizes.
        by_phase: slope and constant for P and S.
    """
    stride = net.stride(0)
    head, bias = weights["head.weight"], weights["head.bias"]
    noise, noise_bias = head[:stride], bias[:stride]
    rows, biases = [torch.zeros_like(noise)], [torch.zeros_like(noise_bias)]
    for row, phase in ((1, "P"), (2, "S")):
        slope, constant = by_phase[phase]
        piece = slice(row * stride, (row + 1) * stride)
        rows.append(slope * (head[piece] - noise))
        biases.append(slope * (bias[piece] - noise_bias) + constant)
    return {**weights, "head.weight": torch.cat(rows), "head.bias": torch.cat(biases)}


def fit_time(judged: Sequence[Judged]) -> tuple[float, float, float]:
    """Coefficients of the time uncertainty from picks that are right.

    Raises:
        ValueError: when there are none.
    """
    known = [(one.residual_s, one.probability, one.width_s) for one in judged if one.residual_s is not None]
    if not known:
        raise ValueError("no pick with a residual: nothing to fit a time uncertainty to")
    residual, probability, width = np.array(known, np.float64).T
    odds, log_width = _logit(probability), np.log(np.maximum(width, LIMITS_S[0]))
    # About the median: a constant lateness is not scatter.
    residual = residual - np.median(residual)

    def log_sigma(values: NDArray[np.floating]) -> NDArray[np.floating]:
        # Within what can be said: residuals that are all the same would ask for none at all.
        return np.asarray(np.clip(values[0] + values[1] * odds + values[2] * log_width, *np.log(LIMITS_S)))

    def misfit(values: NDArray[np.floating]) -> float:
        spread = log_sigma(values)
        tails = 0.5 * (FREEDOM + 1) * np.log1p((residual / np.exp(spread)) ** 2 / FREEDOM)
        return float((spread + tails).sum() + CAUTION * np.square(values[1:]).sum())

    start = np.array([np.log(max(float(np.median(np.abs(residual))), 0.005)), 0.0, 0.0])
    found = minimize(misfit, start, method="BFGS").x
    scale = np.quantile(np.abs(residual) / np.exp(log_sigma(found)), ONE_SIGMA)
    return float(found[0] + np.log(max(scale, 1e-3))), float(found[1]), float(found[2])


def fit_times(judged: Sequence[Judged]) -> Calibration:
    """Coefficients of each phase that has picks that are right."""
    found = {}
    for phase in ("P", "S"):
        of_phase = [one for one in judged if one.phase == phase and one.residual_s is not None]
        if of_phase:
            found[phase] = fit_time(of_phase)
    return Calibration(found)


def convolved(judged: Sequence[Judged], beyond_s: Mapping[str, Sequence[float]]) -> list[Judged]:
    """Add the error of the onsets to each residual, drawn from another sample, by phase.

    Onsets of held-out stations are the teacher's, so that its own error must be added.
    """
    rng = np.random.default_rng(SEED)
    added = []
    for one in judged:
        others = beyond_s.get(one.phase, ())
        if one.residual_s is None or not len(others):
            added.append(one)
            continue
        added += [
            replace(one, residual_s=one.residual_s + float(other)) for other in rng.choice(others, DRAWS)
        ]
    return added


def reliability(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """How many picks of each bin of probability are right."""
    table = []
    for phase in ("P", "S"):
        for low, high in pairwise(BINS):
            # A probability of one belongs to the last bin.
            inside = [
                one
                for one in judged
                if one.phase == phase and low <= one.probability < (high if high < 1 else np.inf)
            ]
            if inside:
                table.append(
                    {
                        "phase": phase,
                        "from": low,
                        "to": high,
                        "picks": len(inside),
                        "mean_probability": round(float(np.mean([one.probability for one in inside])), 3),
                        "right": round(float(np.mean([one.residual_s is not None for one in inside])), 3),
                    }
                )
    return table


def calibration_error(judged: Sequence[Judged], phase: str) -> float | None:
    """Expected calibration error: mean difference of probability and fraction of right picks, weighted by the number of picks.

    Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602, with the bins :data:`BINS`; None without picks.
    """
    rows = [row for row in reliability(judged) if row["phase"] == phase]
    picks = sum(row["picks"] for row in rows)
    if not picks:
        return None
    error: float = sum(row["picks"] * abs(row["mean_probability"] - row["right"]) for row in rows) / picks
    return round(error, 3)


def coverage(judged: Sequence[Judged], calibration: Calibration, phase: str) -> dict[str, float]:
    """Fraction of the residuals within one and two standard deviations."""
    ratios = [
        abs(one.residual_s) / calibration.uncertainty_s(phase, one.probability, one.width_s)
        for one in judged
        if one.phase == phase and one.residual_s is not None
    ]
    return {
        "picks": len(ratios),
        "within_1_sigma": round(float(np.mean([ratio <= 1 for ratio in ratios])), 3) if ratios else 0.0,
        "within_2_sigma": round(float(np.mean([ratio <= 2 for ratio in ratios])), 3) if ratios else 0.0,
    }


def _logit(probability: NDArray[np.floating]) -> NDArray[np.floating]:
    sure = np.clip(np.asarray(probability, np.float64), LEAST_SURE, MOST_SURE)
    return np.asarray(np.log(sure / (1 - sure)))

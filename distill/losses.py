"""The loss of the student: a sum of terms, each with its weight in the configuration.

>>> import torch
>>> target = torch.tensor([[[0.0], [1.0], [0.0]]])
>>> float(soft_cross_entropy(torch.log(target + 1e-9), target, temperature=1.0, onset_weight=0.0)) < 1e-6
True
"""

import math

import torch
from torch import Tensor

from distill.config import LossSection

ONSET_PROBABILITY = 0.1
HARD_THRESHOLD = 0.3
"""Probability from which a peak of a label is an onset."""
HARD_SIGMA = 10.0
"""Samples: standard deviation of the Gaussian that stands for an onset (Zhu & Beroza 2019, sec. 2)."""
HARD_SEPARATION = 25
"""Samples on both sides in which a peak must be the highest."""
HARD_REACH = 40
LEAST_PROBABILITY = 1e-4
"""Smaller probabilities are mostly rounding errors."""


def objective(logits: Tensor, target: Tensor, config: LossSection) -> Tensor:
    """All terms that need only logits and labels, ``(n, 3, L)`` each, rows N P S."""
    if config.hard_weight:
        target = (1 - config.hard_weight) * target + config.hard_weight * hard_labels(target)
    loss = soft_cross_entropy(logits, target, config.temperature, config.onset_weight)
    if config.logit_weight:
        loss = loss + config.logit_weight * logit_matching(logits, target)
    return loss


def soft_cross_entropy(logits: Tensor, target: Tensor, temperature: float, onset_weight: float) -> Tensor:
    """Cross-entropy with the teacher's probabilities (Hinton et al. 2015, arXiv:1503.02531, eq. 1, sec. 2).

    ``L = T^2 mean_t w_t (- sum_c q_c(t) log p_c(t))`` with ``q`` proportional to ``target^(1/T)``,
    ``p = softmax(logits / T)``, and ``w_t = 1 + onset_weight`` where P and S together exceed
    :data:`ONSET_PROBABILITY`, 1 elsewhere: onsets fill few samples. It differs from the Kullback-Leibler divergence by the
    entropy of the labels, which does not depend on the weights.

    Shape:
        logits and target ``(n, 3, L)``, rows N P S; the result is a scalar.
    """
    weight = 1 + onset_weight * (target[:, 1:].sum(dim=1) > ONSET_PROBABILITY)
    if temperature != 1.0:
        softened = target.clamp_min(1e-8) ** (1 / temperature)
        target = softened / softened.sum(dim=1, keepdim=True)
    entropy = -(target * torch.log_softmax(logits / temperature, dim=1)).sum(dim=1)
    return temperature**2 * (weight * entropy).mean()


def hard_labels(target: Tensor) -> Tensor:
    """Labels like those of an analyst's picks: a Gaussian of height one at each onset of the labels.

    Shape:
        ``(n, 3, L)`` -> ``(n, 3, L)``, rows N P S, summing to one.
    """
    phases = target[:, 1:]
    onsets = peaks_of(phases, HARD_THRESHOLD).to(target.dtype)
    place = torch.arange(-HARD_REACH, HARD_REACH + 1, dtype=target.dtype, device=target.device)
    bell = torch.exp(-0.5 * (place / HARD_SIGMA) ** 2)[None, None]
    spread = torch.nn.functional.conv1d(onsets.flatten(0, 1)[:, None], bell, padding=HARD_REACH)
    spread = spread.reshape(phases.shape).clamp_max(1)
    spread = spread / spread.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.cat([1 - spread.sum(dim=1, keepdim=True), spread], dim=1)


def peaks_of(phases: Tensor, least: float) -> Tensor:
    """Which samples of curves ``(n, phases, L)`` are the highest within :data:`HARD_SEPARATION`, and high enough."""
    highest = torch.nn.functional.max_pool1d(phases, 2 * HARD_SEPARATION + 1, 1, HARD_SEPARATION)
    return (phases == highest) & (phases >= least)


def logit_matching(logits: Tensor, target: Tensor) -> Tensor:
    """Mean square of the difference of logits (Ba & Caruana 2014, arXiv:1312.6184, eq. 1).

    The teacher's logits are known except for a constant at each sample, so the mean over the phases is removed from both.
    """
    taught = torch.log(target.clamp_min(LEAST_PROBABILITY))
    ours = torch.log_softmax(logits, dim=1).clamp_min(math.log(LEAST_PROBABILITY))
    return (_centred(ours) - _centred(taught)).square().mean()


def consistency(first: Tensor, second: Tensor, shift: int) -> Tensor:
    """Mean square difference of the probabilities of a window and of the same window without its first samples.

    Shape:
        first ``(n, 3, L)``, second ``(n, 3, L - shift)``; logits.
    """
    return (torch.softmax(first[..., shift:], dim=1) - torch.softmax(second, dim=1)).square().mean()


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=1, keepdim=True)

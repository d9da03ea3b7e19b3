"""What the student minimises.

>>> import torch
>>> target = torch.tensor([[[0.0], [1.0], [0.0]]])
>>> float(soft_cross_entropy(torch.log(target + 1e-9), target, temperature=1.0, onset_weight=0.0)) < 1e-6
True
"""

import torch
from torch import Tensor

ONSET_PROBABILITY = 0.1


def soft_cross_entropy(logits: Tensor, target: Tensor, temperature: float, onset_weight: float) -> Tensor:
    """Cross-entropy with the teacher's probabilities (Hinton et al. 2015, arXiv:1503.02531, eq. 1, sec. 2).

    ``L = T^2 mean_t w_t (- sum_c q_c(t) log p_c(t))`` with ``q`` proportional to ``target^(1/T)``,
    ``p = softmax(logits / T)``, and ``w_t = 1 + onset_weight`` where P and S together exceed
    :data:`ONSET_PROBABILITY`, 1 elsewhere: onsets fill few samples.

    Shape:
        logits and target ``(n, 3, L)``, rows N P S; the result is a scalar.
    """
    weight = 1 + onset_weight * (target[:, 1:].sum(dim=1) > ONSET_PROBABILITY)
    if temperature != 1.0:
        softened = target.clamp_min(1e-8) ** (1 / temperature)
        target = softened / softened.sum(dim=1, keepdim=True)
    entropy = -(target * torch.log_softmax(logits / temperature, dim=1)).sum(dim=1)
    return temperature**2 * (weight * entropy).mean()

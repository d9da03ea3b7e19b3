"""The loss of a network that notices onsets: of each onset, whether it was noticed in time; of each second of noise, whether it was.

An onset of P or S, the teacher's or an analyst's, is noticed by the highest output from :data:`EARLIEST_S` to :data:`LATEST_S` after it.
From then until :data:`FREE_S` after it, and near what the teacher is unsure of, any output will do. A second of all else counts by its
highest output: what is learnt from is the noise that is taken for an onset.

>>> labels = torch.zeros(1, 3, 2000)
>>> labels[0, 1, 1000] = 1
>>> silent, right = torch.zeros(1, 2, 500), torch.zeros(1, 2, 500)
>>> silent[:, 0], right[:, 0] = 9, 9
>>> right[0, 1, 251:266] = 18
>>> float(onset_loss(right, labels)) < 0.01 < float(onset_loss(silent, labels))
True
>>> noticed_share(right, labels, 10.0), noticed_share(silent, labels, 10.0)
(1.0, 0.0)
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from distill.losses import peaks_of
from models.conventions import BANDS, FRONT_ENDS, RATE_HZ

EARLIEST_S, LATEST_S = 0.05, 0.6
"""With the rest of a chunk the latest output is there a second after the onset."""
FREE_S = 2.0
BEFORE_S = 0.1
"""So long before an onset any output will do too: a label is not better than that."""
BEGIN_S = 2.0
"""An onset sooner after the beginning of a window counts for nothing: the running power means little yet."""
SECOND_S = 1.0
ONSET, UNSURE = 0.3, 0.1
"""Probability of a label from which its peak is an onset, and from which nobody knows."""
SECONDARY = 0.5
"""Weight of an S: most come while the station is awake from the P."""
EACH = 0.25
"""Weight of all outputs beside the highest one."""

_STEP = FRONT_ENDS[BANDS].step
_SILENT = -30.0


@dataclass(frozen=True)
class _Told:
    """What labels say of each output."""

    window: Tensor
    """Of each onset, its example."""
    row: Tensor
    """0 for P, 1 for S."""
    outputs: Tensor
    """Shape ``(onsets, steps)``: the outputs by which it is noticed in time."""
    noise: Tensor
    """Shape ``(n, m)``: whether an output is of noise."""


def onset_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss, for each second of data.

    Shape:
        logits ``(n, 2, m)``, rows noise and onset; labels ``(n, 3, L)``, rows N P S, with ``m`` outputs for ``L`` samples; the result
        is a scalar.
    """
    odds, told = logits[:, 1] - logits[:, 0], _told(labels, logits.shape[-1])
    own = odds[told.window[:, None], told.outputs]
    weight = torch.where(told.row == 0, 1.0, SECONDARY)
    missed = functional.softplus(-own.amax(dim=1)) + EACH * functional.softplus(-own).mean(dim=1)
    loudest, seconds, called = _seconds(odds, told.noise)
    alarms = functional.softplus(loudest) + EACH * called
    return ((weight * missed).sum() + alarms[seconds].sum()) / seconds.numel()


def noticed_share(logits: Tensor, labels: Tensor, per_hour: float) -> float:
    """Part of the P onsets that are noticed in time, with the threshold that so many seconds an hour of noise reach."""
    odds, told = logits[:, 1] - logits[:, 0], _told(labels, logits.shape[-1])
    loudest, seconds, _ = _seconds(odds, told.noise)
    noise = loudest[seconds].sort(descending=True).values
    allowed = int(per_hour * len(noise) * SECOND_S / 3600)
    own = odds[told.window[:, None], told.outputs][told.row == 0].amax(dim=1)
    return (
        float((own > noise[min(allowed, len(noise) - 1)]).double().mean()) if len(own) and len(noise) else 0.0
    )


def _steps(seconds: float) -> int:
    return round(seconds * RATE_HZ / _STEP)


def _told(labels: Tensor, outputs: int) -> _Told:
    phases = labels[:, 1:]
    onsets, unsure = (
        functional.max_pool1d(peaks_of(phases, least).float(), _STEP, _STEP, ceil_mode=True)
        for least in (ONSET, UNSURE)
    )
    # A peak of equal values is one onset.
    first = (onsets > 0) & (functional.pad(onsets, (1, 0))[..., :-1] == 0)
    window, row, step = first.nonzero(as_tuple=True)
    counts = (step >= _steps(BEGIN_S)) & (step + _steps(LATEST_S) < outputs)
    window, row, step = window[counts], row[counts], step[counts]
    places = step[:, None] + torch.arange(_steps(EARLIEST_S), _steps(LATEST_S) + 1, device=labels.device)
    around = (_steps(FREE_S), _steps(BEFORE_S))
    free = functional.max_pool1d(functional.pad(unsure, around), sum(around) + 1, 1).amax(dim=1)
    return _Told(window, row, places, free == 0)


def _seconds(odds: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each second of noise its highest output, whether there is any, and the mean loss of all its outputs."""
    steps = _steps(SECOND_S)
    short = (0, -odds.shape[-1] % steps)
    odds, noise = functional.pad(odds, short), functional.pad(noise, short)
    odds, noise = odds.unflatten(-1, (-1, steps)), noise.unflatten(-1, (-1, steps))
    called = torch.where(noise, functional.softplus(odds), 0.0).sum(dim=-1) / noise.sum(dim=-1).clamp_min(1)
    return odds.masked_fill(~noise, _SILENT).amax(dim=-1), noise.any(dim=-1), called

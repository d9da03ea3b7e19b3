"""The loss of a network that notices: what it asks for at an onset, what it forbids elsewhere, and where it does not care."""

import pytest
import torch

from distill.onset_loss import noticed_share, onset_loss

SAMPLES, STEPS = 3000, 750
ONSET = 1400
"""Sample of an onset: step 350."""


def labels_of(*onsets: tuple[int, int, float], windows: int = 1) -> torch.Tensor:
    """Gaussians of 0.1 s in the first window: sample, row (1 for P, 2 for S) and height of each."""
    labels = torch.zeros(windows, 3, SAMPLES)
    for sample, row, height in onsets:
        place = torch.arange(SAMPLES) - sample
        labels[0, row] = torch.maximum(labels[0, row], height * torch.exp(-0.5 * (place / 10) ** 2))
    labels[:, 0] = 1 - labels[:, 1:].sum(dim=1)
    return labels


def logits_of(*loud: tuple[int, int], windows: int = 1) -> torch.Tensor:
    """Sure of noise but for some steps of the first window, from and until."""
    logits = torch.zeros(windows, 2, STEPS)
    logits[:, 0] = 8
    for begin, end in loud:
        logits[0, 1, begin:end] = 16
    return logits


def loss_of(labels: torch.Tensor, *loud: tuple[int, int]) -> float:
    return float(onset_loss(logits_of(*loud), labels))


def test_an_onset_must_be_noticed_from_now_until_a_little_later() -> None:
    labels = labels_of((ONSET, 1, 0.9))
    in_time = loss_of(labels, (351, 366))
    assert in_time < 0.01
    once = loss_of(labels, (360, 361))
    never, too_late, too_early = loss_of(labels), loss_of(labels, (366, 380)), loss_of(labels, (348, 351))
    assert in_time < once < never / 3
    assert too_late == pytest.approx(never)
    assert too_early == pytest.approx(never)


def test_an_s_counts_half() -> None:
    missed_p, missed_s = (loss_of(labels_of((ONSET, row, 0.9))) for row in (1, 2))
    noise = loss_of(labels_of())
    assert missed_s - noise == pytest.approx((missed_p - noise) / 2, rel=0.02)


def test_noise_counts_by_the_second() -> None:
    labels = labels_of()
    quiet, once, longer = loss_of(labels), loss_of(labels, (300, 301)), loss_of(labels, (300, 303))
    assert quiet < 0.001
    assert once > 0.2
    assert longer < 1.1 * once
    assert loss_of(labels, (300, 301), (340, 341)) == pytest.approx(2 * once, rel=0.01)


@pytest.mark.parametrize("height", [0.9, 0.2])
def test_any_output_will_do_after_an_onset_and_where_the_teacher_is_unsure(height: float) -> None:
    labels = labels_of((ONSET, 1, height))
    heard = loss_of(labels, (351, 366))
    assert loss_of(labels, (348, 400)) == pytest.approx(heard, abs=0.01)
    assert loss_of(labels, (346, 400)) > heard + 0.2
    assert loss_of(labels, (348, 402)) > heard + 0.2


def test_what_the_window_does_not_show_is_not_asked_for() -> None:
    """The running power means nothing at the beginning; at the end too little is left."""
    noise = loss_of(labels_of())
    for sample in (150, 2960):
        assert loss_of(labels_of((sample, 1, 0.9))) == pytest.approx(noise, rel=0.1)


def test_the_share_that_is_noticed_at_a_rate_of_candidates() -> None:
    labels = labels_of((ONSET, 1, 0.9), windows=120)
    hour_of_noise = logits_of((351, 366), windows=120)
    assert noticed_share(hour_of_noise, labels, 10.0) == 1.0
    for window in range(1, 12):
        hour_of_noise[window, 1, 500] = 20 + window
    # Eleven seconds of an hour are as loud: with ten allowed it is noticed no more.
    assert noticed_share(hour_of_noise, labels, 12.0) == 1.0
    assert noticed_share(hour_of_noise, labels, 10.0) == 0.0
    assert noticed_share(hour_of_noise, labels_of(windows=120), 10.0) == 0.0


def test_it_can_be_learnt_from() -> None:
    logits = logits_of((600, 601)).requires_grad_()
    onset_loss(logits, labels_of((ONSET, 1, 0.9))).backward()
    gradient = logits.grad[0, 1]
    assert gradient[351:366].max() < 0 < gradient[600]
    assert not gradient[366:400].any()

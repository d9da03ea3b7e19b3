"""What is measured at an onset, of samples of which the answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from xiaod.domain.types import Instrument, Pick, Window
from xiaod.picking.measure import measure

PEAK, LENGTH = 600, 1000
CURVE = 0.9 * np.exp(-0.5 * ((np.arange(LENGTH) - PEAK) / 10) ** 2)


def measured(samples: NDArray[np.float32], phase: str) -> Pick:
    window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, "ZNE")
    return measure(window, samples, phase, CURVE, PEAK, 0, "example-1.0.0", "0" * 64)


def wave(noise: float, signal: float) -> NDArray[np.float32]:
    """A square wave of one amplitude before the onset, and another from there on."""
    strength = np.where(np.arange(LENGTH) < PEAK, noise, signal)
    return (strength * np.where(np.arange(LENGTH) % 2, 1, -1)).astype(np.float32)


def test_ratio_and_amplitude_are_those_of_the_signal_against_the_noise() -> None:
    pick = measured(np.stack([wave(2, 30), wave(1, 7), wave(1, 8)]), "P")
    assert (pick.channel.channel, pick.amplitude) == ("HHZ", 30.0)
    assert pick.snr == pytest.approx(15.0)


@pytest.mark.parametrize(("begin", "stop"), [(-20, 0), (-400, -300), (101, 300)])
def test_what_lies_just_before_the_onset_or_far_from_it_is_no_noise_and_no_signal(
    begin: int, stop: int
) -> None:
    """The onset begins before its highest probability, and other events may lie around."""
    vertical = wave(2, 30)
    vertical[PEAK + begin : PEAK + stop] *= 100
    pick = measured(np.stack([vertical, wave(1, 7), wave(1, 8)]), "P")
    assert pick.amplitude == 30.0
    assert pick.snr == pytest.approx(15.0)


@pytest.mark.parametrize("louder", ["HHN", "HHE"])
def test_s_is_told_of_the_horizontal_on_which_it_is_larger(louder: str) -> None:
    """Not of the one with the better ratio, nor of a vertical that is larger still."""
    horizontals = [wave(100, 1000), wave(1, 100)]
    pick = measured(np.stack([wave(1, 5000), *(horizontals if louder == "HHN" else horizontals[::-1])]), "S")
    assert (pick.channel.channel, pick.amplitude) == (louder, 1000.0)

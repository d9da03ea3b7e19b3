"""Which threshold holds: the one for a vertical component alone where there are no horizontals."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.streams import picks_in
from xiaod.domain.types import Instrument, Probabilities, Window
from xiaod.picking.picker import InstrumentPicker, PickerSettings

SETTINGS = PickerSettings((0.3, 0.3), 50, "example-1.0.0", "", lookahead=50, vertical_thresholds=(0.6, 0.6))
HEIGHT = 0.5


def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    place = 600 - windows[:, 0, :1]  # these samples hold their own index
    curve = HEIGHT * np.exp(-0.5 * ((np.arange(1000) - place) / 10) ** 2)
    return np.stack([curve, 0 * curve], axis=1)


def probabilities_of(components: str) -> Probabilities:
    samples = np.tile(np.arange(1000, dtype=np.float32), (3, 1))
    window = Window(Instrument("XX", "A", "", "HH"), 0, 0, samples, components, discontinuous=True)
    return Probabilities(window, annotate(samples[None])[0])


@pytest.mark.parametrize(("components", "picked"), [("ZNE", 1), ("Z-E", 1), ("ZN-", 1), ("Z--", 0)])
def test_a_vertical_alone_has_thresholds_of_its_own(components: str, picked: int) -> None:
    probabilities = probabilities_of(components)
    picker = InstrumentPicker(SETTINGS)
    assert len(picks_in(picker, probabilities, annotate)) == picked


def test_without_them_nothing_is_different() -> None:
    settings = PickerSettings((0.3, 0.3), 50, "example-1.0.0", "", lookahead=50)
    assert len(picks_in(InstrumentPicker(settings), probabilities_of("Z--"), annotate)) == 1

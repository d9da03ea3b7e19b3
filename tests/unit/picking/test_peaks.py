"""Peaks, against those of SciPy."""

import numpy as np
import scipy.signal
from hypothesis import assume, given
from hypothesis import strategies as st

from xiaod.picking.peaks import find_peaks

VALUES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.5000001, 0.9, 1.0])


@given(
    curve=st.lists(VALUES, max_size=60), height=st.sampled_from([0.0, 0.15, 0.4]), distance=st.integers(1, 20)
)
def test_the_same_peaks(curve: list[float], height: float, distance: int) -> None:
    values = np.array(curve, np.float32)
    wanted, _ = scipy.signal.find_peaks(values, height=height, distance=distance)
    # SciPy leaves open which of two alike stays.
    heights = values[scipy.signal.find_peaks(values, height=height)[0]]
    assume(len(set(heights.tolist())) == len(heights))
    assert find_peaks(values, height, distance) == wanted.tolist()


def test_the_earlier_one_of_two_alike_stays() -> None:
    assert find_peaks(np.array([0, 0.5, 0, 0.5, 0], np.float32), 0.1, 3) == [1]

"""Onsets that have been picked: known for long enough, and not for too long."""

import numpy as np
from numpy.typing import NDArray

from tests.streams import picks_in
from tests.unit.storage.test_pick_store import pick_of
from xiaod.domain.resumption import PICKER_MEMORY_S
from xiaod.domain.timegrid import samples_from_s
from xiaod.domain.types import Instrument, Probabilities, Window
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.picking.recent_picks import RecentPicks

SEPARATION = 100
MEMORY = samples_from_s(PICKER_MEMORY_S)


def test_picks_of_an_earlier_run_are_known_however_far_ahead_they_lie() -> None:
    """A run that was killed before it saved begins where that one began, which may be long before its last picks."""
    last_s = 10_000
    recent = RecentPicks([pick_of(last_s)])
    assert not recent.holds(0, 0, SEPARATION)
    assert not recent.holds(0, 100 * last_s - SEPARATION, SEPARATION)
    assert recent.holds(0, 100 * last_s - SEPARATION + 1, SEPARATION)
    assert not recent.holds(1, 100 * last_s, SEPARATION)
    # Once it is long past nobody asks for it.
    assert not recent.holds(0, 100 * last_s + MEMORY, SEPARATION)
    assert not recent.holds(0, 100 * last_s, SEPARATION)


def test_picks_of_this_run_are_forgotten_when_the_clock_of_a_station_was_set_back() -> None:
    recent = RecentPicks()
    recent.add(0, 10 * MEMORY)
    assert recent.holds(0, 10 * MEMORY - 1, SEPARATION)
    assert not recent.holds(0, 8 * MEMORY, SEPARATION)
    assert not recent.holds(0, 10 * MEMORY, SEPARATION)


def test_a_component_that_is_late_by_minutes_brings_no_pick_a_second_time() -> None:
    """All windows come without it first, and with it when it comes."""
    length, hop, late = 1000, 50, 30_000

    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        # These samples hold their own index; there is an onset every ten seconds.
        place = (windows[:, 0] + 400) % 1000
        return np.stack([0.9 * np.exp(-0.5 * ((place - 500) / 10) ** 2), 0 * place], axis=1)

    settings = PickerSettings((0.3, 0.3), hop, model="example-1.0.0", model_sha256="0" * 64, late=late)
    picker = InstrumentPicker(settings)
    picks = [0, 0]
    for revision, components in enumerate(("ZN-", "ZNE")):
        for index in range(0, late, hop):
            samples = np.tile(np.arange(index, index + length, dtype=np.float32), (3, 1))
            window = Window(
                Instrument("XX", "A", "", "HH"), index, 0, samples, components, revision, index == 0
            )
            picks[revision] += len(
                picks_in(picker, Probabilities(window, annotate(samples[None])[0]), annotate)
            )
    assert picks[0] >= late // 1000
    assert picks[1] == 0

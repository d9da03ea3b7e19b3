"""Onsets that have been picked: known for long enough, and not for too long."""

from tests.unit.test_store import pick_of
from xiaod.reported import MEMORY, Reported

SEPARATION = 100


def test_picks_of_an_earlier_run_are_known_however_far_ahead_they_lie() -> None:
    """A run that was killed before it saved begins where that one began, which may be long before its last picks."""
    last_s = 10_000
    reported = Reported([pick_of(last_s)])
    assert not reported.holds(0, 0, SEPARATION)
    assert not reported.holds(0, 100 * last_s - SEPARATION, SEPARATION)
    assert reported.holds(0, 100 * last_s - SEPARATION + 1, SEPARATION)
    assert not reported.holds(1, 100 * last_s, SEPARATION)
    # Once it is long past nobody asks for it.
    assert not reported.holds(0, 100 * last_s + MEMORY, SEPARATION)
    assert not reported.holds(0, 100 * last_s, SEPARATION)


def test_picks_of_this_run_are_forgotten_when_the_clock_of_a_station_was_set_back() -> None:
    reported = Reported()
    reported.add(0, 10 * MEMORY)
    assert reported.holds(0, 10 * MEMORY - 1, SEPARATION)
    assert not reported.holds(0, 8 * MEMORY, SEPARATION)
    assert not reported.holds(0, 10 * MEMORY, SEPARATION)

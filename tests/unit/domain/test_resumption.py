"""The constants of resumption fit each other, and what the parts of a run keep of the past."""

import pytest

from xiaod.acquisition.seedlink import positions, untimely
from xiaod.config import BufferConfig, PickerConfig, WindowConfig
from xiaod.config.annotations import constraints
from xiaod.config.model import Model
from xiaod.domain.onsets import CENTROID_S
from xiaod.domain.resumption import (
    ABANDONED_S,
    ELSEWHERE_S,
    ONSET_MARGIN_S,
    PICKER_MEMORY_S,
    REMEMBERED_S,
    WARM_UP_S,
    is_abandoned,
    is_elsewhere,
    not_final_s,
    remembered_from_ns,
    station_picked_until_ns,
    warm_up_s,
)
from xiaod.domain.timegrid import GRID_RATE_HZ, NS_PER_S
from xiaod.picking.measure import NOISE_S
from xiaod.picking.picker import LATE_NOTICE_S, REACH, ROUNDS


def largest(model: type[Model], key: str) -> float:
    """The most that a key of the configuration may be."""
    [most] = [limit.le for limit in constraints(model.model_fields[key]) if hasattr(limit, "le")]
    return float(most)


LENGTH_S = largest(WindowConfig, "length_s")
LEAD_S = largest(BufferConfig, "max_lead_s")
SEPARATION_S = largest(PickerConfig, "min_separation_s")


def test_an_onset_that_is_confirmed_moves_by_less_than_the_margin() -> None:
    assert ROUNDS * REACH / GRID_RATE_HZ + LATE_NOTICE_S + CENTROID_S <= ONSET_MARGIN_S


def test_the_warm_up_covers_what_the_first_pick_looks_back_on() -> None:
    assert SEPARATION_S + LATE_NOTICE_S + NOISE_S[0] <= WARM_UP_S


def test_a_picker_remembers_as_long_as_windows_come_again() -> None:
    """Its memory is longer by ``max_lead``: a late component brings windows again that end so far behind."""
    assert not_final_s(LENGTH_S, LEAD_S) - ONSET_MARGIN_S <= PICKER_MEMORY_S + LEAD_S


def test_what_is_remembered_covers_what_can_suppress_a_pick() -> None:
    assert REMEMBERED_S >= PICKER_MEMORY_S + SEPARATION_S
    default = WindowConfig().length_s
    assert warm_up_s(default) + SEPARATION_S <= REMEMBERED_S


def test_who_is_waited_for_is_not_abandoned_and_who_is_abandoned_is_not_elsewhere() -> None:
    assert LEAD_S <= ABANDONED_S
    assert ABANDONED_S + not_final_s(LENGTH_S, LEAD_S) + warm_up_s(LENGTH_S) < ELSEWHERE_S


def test_positions_are_kept_until_they_are_settled_or_abandoned() -> None:
    longest_s = ABANDONED_S + not_final_s(LENGTH_S, LEAD_S) + warm_up_s(LENGTH_S)
    assert longest_s <= (positions.GROUPS - positions.SINGLE_PACKETS) * positions.GROUP_S
    assert longest_s <= untimely.GROUPS * untimely.GROUP_S


@pytest.mark.parametrize("picked_until_ns", [0, -(10**18), 1_700_000_000 * NS_PER_S])
def test_limits_are_exact_to_the_nanosecond(picked_until_ns: int) -> None:
    abandoned_ns, elsewhere_ns = round(ABANDONED_S) * NS_PER_S, round(ELSEWHERE_S) * NS_PER_S
    assert not is_abandoned(picked_until_ns - abandoned_ns, picked_until_ns)
    assert is_abandoned(picked_until_ns - abandoned_ns - 1, picked_until_ns)
    assert not is_elsewhere(picked_until_ns - elsewhere_ns, picked_until_ns)
    assert is_elsewhere(picked_until_ns - elsewhere_ns - 1, picked_until_ns)
    assert remembered_from_ns(picked_until_ns) == picked_until_ns - round(REMEMBERED_S) * NS_PER_S
    times_ns = [picked_until_ns, picked_until_ns - abandoned_ns, picked_until_ns - abandoned_ns - 1]
    assert station_picked_until_ns(times_ns) == picked_until_ns - abandoned_ns

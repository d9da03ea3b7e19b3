"""Since when a station that has sent nothing is waited for, and how far back it is asked for."""

import pytest

from xiaod.acquisition.seedlink.waits import LATENESS_NS, Waits
from xiaod.domain.timegrid import NS_PER_S

LOOKED_NS = 1_000_000 * NS_PER_S
OLD, NEW = ("BW", "OLD"), ("BW", "NEW")


@pytest.mark.parametrize("limit_ns", [None, LOOKED_NS - 2 * LATENESS_NS, LOOKED_NS + NS_PER_S])
def test_nothing_is_asked_for_that_is_older_than_the_limit(limit_ns: int | None) -> None:
    waits = Waits()
    waits.look([OLD], LOOKED_NS)
    waits.asked(LOOKED_NS + 5 * NS_PER_S)
    waits.look([OLD, NEW], LOOKED_NS + 60 * NS_PER_S)
    since_ns = {OLD: LOOKED_NS + 5 * NS_PER_S, NEW: LOOKED_NS - LATENESS_NS}
    assert waits.begins(limit_ns) == {
        station: (None, time_ns if limit_ns is None else max(time_ns, limit_ns))
        for station, time_ns in since_ns.items()
    }

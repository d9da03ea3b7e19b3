"""Events of a live run in which clocks are wrong: that of a station, or that of the machine."""

import numpy as np
import pytest

from xiaod.config import Config
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Event, Pick, Window
from xiaod.pipeline.events import Events
from xiaod.process.metrics import Metrics

BEGIN_S = 1_700_000_000
CONFIG = Config.model_validate({"sources": [{"server": "a"}], "events": {"enabled": True, "stations": 3}})
AHEAD = Channel("XX", "AHEAD", "", "HHZ").instrument


def p_pick(station: str, time_s: float) -> Pick:
    channel = Channel("XX", station, "", "HHZ")
    time_ns = round(time_s * NS_PER_S)
    return Pick(f"P-{station}", channel, "P", time_ns, 0.1, 0.9, 5.0, 1.0, "ZNE", "m", "0" * 64)


@pytest.mark.parametrize(
    ("ahead_s", "set_back_s"),
    [(0, 0), (50, 0), (3600, 0), (0, 3600)],
)
def test_clocks_that_are_wrong_make_no_station_late(ahead_s: int, set_back_s: int) -> None:
    true_ns = BEGIN_S * NS_PER_S
    host_ns = true_ns
    events = Events(CONFIG, Metrics(), lambda: host_ns, monotonic_clock=lambda: true_ns)
    made: list[Event] = []
    for second in range(100):
        true_ns = host_ns = (BEGIN_S + second) * NS_PER_S
        if second >= 10:
            host_ns -= set_back_s * NS_PER_S
        stop = (true_ns - NS_PER_S + ahead_s * NS_PER_S) // GRID_NS
        events.followed(Window(AHEAD, stop - 2000, 0, np.zeros((3, 2000), np.float32), "ZNE"))
        # Final picks come some seconds after the onset, from one station after the other.
        if second in (20, 24, 28):
            events.take([p_pick("ABC"[(second - 20) // 4], BEGIN_S + second - 6)])
        made += events.update()
    assert [(one.stage, one.stations) for one in made] == [("early", 3), ("final", 3)]

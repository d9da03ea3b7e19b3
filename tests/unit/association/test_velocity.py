"""Travel times in layers: against formulas, and against ObsPy's."""

import struct
from pathlib import Path

import numpy as np
import pytest
from obspy.taup import TauPyModel

from xiaod.association.velocity import STEP_KM, Layer, TravelTimes
from xiaod.config.events import IASP91

AWAY = np.array([0.0, 7.3, 30.0, 90.0, 150.0, 199.0])


@pytest.mark.parametrize("depth_km", [0.0, 4.0, 12.5, 40.0])
def test_in_one_layer_waves_go_straight(depth_km: float) -> None:
    times = TravelTimes([Layer(0.0, 6.0, 3.5)], 200.0, 50.0)
    for phase, km_s in (("P", 6.0), ("S", 3.5)):
        # Between the points of the grid near the source the surface is curved.
        assert times.at(phase, AWAY, depth_km) == pytest.approx(np.hypot(AWAY, depth_km) / km_s, abs=0.01)


def test_beyond_the_crossover_the_refracted_wave_is_first() -> None:
    times = TravelTimes([Layer(0.0, 6.0, 3.5), Layer(30.0, 8.0, 4.6)], 300.0, 20.0)
    away = np.array([100.0, 250.0])
    delay = 2 * 30.0 * np.sqrt(1 / 6.0**2 - 1 / 8.0**2)
    assert times.at("P", away, 0.0) == pytest.approx([100 / 6, 250 / 8 + delay], abs=1e-3)


@pytest.mark.parametrize("depth_km", [5.0, 10.0, 25.0])
def test_they_are_those_of_iasp91(depth_km: float) -> None:
    times = TravelTimes([Layer(one.top_km, one.p_km_s, one.s_km_s) for one in IASP91], 200.0, 50.0)
    model = TauPyModel("iasp91")
    for phase, names in (("P", ["p", "P", "Pn"]), ("S", ["s", "S", "Sn"])):
        for away_km in (20.0, 80.0, 180.0):
            arrivals = model.get_travel_times(depth_km, away_km / 111.19, phase_list=names)
            # The earth is round there: 0.2 s at 200 km.
            assert times.at(phase, np.array([away_km]), depth_km)[0] == pytest.approx(
                arrivals[0].time, abs=0.25
            )


def test_slopes_are_those_of_the_times() -> None:
    times = TravelTimes([Layer(0.0, 5.0, 3.0), Layer(10.0, 7.0, 4.0)], 100.0, 30.0)
    away, step = np.array([3.3, 20.4, 77.7]), 0.1
    _, across, down = times.with_slopes("S", away, 8.4)
    assert across == pytest.approx(
        (times.at("S", away + step, 8.4) - times.at("S", away - step, 8.4)) / (2 * step)
    )
    assert down == pytest.approx(
        (times.at("S", away, 8.4 + step) - times.at("S", away, 8.4 - step)) / (2 * step)
    )


def test_the_table_is_written_as_pyocto_reads_it(tmp_path: Path) -> None:
    times = TravelTimes([Layer(0.0, 6.0, 3.5)], 20.0, 10.0)
    times.write(tmp_path / "table")
    content = (tmp_path / "table").read_bytes()
    columns, rows, step_km = struct.unpack_from("iid", content)
    assert step_km == STEP_KM
    p_times, s_times = np.frombuffer(content, offset=16).reshape(2, columns, rows)
    assert p_times[6, 8] == pytest.approx(10 / 6, abs=1e-3)
    assert s_times[6, 8] == pytest.approx(10 / 3.5, abs=1e-3)

"""What the benchmarks say is what the work takes: each figure beside one that the test measures or works out itself.

CPU time, not time on the wall. Where it is measured twice, the two may differ by :data:`FACTOR`: what a busy machine makes of
the same work. Work of a known length can only take longer.
"""

import os
import resource
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from distill.cost import HOP_S, window_cost
from models.weights import weights_path
from tests.streams import OneInstrument, picks_in
from xiaod.acquisition.miniseed import decode
from xiaod.config import Early, PickerConfig
from xiaod.config.loader import parse_config
from xiaod.domain.types import Probabilities, Segment, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.tools.bench.daemon import BenchError, Use, use_of
from xiaod.tools.bench.early import data_until_early
from xiaod.tools.bench.load import LoadSettings, Moment, configuration, summary
from xiaod.tools.bench.offline import PHASENET, XIAOD, offline_costs
from xiaod.tools.bench.others import PHASENET_SAMPLES, has_phasenet, phasenet_cost, sta_lta_cost
from xiaod.tools.bench.stages import PERIODS, time_stages
from xiaod.tools.bench.station import day_records, station_records
from xiaod.tools.bench.table import markdown
from xiaod.tools.bench.timer import median_us
from xiaod.waveform.instrument import BufferSettings

FACTOR = 4.0
SPIN_US = 3000.0
LENGTH, HOP = 2000, 50
MINUTE_S = 60.0


def spin(us: float) -> None:
    """Work for so much CPU time."""
    until = time.process_time_ns() + us * 1e3
    while time.process_time_ns() < until:
        pass


def cpu_us(work: Callable[[], object], calls: int = 5) -> float:
    """CPU time of a call, the median, measured without the benchmark's own timer."""
    work()
    times = []
    for _ in range(calls):
        begun = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - begun) / 1e3)
    return float(np.median(times))


class SlowEngine(OnnxEngine):
    """The shipped network, each window of which takes :data:`SPIN_US` more."""

    def annotate(self, waves: NDArray[np.float32]) -> NDArray[np.float32]:
        spin(SPIN_US * len(waves))
        return super().annotate(waves)


def test_the_timer_says_microseconds_of_cpu_time() -> None:
    us, calls = median_us(lambda: spin(SPIN_US), least_s=0.03)
    assert SPIN_US <= us < FACTOR * SPIN_US
    assert calls >= 3


def test_stages_cost_what_their_work_costs() -> None:
    rows = {
        row["stage"]: row
        for row in time_stages(SlowEngine(weights_path("micro"), 1), LENGTH, HOP, (2,), least_s=0.05)
    }
    network = rows["network, batch 2"]
    assert SPIN_US <= network["us_per_window"] < FACTOR * SPIN_US
    # Two windows in each second.
    assert network["us_per_station_s"] == pytest.approx(2 * network["us_per_window"], abs=0.2)
    picking = rows["notice and confirm"]
    # Each pick has at least one window looked at again.
    assert picking["network_us_per_station_s"] * picking["seconds_per_pick"] >= SPIN_US
    assert picking["us_per_station_s"] < picking["network_us_per_station_s"]
    line = rows["JSON line of a pick"]
    assert line["us_per_station_s"] * picking["seconds_per_pick"] == pytest.approx(
        line["us_per_pick"], rel=0.5
    )


def test_decoding_cutting_and_picking_cost_what_they_cost_here() -> None:
    engine = OnnxEngine(weights_path("micro"), 1)
    rows = {row["stage"]: row for row in time_stages(engine, LENGTH, HOP, (2,), least_s=0.05)}
    records = station_records(PERIODS)
    segments = [found for record in records if isinstance(found := decode(record, ""), Segment)]

    def cut() -> list[Window]:
        buffer, windows = OneInstrument(BufferSettings(length=LENGTH, hop=HOP)), []
        for segment in segments:
            for piece in segment.pieces():
                buffer.insert(piece, None)
                windows += buffer.cut(None)[0]
        return windows

    looked = [Probabilities(window, engine.annotate(window.samples[None])[0]) for window in cut()]

    network_us = 0.0

    def annotate(waves: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal network_us
        begun = time.process_time_ns()
        values = engine.annotate(waves)
        network_us += (time.process_time_ns() - begun) / 1e3
        return values

    def pick() -> None:
        picker = InstrumentPicker(PickerSettings((0.7, 0.4), HOP, "example-1.0.0", ""))
        for one in looked:
            picks_in(picker, one, annotate)

    for stage, work in (
        ("decode", lambda: [decode(record, "") for record in records]),
        ("buffer and windows", cut),
    ):
        wanted_us = cpu_us(work) / (PERIODS * MINUTE_S)
        assert wanted_us / FACTOR < rows[stage]["us_per_station_s"] < wanted_us * FACTOR, stage
    begun = time.process_time_ns()
    for _ in range(5):
        pick()
    own_us = ((time.process_time_ns() - begun) / 1e3 - network_us) / 5 / (PERIODS * MINUTE_S)
    assert own_us / FACTOR < rows["notice and confirm"]["us_per_station_s"] < own_us * FACTOR


def test_other_pickers_cost_what_their_work_costs() -> None:
    from obspy.signal.filter import bandpass
    from obspy.signal.trigger import recursive_sta_lta

    waves = np.random.default_rng(0).normal(size=(3, 6000))
    wanted_us = cpu_us(
        lambda: [recursive_sta_lta(bandpass(wave, 2.0, 15.0, df=100.0), 50, 1000) for wave in waves]
    )
    found_us = sta_lta_cost(least_s=0.05)["us_per_station_s"] * MINUTE_S
    assert wanted_us / FACTOR < found_us < wanted_us * FACTOR


def test_phasenet_costs_what_its_forward_costs() -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("seisbench.models")
    torch.set_num_threads(1)
    net, hop_s = models.PhaseNet(phases="NPS").eval(), 2.0
    with torch.no_grad():
        wanted_us = cpu_us(lambda: net(torch.zeros(4, 3, PHASENET_SAMPLES))) / 4 / hop_s
    found = phasenet_cost(hop_s, batch=4, least_s=0.05)
    assert found is not None
    assert wanted_us / FACTOR < found["us_per_station_s"] < wanted_us * FACTOR


def test_a_window_of_a_student_costs_what_its_session_costs() -> None:
    import onnxruntime

    path = weights_path("micro")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    waves = np.random.default_rng(0).normal(size=(4, 3, LENGTH)).astype(np.float32)
    wanted_us = cpu_us(lambda: session.run(None, {"wave": waves}), calls=20) / 4
    found = window_cost(path, batch=4, samples=LENGTH)
    assert wanted_us / FACTOR < found["us_per_window"] < wanted_us * FACTOR
    assert found["us_per_station_s"] * HOP_S == pytest.approx(found["us_per_window"], abs=0.1)


def moment(
    at_s: float, cpu_s: float, windows: float, delay_s: float, calls: float, engine_s: float
) -> Moment:
    metrics = {
        "xiaod_windows_total": windows,
        "xiaod_batch_windows_count": calls,
        "xiaod_data_delay_seconds": delay_s,
    }
    return Moment(at_s, Use(cpu_s, 190.0, 195.5), metrics, {"engine": engine_s})


def test_a_load_is_summed_up_by_station_and_second() -> None:
    # Ten stations for a minute: 150 windows of final picks and 1,200 of early ones are due.
    before, after = moment(100.0, 2.0, 100.0, 50.0, 10.0, 1.0), moment(160.0, 5.0, 1450.0, 60.0, 310.0, 2.5)
    picks: list[dict[str, Any]] = [
        {
            "stage": "early",
            "phase": "P",
            "latency_s": 2.0 + own_s,
            "latency": {"component_wait_s": 0.1, "processing_s": own_s},
        }
        for own_s in (0.2, 0.4, 0.9)
    ]
    final = {**picks[1], "stage": "final", "outcome": "confirmed", "early_id": "a", "latency_s": 6.0}
    withdrawn = {"stage": "early", "phase": "P", "outcome": "withdrawn", "early_id": "b"}
    found = summary(before, after, 10, "windows", [*picks, final, withdrawn])
    assert found == {
        "cpu_percent_of_a_core": 5.0,
        "us_per_station_s": 5000.0,
        "threads_us_per_station_s": {"engine": 2500.0},
        "resident_mb": 190.0,
        "peak_mb": 195.5,
        "windows": 1350,
        "windows_of_due": 1.0,
        "data_delay_s": 6.0,
        "kept_up": True,
        "mean_batch": 4.5,
        "picks": 4,
        "latency_s": {
            "early P": {"count": 3, "median": 2.4, "p95": 2.85, "p99": 2.89, "max": 2.9},
            "final P": {"count": 1, "median": 6.0, "p95": 6.0, "p99": 6.0, "max": 6.0},
        },
        "own_latency_s": {
            "early P": {"count": 3, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0},
            "final P": {"count": 1, "median": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5},
        },
    }
    # A scout's windows come on top of those of final picks.
    assert summary(before, after, 10, "scout", [])["windows_of_due"] == 9.0


@pytest.mark.parametrize(
    "behind",
    [
        moment(160.0, 5.0, 1000.0, 60.0, 310.0, 2.5),
        # Six seconds older than before, at each station.
        moment(160.0, 5.0, 1450.0, 110.0, 310.0, 2.5),
    ],
)
def test_a_daemon_that_falls_behind_is_seen(behind: Moment) -> None:
    before = moment(100.0, 2.0, 100.0, 50.0, 10.0, 1.0)
    assert not summary(before, behind, 10, "windows", [])["kept_up"]


def test_a_daemon_that_is_slow_is_seen() -> None:
    before, after = moment(100.0, 2.0, 100.0, 50.0, 10.0, 1.0), moment(160.0, 5.0, 1450.0, 60.0, 310.0, 2.5)
    slow = {
        "stage": "final",
        "phase": "S",
        "latency_s": 9.0,
        "latency": {"component_wait_s": None, "processing_s": 5.1},
    }
    assert not summary(before, after, 10, "windows", [slow])["kept_up"]


def test_what_a_process_uses_is_what_the_kernel_says() -> None:
    before = use_of(os.getpid())
    spin(50_000)
    after = use_of(os.getpid())
    assert after.cpu_s - before.cpu_s >= 0.03
    assert 0 < after.resident_mb <= after.peak_mb
    # Python's own view of the same process, in kB.
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    assert after.peak_mb <= peak_mb * 1.01 + 1


@pytest.mark.parametrize("early", ["scout", "windows"])
def test_an_early_pick_needs_its_lookahead_and_not_much_more(early: Early) -> None:
    found = data_until_early("micro", early, places=4)
    assert found["data_s"]["count"] == 4
    lookahead_s = PickerConfig().early_lookahead_s
    # The time of a pick may lie a little before the peak of its probability.
    assert lookahead_s - 0.1 < found["data_s"]["median"] <= found["data_s"]["max"]
    assert found["data_s"]["max"] < lookahead_s + 2.0


def test_records_of_a_day_hold_what_they_say() -> None:
    hours, rate_hz = 0.1, 100
    segments = [
        found for record in day_records(hours, 60.0) if isinstance(found := decode(record, ""), Segment)
    ]
    whole = {letter: [one for one in segments if one.channel.component == letter] for letter in "ZNE"}
    for own in whole.values():
        counts = np.concatenate([one.samples for one in own])
        assert counts.size == hours * 3600 * rate_hz
        # The same each minute, and each record joins the one before it.
        minutes = counts.reshape(-1, 60 * rate_hz)
        assert (minutes == minutes[0]).all()
        assert all(one.next_ns == two.start_ns for one, two in pairwise(own))
    quiet = np.concatenate(
        [
            found.samples
            for record in day_records(hours, None)
            if isinstance(found := decode(record, ""), Segment)
        ]
    )
    assert np.abs(quiet).max() < np.abs(np.concatenate([one.samples for one in segments])).max() / 5


def test_an_hour_offline_is_picked_by_each_program() -> None:
    rows = offline_costs(0.1, "micro")
    ours = {row["data"]: row for row in rows if row["program"] == XIAOD}
    # Three events of a P and an S.
    assert ours["aftershocks"]["picks"] == 6
    assert ours["quiet"]["picks"] == 0
    assert {row["program"] for row in rows} == {XIAOD, *([PHASENET] if has_phasenet() else [])}
    assert all(row["cpu_s"] > 0 and row["start_cpu_s"] > 0 for row in rows)
    shown = markdown({"offline": rows})
    for row in rows:
        assert f"| {row['program']} | {row['data']} | 0.1 | {row['cpu_s']} | {row['start_cpu_s']} |" in shown
    with pytest.raises(BenchError, match="ended with status 2"):
        offline_costs(0.1, "no-such-model", others=False)


def test_a_daemon_under_load_asks_for_all_stations_of_it(tmp_path: Path) -> None:
    text = yaml.safe_dump(configuration(tmp_path, 18000, 5000, LoadSettings()))
    [source] = parse_config(text, "bench.yaml").sources
    assert source.max_stations == 5000

"""What the benchmarks say is what the work takes: each figure beside one that the test measures or works out itself.

CPU time, not time on the wall. Where it is measured twice, the two may differ by :data:`FACTOR`: what a busy machine makes of
the same work. Work of a known length can only take longer.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.cost import HOP_S, window_cost
from models.weights import weights_path
from tests.streams import OneInstrument, picks_in
from xiaod.acquisition.miniseed import decode
from xiaod.domain.types import Probabilities, Segment, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.tools.bench.load import summary
from xiaod.tools.bench.others import PHASENET_SAMPLES, phasenet_cost, sta_lta_cost
from xiaod.tools.bench.stages import PERIODS, time_stages
from xiaod.tools.bench.station import station_records
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


def test_a_load_is_summed_up_by_station_and_second() -> None:
    before = {"xiaod_windows_total": 100.0, "process_cpu_seconds_total": 2.0}
    after = {
        "xiaod_windows_total": 1300.0,
        "process_cpu_seconds_total": 5.0,
        "process_resident_memory_bytes": 190e6,
        "xiaod_batch_windows_count": 300.0,
    }
    picks: list[dict[str, Any]] = [
        {"latency_s": 2.0 + own_s, "latency": {"component_wait_s": 0.1, "processing_s": own_s}}
        for own_s in (0.2, 0.4, 0.9)
    ]
    found = summary(before, after, 60.0, 10, 0.5, picks)
    assert found == {
        "cpu_percent_of_a_core": 5.0,
        "us_per_station_s": 5000.0,
        "resident_mb": 190.0,
        "windows_of_due": 1.0,
        "kept_up": True,
        "mean_batch": 4.0,
        "picks": 3,
        "latency_s": {"count": 3, "median": 2.4, "p95": 2.85, "max": 2.9},
        "own_latency_s": {"count": 3, "median": 0.5, "p95": 0.95, "max": 1.0},
    }
    assert not summary(before, {**after, "xiaod_windows_total": 200.0}, 60.0, 10, 0.5, picks)["kept_up"]

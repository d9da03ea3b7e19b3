"""What the status page costs: the pipeline while nobody looks and while somebody does, and the memory of traces::

    python -m tests.benchmarks.watching

Windows are those of :mod:`xiaod.tools.bench.station`, 20 s long, one each 4 s, as for final picks; times are CPU time of this thread.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from xiaod.daemon.web.documents import station_document, trace_document
from xiaod.daemon.web.event_stream import encode
from xiaod.domain.types import Channel, Instrument, Window
from xiaod.picking.diagnosis import PhaseView
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.envelopes import Envelopes
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.tools.bench.stages import _decode, _windows
from xiaod.tools.bench.station import station_records
from xiaod.waveform.instrument import BufferSettings

STATIONS = 500
TRACES = 128
ROUNDS = 50
BATCH = 32
EVENT_BINS = 25
STATION = "XX.S0..HH"


def main() -> None:
    """Measure and print."""
    windows = _windows(_decode(station_records(2)), BufferSettings(length=2000))
    curve = np.zeros((2, 400), np.float32)
    station_table, metrics = StationTable(60 * 10**9), Metrics()
    views = (PhaseView(), PhaseView())
    for view in views:
        view.saw(100, 0.3, 0.1)
    assembler = Assembler(BufferSettings(length=1000), metrics, station_table, lambda: 0)
    monitor = Monitor(station_table, assembler, lambda _: views, TRACES)
    looked = views[0]

    def saw() -> None:
        for number in range(1000):
            looked.saw(number, 0.3, 0.1)

    print(f"a probability that is remembered: {_us(saw) / 1000:.2f} us")
    print(f"a window while nobody looks: {_each(monitor, windows, curve):.2f} us")
    monitor.watch(windows[0].instrument)
    print(f"a window while somebody looks: {_each(monitor, windows, curve):.2f} us")
    trace = monitor.trace(windows[0].instrument)
    assert trace is not None
    told = _us(lambda: encode("trace", trace_document(STATION, trace, trace.stop - EVENT_BINS)))
    print(f"an event of {EVENT_BINS} bins for a viewer: {told:.0f} us")
    print(f"a window for the wall, in batches of {BATCH}: {_wall(windows[0]):.1f} us")
    full = Monitor(station_table, assembler, lambda _: views, 0)
    print(f"a window of a station beyond http.traces: {_each(full, windows, curve):.2f} us")

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = Monitor(station_table, assembler, lambda _: views, TRACES)
    for number in range(STATIONS):
        one = replace(windows[0], instrument=Instrument("XX", f"S{number}", "", "HH"))
        kept.followed(one, np.zeros((2, 2000), np.float32))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(
        f"{kept.trace_count} traces of {STATIONS} stations: {grown / 1e6:.1f} MB, {grown / kept.trace_count / 1e3:.1f} kB each"
    )

    station_table.expect("load", [Channel("XX", f"S{number}", "", "HHZ") for number in range(STATIONS)], 0)
    documents: list[dict[str, object]] = []

    def describe() -> None:
        documents[:] = [station_document(status, 0) for status in monitor.stations(10**9)]

    print(
        f"documents of {STATIONS} stations: {_us(describe) / 1e3:.1f} ms, {len(json.dumps(documents))} bytes"
    )


def _each(monitor: Monitor, windows: list[Window], curve: np.ndarray) -> float:
    def follow() -> None:
        for number, window in enumerate(windows):
            monitor.followed(window if number else replace(window, discontinuous=False), curve)

    return _us(follow) / len(windows)


def _wall(window: Window) -> float:
    """For one window of each of many stations at once, a hop after the last."""
    each, kept = [], Envelopes(0)
    kept.look()
    for step in range(ROUNDS):
        batch = [
            replace(window, instrument=Instrument("XX", f"S{number}", "", "HH"), index=400 * step)
            for number in range(BATCH)
        ]
        begun = time.thread_time_ns()
        kept.take(batch)
        each.append((time.thread_time_ns() - begun) / 1e3 / BATCH)
    return min(each[1:])


def _us(work: Callable[[], object]) -> float:
    """Least CPU time of some rounds, in microseconds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.thread_time_ns()
        work()
        found.append((time.thread_time_ns() - begun) / 1e3)
    return min(found)


if __name__ == "__main__":
    main()

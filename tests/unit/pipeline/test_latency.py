"""Where the time of a pick goes: the parts of its latency, against times that are taken from elsewhere."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from models.weights import weights_path
from tests.conftest import Recording
from xiaod.acquisition import Emit
from xiaod.config import AgencyConfig, Config
from xiaod.domain.document import pick_document
from xiaod.domain.types import Channel, Pick, Segment, Stages, Wanted
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.metrics import Metrics

WAIT_S, AGE_S = 0.3, 7.0
RECORD = 500
OFF_GRID_NS = 4_000_000


class Lame:
    """A source of the event as if it had just happened, of which one component soon stops, beside another station that goes on."""

    name = "lame"

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._stop = threading.Event()
        self.shift_ns = 0
        self.arrived_ns = 0

    def run(self, emit: Emit) -> None:
        whole = [RECORD] * (len(self.recording.components["Z"]) // RECORD - 1)
        end_ns = self.recording.segments("Z", whole)[-1].next_ns
        # On a grid, so that the picks are those of the recording, but off that of the windows.
        self.shift_ns = (
            (time.time_ns() - end_ns) // 10_000_000 * 10_000_000 - round(AGE_S * 1e9) + OFF_GRID_NS
        )
        self.arrived_ns = time.time_ns()
        for component in "ENZ":
            pieces = self.recording.segments(component, whole, self.shift_ns)
            for one in pieces[:1] if component == "E" else pieces:
                emit(
                    Segment(
                        one.channel,
                        one.start_ns,
                        one.sampling_rate_hz,
                        one.samples,
                        self.name,
                        self.arrived_ns,
                    )
                )
        other = Channel("XX", "ELSE", "", "EHZ")
        begin_ns = self.arrived_ns - round(AGE_S * 1e9)
        for number in itertools.count():
            emit(
                Segment(
                    other,
                    begin_ns + number * 50_000_000,
                    100.0,
                    np.zeros(5, np.int32),
                    self.name,
                    time.time_ns(),
                )
            )
            if self._stop.wait(0.05):
                return

    def stop(self) -> None:
        self._stop.set()


class Keeper:
    """A sink that keeps the documents of picks, and says when there are some."""

    name = "keeper"
    stages: Stages = "all"
    wanted: Wanted = "picks"

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        self.documents += [pick_document(pick, AgencyConfig()) for pick in picks]
        if self.documents:
            self._loop.call_soon_threadsafe(self.filled.set)

    def close(self) -> None:
        pass


@pytest.fixture
def event(rjob: Recording) -> tuple[Lame, list[dict[str, Any]]]:
    """The source, and the documents of its picks."""
    content = {"sources": [{"server": "localhost"}], "buffer": {"max_component_wait_s": WAIT_S}}
    source = Lame(rjob)

    async def body() -> list[dict[str, Any]]:
        engine, sink = OnnxEngine(weights_path("micro")), Keeper()
        pipeline = Pipeline(Config.model_validate(content), engine, [source], [sink], Metrics(), LiveRun())
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            await sink.filled.wait()
            made = list(sink.documents)
            pipeline.stop_sources()
            await finished
        pipeline.release_threads()
        return made

    return source, asyncio.run(body())


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_each_part_is_what_it_is_called(event: tuple[Lame, list[dict[str, Any]]]) -> None:
    source, picks = event
    assert picks
    assert {pick["components"] for pick in picks} == {"ZN-"}
    for pick in picks:
        parts = pick["latency"]
        total_s = seconds(pick["created"]) - seconds(pick["time"])
        assert pick["latency_s"] == pytest.approx(total_s, abs=1e-5)
        assert sum(parts.values()) == pytest.approx(total_s, abs=1e-5)
        # The window that decided was cut only when the wait for the third component was over.
        waited_s = source.arrived_ns / 1e9 + parts["component_wait_s"]
        assert parts["component_wait_s"] > WAIT_S - 0.01
        assert waited_s + parts["processing_s"] == pytest.approx(seconds(pick["created"]), abs=1e-5)
        assert parts["processing_s"] > 0
        # From the onset to the end of that window, from there to the end of its record, from there to the arrival.
        end_s = seconds(pick["time"]) + parts["lookahead_s"] + parts["record_fill_s"]
        assert end_s + parts["feed_s"] == pytest.approx(source.arrived_ns / 1e9, abs=1e-5)
        begin_ns = source.recording.start_ns + source.shift_ns
        # The window ends with a sample.
        window_s = seconds(pick["time"]) + parts["lookahead_s"] - begin_ns / 1e9
        assert math.remainder(window_s, 0.01) == pytest.approx(0, abs=1e-5)
        assert math.remainder(end_s - begin_ns / 1e9 + 0.01, RECORD / 100) == pytest.approx(0, abs=1e-5)
        assert 0 <= parts["record_fill_s"] < RECORD / 100

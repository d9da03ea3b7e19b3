"""Sources of a pipeline come and go: while much waits, and while it is told to stop."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from models.weights import weights_path
from xiaod.config import Config
from xiaod.engines.onnx import OnnxEngine
from xiaod.metrics import Metrics
from xiaod.pipeline import Pipeline
from xiaod.records import Channel, Instrument, LinkChange, Probabilities, Segment, Window
from xiaod.reload import plan_reload
from xiaod.service import Service
from xiaod.sources import Emit
from xiaod.timebase import NS_PER_S

RECORD_S, RECORDS = 10, 60
"""Enough for more windows than may wait for the engine."""


class Busy:
    """A source that has said all it has to say, and then waits to be stopped."""

    name = "busy"

    def __init__(self) -> None:
        self.said, self._stop = threading.Event(), threading.Event()

    def run(self, emit: Emit) -> None:
        begin_ns = time.time_ns() // NS_PER_S * NS_PER_S - 3600 * NS_PER_S
        noise = np.random.default_rng(1).integers(-100, 100, 100 * RECORD_S, dtype=np.int32)
        for number in range(RECORDS):
            for station in ("GOES", "STAYS"):
                start_ns = begin_ns + number * RECORD_S * NS_PER_S
                emit(
                    Segment(
                        Channel("XX", station, "", "HHZ"), start_ns, 100.0, noise, self.name, time.time_ns()
                    )
                )
        self.said.set()
        self._stop.wait()
        emit(LinkChange(self.name, "ended", time.time_ns()))

    def stop(self) -> None:
        self._stop.set()


class Gated(OnnxEngine):
    """The engine, behind a gate."""

    def __init__(self) -> None:
        super().__init__(weights_path("micro"))
        self.gate = threading.Event()

    def follow(self, windows: Sequence[Window]) -> list[Probabilities]:
        self.gate.wait()
        return super().follow(windows)


def stays(instrument: Instrument) -> bool:
    return instrument.station == "STAYS"


@pytest.mark.parametrize(("kept", "expected"), [(None, []), (stays, ["XX.STAYS..HH"])])
def test_stations_of_a_source_that_was_removed_do_not_come_back(
    kept: Callable[[Instrument], bool] | None, expected: list[str]
) -> None:
    async def body() -> Pipeline:
        config = Config.model_validate({"sources": [{"server": "localhost"}]})
        source, engine = Busy(), Gated()
        pipeline = Pipeline(config, engine, [source], [], Metrics(), time.time_ns)
        async with asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            await asyncio.to_thread(source.said.wait)
            await pipeline.remove_source("busy", kept)
            assert pipeline.pending()
            engine.gate.set()
            await finished
        pipeline.abandon()
        return pipeline

    pipeline = asyncio.run(body())
    assert [str(entry.instrument) for entry in pipeline.board] == expected
    assert ("busy" in pipeline.board.links) == bool(expected)
    assert (b'xiaod_source_connected{source="busy"}' in pipeline.metrics.exposition()) == bool(expected)


class Slow:
    """A source that takes its time to end."""

    name = "slow:18000"

    def __init__(self) -> None:
        self.told, self.gate = threading.Event(), threading.Event()

    def run(self, emit: Emit) -> None:
        self.gate.wait()

    def stop(self) -> None:
        self.told.set()


def test_a_stop_in_the_midst_of_a_reload_ends_everything() -> None:
    def config(server: str) -> Config:
        return Config.model_validate({"sources": [{"server": server}], "http": {"enabled": False}})

    async def body() -> None:
        old, source, engine = config("slow"), Slow(), OnnxEngine(weights_path("micro"))
        service = Service(old, engine, Path("config.yaml"))
        service._sources = {source.name: source}  # type: ignore[dict-item]
        pipeline = Pipeline(old, engine, [source], [], Metrics(), time.time_ns)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            reloading = asyncio.create_task(service._reload(plan_reload(old, config("next")), pipeline))
            await asyncio.to_thread(source.told.wait)
            reloading.cancel()
            pipeline.stop_sources()
            source.gate.set()
            await finished
        pipeline.abandon()

    asyncio.run(body())

"""Sources of a pipeline come and go: while much waits, and while it is told to stop."""

import asyncio
import gc
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from models.weights import stateful_path, weights_path
from xiaod.acquisition import Emit
from xiaod.config import Config
from xiaod.config.diff import plan_reload
from xiaod.daemon.service import Service
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Instrument, LinkChange, Probabilities, Segment, Window
from xiaod.inference import Engine
from xiaod.inference.onnx import OnnxEngine
from xiaod.inference.stateful import StatefulEngine
from xiaod.pipeline.pipeline import Pipeline
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress

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
    assert [str(entry.instrument) for entry in pipeline.station_table] == expected
    assert ("busy" in pipeline.station_table.links) == bool(expected)
    assert (b'xiaod_source_connected{source="busy"}' in pipeline.metrics.exposition()) == bool(expected)


class Held:
    """A pipeline that runs with all that a daemon has, and what is held in this process of its stations."""

    def __init__(self, folder: Path, engine: Engine, **buffer: object) -> None:
        content = {"sources": [{"server": "localhost", "name": "busy"}], "buffer": buffer}
        self.source, self.store = Busy(), PickStore(folder / "picks.sqlite")
        self.progress = PickingProgress(self.store, resumed=True, settled_s=45.0)
        self.pipeline = Pipeline(
            Config.model_validate(content), engine, [self.source], [], Metrics(), time.time_ns,
            self.store, self.progress, shown=True,
        )  # fmt: skip

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  counts, not events
                await asyncio.sleep(0.01)

    def shown(self) -> set[str]:
        """Stations with metrics."""
        return set(re.findall(r'station="XX\.(\w+)', self.pipeline.metrics.exposition().decode()))

    def alive(self, station: str) -> int:
        """Instruments of a station that anything still holds."""
        gc.collect()
        return sum(type(one) is Instrument and one.station == station for one in gc.get_objects())

    def gone(self, station: str) -> bool:
        """Whether all is, once it is written down where the station stands."""
        self.pipeline.tidy()
        self.progress.flush({})
        return not self.alive(station)

    async def picked(self) -> None:
        """Wait until all that the source had to say has been picked."""
        await asyncio.to_thread(self.source.said.wait)
        await self.until(lambda: len(self.shown()) == 2 and not self.pipeline.pending())


@asynccontextmanager
async def held(folder: Path, engine: Engine, **buffer: object) -> AsyncIterator[Held]:
    found = Held(folder, engine, **buffer)
    async with asyncio.TaskGroup() as group:
        finished = found.pipeline.start(group)
        found.pipeline.hold()
        yield found
        found.pipeline.release()
        found.pipeline.stop_sources()
        await finished
    found.pipeline.abandon()
    found.store.close()


def windows_engine() -> Engine:
    return OnnxEngine(weights_path("micro"))


def stateful_engine() -> Engine:
    return StatefulEngine(stateful_path("micro-stream"))


@pytest.mark.parametrize("engine", [windows_engine, stateful_engine])
def test_nothing_is_held_of_a_station_that_a_reload_has_removed(
    tmp_path: Path, engine: Callable[[], Engine]
) -> None:
    async def body() -> None:
        async with held(tmp_path, engine()) as found:
            await found.picked()
            assert min(found.alive("GOES"), found.alive("STAYS")) > 0
            await found.pipeline.remove_source("busy", stays)
            await found.until(lambda: found.gone("GOES"))
            assert found.alive("STAYS")
            assert found.shown() == {"STAYS"}
            assert found.store.frontier(Instrument("XX", "GOES", "", "HH")) is not None

    asyncio.run(body())


@pytest.mark.parametrize("engine", [windows_engine, stateful_engine])
def test_nothing_is_held_of_a_station_that_has_long_been_silent(
    tmp_path: Path, engine: Callable[[], Engine]
) -> None:
    async def body() -> None:
        async with held(tmp_path, engine(), forget_after_s=1.0) as found:
            # One that is subscribed is still shown as silent, but holds no samples.
            found.pipeline.station_table.expect(
                "busy", [Channel("XX", "STAYS", "", "HHZ")], time.monotonic_ns()
            )
            await found.picked()
            await found.until(lambda: found.gone("GOES"))
            assert found.shown() == {"STAYS"}
            await found.until(lambda: found.pipeline.assembler.held_bytes == 0)

    asyncio.run(body())


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

"""Reloads of a pipeline: while much waits, and while it is told to stop."""

import asyncio
import gc
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.weights import weights_path
from tests.conftest import ONSETS_S, Recording
from xiaod.acquisition import Emit
from xiaod.config import Config
from xiaod.config.diff import ReloadPlan, plan_reload
from xiaod.domain.onsets import unresolved_early
from xiaod.domain.sharding import Shard
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Instrument, LinkChange, Pick, Probabilities, Segment, WindowBatch
from xiaod.inference import Engine
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.factory import open_scout
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress

RECORD_S, RECORDS = 10, 60
"""Enough for more windows than may wait for the engine."""


class Busy:
    """A source that has said all it has to say, and then waits to be stopped."""

    name = "busy"

    def __init__(self, subscribed: tuple[Channel, ...] = ()) -> None:
        self.said, self._stop = threading.Event(), threading.Event()
        self._subscribed = subscribed

    def run(self, emit: Emit) -> None:
        if self._subscribed:
            emit(LinkChange(self.name, "streaming", time.time_ns(), channels=self._subscribed))
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


class Silent:
    """A source that brings nothing until it is stopped."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._stop = threading.Event()

    def run(self, emit: Emit) -> None:
        self._stop.wait()

    def stop(self) -> None:
        self._stop.set()


class Gated(OnnxEngine):
    """The engine, behind a gate."""

    def __init__(self) -> None:
        super().__init__(weights_path("micro"))
        self.gate = threading.Event()

    def follow(self, batch: WindowBatch) -> list[Probabilities]:
        self.gate.wait()
        return super().follow(batch)


BUSY = {"server": "localhost", "name": "busy"}


def config_of(source: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({"sources": [source], **sections})


def change_to(source: dict[str, Any]) -> ReloadPlan:
    """A reload in which another source takes the place of the busy one."""
    return plan_reload(config_of(BUSY), config_of(source))


@pytest.mark.parametrize(
    ("successor", "stations", "link"),
    [
        ({"server": "localhost", "name": "next"}, set(), "starting"),
        ({**BUSY, "streams": ["XX.STAYS.*.*"]}, {"STAYS"}, "ended"),
    ],
)
def test_stations_of_a_source_that_was_removed_do_not_come_back(
    successor: dict[str, Any], stations: set[str], link: str
) -> None:
    metrics = Metrics()

    async def body() -> None:
        source, engine = Busy(), Gated()
        pipeline = Pipeline(config_of(BUSY), engine, [source], [], metrics, LiveRun())
        async with asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            await asyncio.to_thread(source.said.wait)
            await pipeline.apply(change_to(successor), [Silent(successor["name"])], [])
            assert pipeline.pending()
            engine.gate.set()
            pipeline.stop_sources()
            await finished
        assert pipeline.links() == {successor["name"]: link}
        pipeline.release_threads()

    asyncio.run(body())
    assert shown(metrics) == stations
    assert (b'xiaod_source_connected{source="busy"}' in metrics.exposition()) == bool(stations)


def shown(metrics: Metrics) -> set[str]:
    """Stations with metrics."""
    return set(re.findall(r'station="XX\.(\w+)', metrics.exposition().decode()))


class Held:
    """A pipeline that runs with all that a daemon has, and what is held in this process of its stations."""

    def __init__(self, folder: Path, engine: Engine, subscribed: tuple[Channel, ...], config: Config) -> None:
        self.source, self.store = Busy(subscribed), PickStore(folder / "picks.sqlite")
        self.progress = PickingProgress(self.store, resumed=True, not_final_s=45.0)
        self.metrics = Metrics()
        self.pipeline = Pipeline(
            config,
            engine,
            [self.source],
            [],
            self.metrics,
            LiveRun(self.store, self.progress),
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110  counts, not events
                await asyncio.sleep(0.01)

    def held_bytes(self) -> float | None:
        """Memory of samples."""
        self.pipeline.update_metrics()
        return self.metrics.registry.get_sample_value("xiaod_buffer_bytes")

    def alive(self, station: str) -> int:
        """Instruments of a station that anything still holds."""
        gc.collect()
        return sum(type(one) is Instrument and one.station == station for one in gc.get_objects())

    def gone(self, station: str) -> bool:
        """Whether all is, once it is written down where the station stands."""
        self.pipeline.review()
        self.progress.write(self.progress.snapshot(), {})
        return not self.alive(station)

    async def picked(self) -> None:
        """Wait until all that the source had to say has been picked."""
        await asyncio.to_thread(self.source.said.wait)
        await self.until(lambda: len(shown(self.metrics)) == 2 and not self.pipeline.pending())


@asynccontextmanager
async def held(
    folder: Path, engine: Engine, subscribed: tuple[Channel, ...] = (), config: Config | None = None
) -> AsyncIterator[Held]:
    found = Held(folder, engine, subscribed, config or config_of(BUSY))
    async with asyncio.TaskGroup() as group:
        finished = found.pipeline.start(group)
        yield found
        found.pipeline.stop_sources()
        await finished
    found.pipeline.release_threads()
    found.store.close()


def test_nothing_is_held_of_a_station_that_a_reload_has_removed(tmp_path: Path) -> None:
    async def body() -> None:
        async with held(tmp_path, OnnxEngine(weights_path("micro"))) as found:
            await found.picked()
            assert min(found.alive("GOES"), found.alive("STAYS")) > 0
            plan = change_to({**BUSY, "streams": ["XX.STAYS.*.*"]})
            await found.pipeline.apply(plan, [Silent("busy")], [])
            await found.until(lambda: found.gone("GOES"))
            assert found.alive("STAYS")
            assert shown(found.metrics) == {"STAYS"}
            assert found.store.picked_until(Instrument("XX", "GOES", "", "HH")) is not None

    asyncio.run(body())


def test_nothing_is_held_of_a_station_that_has_long_been_silent(tmp_path: Path) -> None:
    async def body() -> None:
        # One that is subscribed is still shown as silent, but holds no samples.
        subscribed = (Channel("XX", "STAYS", "", "HHZ"),)
        async with held(
            tmp_path,
            OnnxEngine(weights_path("micro")),
            subscribed,
            config_of(BUSY, buffer={"forget_after_s": 1.0, "max_component_wait_s": 0.5}),
        ) as found:
            await found.picked()
            await found.until(lambda: found.gone("GOES"))
            assert shown(found.metrics) == {"STAYS"}
            await found.until(lambda: found.held_bytes() == 0)

    asyncio.run(body())


def test_an_early_pick_of_an_instrument_that_has_not_come_back_is_withdrawn(tmp_path: Path) -> None:
    def early(station: str) -> Pick:
        return Pick(
            f"19700101.000500.00-P-XX.{station}..HH-micro-0.1.0-early",
            *(Channel("XX", station, "", "HHZ"), "P", 300 * NS_PER_S, 0.1, 0.9, 5.0, 1.0, "ZNE"),
            *("micro-0.1.0", "0" * 64),
            stage="early",
        )

    shard = {"index": 0, "count": 2}
    stations = [f"A{number}" for number in range(20)]
    own = {station for station in stations if Shard(**shard).holds("XX", station)}
    assert 0 < len(own) < 20

    async def body() -> None:
        limits = {"forget_after_s": 1.0, "max_component_wait_s": 0.5}
        config = config_of(BUSY, buffer=limits, shard=shard)
        async with held(tmp_path, OnnxEngine(weights_path("micro")), config=config) as found:
            found.store.add([early(station) for station in stations], {})
            await found.picked()

            def outcomes() -> list[Pick]:
                found.pipeline.review()
                return [pick for pick in found.store.between(None, None) if pick.stage == "withdrawn"]

            await found.until(lambda: len(outcomes()) >= len(own))
            # What another shard has taken over is its own.
            assert {pick.early_id for pick in outcomes()} == {early(station).id for station in own}

    asyncio.run(body())


class Event:
    """A source of the example event after 40 s of noise, up to so many seconds after the P, or up to so many records."""

    name = "busy"

    def __init__(self, recording: Recording, after_s: float, live: bool, records: int | None = None) -> None:
        self.said = threading.Event()
        self._recording, self._after_s, self._live = recording, after_s, live
        self._records = records
        self._stop = threading.Event()

    def run(self, emit: Emit) -> None:
        rng, count = np.random.default_rng(1), round((ONSETS_S["P"] + self._after_s) * 100)
        whole = {}
        for component, data in self._recording.components.items():
            noise = rng.normal(data[:400].mean(), data[:400].std(), 4000)
            whole[component] = np.concatenate([noise, data[:count]]).astype(np.int32)
        # In order of time, as sources give them.
        records = list(product(range(0, 4000 + count, 400), whole.items()))
        for begin, (component, samples) in records[: self._records]:
            channel = Channel("BW", "RJOB", "", "EH" + component)
            start_ns = self._recording.start_ns - 40 * NS_PER_S + begin * GRID_NS
            arrived_ns = time.time_ns() if self._live else None
            emit(Segment(channel, start_ns, 100.0, samples[begin : begin + 400], self.name, arrived_ns))
        self.said.set()
        if self._live:
            self._stop.wait()

    def stop(self) -> None:
        self._stop.set()


async def departed(found: Pipeline, picks: list[Pick]) -> None:
    """Wait until the early picks of a station that has gone have an outcome."""
    async with asyncio.timeout(60):
        while not picks or found.pending() or unresolved_early(picks):
            found.review()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("after_s", [1.0, 1.8, 3.0])
@pytest.mark.parametrize("reload", [False, True])
def test_the_last_samples_of_a_station_that_departs_are_looked_at_as_at_the_end_of_the_data(
    rjob: Recording, after_s: float, reload: bool
) -> None:
    config = config_of(BUSY, buffer={"forget_after_s": 1.0, "max_component_wait_s": 0.5})
    engine, sink, offline = OnnxEngine(weights_path("micro")), ListSink(), ListSink()

    async def body() -> None:
        source = Event(rjob, after_s, live=True)
        pipeline = Pipeline(config, engine, [source], [sink], Metrics(), LiveRun(), open_scout(config))
        async with asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            await asyncio.to_thread(source.said.wait)
            if reload:
                await pipeline.apply(change_to({"server": "localhost", "name": "next"}), [Silent("next")], [])
            await departed(pipeline, sink.picks)
            pipeline.stop_sources()
            await finished
        pipeline.release_threads()

    asyncio.run(body())
    run_offline(config, engine, Event(rjob, after_s, live=False), offline)
    early, expected = ([pick.id for pick in one.picks if pick.stage == "early"] for one in (sink, offline))
    assert early == expected != []
    assert [pick.id for pick in sink.picks] == [pick.id for pick in offline.picks]


def stopped_after(records: int, recording: Recording, engine: OnnxEngine, config: Config) -> list[Pick]:
    """Picks of a live run that is stopped after so many records of the event."""

    async def work() -> list[Pick]:
        source, sink = Event(recording, 24.0, live=True, records=records), ListSink()
        pipeline = Pipeline(config, engine, [source], [sink], Metrics(), LiveRun(), open_scout(config))
        async with asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            await asyncio.to_thread(source.said.wait)
            pipeline.stop_sources()
            await finished
        pipeline.release_threads()
        return sink.picks

    return asyncio.run(work())


@pytest.mark.parametrize("early", ["scout", "off"])
def test_a_run_that_is_stopped_decides_nothing_for_which_data_may_still_come(
    rjob: Recording, early: str
) -> None:
    config = config_of({**BUSY, "begin": "resume"}, early=early)
    engine = OnnxEngine(weights_path("micro"))
    whole = ListSink()
    run_offline(config, engine, Event(rjob, 24.0, live=False), whole)
    expected = {pick.id: pick.components for pick in whole.picks}
    numbers = []
    for records in range(33, 3 * 18):
        picks = stopped_after(records, rjob, engine, config)
        # One that an early pick awaits is decided in the next run.
        found = {pick.id: pick.components for pick in picks if pick.stage != "withdrawn"}
        assert found.items() <= expected.items(), records
        numbers.append(len(found))
    assert numbers[0] == 0 < numbers[-1]


@pytest.mark.parametrize("early", ["scout", "off"])
def test_a_run_that_is_stopped_decides_all_that_the_next_one_does_not_read(
    rjob: Recording, early: str
) -> None:
    config = config_of({**BUSY, "begin": "now"}, early=early)
    engine = OnnxEngine(weights_path("micro"))
    phases = set()
    for records in range(33, 3 * 18, 2):
        ended = ListSink("final")
        run_offline(config, engine, Event(rjob, 24.0, live=False, records=records), ended)
        found = [pick for pick in stopped_after(records, rjob, engine, config) if pick.stage == "final"]
        assert [pick.id for pick in found] == [pick.id for pick in ended.picks], records
        phases |= {pick.phase for pick in found}
    assert phases == {"P", "S"}


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
    async def body() -> None:
        old = config_of({"server": "slow"})
        plan = plan_reload(old, config_of({"server": "next"}))
        source, engine = Slow(), OnnxEngine(weights_path("micro"))
        pipeline = Pipeline(old, engine, [source], [], Metrics(), LiveRun())
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            reloading = asyncio.create_task(pipeline.apply(plan, [Silent("next:18000")], []))
            await asyncio.to_thread(source.told.wait)
            reloading.cancel()
            pipeline.stop_sources()
            source.gate.set()
            await finished
        pipeline.release_threads()

    asyncio.run(body())


def test_a_source_that_changes_is_never_missing_among_the_sources() -> None:
    async def body() -> None:
        old = config_of({"server": "slow"})
        plan = plan_reload(old, config_of({"server": "slow", "network_timeout_s": 30.0}))
        source, engine = Slow(), OnnxEngine(weights_path("micro"))
        pipeline = Pipeline(old, engine, [source], [], Metrics(), LiveRun())
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            reloading = asyncio.create_task(pipeline.apply(plan, [Silent(source.name)], []))
            await asyncio.to_thread(source.told.wait)
            assert list(pipeline.links()) == [source.name]
            source.gate.set()
            await reloading
            assert list(pipeline.links()) == [source.name]
            pipeline.stop_sources()
            await finished
        pipeline.release_threads()

    asyncio.run(body())

"""What becomes of early picks: where a clock is set back, where the store knows the final one, and after a run that was killed."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.weights import weights_path
from xiaod.acquisition.record_queue import End
from xiaod.config import Config
from xiaod.domain.onsets import sample_of, withdrawal
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Departed, Instrument, Pick, Probabilities, Stage, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.offline import ListSink
from xiaod.pipeline.pick_stage import WITHDRAWN_AT_ONCE, PickStage
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress

CONFIG = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
INSTRUMENT = Instrument("BW", "RJOB", "", "EH")
ONSETS = (30_000, 60_000)
MOVES = 20


class OnsetsKnown(OnnxEngine):
    """Finds P at given samples, and a little later where less than 2 s of data follow; samples of windows hold their own grid index."""

    def annotate(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        index = samples[:, 0]
        seen = [onset + MOVES * (index[:, -1:] < onset + 200) for onset in ONSETS]
        p = np.max([0.9 * np.exp(-0.5 * ((index - onset) / 10) ** 2) for onset in seen], axis=0)
        return np.stack([p, 0 * p], axis=1).astype(np.float32)

    def annotate_end(self, samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        return self.annotate(samples)


def window(stop: int, stage: Stage, discontinuous: bool = False) -> Window:
    samples = np.tile(np.arange(stop - 2500, stop, dtype=np.float32), (3, 1))
    return Window(
        INSTRUMENT, stop - 2000, 0, samples[:, 500:], "ZNE", 0, discontinuous, history=samples[:, :500], stage=stage
    )  # fmt: skip


def picked(
    engine: OnnxEngine, items: Sequence[Window | Departed], progress: PickingProgress | None = None
) -> list[Pick]:
    """What a live run gives to a sink, with one window in each batch."""
    sink = ListSink()

    async def work() -> None:
        with ThreadPoolExecutor(1) as executor:
            stage = PickStage(
                CONFIG, engine, executor, Metrics(), StationTable(10**10), lambda: 10**18, progress
            )
            runner = SinkRunner(sink, Metrics(), lambda: 10**18, None)
            results: asyncio.Queue[list[Probabilities] | Departed | End] = asyncio.Queue()
            for item in items:
                if isinstance(item, Departed):
                    results.put_nowait(item)
                else:
                    results.put_nowait([Probabilities(item, engine.annotate(item.samples[None])[0])])
            results.put_nowait(End())
            async with asyncio.TaskGroup() as group:
                group.create_task(stage.run(results, [runner]))
                group.create_task(runner.deliver())

    asyncio.run(work())
    return sink.picks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PickStore]:
    store = PickStore(tmp_path / "picks.sqlite")
    yield store
    store.close()


@pytest.fixture
def engine() -> OnsetsKnown:
    return OnsetsKnown(weights_path("micro"))


def test_an_early_pick_of_before_a_clock_was_set_back_is_withdrawn_at_once(engine: OnsetsKnown) -> None:
    before = [window(29_600, "final", discontinuous=True), window(30_100, "early")]
    assert [(pick.stage, sample_of(pick)) for pick in picked(engine, before)] == [("early", 30_000 + MOVES)]
    after = [window(12_000, "final", discontinuous=True), window(12_400, "final")]
    early, withdrawn = picked(engine, [*before, *after])
    assert (withdrawn.stage, withdrawn.early_id) == ("withdrawn", early.id)


def test_an_early_pick_is_withdrawn_if_the_final_one_that_names_it_was_known(
    engine: OnsetsKnown, tmp_path: Path
) -> None:
    windows = [window(30_100, "early"), window(30_400, "final"), window(30_800, "final")]
    [final] = picked(engine, windows[1:])
    known = replace(final, id=final.id.replace("0500.00", "0459.10"), time_ns=final.time_ns - 90 * GRID_NS)
    assert sample_of(known) == 30_000 - 90
    store = PickStore(tmp_path / "picks.sqlite")
    store.add([known], {})
    # Once it has gone on for minutes a picker has forgotten it, and the data come again.
    later = [window(60_400, "final", discontinuous=True)]
    try:
        found = picked(engine, [*later, *windows], PickingProgress(store, resumed=False, not_final_s=45))
    finally:
        store.close()
    assert [(pick.stage, sample_of(pick)) for pick in found] == [
        ("final", 60_000), ("early", 30_000 + MOVES), ("withdrawn", 30_000 + MOVES),
    ]  # fmt: skip


def killed_run(engine: OnnxEngine, store: PickStore) -> Pick:
    """A run that has made an early pick and is killed before its first save."""
    progress = PickingProgress(store, resumed=True, not_final_s=45)
    [early] = picked(engine, [window(30_100, "early")], progress)
    assert early.stage == "early"
    return early


def test_an_early_pick_of_a_killed_run_is_withdrawn_however_much_later_the_next_one_begins(
    engine: OnsetsKnown, store: PickStore
) -> None:
    early = killed_run(engine, store)
    later = [window(57_400, "final", discontinuous=True), window(57_800, "final")]
    withdrawn, *others = picked(engine, later, PickingProgress(store, resumed=True, not_final_s=45))
    assert (withdrawn.stage, withdrawn.early_id, others) == ("withdrawn", early.id, [])
    # Once.
    assert picked(engine, later, PickingProgress(store, resumed=True, not_final_s=45)) == []


def test_a_final_pick_still_names_an_early_pick_of_a_killed_run(
    engine: OnsetsKnown, store: PickStore
) -> None:
    early = killed_run(engine, store)
    again = [window(30_000, "final", discontinuous=True), window(30_400, "final"), window(30_800, "final")]
    [final] = picked(engine, again, PickingProgress(store, resumed=True, not_final_s=45))
    assert (final.stage, final.early_id) == ("final", early.id)


def test_an_early_pick_of_a_killed_run_is_withdrawn_if_its_instrument_departs_without_a_window(
    engine: OnsetsKnown, store: PickStore
) -> None:
    early = killed_run(engine, store)
    other = Instrument("XX", "OTHER", "", "EH")
    gone = [Departed(frozenset({other})), Departed(frozenset({INSTRUMENT, other}))]
    [withdrawn] = picked(engine, gone, PickingProgress(store, resumed=True, not_final_s=45))
    assert (withdrawn.stage, withdrawn.early_id) == ("withdrawn", early.id)


def test_an_early_pick_of_a_killed_run_is_withdrawn_if_days_older_data_come(
    engine: OnsetsKnown, store: PickStore
) -> None:
    early = killed_run(engine, store)
    days = 3 * 8_640_000
    moved = replace(
        early,
        id=f"19700104.000500.{early.id[16:]}",
        time_ns=early.time_ns + days * GRID_NS,
    )
    assert sample_of(moved) == sample_of(early) + days
    store.add([moved, withdrawal(early)], {})
    [withdrawn] = picked(
        engine,
        [window(57_400, "final", discontinuous=True)],
        PickingProgress(store, resumed=True, not_final_s=45),
    )
    assert (withdrawn.stage, withdrawn.early_id) == ("withdrawn", moved.id)


def test_others_have_their_turns_while_thousands_of_early_picks_are_withdrawn(
    engine: OnsetsKnown, store: PickStore
) -> None:
    count, early = 2000, killed_run(engine, store)
    store.add(
        [
            replace(
                early,
                id=early.id.replace("RJOB", f"S{number}"),
                channel=replace(early.channel, station=f"S{number}"),
            )
            for number in range(1, count)
        ],
        {},
    )
    metrics = Metrics()

    async def work() -> list[float]:
        with ThreadPoolExecutor(1) as executor:
            progress = PickingProgress(store, resumed=True, not_final_s=45)
            stage = PickStage(
                CONFIG, engine, executor, metrics, StationTable(10**10), lambda: 10**18, progress
            )
            results: asyncio.Queue[list[Probabilities] | Departed | End] = asyncio.Queue()
            results.put_nowait(Departed(frozenset(progress.instruments())))
            results.put_nowait(End())
            picking = asyncio.create_task(stage.run(results, []))
            withdrawn = []
            while not picking.done():
                await asyncio.sleep(0)
                withdrawn.append(
                    metrics.registry.get_sample_value("xiaod_picks_withdrawn_total", {"phase": "P"}) or 0.0
                )
            await picking
        return withdrawn

    withdrawn = asyncio.run(work())
    assert withdrawn[-1] == count
    assert max(after - before for before, after in pairwise(withdrawn)) <= 2 * WITHDRAWN_AT_ONCE

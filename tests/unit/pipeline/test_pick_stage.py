"""What becomes of early picks where a clock is set back, and where the store knows the final one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.weights import weights_path
from xiaod.acquisition.record_queue import End
from xiaod.config import Config
from xiaod.domain.onsets import sample_of
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Departed, Instrument, Pick, Probabilities, Stage, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.offline import ListSink
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.pipeline.stages import PickStage
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress

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


def picked(engine: OnnxEngine, windows: list[Window], progress: PickingProgress | None = None) -> list[Pick]:
    """What a live run gives to a sink, with one window in each batch."""
    config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
    sink = ListSink()

    async def work() -> None:
        with ThreadPoolExecutor(1) as executor:
            stage = PickStage(
                config, engine, executor, Metrics(), StationTable(10**10), lambda: 10**18, progress
            )
            runner = SinkRunner(sink, Metrics(), lambda: 10**18, None)
            results: asyncio.Queue[list[Probabilities] | Departed | End] = asyncio.Queue()
            for one in windows:
                results.put_nowait([Probabilities(one, engine.annotate(one.samples[None])[0])])
            results.put_nowait(End())
            async with asyncio.TaskGroup() as group:
                group.create_task(stage.run(results, [runner]))
                group.create_task(runner.deliver())

    asyncio.run(work())
    return sink.picks


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

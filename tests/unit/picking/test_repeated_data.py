"""A server that sends old data again: the onsets in them are known, however long ago they were picked."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from models.weights import weights_path
from tests.conftest import Recording
from xiaod.acquisition import Emit
from xiaod.config import Config
from xiaod.domain.onsets import sample_of
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Channel, Segment
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import PickStore
from xiaod.storage.progress import PickingProgress

QUIET = 2000
"""Samples before the event: the clock is taken for set back after some of them, and a window has to fill."""
LATER = 30_000
"""Samples between two events: more than a picker remembers."""
RECORD = 500


class Repeating:
    """A source of an event, of another one much later, and of the first once more, one sample beside where it was."""

    name = "repeating"

    def __init__(self, recording: Recording, repeats: bool) -> None:
        self._recording, self.repeats = recording, repeats
        self._stop = threading.Event()

    def run(self, emit: Emit) -> None:
        rng = np.random.default_rng(4)
        traces = {}
        for letter, data in self._recording.components.items():
            quiet = rng.normal(data[:400].mean(), data[:400].std(), QUIET)
            traces[letter] = np.concatenate([quiet, data])
        for shift in (0, LATER, 1)[: 3 if self.repeats else 2]:
            for begin in range(0, len(traces["Z"]), RECORD):
                start_ns = self._recording.start_ns + (shift + begin) * GRID_NS
                for letter, samples in traces.items():
                    channel = Channel("BW", "RJOB", "", "EH" + letter)
                    part = samples[begin : begin + RECORD]
                    emit(Segment(channel, start_ns, 100.0, part, self.name, time.time_ns()))

    def stop(self) -> None:
        self._stop.set()


def picked(folder: Path, source: Repeating) -> list[tuple[str, int]]:
    """Phases and samples of what is in the store at the end."""

    async def body() -> None:
        config = Config.model_validate({"sources": [{"server": "localhost"}]})
        engine = OnnxEngine(weights_path("micro"))
        pipeline = Pipeline(
            config, engine, [source], [], metrics, LiveRun(store, PickingProgress(store, False, 55.0))
        )
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            await pipeline.start(group)
        pipeline.release_threads()

    metrics = Metrics()
    store = PickStore(folder / "picks.sqlite")
    asyncio.run(body())
    found = sorted((pick.phase, sample_of(pick)) for pick in store.between(None, None))
    store.close()
    if source.repeats:
        # It has been taken for new data, as it is where a clock was set back.
        exposed = metrics.exposition().decode()
        assert 'xiaod_records_total{source="repeating",verdict="clock_step"} 1.0' in exposed
    return found


def test_what_comes_again_after_minutes_is_not_picked_again(
    tmp_path_factory: pytest.TempPathFactory, rjob: Recording
) -> None:
    once = picked(tmp_path_factory.mktemp("once"), Repeating(rjob, repeats=False))
    assert {phase for phase, _ in once} == {"P", "S"}
    assert picked(tmp_path_factory.mktemp("again"), Repeating(rjob, repeats=True)) == once

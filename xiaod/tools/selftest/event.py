"""First half of a self-test: ObsPy's example event, over a socket, through the configured buffers, engine and picker.

In: a configuration and its engine. Out: the picks as they leave the picker, and the steps of source and engine. The event keeps its own
time, 24 August 2009, so that its picks do not look new; its station is BW.RJOB.

>>> padded_s(20.0), padded_s(120.0)
(60, 360)
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from xiaod.acquisition.seedlink.source import SeedLinkSource
from xiaod.config import Config, EventConfig, RsamConfig, SeedLinkConfig
from xiaod.domain.onsets import PHASES
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Pick
from xiaod.inference import Engine
from xiaod.pipeline.offline import ListSink
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.metrics import Metrics
from xiaod.replay import ReplayConfig, ReplayServer
from xiaod.tools.selftest.report import Step
from xiaod.tools.soak.data import event_records

NAME = "selftest"
"""Name of the source, and the mark of the picks."""
LEAST_S = 60
WINDOWS = 3
"""Event and quiet data together fill so many windows."""
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class PickedEvent:
    """Picks of the event, and the steps that made them."""

    picks: tuple[Pick, ...]
    steps: tuple[Step, ...]


def padded_s(length_s: float) -> int:
    """Seconds of data that fill windows of a length."""
    return max(LEAST_S, math.ceil(WINDOWS * length_s))


async def pick_event(config: Config, engine: Engine, timeout_s: float) -> PickedEvent:
    """Serve the event and pick it; ends after ``timeout_s`` at the latest."""
    with TemporaryDirectory(prefix="xiaod-selftest-") as folder:
        path = Path(folder) / "event.mseed"
        path.write_bytes(b"".join(event_records(padded_s(config.windows.length_s))))
        # As fast as the reader reads. The event is old: limits of age do not apply. Only its picks are of interest.
        async with ReplayServer(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
            buffer = config.buffer.model_copy(update={"max_age_s": None, "max_future_s": None})
            alone = {"buffer": buffer, "events": EventConfig(), "rsam": RsamConfig()}
            return await _run(config.model_copy(update=alone), engine, server.address, timeout_s)


async def _run(config: Config, engine: Engine, address: str, timeout_s: float) -> PickedEvent:
    source = SeedLinkSource(SeedLinkConfig(name=NAME, server=address, connect_timeout_s=timeout_s))
    sink, metrics = ListSink("final"), Metrics()
    pipeline = Pipeline(config, engine, [source], [sink], metrics, LiveRun())
    begun_s = time.monotonic()
    first_s: float | None = None
    problem = ""
    try:
        async with asyncio.TaskGroup() as group:
            finished = pipeline.start(group)
            while not _whole(sink.picks) and time.monotonic() - begun_s < timeout_s:
                if first_s is None and _packets(metrics):
                    first_s = time.monotonic()
                await asyncio.sleep(POLL_S)
            first_s = first_s or (time.monotonic() if _packets(metrics) else None)
            picked_s = time.monotonic()
            pipeline.stop_sources()
            await finished
    except ExceptionGroup as failures:
        picked_s = time.monotonic()
        problem = f"{type(failures.exceptions[0]).__name__}: {failures.exceptions[0]}"
    finally:
        pipeline.release_threads()
    state = pipeline.links()[NAME]
    packets = _packets(metrics)
    spec = engine.spec
    return PickedEvent(
        tuple(sink.picks),
        (
            Step(
                "source",
                "seedlink",
                "streaming" if packets else "failed",
                (first_s or picked_s) - begun_s,
                f"{packets} packets of BW.RJOB from {address}" if packets else f"{address}: {state}",
            ),
            Step(
                "engine",
                spec.label,
                "picked" if _whole(sink.picks) else "failed",
                picked_s - (first_s or picked_s),
                problem or _said(sink.picks, timeout_s),
            ),
        ),
    )


def _packets(metrics: Metrics) -> int:
    labels = {"source": NAME, "outcome": "received"}
    return int(metrics.registry.get_sample_value("xiaod_packets_total", labels) or 0)


def _whole(picks: Sequence[Pick]) -> bool:
    return {pick.phase for pick in picks} == set(PHASES)


def _said(picks: Sequence[Pick], timeout_s: float) -> str:
    shown = [f"{pick.phase} {iso_from_ns(pick.time_ns)} {pick.probability:.2f}" for pick in picks]
    missing = sorted(set(PHASES) - {pick.phase for pick in picks})
    if missing:
        shown.append(
            f"no {' and no '.join(missing)} within {timeout_s:g} s; see the thresholds and the model, or give more --timeout"
        )
    return ", ".join(shown)

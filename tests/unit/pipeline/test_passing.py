"""Batches on their way: what a net has noticed at many stations leaves time for others."""

import asyncio

import numpy as np
import pytest

from models.weights import stateful_path
from xiaod.acquisition.record_queue import End, Inbox
from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Notice, Segment, StreamBatch, WindowBatch
from xiaod.inference.scout import Scout
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.settings import begun_anew, buffer_settings, cuttings
from xiaod.pipeline.stages import Passing, WindowQueue, assemble
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics

STATIONS, SECONDS = 64, 40


def test_what_is_noticed_at_many_stations_at_once_leaves_time_for_others() -> None:
    config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
    spec = Scout(stateful_path("scout")).spec

    async def work() -> tuple[int, int]:
        assembler = Assembler(
            buffer_settings(config),
            Metrics(),
            StationTable(60 * NS_PER_S),
            lambda: SECONDS * NS_PER_S,
            cuttings=cuttings(config, spec),
        )
        windows = WindowQueue(1000)
        passing = Passing(windows, assembler, lambda: SECONDS * NS_PER_S, lambda: None)
        samples = np.random.default_rng(0).integers(-100, 100, 100 * SECONDS).astype(np.int32)
        for station in range(STATIONS):
            for component in "ZNE":
                channel = Channel("XX", f"S{station:03}", "", "HH" + component)
                assembler.take(Segment(channel, 0, 100.0, samples, source="here"), SECONDS * NS_PER_S)
        await passing.pass_on(everything=True)
        streams = [one for one in queued(windows) if isinstance(one, StreamBatch)]
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        meanwhile = asyncio.create_task(other())
        for batch in streams:
            stops = {window.instrument: window.stop for window in batch.windows}
            await passing.noticed([Notice(one, stop - 36, ((0, stop - 37),)) for one, stop in stops.items()])
        meanwhile.cancel()
        await passing.looked()
        await passing.pass_on(everything=True)
        early = [one for one in queued(windows) if isinstance(one, WindowBatch)]
        return turns, sum(len(batch.windows) for batch in early)

    turns, cut = asyncio.run(work())
    assert cut > 30 * STATIONS
    # None at all, if all were cut in one turn.
    assert turns


@pytest.mark.parametrize("live", [False, True])
def test_a_net_that_is_slow_loses_no_early_windows(live: bool) -> None:
    """Much more comes at once than rings hold."""
    config = Config.model_validate(
        {
            "sources": [{"server": "localhost:18000"}],
            "buffer": {"max_lead_s": 5},
            "engine": {"max_batch": 200},
        }
    )
    spec, seconds, record_s = Scout(stateful_path("scout")).spec, 600, 4

    async def cut(turns: int) -> set[int]:
        inbox, windows = Inbox(1000), WindowQueue(100)
        now_ns = seconds * NS_PER_S if live else None
        assembler = Assembler(
            buffer_settings(config),
            Metrics(),
            StationTable(60 * NS_PER_S),
            lambda: now_ns,
            cuttings=cuttings(config, spec),
        )
        passing = Passing(windows, assembler, lambda: now_ns, inbox.wake)
        inbox.attach()
        for start_s in range(0, seconds, record_s):
            samples = np.full(100 * record_s, start_s, np.int32)
            inbox.put(
                Segment(Channel("XX", "A", "", "HHZ"), start_s * NS_PER_S, 100.0, samples, source="here")
            )
        inbox.put(End("here"))
        stops: set[int] = set()

        async def look() -> None:
            while not isinstance(batch := await windows.get(), End):
                for _ in range(turns):
                    await asyncio.sleep(0)
                if isinstance(batch, StreamBatch):
                    first, last = batch.windows[0].index, batch.windows[-1].stop - spec.delay_samples - 1
                    await passing.noticed([Notice(batch.windows[0].instrument, last + 1, ((first, last),))])
                elif isinstance(batch, WindowBatch):
                    stops.update(window.stop for window in batch.windows if window.stage == "early")

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            group.create_task(assemble(inbox, windows, assembler, passing, lambda source: None))
        return stops

    stops = asyncio.run(cut(turns=2000))
    assert len(stops) > 2 * (seconds - 40)
    assert max(np.diff(sorted(stops))) <= 50


@pytest.mark.parametrize(
    ("begin", "silent_s", "ended"),
    [
        ("resume", 590, set()),
        ("resume", 610, {"SILENT"}),
        ("now", 590, {"SILENT", "OTHER"}),
        ("2026-01-31T12:00:00Z", 590, set()),
    ],
)
def test_a_run_that_is_stopped_decides_what_the_next_one_does_not_read_again(
    begin: str, silent_s: int, ended: set[str]
) -> None:
    """Of two stations one has fallen silent, and the server gives one number to the packets of all stations."""
    source = {"server": "localhost:18000", "name": "here", "begin": begin}
    config = Config.model_validate({"sources": [source], "buffer": {"max_age_s": None}})
    spec = Scout(stateful_path("scout")).spec

    async def stops() -> dict[tuple[str, str], int]:
        inbox, windows, now_s = Inbox(1000), WindowQueue(1000), 1000
        assembler = Assembler(
            buffer_settings(config),
            Metrics(),
            StationTable(60 * NS_PER_S),
            lambda: now_s * NS_PER_S,
            cuttings=cuttings(config, spec),
        )
        assembler.begun_anew = begun_anew(config)
        passing = Passing(windows, assembler, lambda: now_s * NS_PER_S, inbox.wake)
        inbox.attach()
        samples = np.random.default_rng(0).integers(-100, 100, 4_123).astype(np.int32)
        for station, begin_s in (("SILENT", 0), ("OTHER", silent_s)):
            now_s = 1000 + begin_s
            channel = Channel("XX", station, "", "HHZ")
            assembler.take(
                Segment(channel, begin_s * NS_PER_S, 100.0, samples, source="here"), now_s * NS_PER_S
            )
        inbox.put(End("here"))
        last: dict[tuple[str, str], int] = {}

        async def look() -> None:
            while not isinstance(batch := await windows.get(), End):
                assert isinstance(batch, StreamBatch | WindowBatch)
                if isinstance(batch, StreamBatch):
                    await passing.noticed(
                        [
                            Notice(one.instrument, one.stop, ((one.index, one.stop - 1),))
                            for one in batch.windows
                        ]
                    )
                else:
                    for one in batch.windows:
                        last[one.instrument.station, one.stage] = one.stop

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            group.create_task(assemble(inbox, windows, assembler, passing, lambda source: None))
        return last

    found = asyncio.run(stops())
    end = {"SILENT": 4_123, "OTHER": 4_123 + 100 * silent_s}
    assert {station for station, stop in end.items() if found[station, "final"] == stop} == ended
    assert found["SILENT", "early"] == 4_100


def queued(windows: WindowQueue) -> list[object]:
    return [windows.get_nowait() for _ in range(windows.qsize())]

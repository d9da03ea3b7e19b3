"""Batches on their way: what a net has noticed at many stations leaves time for others."""

import asyncio

import numpy as np
import pytest

from models.weights import stateful_path
from xiaod.acquisition.record_queue import End, Inbox
from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Notice, Segment, StreamBatch, Window, WindowBatch
from xiaod.inference.scout import Scout
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.passing import Passing
from xiaod.pipeline.queues import WindowQueue
from xiaod.pipeline.settings import begun_anew, buffer_settings, cuttings
from xiaod.pipeline.stages import assemble
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
        await passing.looked()
        await passing.pass_on(everything=True)
        meanwhile.cancel()
        early = [one for one in queued(windows) if isinstance(one, WindowBatch)]
        return turns, sum(len(batch.windows) for batch in early)

    turns, cut = asyncio.run(work())
    assert cut > 30 * STATIONS
    # None at all, if all were cut in one turn.
    assert turns


def test_the_first_windows_of_all_stations_go_before_further_ones_of_any() -> None:
    """Where many have noticed something at once; each station's own stay in order, and none is lost."""
    config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
    spec = Scout(stateful_path("scout")).spec
    now_ns = SECONDS * NS_PER_S

    def fed() -> Assembler:
        assembler = Assembler(
            buffer_settings(config),
            Metrics(),
            StationTable(60 * NS_PER_S),
            lambda: now_ns,
            cuttings=cuttings(config, spec),
        )
        samples = np.random.default_rng(0).integers(-100, 100, 100 * SECONDS).astype(np.int32)
        for station in range(STATIONS):
            channel = Channel("XX", f"S{station:03}", "", "HHZ")
            assembler.take(Segment(channel, 0, 100.0, samples, source="here"), now_ns)
        return assembler

    async def work() -> tuple[list[Window], list[Window]]:
        nonlocal now_ns
        assembler, windows = fed(), WindowQueue(1000)
        passing = Passing(windows, assembler, lambda: now_ns, lambda: None)
        await passing.pass_on(everything=True)
        for batch in queued(windows):
            if isinstance(batch, StreamBatch):
                await passing.noticed(notices(batch))

        async def later() -> None:
            nonlocal now_ns
            await passing.pass_on()
            now_ns += NS_PER_S
            await passing.pass_on()

        await later()
        # The first ones wait for the engine: the others are not even cut.
        await later()
        assert assembler.unfinished
        first = early_in(windows)
        await later()
        await later()
        assert not assembler.unfinished
        return first, early_in(windows)

    everything = fed()
    for batch in everything.streams.take(everything=True):
        for notice in notices(batch):
            everything.noticed(notice)
    wanted = [window for batch in everything.early.take(everything=True) for window in batch.windows]
    assert len(wanted) > 2 * STATIONS
    first, rest = asyncio.run(work())
    assert len(first) == STATIONS
    assert len({window.instrument for window in first}) == STATIONS
    for instrument in {window.instrument for window in wanted}:
        found = [window.index for window in (*first, *rest) if window.instrument == instrument]
        assert found == [window.index for window in wanted if window.instrument == instrument]


@pytest.mark.parametrize(("live", "stations"), [(False, 1), (True, 1), (True, 20)])
def test_a_net_that_is_slow_loses_no_early_windows(live: bool, stations: int) -> None:
    """Much more comes at once than rings hold."""
    config = Config.model_validate(
        {
            "sources": [{"server": "localhost:18000"}],
            "buffer": {"max_lead_s": 5},
            "engine": {"max_batch": 200},
        }
    )
    spec, seconds, record_s = Scout(stateful_path("scout")).spec, 600, 4

    async def cut(turns: int) -> set[tuple[str, str, int]]:
        inbox, windows = Inbox(5000), WindowQueue(100)
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
            for station in range(stations):
                channel = Channel("XX", f"S{station:02}", "", "HHZ")
                inbox.put(Segment(channel, start_s * NS_PER_S, 100.0, samples, source="here"))
        inbox.put(End("here"))
        stops: set[tuple[str, str, int]] = set()

        async def look() -> None:
            while not isinstance(batch := await windows.get(), End):
                for _ in range(turns):
                    await asyncio.sleep(0)
                if isinstance(batch, StreamBatch):
                    await passing.noticed(everything_noticed(batch, spec.delay_samples))
                elif isinstance(batch, WindowBatch):
                    stops.update((one.instrument.station, one.stage, one.stop) for one in batch.windows)

        async with asyncio.TaskGroup() as group:
            group.create_task(look())
            group.create_task(assemble(inbox, windows, assembler, passing, lambda source: None))
        return stops

    found = asyncio.run(cut(turns=2000))
    for station in range(stations):
        stops = sorted(stop for name, stage, stop in found if (name, stage) == (f"S{station:02}", "early"))
        assert len(stops) > 2 * (seconds - 40)
        assert max(np.diff(stops)) <= 50


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


def notices(batch: StreamBatch) -> list[Notice]:
    """The same is noticed at all stations."""
    return [Notice(one.instrument, one.stop - 36, ((2900, 3010),)) for one in batch.windows]


def everything_noticed(batch: StreamBatch, late: int) -> list[Notice]:
    """Something is noticed in every sample that a net with this delay has looked at."""
    first = {window.instrument: window.index for window in reversed(batch.windows)}
    last = {window.instrument: window.stop - late - 1 for window in batch.windows}
    return [Notice(one, last[one] + 1, ((index, last[one]),)) for one, index in first.items()]


def early_in(windows: WindowQueue) -> list[Window]:
    return [
        window
        for batch in queued(windows)
        if isinstance(batch, WindowBatch)
        for window in batch.windows
        if window.stage == "early"
    ]


def queued(windows: WindowQueue) -> list[object]:
    return [windows.get_nowait() for _ in range(windows.qsize())]

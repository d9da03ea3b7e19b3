"""The loop turns, whatever comes: while an inbox stays full, and while all windows that are left are cut."""

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from xiaod.acquisition.record_queue import End, Inbox
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Segment
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.passing import Passing
from xiaod.pipeline.queues import WindowQueue
from xiaod.pipeline.stages import assemble
from xiaod.pipeline.station_table import StationTable
from xiaod.process import loop_turns
from xiaod.process.loop_turns import TurnMeter, new_loop
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings

RECORDS = 3000


def small_gapped_records() -> Iterator[Segment]:
    """One sample each, a sample missing between."""
    for number in range(RECORDS):
        yield Segment(
            Channel("XX", "A", "", "HHZ"), number * NS_PER_S // 50, 100.0, np.zeros(1, np.int32), "here"
        )


def long_records_of_many() -> Iterator[Segment]:
    for number in range(100):
        yield Segment(Channel("XX", f"A{number}", "", "HHZ"), 0, 100.0, np.zeros(1000, np.int32), "here")


def short_records_of_many() -> Iterator[Segment]:
    """Too short for any window."""
    for record in long_records_of_many():
        yield record._replace(samples=record.samples[:100])


@pytest.mark.parametrize(
    ("records", "pieces"),
    [(small_gapped_records, RECORDS), (long_records_of_many, 300), (short_records_of_many, 200)],
)
def test_a_stage_whose_input_is_always_ready_gives_way(
    monkeypatch: pytest.MonkeyPatch, records: Callable[[], Iterator[Segment]], pieces: int
) -> None:
    monkeypatch.setattr(loop_turns, "TURN_S", 0.0)
    count = 0

    async def count_turns() -> None:
        nonlocal count
        while True:
            count += 1
            await asyncio.sleep(0)

    async def body() -> None:
        inbox, windows = Inbox(bound=RECORDS + 1), WindowQueue(10_000)
        assembler = Assembler(
            BufferSettings(length=1000, hop=50), Metrics(), StationTable(60 * NS_PER_S), lambda: None
        )
        inbox.attach()
        for record in records():
            inbox.put(record)
        inbox.put(End("here"))
        counting = asyncio.create_task(count_turns())
        passing = Passing(windows, assembler, lambda: None, inbox.wake)
        await assemble(inbox, windows, assembler, passing, lambda _: None)
        counting.cancel()

    asyncio.run(body())
    # Once for each record, each window that is left at the end, and each instrument.
    assert count >= pieces


def test_the_longest_turn_is_measured_and_forgotten() -> None:
    now_s = 1000.0
    meter = TurnMeter(clock_s=lambda: now_s)

    async def body() -> list[float]:
        nonlocal now_s
        await asyncio.sleep(0)
        seen = [meter.longest_s]
        for turn_s in (0.2, 3.4, 0.1):
            now_s += turn_s
            await asyncio.sleep(0)
        seen.append(meter.longest_s)
        for _ in range(3):
            now_s += 50.0
            seen.append(meter.longest_s)
        return seen

    with asyncio.Runner(loop_factory=lambda: new_loop(meter)) as runner:
        seen = runner.run(body())
    # 3.4 s, at first and then as that of the period before; what happens now is told once it is over.
    assert [round(value, 3) for value in seen] == [0.0, 3.4, 3.4, 0.0, 0.0]

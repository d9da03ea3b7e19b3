"""Queues of a live run: early picks do not wait for final ones, and nothing overtakes what must come last."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from xiaod.acquisition.record_queue import End
from xiaod.domain.types import Departed, Instrument, Probabilities, Stage, StreamBatch, Window, WindowBatch
from xiaod.pipeline.queues import MOST_TOGETHER, ResultQueue, WindowQueue

GONE = Departed(frozenset({Instrument("XX", "A", "", "HH")}))
END = End("a")


def window(index: int, stage: Stage) -> Window:
    return Window(
        Instrument("XX", "A", "", "HH"), index, 0, np.zeros((3, 10), np.float32), "ZNE", stage=stage
    )


def batch(index: int, stage: Stage) -> WindowBatch:
    one = window(index, stage)
    return WindowBatch((one,), one.samples[None], 10)


def results(indices: Sequence[int], stage: Stage) -> list[Probabilities]:
    return [Probabilities(window(index, stage), np.zeros((2, 10), np.float32)) for index in indices]


Item = WindowBatch | StreamBatch | Departed | End


async def drained(queue: WindowQueue, items: Sequence[Item]) -> list[Item]:
    for item in items:
        await queue.put(item)
    assert (queue.qsize(), queue.empty()) == (len(items), not items)
    found = [queue.get_nowait() for _ in items]
    assert queue.empty()
    assert queue.windows == 0
    assert queue.waiting_s == 0
    return found


def test_what_makes_early_picks_comes_first_in_its_order() -> None:
    async def body() -> None:
        final, early = [batch(n, "final") for n in range(3)], [batch(n, "early") for n in range(3)]
        stream = StreamBatch((window(0, "final"),))
        put: list[Item] = [final[0], early[0], final[1], stream, final[2], early[1], early[2]]
        assert await drained(WindowQueue(10), put) == [early[0], stream, early[1], early[2], *final]
        # Without a clock the order must not depend on how fast anything is.
        assert await drained(WindowQueue(10, overtaking=False), put) == put

    asyncio.run(body())


@pytest.mark.parametrize("bar", [GONE, END], ids=["departure", "end"])
def test_nothing_overtakes_a_departure_or_the_end(bar: Departed | End) -> None:
    async def body() -> None:
        final, early = [batch(n, "final") for n in range(2)], [batch(n, "early") for n in range(3)]
        queue = WindowQueue(10)
        put = [final[0], early[0], bar, final[1], early[1]]
        assert await drained(queue, put) == [early[0], final[0], bar, final[1], early[1]]
        # What makes early picks and came behind it is not overtaken by the next ones either.
        for item in (bar, final[0], early[0]):
            await queue.put(item)
        assert queue.get_nowait() is bar
        await queue.put(early[1])
        assert [queue.get_nowait() for _ in range(3)] == [final[0], early[0], early[1]]
        # Once these have gone, the next ones come first again.
        assert await drained(queue, [final[0], early[2]]) == [early[2], final[0]]

    asyncio.run(body())


def test_results_of_a_stage_that_wait_together_are_one() -> None:
    async def body() -> None:
        queue = ResultQueue(8)
        items: list[list[Probabilities] | Departed | End] = [
            results([0], "final"),
            results([1], "early"),
            results([2], "final"),
            results([3, 4], "early"),
            GONE,
            results([5], "early"),
            results(range(MOST_TOGETHER), "final"),
        ]
        for one in items:
            await queue.put(one)
        found: list[object] = []
        while not queue.empty():
            item = queue.get_nowait()
            found.append([one.window.index for one in item] if isinstance(item, list) else item)
        assert found == [[1, 3, 4], [0, 2], GONE, [5], list(range(MOST_TOGETHER))]

    asyncio.run(body())


def test_results_of_a_run_without_a_clock_come_as_they_are() -> None:
    async def body() -> None:
        queue = ResultQueue(8, overtaking=False)
        put: list[list[Probabilities] | Departed | End] = [
            results([0], "final"),
            results([1], "final"),
            results([2], "early"),
            END,
        ]
        for item in put:
            await queue.put(item)
        assert [queue.get_nowait() for _ in put] == put

    asyncio.run(body())


def test_a_full_queue_lets_the_stage_before_it_wait() -> None:
    async def body() -> None:
        queue = WindowQueue(2)
        await queue.put(batch(0, "final"))
        await queue.put(batch(1, "final"))
        waiting = asyncio.create_task(queue.put(batch(2, "early")))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert queue.windows == 2
        queue.get_nowait()
        await waiting
        [first, *_] = [queue.get_nowait() for _ in range(2)]
        assert isinstance(first, WindowBatch)
        assert first.windows[0].stage == "early"

    asyncio.run(body())

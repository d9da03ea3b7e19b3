"""The stages of the pipeline: one coroutine for each arrow of the data flow.

::

    inbox -> assemble -> [batches of windows] -> infer -> [probabilities] -> pick -> [picks of each sink] -> deliver
                ^                                  |
                +------- noticed in streams -------+

Every queue between them is bounded. When one is full the stage before it waits, back to the threads of the sources. Only the backlogs of
the sinks are different, see :class:`~xiaod.pipeline.sink_runner.SinkRunner`. The data end with an item,
:class:`~xiaod.acquisition.record_queue.End`, which each stage passes on after its own last item; a clean shutdown takes no other way. A
stage whose input is always ready gives way after some milliseconds, see :mod:`xiaod.process.loop_turns`.

>>> import asyncio
>>> from xiaod.acquisition.record_queue import End
>>> async def nothing():
...     windows, probabilities = WindowQueue(4), asyncio.Queue(4)
...     await windows.put(End())
...     await infer(windows, probabilities, None, None, None, Metrics(), None)
...     return probabilities.get_nowait()
>>> asyncio.run(nothing())
End(source='')
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor

from xiaod.acquisition.record_queue import End, Inbox
from xiaod.domain.types import Departed, Instrument, Notice, Probabilities, StreamBatch, WindowBatch
from xiaod.inference import Engine
from xiaod.inference.scout import Scout
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.passing import Passing
from xiaod.pipeline.queues import WindowQueue
from xiaod.process.metrics import Metrics


async def assemble(
    inbox: Inbox, windows: WindowQueue, assembler: Assembler, passing: Passing, drained: Callable[[str], None]
) -> None:
    """Make batches of windows of the items of the sources, until all sources have ended.

    Args:
        inbox: records and other items of the sources.
        windows: takes the batches.
        assembler: makes them.
        passing: passes them on.
        drained: called with the name of a source that has ended, after its last item.
    """
    while not inbox.ended:
        for item in await inbox.take():
            if isinstance(item, End):
                inbox.detach()
                drained(item.source)
            else:
                assembler.take(item, passing.now_ns())
            if passing.is_due:
                await passing.pass_on_full()
        for _ in assembler.expire():
            await passing.pass_on()
        if gone := assembler.departing:
            await _look_at_rest(assembler, passing, gone)
            for departed in assembler.depart(gone):
                await passing.pass_on(everything=departed is not None)
                if departed is not None:
                    await windows.put(departed)
                # Hold none of them while waiting for the next records.
                del departed
        del gone
        await passing.pass_on()
    # Where a live run ends its data do not: what still waits for data is left to the next run, if that has all of them.
    ended = None if passing.now_ns() is None else assembler.ended
    await _look_at_rest(assembler, passing, ended)
    for _ in assembler.finish(ended):
        await passing.pass_on()
    await passing.pass_on(everything=True)
    await windows.put(End())


async def _look_at_rest(
    assembler: Assembler, passing: Passing, instruments: Iterable[Instrument] | None = None
) -> None:
    """Have the net that follows streams look at their last samples, before the last windows are cut; None: those of all instruments."""
    for _ in assembler.finish_streams(instruments):
        await passing.pass_on()
    await passing.pass_on(everything=True)
    await passing.looked()


async def infer(
    windows: WindowQueue,
    probabilities: "asyncio.Queue[list[Probabilities] | Departed | End]",
    engine: Engine,
    scout: Scout | None,
    executor: Executor,
    metrics: Metrics,
    noticed: Callable[[Sequence[Notice]], Awaitable[None]],
) -> None:
    """Run the engines in their thread, over batches of windows, whatever their stations.

    Args:
        windows: batches.
        probabilities: takes what the engine makes of them.
        engine: of picks.
        scout: notices onsets in streams; None: there is none.
        executor: the thread.
        metrics: of batches.
        noticed: called with what the scout has noticed, after each batch of streams.
    """
    loop = asyncio.get_running_loop()
    while not isinstance(batch := await windows.get(), End):
        with windows.in_hand():
            if isinstance(batch, Departed):
                if scout is not None:
                    await loop.run_in_executor(executor, scout.forget, batch.instruments)
                await probabilities.put(batch)
            elif isinstance(batch, StreamBatch):
                if scout is not None:
                    await noticed(await loop.run_in_executor(executor, scout.look, batch))
            else:
                results, spent_s = await loop.run_in_executor(executor, _annotate, engine, batch)
                metrics.batch.observe(len(results))
                metrics.windows.inc(len(results))
                metrics.inference.observe(spent_s)
                await probabilities.put(results)
                # Hold no windows while waiting for the next ones.
                del results
        del batch
    await probabilities.put(End())


def _annotate(engine: Engine, batch: WindowBatch) -> tuple[list[Probabilities], float]:
    """What the engine makes of a batch, and the seconds that it took."""
    begun = time.perf_counter()
    return engine.follow(batch), time.perf_counter() - begun

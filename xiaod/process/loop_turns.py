"""Turns of the event loop: how long a task may keep the loop, and how long the longest turn was.

A task whose input is always ready never gives way by itself, and then nothing else runs, not even a health check. With :class:`Turns` it
gives way after :data:`TURN_S`. :class:`TurnMeter` measures all turns, whatever their cause, where the loop waits for input: that costs
two readings of a clock a turn and wakes no task.

>>> import asyncio
>>> async def work() -> list[str]:
...     seen, turns = [], Turns(clock_s=iter([0.0, 0.004, 0.02, 0.02, 0.024]).__next__)
...     asyncio.get_running_loop().call_soon(seen.append, "another")
...     for number in range(3):
...         seen.append(str(number))
...         await turns.give_way()
...     return seen
>>> asyncio.run(work())
['0', '1', 'another', '2']
"""

import asyncio
import selectors
import time
from collections.abc import Callable

TURN_S = 0.01
"""How long a task keeps the loop. Several tasks may do so in one turn, which should take 50 ms at most."""
PERIOD_S = 60.0
"""The longest turn is that of the last one to two periods, so that a scrape each minute misses none."""


class Turns:
    """Limits how long one task holds the event loop."""

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._since_s = clock_s()

    @property
    def are_over(self) -> bool:
        """Whether it is time to let other tasks run."""
        return self._clock_s() - self._since_s >= TURN_S

    async def give_way(self) -> None:
        """Let other tasks run if it is time; call it after each piece of work."""
        if self.are_over:
            await asyncio.sleep(0)
            self._since_s = self._clock_s()


class TurnMeter(selectors.DefaultSelector):
    """The selector of an event loop, which measures the loop's turns."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._woken_s: float | None = None
        self._period = 0
        self._longest = [0.0, 0.0]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for input, as any selector; called by the loop once in each turn."""
        if self._woken_s is not None:
            self._count(self._clock_s() - self._woken_s)
        ready = super().select(timeout)
        self._woken_s = self._clock_s()
        return ready

    @property
    def longest_s(self) -> float:
        """The longest turn of the last one to two minutes, in seconds; may be read from any thread."""
        passed = int(self._clock_s() // PERIOD_S) - self._period
        return max(self._longest[: max(0, 2 - passed)], default=0.0)

    def _count(self, turn_s: float) -> None:
        period = int(self._clock_s() // PERIOD_S)
        if period != self._period:
            self._longest = [0.0, self._longest[0] if period == self._period + 1 else 0.0]
            self._period = period
        self._longest[0] = max(self._longest[0], turn_s)


def new_loop(meter: TurnMeter) -> asyncio.AbstractEventLoop:
    """An event loop whose turns a meter measures."""
    return asyncio.SelectorEventLoop(meter)

"""An event loop whose clock goes on as soon as all wait: pauses of seconds take no time.

It is for tests in which only the loop waits: it stands still while a thread works, and knows no real socket.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

from async_solipsism import EventLoop

T = TypeVar("T")


class VirtualLoop(EventLoop):  # type: ignore[misc]  # it is not analysed
    """Its clock is a microsecond further at each look.

    The clock of the process stays as it is: other threads go by it, such as that of a server that later tests use too.
    """

    def __init__(self) -> None:
        self._looks = itertools.count()
        super().__init__()

    def time(self) -> float:
        """Who sleeps until a time would else wake a little before it, again and again."""
        seconds: float = super().time()
        return seconds + next(self._looks) / 1e6

    def run_in_executor(self, *given: Any) -> "asyncio.Task[Any]":
        """Give a future for work in a thread, as asyncio's loops do, where the base gives a coroutine."""
        work: asyncio.Task[Any] = self.create_task(super().run_in_executor(*given))
        return work


def run(body: Coroutine[Any, Any, T]) -> T:
    """Like :func:`asyncio.run`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(body)

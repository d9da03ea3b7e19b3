"""An event loop whose clock goes on as soon as all wait: pauses of seconds take no time.

It is for tests in which only the loop waits: it stands still while a thread works, and knows no real socket.
"""

import asyncio
import itertools
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from async_solipsism import EventLoop

T = TypeVar("T")


class VirtualLoop(EventLoop):  # type: ignore[misc]  # it is not analysed
    """Gives a future for work in a thread, as asyncio's loops do, where its base gives a coroutine."""

    def run_in_executor(self, *given: Any) -> "asyncio.Task[Any]":
        work: asyncio.Task[Any] = self.create_task(super().run_in_executor(*given))
        return work


def run(body: Coroutine[Any, Any, T]) -> T:
    """Like :func:`asyncio.run`; the monotonic clock is the loop's meanwhile, and a microsecond further at each look."""
    looks = itertools.count()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.MonkeyPatch.context() as patched:
        loop = runner.get_loop()
        # Who sleeps until a time would else wake a little before it, again and again.
        patched.setattr(time, "monotonic", lambda: loop.time() + next(looks) / 1e6)
        return runner.run(body)

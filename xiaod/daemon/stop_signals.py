"""SIGTERM and SIGINT: the first begins an orderly stop, a second one ends the process at once."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from xiaod.process.exit_status import ExitCode
from xiaod.process.grace_period import GracePeriod
from xiaod.process.logs import get_logger

STOP_PART = 0.95
"""Part of the time of a stop for the orderly end; the rest is for what follows it, such as saving the state."""
TOGETHER_S = 0.1
"""Signals that come so soon after the first are one with it: timeout(1) sends one to the process, and at once another to its group."""


class StopSignals:
    """Hears the signals that stop a process."""

    def __init__(self, limit_s: Callable[[], float]) -> None:
        """Begin; ``limit_s``: how long a stop may take, as the configuration says when it begins."""
        self._grace_period = GracePeriod()
        self._limit_s = limit_s
        self._stopping = asyncio.Event()
        self._first_s = 0.0
        """Monotonic time of the first signal."""
        self._log = get_logger("service")

    def hear(self) -> None:
        """Hear them from now on; to be called in the event loop of the main thread."""
        loop = asyncio.get_running_loop()

        def on_signal(number: int, _: object) -> None:
            # Not a handler of the loop: the time runs even if the loop stands still.
            self._grace_period.begin(self._limit_s())
            with suppress(RuntimeError):  # the loop is closed, and the process ends anyway
                loop.call_soon_threadsafe(self._stop, number, time.monotonic())

        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, on_signal)

    async def until_stop(self, finished: "asyncio.Task[None]") -> None:
        """Wait for the first signal, or until the work has finished by itself; from then on the time of the stop runs."""
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait({finished, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        self._grace_period.begin(self._limit_s())

    @property
    def left_s(self) -> float:
        """Seconds until the process ends, once a stop has begun."""
        return self._grace_period.left_s

    @property
    def orderly_s(self) -> float:
        """Of these, the seconds for the orderly end."""
        return STOP_PART * self._grace_period.left_s

    def _stop(self, number: int, at_s: float) -> None:
        """A signal has come at a monotonic time."""
        if self._stopping.is_set():
            if at_s - self._first_s < TOGETHER_S:
                return
            self._log.warning("service.second_signal", signal=signal.Signals(number).name)
            os._exit(ExitCode.SECOND_SIGNAL)
        self._log.info("service.stopping", signal=signal.Signals(number).name)
        self._first_s = at_s
        self._stopping.set()

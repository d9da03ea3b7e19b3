"""Who works on pieces: this process, a pool of processes, or a scheduler of dask.

A crew takes numbered pieces and gives their outcomes as they are done, in any order. A process that is killed takes its piece with it:
that is given to another one, a few times, because what kills one (too little memory, say) may kill all.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_any
from typing import Protocol

from xiaod.process.logs import configure_logs
from xiaod.tools.archive.piece import Job, Outcome, pick_piece
from xiaod.tools.archive.plan import Piece

MAX_LOSSES = 3
"""How often processes may be lost before the run is given up."""
AHEAD = 4
"""Pieces for each worker that may be under way or done before the oldest one is: bounds memory, and no worker waits for another."""

Numbered = tuple[int, Piece]


class CrewError(Exception):
    """Nobody is left to work; the message says why and what to do."""


class Crew(Protocol):
    """Works on pieces."""

    @property
    def ahead(self) -> int:
        """How many pieces it may be given before the first of them is done."""
        ...

    def give(self, number: int, piece: Piece) -> None:
        """One more piece to work on."""
        ...

    def take(self) -> tuple[int, Outcome]:
        """Wait for an outcome.

        Raises:
            CrewError: when nobody is left to work.
            ModelError, OSError: as :func:`~xiaod.tools.archive.piece.pick_piece`.
        """
        ...

    def close(self) -> None:
        """End whatever runs."""
        ...


class Alone:
    """The process itself, one piece after the other."""

    ahead = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: deque[Numbered] = deque()

    def give(self, number: int, piece: Piece) -> None:
        """One more piece to work on."""
        self._waiting.append((number, piece))

    def take(self) -> tuple[int, Outcome]:
        """Work on the oldest piece."""
        number, piece = self._waiting.popleft()
        return number, pick_piece(self._job, piece)

    def close(self) -> None:
        """Nothing runs."""


class Pool:
    """Processes on this machine."""

    def __init__(self, job: Job, workers: int) -> None:
        """Start so many processes as they are needed."""
        self._job = job
        self._workers = workers
        self._losses = 0
        self._running: dict[Future[Outcome], Numbered] = {}
        self._executor = self._begin()

    @property
    def ahead(self) -> int:
        """How many pieces it may be given before the first of them is done."""
        return AHEAD * self._workers

    def give(self, number: int, piece: Piece) -> None:
        """One more piece to work on."""
        try:
            future = self._executor.submit(pick_piece, self._job, piece)
        except BrokenProcessPool:
            # Those that were given before say so when they are taken.
            future = Future()
            future.set_exception(BrokenProcessPool())
        self._running[future] = number, piece

    def take(self) -> tuple[int, Outcome]:
        """Wait for an outcome; when a process was lost, begin with new ones."""
        while True:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            future = next(iter(done))
            try:
                outcome = future.result()
            except BrokenProcessPool:
                self._replace()
                continue
            return self._running.pop(future)[0], outcome

    def close(self) -> None:
        """End all processes."""
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()

    def _begin(self) -> ProcessPoolExecutor:
        # Spawned, not forked: libraries with threads of their own do not survive a fork.
        return ProcessPoolExecutor(
            self._workers, multiprocessing.get_context("spawn"), initializer=_begin_process
        )

    def _replace(self) -> None:
        self._losses += 1
        lost = sorted(self._running.values(), key=lambda entry: entry[0])
        self.close()
        if self._losses > MAX_LOSSES:
            raise CrewError(
                f"worker processes died {self._losses} times, the last time with {lost[0][1].label} or one of the "
                f"{len(lost) - 1} pieces after it; is there memory for {self._workers} workers?"
            )
        self._executor = self._begin()
        self._running = {}
        for number, piece in lost:
            self.give(number, piece)


def _begin_process() -> None:
    """Set up a worker: Ctrl-C is for the run, which ends its workers itself; and no worker outlives the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet()
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            wait_for_any([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, name="watch", daemon=True).start()


def quiet() -> None:
    """What pieces log is told in their outcomes instead."""
    configure_logs("error", "auto")

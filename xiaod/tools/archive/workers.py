"""Workers that pick chunks: this process, a pool of processes, or a scheduler of dask (:mod:`.dask_cluster`).

Workers take numbered chunks and return results as they are done, in any order. The chunk of a killed process is picked again by another
one, a few times only: the cause (too little memory, say) may kill all.
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
from xiaod.tools.archive.chunk import ChunkResult, Job, pick_chunk
from xiaod.tools.archive.plan import Chunk

MAX_LOSSES = 3
"""How often processes may be lost before the run fails."""
CHUNKS_PER_WORKER = 4
"""Chunks submitted for each worker before the oldest one is done: bounds memory, and no worker waits for another."""

NumberedChunk = tuple[int, Chunk]


class WorkerError(Exception):
    """No worker is left; the message says why and what to do."""


class WorkerPool(Protocol):
    """Picks chunks."""

    @property
    def capacity(self) -> int:
        """Chunks that may be submitted before the first of them is done."""
        ...

    def submit(self, number: int, chunk: Chunk) -> None:
        """Submit a chunk."""
        ...

    def next_result(self) -> tuple[int, ChunkResult]:
        """Wait for a result.

        Raises:
            WorkerError: when no worker is left.
            ModelError, OSError: as :func:`~xiaod.tools.archive.chunk.pick_chunk`.
        """
        ...

    def close(self) -> None:
        """End what runs."""
        ...


class InProcess:
    """Picks in this process, one chunk after the other."""

    capacity = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: deque[NumberedChunk] = deque()

    def submit(self, number: int, chunk: Chunk) -> None:
        """Submit a chunk."""
        self._waiting.append((number, chunk))

    def next_result(self) -> tuple[int, ChunkResult]:
        """Pick the oldest chunk."""
        number, chunk = self._waiting.popleft()
        return number, pick_chunk(self._job, chunk)

    def close(self) -> None:
        """Nothing runs."""


class ProcessPool:
    """Processes on this machine."""

    def __init__(self, job: Job, workers: int) -> None:
        """Set up; processes start when they are needed."""
        self._job = job
        self._workers = workers
        self._losses = 0
        self._running: dict[Future[ChunkResult], NumberedChunk] = {}
        self._executor = self._begin()

    @property
    def capacity(self) -> int:
        """Chunks that may be submitted before the first of them is done."""
        return CHUNKS_PER_WORKER * self._workers

    def submit(self, number: int, chunk: Chunk) -> None:
        """Submit a chunk."""
        try:
            future = self._executor.submit(pick_chunk, self._job, chunk)
        except BrokenProcessPool:
            # next_result() finds the lost ones, and replaces the pool.
            future = Future()
            future.set_exception(BrokenProcessPool())
        self._running[future] = number, chunk

    def next_result(self) -> tuple[int, ChunkResult]:
        """Wait for a result; if a process was lost, start new ones."""
        while True:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            future = next(iter(done))
            try:
                result = future.result()
            except BrokenProcessPool:
                self._replace()
                continue
            return self._running.pop(future)[0], result

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
            raise WorkerError(
                f"worker processes died {self._losses} times, the last time with {lost[0][1].label} or one of the "
                f"{len(lost) - 1} chunks after it; is there memory for {self._workers} workers?"
            )
        self._executor = self._begin()
        self._running = {}
        for number, chunk in lost:
            self.submit(number, chunk)


def _begin_process() -> None:
    """Set up a worker process: the run handles Ctrl-C and ends its workers; no worker outlives the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet()
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            wait_for_any([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, name="watch", daemon=True).start()


def quiet() -> None:
    """Log errors only: results report the rest."""
    configure_logs("error", "auto")

"""Runs the chunks of a plan on workers; results come in the order of the plan. Chunks in the journal are not picked again.

The capacity of the workers limits how many chunks are submitted before the oldest one is done: that bounds memory.

>>> from xiaod.tools.archive.plan import Chunk
>>> ChunkRunner([], workers=None, journal=None).left
0
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from xiaod.tools.archive.chunk import ChunkResult
from xiaod.tools.archive.journal import Journal
from xiaod.tools.archive.plan import Chunk
from xiaod.tools.archive.workers import WorkerError, WorkerPool

MAX_REDONE = 3
"""How often a chunk is picked again because its files changed meanwhile."""

OnResult = Callable[[ChunkResult, bool], None]
"""Called with each result, and whether it comes from the journal."""


class ChunkRunner:
    """Chunks, workers and journal of one run."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        workers: WorkerPool,
        journal: Journal | None,
        on_result: OnResult = lambda result, found: None,
    ) -> None:
        self._chunks = chunks
        self._workers = workers
        self._journal = journal
        self._on_result = on_result
        self._submitted = 0
        self._keys: dict[int, str] = {}
        self._redone: Counter[int] = Counter()
        self._ready: dict[int, ChunkResult] = {}

    @property
    def left(self) -> int:
        """Chunks that have not been submitted."""
        return len(self._chunks) - self._submitted

    def results(self) -> Iterator[tuple[Chunk, ChunkResult]]:
        """Every chunk with its result, in order.

        Raises:
            WorkerError: when no worker is left, or the journal cannot be written.
            ModelError, OSError: see :meth:`~xiaod.tools.archive.workers.WorkerPool.next_result`.
        """
        for head, chunk in enumerate(self._chunks):
            self._submit(head)
            while head not in self._ready:
                self._collect()
                self._submit(head)
            yield chunk, self._ready.pop(head)

    def _submit(self, head: int) -> None:
        """Submit chunks up to the capacity; results in the journal are ready at once."""
        capacity = self._workers.capacity if self.left else 0
        while self.left and self._submitted - head < capacity:
            number, chunk = self._submitted, self._chunks[self._submitted]
            self._submitted += 1
            known = None
            if self._journal is not None:
                self._keys[number] = self._journal.key(chunk)
                known = self._journal.find(chunk, self._keys[number])
            if known is None:
                self._workers.submit(number, chunk)
            else:
                self._finish(number, known, found=True)

    def _collect(self) -> None:
        number, result = self._workers.next_result()
        if self._journal is not None:
            chunk = self._chunks[number]
            key = self._journal.key(chunk)
            if key == self._keys[number]:
                try:
                    self._journal.keep(chunk, key, result)
                except OSError as error:
                    raise WorkerError(f"--resume: cannot keep what is finished: {error}") from error
            elif self._redone[number] < MAX_REDONE:
                # Its files changed while they were read.
                self._redone[number] += 1
                self._keys[number] = key
                self._workers.submit(number, chunk)
                return
        self._finish(number, result, found=False)

    def _finish(self, number: int, result: ChunkResult, found: bool) -> None:
        self._keys.pop(number, None)
        self._ready[number] = result
        self._on_result(result, found)

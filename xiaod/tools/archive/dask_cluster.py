"""Workers on many machines, through a scheduler of dask (https://distributed.dask.org).

Every worker needs this program in the same version, the same model, and the archive under the same path. The
chunk of a worker that dies goes to another one; a chunk that has ended several workers ends the run.
"""

import logging
from typing import Any
from uuid import uuid4

from xiaod.inference.errors import ModelError
from xiaod.process.logs import get_logger
from xiaod.process.plugins import MissingExtraError, missing
from xiaod.tools.archive.chunk import ChunkResult, Job, pick_chunk
from xiaod.tools.archive.plan import Chunk
from xiaod.tools.archive.workers import CHUNKS_PER_WORKER, WorkerError, quiet

CONNECT_S = 30.0


class DaskCluster:
    """The workers of a scheduler; implements :class:`xiaod.tools.archive.workers.WorkerPool`."""

    def __init__(self, job: Job, scheduler: str, connect_s: float = CONNECT_S) -> None:
        """Connect.

        Args:
            job: settings common to all chunks.
            scheduler: address, such as ``tcp://10.0.0.1:8786``.
            connect_s: time-out of the connection (s).

        Raises:
            MissingExtraError: when dask.distributed is not installed.
            WorkerError: when the scheduler cannot be reached.
        """
        try:
            from distributed import Client, as_completed
        except ModuleNotFoundError as error:
            raise MissingExtraError(missing("--dask", "distributed", "dask")) from error
        self._scheduler = scheduler
        self._job = job
        self._run = uuid4().hex[:12]
        self._numbers: dict[str, tuple[int, Chunk]] = {}
        try:
            self._client: Any = Client(scheduler, timeout=connect_s, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise WorkerError(
                f"--dask {scheduler}: cannot connect: {error}; must be the address of a scheduler, such as tcp://10.0.0.1:8786"
            ) from error
        # It logs lost connections with tracebacks; the errors raised here say the same.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._done: Any = as_completed(loop=self._client.loop)
        if not self._client.nthreads():
            get_logger("archive").error(
                "archive.no_workers", scheduler=scheduler, remedy=f"dask worker {scheduler} --nthreads 1"
            )

    @property
    def capacity(self) -> int:
        """Chunks that may be submitted before the first of them is done; grows with the cluster."""
        try:
            threads: int = sum(self._client.nthreads().values())
        except Exception as error:
            raise self._lost(error) from error
        return CHUNKS_PER_WORKER * max(1, threads)

    def submit(self, number: int, chunk: Chunk) -> None:
        """Submit a chunk; older ones have priority."""
        future = self._client.submit(
            _work, self._job, chunk, pure=False, priority=-number, key=f"xiaod-{self._run}-{number}"
        )
        self._numbers[future.key] = number, chunk
        self._done.add(future)

    def next_result(self) -> tuple[int, ChunkResult]:
        """Wait for a result.

        Raises:
            WorkerError: when the scheduler is gone, or a chunk has ended too many workers.
            ModelError: when a worker has another model.
        """
        future = next(self._done, None)
        if future is None:
            raise WorkerError(f"--dask {self._scheduler}: no chunk is being picked")
        number, chunk = self._numbers.pop(future.key)
        try:
            result: ChunkResult = future.result()
        except ModelError:
            raise
        except Exception as error:
            raise self._lost(error, f"{chunk.label}: ") from error
        return number, result

    def close(self) -> None:
        """Cancel what is not done, and leave the scheduler."""
        self._done.clear()
        self._client.close()

    def _lost(self, error: Exception, where: str = "") -> WorkerError:
        return WorkerError(f"--dask {self._scheduler}: {where}{type(error).__name__}: {error}")


def _work(job: Job, chunk: Chunk) -> ChunkResult:
    quiet()
    return pick_chunk(job, chunk)

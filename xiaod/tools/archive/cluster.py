"""Workers on many machines, through a scheduler of dask (https://distributed.dask.org).

Every worker needs this program in the same version, the same model, and the archive under the same path. What a worker that dies was
doing is given to another one; a piece that has ended several of them ends the run.
"""

import logging
from typing import Any
from uuid import uuid4

from xiaod.inference.errors import ModelError
from xiaod.process.logs import get_logger
from xiaod.process.plugins import MissingExtraError, missing
from xiaod.tools.archive.crew import AHEAD, CrewError, quiet
from xiaod.tools.archive.piece import Job, Outcome, pick_piece
from xiaod.tools.archive.plan import Piece

CONNECT_S = 30.0


class Cluster:
    """Workers of a scheduler; implements :class:`xiaod.tools.archive.crew.Crew`."""

    def __init__(self, job: Job, scheduler: str, connect_s: float = CONNECT_S) -> None:
        """Connect.

        Args:
            job: what is the same for all pieces.
            scheduler: address, such as ``tcp://10.0.0.1:8786``.
            connect_s: how long it is tried to connect.

        Raises:
            MissingExtraError: when dask.distributed is not installed.
            CrewError: when the scheduler cannot be reached.
        """
        try:
            from distributed import Client, as_completed
        except ModuleNotFoundError as error:
            raise MissingExtraError(missing("--dask", "distributed", "dask")) from error
        self._scheduler = scheduler
        self._job = job
        self._run = uuid4().hex[:12]
        self._numbers: dict[str, tuple[int, Piece]] = {}
        try:
            self._client: Any = Client(scheduler, timeout=connect_s, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise CrewError(
                f"--dask {scheduler}: cannot connect: {error}; must be the address of a scheduler, such as tcp://10.0.0.1:8786"
            ) from error
        # What it would log of a lost connection, with tracebacks, is told by what is raised.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._done: Any = as_completed(loop=self._client.loop)
        if not self._client.nthreads():
            get_logger("archive").error(
                "archive.no_workers", scheduler=scheduler, remedy=f"dask worker {scheduler} --nthreads 1"
            )

    @property
    def ahead(self) -> int:
        """How many pieces it may be given before the first of them is done; grows with the cluster."""
        try:
            threads: int = sum(self._client.nthreads().values())
        except Exception as error:
            raise self._lost(error) from error
        return AHEAD * max(1, threads)

    def give(self, number: int, piece: Piece) -> None:
        """One more piece to work on; the oldest go first."""
        future = self._client.submit(
            _work, self._job, piece, pure=False, priority=-number, key=f"xiaod-{self._run}-{number}"
        )
        self._numbers[future.key] = number, piece
        self._done.add(future)

    def take(self) -> tuple[int, Outcome]:
        """Wait for an outcome.

        Raises:
            CrewError: when the scheduler is gone, or a piece has ended too many workers.
            ModelError: when a worker has another model.
        """
        future = next(self._done, None)
        if future is None:
            raise CrewError(f"--dask {self._scheduler}: nothing that was given is under way")
        number, piece = self._numbers.pop(future.key)
        try:
            outcome: Outcome = future.result()
        except ModelError:
            raise
        except Exception as error:
            raise self._lost(error, f"{piece.label}: ") from error
        return number, outcome

    def close(self) -> None:
        """Take back what has not been done, and leave the scheduler."""
        self._done.clear()
        self._client.close()

    def _lost(self, error: Exception, where: str = "") -> CrewError:
        return CrewError(f"--dask {self._scheduler}: {where}{type(error).__name__}: {error}")


def _work(job: Job, piece: Piece) -> Outcome:
    quiet()
    return pick_piece(job, piece)

"""The stateful form in a session of ONNX Runtime: chunks of many streams in one call, any number of each, and the state of each stream.

>>> stream, number, chunks, context, newest = places(np.array([2, 1]), depth=2)
>>> stream.tolist(), number.tolist(), chunks.tolist()
([0, 0, 1], [0.0, 1.0, 0.0], [2.0, 1.0])

Before the second chunk of the first stream (row 1) come the newest one in the state of that stream (row 3), and its first one (row 0).

>>> context.tolist(), newest.tolist()
([[5, 3, 0], [3, 0, 1], [6, 4, 2]], [[1, 0], [2, 4]])
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUTS = ("wave", "state", "stream", "number", "chunks", "context", "newest")
"""Names of the inputs of a file of this form; see :class:`models.streaming.StreamingPhaseNet`."""
AGE = {"stream", "number"}
"""Those that a network does not need whose output is not late."""


class StatefulNet:
    """A session with a file of the stateful form."""

    def __init__(self, session: "InferenceSession") -> None:
        """Begin.

        Raises:
            ValueError: when the file has other inputs: it was written by another version.
        """
        self._session = session
        inputs = {one.name: one.shape for one in session.get_inputs()}
        self._names = tuple(name for name in INPUTS if name in inputs)
        if tuple(inputs) != self._names or not {*INPUTS} - AGE <= {*inputs}:
            raise ValueError(
                f"takes {', '.join(inputs)}; needed are {', '.join(INPUTS)}: write it anew from its .safetensors "
                "(python -m models.export)"
            )
        self._depth = int(inputs["context"][1]) - 1

    def __call__(
        self, wave: NDArray[np.float32], state: NDArray[np.float32], chunks: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Process the next chunks of streams.

        Args:
            wave: shape ``(rows, 3, chunk_samples)``, prepared by the front end: the chunks of the first stream, then those of the next.
            state: shape ``(n, state_size)``: zeros, or what the last call gave.
            chunks: shape ``(n,)``: how many each stream has, one at least.

        Returns:
            Probabilities, shape ``(rows, phases, chunk_samples)``, and the state after them.
        """
        given = dict(zip(INPUTS, (wave, state, *places(chunks, self._depth)), strict=True))
        values, after = self._session.run(None, {name: given[name] for name in self._names})
        return values, after


def in_chunks(samples: NDArray[np.float32], chunk_samples: int) -> NDArray[np.float32]:
    """Whole chunks ``(3, m)`` as rows ``(m / chunk_samples, 3, chunk_samples)``."""
    return samples.reshape(len(samples), -1, chunk_samples).transpose(1, 0, 2)


def places(chunks: NDArray[np.int64], depth: int) -> tuple[NDArray[np.generic], ...]:
    """Of each chunk its stream, and which one of its stream it is; how many each stream has; and what is computed together.

    Each chunk after those before it, ``(rows, depth + 1)``, and those before the one that will follow the last of each stream,
    ``(n, depth)``, the newest first, are numbers of rows, and from there on of what is kept: the newest of each stream, then the one
    before that, ...

    Args:
        chunks: shape ``(n,)``: how many each stream has, one at least; those of a stream follow each other.
        depth: how many before a chunk are wanted.
    """
    return _places(tuple(chunks.tolist()), depth)


@lru_cache(maxsize=64)
def _places(counts: tuple[int, ...], depth: int) -> tuple[NDArray[np.generic], ...]:
    """The same; most calls are like one before."""
    chunks = np.array(counts)
    count, ends = len(chunks), np.cumsum(chunks, dtype=np.int64)
    rows = int(ends[-1])
    streams = np.arange(count)
    stream = np.repeat(streams, chunks)
    number = np.arange(rows) - (ends - chunks)[stream]
    back = np.arange(depth, -1, -1)
    # How many chunks earlier than those of the call; negative where it is one of them.
    older = back - 1 - np.concatenate([number, chunks])[:, None]
    found = np.where(
        older < 0,
        np.concatenate([np.arange(rows), ends])[:, None] - back,
        older * count + (np.concatenate([stream, streams]) + rows)[:, None],
    )
    newest = found[rows:, -2::-1].copy()
    return stream, number.astype(np.float32), chunks.astype(np.float32), found[:rows], newest

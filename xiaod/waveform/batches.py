"""Windows of all stations side by side, as a network takes them: in one array, or new samples of streams.

>>> from xiaod.domain.types import Instrument
>>> batches = Batches(history=2, length=3, most=8)
>>> samples = batches.row(3)
>>> samples[0] = [1, 2, 3, 4, 5]
>>> batches.add(Window(Instrument("XX", "A", "", "HH"), 0, 0, samples[:, 2:], "Z--"))
>>> [batch] = batches.take(everything=True)
>>> batch.samples[0, 0].tolist(), batches.take(everything=True)
([3.0, 4.0, 5.0], [])
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.components import ROWS
from xiaod.domain.types import StreamBatch, Window, WindowBatch


class Gathered(Protocol):
    """Where windows go that are cut."""

    def row(self, length: int) -> NDArray[np.float32]:
        """Zeros for the samples of the next window and those before it, shape ``(3, history + length)``."""
        ...

    def add(self, window: Window) -> None:
        """The window whose samples were written into the last :meth:`row`."""
        ...


class Batches:
    """Windows that wait until a batch is full, or until there is nothing else to do first."""

    def __init__(self, history: int, length: int, most: int, read: int | None = None) -> None:
        """Begin without windows.

        Args:
            history: samples before each window that it carries along.
            length: samples of a window.
            most: windows of a batch.
            read: samples at the end of a window of which the probabilities are read; None: all.
        """
        self.read = length if read is None else read
        """See :attr:`xiaod.domain.types.WindowBatch.read`; may be changed."""
        self._shape = (most, ROWS, history + length)
        self._history = history
        self._samples: NDArray[np.float32] | None = None
        self._windows: list[Window] = []
        self.filled: list[WindowBatch] = []
        """Batches that are full."""

    def row(self, length: int) -> NDArray[np.float32]:
        """Zeros, shape ``(3, history + length)``, for the samples of the next window; :meth:`add` says that they are there."""
        del length
        if self._samples is None:
            self._samples = np.zeros(self._shape, np.float32)
        row: NDArray[np.float32] = self._samples[len(self._windows)]
        return row

    def add(self, window: Window) -> None:
        """The window whose samples were written into the last :meth:`row`."""
        self._windows.append(window)
        if len(self._windows) == self._shape[0]:
            self._close()

    def take(self, everything: bool = False) -> list[WindowBatch]:
        """Batches that are full, or all windows that wait."""
        if everything and self._windows:
            self._close()
        full, self.filled = self.filled, []
        return full

    def __bool__(self) -> bool:
        return bool(self._windows or self.filled)

    def _close(self) -> None:
        if self._samples is not None:
            held = self._samples[: len(self._windows)]
            held.flags.writeable = False
            self.filled.append(WindowBatch(tuple(self._windows), held[:, :, self._history :], self.read))
        self._samples, self._windows = None, []


class Streams:
    """New samples of streams, as they come."""

    def __init__(self, most: int) -> None:
        """Begin without any; ``most`` windows are a batch."""
        self._most = most
        self._windows: list[Window] = []
        self.filled: list[StreamBatch] = []
        """Batches that are full."""

    def row(self, length: int) -> NDArray[np.float32]:
        """Zeros, shape ``(3, length)``."""
        return np.zeros((ROWS, length), np.float32)

    def add(self, window: Window) -> None:
        """Take a window."""
        self._windows.append(window)
        if len(self._windows) == self._most:
            self._close()

    def take(self, everything: bool = False) -> list[StreamBatch]:
        """Batches that are full, or all windows that wait."""
        if everything and self._windows:
            self._close()
        full, self.filled = self.filled, []
        return full

    def __bool__(self) -> bool:
        return bool(self._windows or self.filled)

    def _close(self) -> None:
        self.filled.append(StreamBatch(tuple(self._windows)))
        self._windows = []

"""The queues between the stages of the pipeline: what makes early picks overtakes what makes final ones."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from xiaod.acquisition.record_queue import End
from xiaod.domain.types import Departed, Probabilities, StreamBatch, WindowBatch

MOST_TOGETHER = 64
"""Windows that are picked together at most: their picks come at once, and are stored at once."""

Batch = WindowBatch | StreamBatch
Queued = TypeVar("Queued")


class EarlyFirst(asyncio.Queue[Queued]):
    """A queue of a live run: what makes early picks overtakes what makes final ones, which have waited for seconds anyway.

    Nothing overtakes a departure, or the end of the data, or what makes early picks and waits behind these.
    """

    def __init__(self, maxsize: int, overtaking: bool = True) -> None:
        """Begin; without ``overtaking`` all come in order, as an offline run needs it."""
        super().__init__(maxsize)
        self._overtaking = overtaking
        self._early: deque[tuple[float, Queued]] = deque()
        self._others: deque[tuple[float, Queued]] = deque()
        """Each with the monotonic time since when it waits."""
        self._bars = 0
        """Items among the others that nothing overtakes."""

    def qsize(self) -> int:
        """How many items wait."""
        return len(self._early) + len(self._others)

    def empty(self) -> bool:
        """Whether none waits."""
        return not (self._early or self._others)

    @property
    def early_waits(self) -> bool:
        """Whether something waits that has overtaken others."""
        return bool(self._early)

    @property
    def waiting_s(self) -> float:
        """How long the oldest item has waited."""
        return max(
            (time.monotonic() - queue[0][0] for queue in (self._early, self._others) if queue), default=0.0
        )

    def _put(self, item: Queued) -> None:
        place = self._place_of(item)
        place.append((time.monotonic(), item))
        if place is self._others:
            self._bars += _is_bar(item)

    def _place_of(self, item: Queued) -> deque[tuple[float, Queued]]:
        return self._early if self._overtaking and not self._bars and _is_early(item) else self._others

    def _get(self) -> Queued:
        place = self._early or self._others
        _, item = place.popleft()
        if place is self._others:
            self._bars -= _is_bar(item)
        return item


class WindowQueue(EarlyFirst[Batch | Departed | End]):
    """Batches of windows that wait for the engine, and how many windows these are; a batch of new samples, however many, is one."""

    windows = 0
    _in_hand_s: float | None = None
    """Since when the engine works at the item that it has taken, by the monotonic clock; None: it has none."""

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """While the engine works at the item that it has taken: it waits on, for an engine that hangs gives nothing back."""
        self._in_hand_s = time.monotonic()
        try:
            yield
        finally:
            self._in_hand_s = None

    @property
    def waiting_s(self) -> float:
        """How long the oldest item has waited; of one that the engine has taken, how long it has worked at it."""
        worked_s = 0.0 if self._in_hand_s is None else time.monotonic() - self._in_hand_s
        return max(super().waiting_s, worked_s)

    def _put(self, item: Batch | Departed | End) -> None:
        super()._put(item)
        self.windows += _windows_in(item)

    def _get(self) -> Batch | Departed | End:
        item = super()._get()
        self.windows -= _windows_in(item)
        return item


class ResultQueue(EarlyFirst["list[Probabilities] | Departed | End"]):
    """Probabilities that wait for the picker; those of a stage that wait together in a live run are picked together."""

    def _put(self, item: "list[Probabilities] | Departed | End") -> None:
        place = self._place_of(item)
        waiting = place[-1][1] if place and self._overtaking else None
        if (
            isinstance(item, list)
            and isinstance(waiting, list)
            and _is_early(waiting) == _is_early(item)
            and len(waiting) + len(item) <= MOST_TOGETHER
        ):
            waiting += item
        else:
            super()._put(item)


def _is_bar(item: object) -> bool:
    """Whether nothing overtakes this one among the others."""
    return isinstance(item, Departed | End) or _is_early(item)


def _is_early(item: object) -> bool:
    if isinstance(item, StreamBatch):
        return True
    if isinstance(item, WindowBatch):
        return item.windows[0].stage == "early"
    return isinstance(item, list) and item[0].window.stage == "early"


def _windows_in(item: Batch | Departed | End) -> int:
    return len(item.windows) if isinstance(item, WindowBatch) else int(isinstance(item, StreamBatch))

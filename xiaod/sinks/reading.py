"""Reads back what sinks of other processes have brought to a bus: the :class:`Reader` protocol. ``READER`` of a kind names its reader.

A reader is called in one worker thread, one call at a time. What it gives is at least once, in the order of the bus. Where a reader goes on
is kept by its caller, in the store that also holds what was read (:attr:`Portion.positions`), or by the bus, which is told once that is so
(:meth:`Reader.stored`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from xiaod.domain.types import StationPositions


@dataclass(frozen=True, slots=True)
class Portion:
    """What has been read at once."""

    contents: tuple[bytes, ...] = ()
    """Messages, in order."""
    positions: StationPositions = field(default_factory=dict)
    """Where to go on: part of the bus -> number, and 0; only parts that have moved."""


class Reader(Protocol):
    """What brings messages from a bus."""

    def read(self, limit: int, wait_s: float) -> Portion:
        """Messages that have come, ``limit`` at most; waits for the first one. Connects when there is no connection.

        Raises:
            OSError: when the bus cannot be reached or refuses; the message names it, the reason and what helps.
        """
        ...

    def stored(self) -> None:
        """All that was read is stored: the bus need not give it again."""
        ...

    def close(self) -> None:
        """End the connection; what was read and not stored comes again."""
        ...


Positions = Mapping[tuple[str, str], tuple[int, int]]
"""Where an earlier run of a reader has come; empty: there was none."""

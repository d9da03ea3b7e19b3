"""Merges the results of chunks, in order of their start, into picks in order of time.

A pick is passed on when no later chunk can hold an older one, so about a day of picks is held. Where two chunks of an
instrument meet, both may have made the same pick; that of the earlier chunk counts.
"""

import heapq
from collections.abc import Iterator, Sequence

from xiaod.domain.types import Instrument, Pick
from xiaod.tools.archive.chunk import EDGE_NS
from xiaod.tools.archive.plan import Chunk


class Merger:
    """Puts the picks of chunks in order."""

    def __init__(self, separation_ns: int) -> None:
        """Set up; picks of a phase at an instrument that are closer than the separation are one: final ones, and the others."""
        self._separation_ns = separation_ns
        self._held: list[tuple[int, str, Pick]] = []
        self._last_ns: dict[tuple[Instrument, str, bool], int] = {}
        """By phase, and whether picks are final: a withdrawal comes or goes with its early pick."""

    def add(self, chunk: Chunk, picks: Sequence[Pick]) -> Iterator[Pick]:
        """Add the picks of the next chunk; yields those that are ready."""
        yield from self._before(chunk.start_ns - EDGE_NS)
        newest: dict[tuple[str, bool], int] = {}
        for pick in picks:
            kind = pick.phase, pick.stage == "final"
            last_ns = self._last_ns.get((chunk.instrument, *kind))
            if last_ns is None or pick.time_ns >= last_ns + self._separation_ns - EDGE_NS:
                heapq.heappush(self._held, (pick.time_ns, pick.id, pick))
                newest[kind] = max(pick.time_ns, newest.get(kind, pick.time_ns))
        for (phase, final), time_ns in newest.items():
            self._last_ns[chunk.instrument, phase, final] = time_ns

    def finish(self) -> Iterator[Pick]:
        """The remaining picks."""
        while self._held:
            yield heapq.heappop(self._held)[2]

    def _before(self, time_ns: int) -> Iterator[Pick]:
        while self._held and self._held[0][0] < time_ns:
            yield heapq.heappop(self._held)[2]

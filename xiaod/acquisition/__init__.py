"""Sources of data: the :class:`Source` protocol and the table of kinds of source.

A source runs in a thread of its own, where it may block, and passes what it receives to ``emit``; a bridge carries that into asyncio. It
writes no metrics and no logs: changes of its connection are items among the data (:class:`~xiaod.domain.types.LinkChange`). As with
sinks, its file imports everything it needs at the top, in the main thread.
"""

from collections.abc import Callable
from typing import Protocol

from xiaod.domain.types import SourceItem

Emit = Callable[[SourceItem], None]
"""Takes one item; blocks while the next queue is full, so that TCP slows down the server."""


class Source(Protocol):
    """A blocking producer of segments."""

    @property
    def name(self) -> str:
        """Name in the configuration; the ``source`` label of logs and metrics."""
        ...

    def run(self, emit: Emit) -> None:
        """Produce until the data end or :meth:`stop` is called; an exception that leaves it ends the process."""
        ...

    def stop(self) -> None:
        """Ask :meth:`run` to return; thread-safe, may be called more than once, takes effect within 2 s."""
        ...


SOURCES: dict[str, str] = {
    "seedlink": "xiaod.acquisition.seedlink.source:SeedLinkSource",
    "files": "xiaod.acquisition.miniseed_files:FileSource",
}
"""Kind of source -> module and class, which is imported when it is used."""

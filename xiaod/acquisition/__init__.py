"""Where data come from: the :class:`Source` protocol and the table of kinds of source.

A source blocks in a thread of its own and hands what it receives to ``emit``; the bridge carries that into asyncio. It never
touches metrics or logs: what happened to the link travels as :class:`~xiaod.domain.types.LinkChange` along the same way as the data.
Everything it needs is imported with its file, in the main thread, as for sinks.

>>> sorted(SOURCES)
['files', 'seedlink']
"""

from collections.abc import Callable
from typing import Protocol

from xiaod.domain.types import SourceItem

Emit = Callable[[SourceItem], None]
"""Takes one item; may block while the queue behind it is full, which makes TCP slow the server down."""


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
"""Kind of source -> where its class is; imported only when it is used."""

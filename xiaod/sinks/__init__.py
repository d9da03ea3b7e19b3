"""Where picks go: the :class:`Sink` protocol and the table of kinds of sink.

A sink is called from its own task, in a worker thread, one call at a time; it may block. It raises ``OSError`` when it could not
deliver: the caller waits with back-off and delivers the same picks again, so a sink must take a repeated pick without harm.

>>> sorted(SINKS)
['console', 'jsonl', 'quakeml']
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from xiaod.records import Pick


class Sink(Protocol):
    """A place that picks are delivered to."""

    @property
    def name(self) -> str:
        """Name in the configuration; the ``sink`` label of logs and metrics."""
        ...

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Write picks; all or none of them when it raises ``OSError``.

        An empty sequence is a tick (about once a second): a sink that collects over an interval may write now.
        """
        ...

    def close(self) -> None:
        """Write what is held back and release everything; called once, at the end; may raise ``OSError``."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A sink that takes picks before they are safe: those are delivered again after a crash."""

    @property
    def held(self) -> int:
        """How many of the newest picks taken would be lost if the process, or the machine, ended now."""
        ...


SINKS: dict[str, str] = {
    "jsonl": "xiaod.sinks.jsonl:JsonLinesSink",
    "quakeml": "xiaod.sinks.quakeml:QuakeMLSink",
    "console": "xiaod.sinks.console:ConsoleSink",
}
"""Kind of sink -> where its class is; imported only when it is used."""

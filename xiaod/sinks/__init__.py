"""Where picks go: the :class:`Sink` protocol. Which kinds there are, :data:`xiaod.config.sinks.SINKS` lists.

Each sink is called from its own task, in a worker thread, one call at a time; a call may block. ``OSError`` means that a delivery
failed: the caller waits with back-off and delivers the same picks again, so a sink must take a repeated pick without harm.
:class:`Refused` means that trying again can never help: that pick is passed over, counted and logged, and those after it are delivered.
What makes a sink unusable from the start (a secret that cannot be read) is an ``OSError`` or :class:`SinkError` of its constructor, whose
message begins with the key: :func:`xiaod.pipeline.factory.open_sink` puts its place before it.
Any other exception is a fault of the program: it is logged with its traceback, and the same picks are delivered again.

A sink imports everything it needs at the top of its file, in the main thread: when two threads import one package at once, each may get
half of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from xiaod.config.sinks.kind import SinkModel
from xiaod.domain.types import Pick, Stages, StationCode, Wanted


class SinkError(Exception):
    """A sink cannot be made; the message names the key, the problem and a remedy."""


class RetryLater(OSError):  # noqa: N818  not a failure, but an answer
    """A delivery failed, and the other side says when to try again.

    >>> RetryLater("busy", retry_s=30.0).retry_s
    30.0
    """

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.retry_s = retry_s


class Refused(OSError):  # noqa: N818  not a failure, but an answer
    """Some picks will never be accepted, however often they are delivered.

    Nothing of the call counts as delivered: the caller delivers the picks before and after the refused ones again.

    >>> str(Refused("HTTP 422"))
    'HTTP 422'
    """

    def __init__(self, reason: str, picks: Collection[str] = ()) -> None:
        """Take the reason and the identifiers of the refused picks; none if the sink does not know which: the caller finds out."""
        super().__init__(reason)
        self.picks = frozenset(picks)


class Sink(Protocol):
    """A place that picks are delivered to."""

    @property
    def name(self) -> str:
        """Name in the configuration; the ``sink`` label of logs and metrics."""
        ...

    @property
    def stages(self) -> Stages:
        """The picks that it takes; others are not delivered to it."""
        ...

    @property
    def wanted(self) -> Wanted:
        """Whether it takes picks, events, or both, or means of the amplitude."""
        ...

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Write picks; all, or none of them when it raises ``OSError`` or :class:`Refused`.

        An empty sequence is a tick (about once a second): a sink that collects over an interval may write now.
        """
        ...

    def close(self) -> None:
        """Write what is held back and release everything; called once, at the end; may raise ``OSError``."""
        ...


class ConfiguredSink:
    """Base of the kinds: what a :class:`Sink` is called and takes, as its configuration says."""

    def __init__(self, config: SinkModel) -> None:
        self.name = config.name
        self.stages = config.stage
        self.wanted = config.wanted


@runtime_checkable
class Holding(Protocol):
    """A sink that accepts picks before they are safe; these are delivered again after a crash."""

    @property
    def held(self) -> int:
        """How many of the newest accepted picks would be lost if the process, or the machine, stopped now."""
        ...


@runtime_checkable
class Portioned(Protocol):
    """A sink that limits the picks of one call."""

    @property
    def portion(self) -> int:
        """Picks of one call at most."""
        ...


@runtime_checkable
class TakingStations(Protocol):
    """A sink that may say which stations send data."""

    @property
    def takes_stations(self) -> bool:
        """Whether it does."""
        ...

    def note_stations(self, sending: Mapping[StationCode, bool | None]) -> None:
        """Take all stations that there are: whether each sends data; None: not known yet.

        It is called between two calls of :meth:`Sink.deliver`, from another thread, and must not block.
        """
        ...


@runtime_checkable
class LeavingOut(Protocol):
    """A sink that leaves out, or puts together, some of what it takes."""

    @property
    def left_out(self) -> int:
        """How many so far."""
        ...

"""What NATS and Kafka have in common: sinks that publish to a bus through a client of asyncio, and readers.

In: picks. Out: nothing once the bus has acknowledged each one. The connection lives in an event loop of the sink's own thread, which runs
only during calls of the sink: the tick each second answers pings, and notices a connection that was lost.

>>> topic_of("picks.{station}.{location}.{phase}.{stage}", Channel("A B", "X.*", "", "EHZ"), "P", "final")
'picks.X__.--.P.final'
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from xiaod.config import AgencyConfig
from xiaod.config.sinks.kind import SinkModel
from xiaod.domain.codes import EMPTY_LOCATION, safe
from xiaod.domain.event import json_of
from xiaod.domain.sharding import ALONE
from xiaod.domain.types import Channel, DocumentStage, Event, PickOrEvent
from xiaod.process.logs import get_logger
from xiaod.sinks import ConfiguredSink, Refused
from xiaod.sinks.reading import Portion, Positions, Reader

SERVICE_S = 0.005
"""How long the connection's own tasks run in a tick, and before it is used again."""

Result = TypeVar("Result")


class BusError(OSError):
    """The bus cannot be reached, or does not take what is sent; the message names it, the reason and what helps."""


class TooLargeError(BusError):
    """A message will never be taken; ``numbers`` says which, or is empty when it was one of several."""

    def __init__(self, reason: str, numbers: Sequence[int]) -> None:
        super().__init__(reason)
        self.numbers = numbers


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    """Topic of Kafka, subject of NATS."""
    content: bytes
    identifier: str
    key: bytes = b""
    """Messages of one key stay in order."""


class OwnLoop:
    """An event loop that runs only during calls, and is there from the first one to the last."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something for the last time, if anything has been done."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(last())


class BusConnection(ABC):
    """A connection: opened when it is needed, and closed at the first failure, so that nothing of it arrives later.

    All methods but :meth:`login` run in one event loop, which nothing else uses.
    """

    def __init__(self, where: str) -> None:
        """Set up; ``where`` names the bus in errors."""
        self.where = where
        self.taken: set[int] = set()
        """Numbers of the messages of the last :meth:`publish` that are acknowledged."""

    @property
    @abstractmethod
    def opened(self) -> bool:
        """Whether there is a connection, lost or not."""

    @abstractmethod
    def login(self) -> dict[str, Any]:
        """The options to log in with; secrets are read anew for each connection.

        Raises:
            OSError: when a secret or a certificate cannot be read.
        """

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages; those of one key in order.

        Raises:
            TooLargeError: when one is larger than the bus takes.
            BusError: when the bus cannot be reached, refuses, or does not acknowledge in time.
        """
        self.taken = set()
        await self.attempt(self._publish(messages), self.close)

    async def attempt(
        self, work: Coroutine[Any, Any, Result], give_up: Callable[[], Coroutine[Any, Any, None]]
    ) -> Result:
        """Do something with the connection, which is given up when that fails.

        Raises:
            BusError: whatever the client raises, so that the daemon goes on.
        """
        try:
            return await work
        except BusError:
            await give_up()
            raise
        except (Exception, asyncio.CancelledError) as error:
            # Clients also cancel what waits for them; nobody else does here.
            said = self.because(error)
            await give_up()
            raise BusError(f"{self.where}: {said}") from error

    @abstractmethod
    async def close(self) -> None:
        """Close the connection, and give up what is under way; raises nothing."""

    @abstractmethod
    async def _publish(self, messages: Sequence[Message]) -> None:
        """Send messages, and note those that are acknowledged."""

    def because(self, error: BaseException) -> str:
        """What an error says, with what helps."""
        return f"{type(error).__name__}: {error}"


def topic_of(template: str, channel: Channel, phase: str, stage: DocumentStage) -> str:
    """Topic of a pick; what a word between full stops cannot hold becomes ``_``."""
    codes = {
        "network": channel.network,
        "station": channel.station,
        "location": channel.location or EMPTY_LOCATION,
        "channel": channel.channel,
        "phase": phase,
        "stage": stage,
    }
    words = {name: safe(code).replace(".", "_") or "_" for name, code in codes.items()}
    return template.format(**words, shard=ALONE.index)


class BusSink(ConfiguredSink):
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    LONGEST_TOPIC: ClassVar[int | None] = None
    """Letters that a topic can have."""

    def __init__(
        self, config: SinkModel, agency: AgencyConfig, connection: BusConnection, topic: str, event_topic: str
    ) -> None:
        """Check that all secrets can be read; nothing is opened.

        Args:
            config: of the sink.
            agency: who signs the picks.
            connection: to the bus.
            topic: template of the topic of a pick.
            event_topic: that of an event.

        Raises:
            OSError: when a secret cannot be read.
        """
        super().__init__(config)
        connection.login()
        self._agency = agency
        self._connection = connection
        self._topic = topic
        self._event_topic = event_topic
        self._loop = OwnLoop()
        self._acknowledged: set[str] = set()
        """Picks of a delivery that failed otherwise: they are not sent again, however long the bus was away."""

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Publish picks, each acknowledged; without picks, run the connection's own tasks.

        Raises:
            Refused: when one is larger than the bus takes.
            BusError: when the bus cannot be reached, refuses, or does not acknowledge in time.
        """
        del now_ns
        if picks or self._connection.opened:
            self._loop.run(self._deliver(picks))

    def close(self) -> None:
        """Close the connection; nothing is held back."""
        self._loop.end(self._connection.close)

    async def _deliver(self, picks: Sequence[PickOrEvent]) -> None:
        if self._connection.opened:
            # If it was lost meanwhile, that is noticed before anything is sent.
            await asyncio.sleep(SERVICE_S)
        waiting = [pick for pick in picks if pick.id not in self._acknowledged]
        if waiting:
            try:
                await self._connection.publish([self._message(pick) for pick in waiting])
            except BusError as error:
                self._acknowledged.update(waiting[number].id for number in self._connection.taken)
                if isinstance(error, TooLargeError):
                    raise Refused(str(error), [waiting[number].id for number in error.numbers]) from error
                raise
        self._acknowledged.difference_update(pick.id for pick in picks)

    def _message(self, pick: PickOrEvent) -> Message:
        if isinstance(pick, Event):
            topic = self._event_topic.format(stage=pick.stage, shard=ALONE.index)
            # All that is said of one event stays in order.
            key = safe(pick.early_id or pick.event_id)
        else:
            topic = topic_of(self._topic, pick.channel, pick.phase, pick.stage)
            key = f"{safe(pick.channel.network)}.{safe(pick.channel.station)}"
        content = json_of(pick, self._agency).encode()
        return Message(topic[: self.LONGEST_TOPIC], content, pick.id, key.encode())


class BusReader(Reader):
    """Reads messages back; implements :class:`xiaod.sinks.reading.Reader`.

    Where to go on is a number for each part of the bus, which the caller keeps: so the bus and the store cannot disagree.
    """

    def __init__(self, config: SinkModel, connection: BusConnection, positions: Positions) -> None:
        """Set up; nothing is opened before the first :meth:`read`.

        Args:
            config: of the sink that brings the picks.
            connection: to the bus.
            positions: where an earlier run has come.
        """
        self._positions = {part: number for part, (number, _) in positions.items()}
        self._told = dict(self._positions)
        """What of them the caller knows."""
        self._connection = connection
        self._loop = OwnLoop()
        self._log = get_logger("bus").bind(sink=config.name)

    def read(self, limit: int, wait_s: float) -> Portion:
        """See :class:`~xiaod.sinks.reading.Reader`.

        Raises:
            BusError: when the bus cannot be reached, or refuses.
        """
        return self._loop.run(self._read(limit, wait_s))

    def stored(self) -> None:
        """The bus need not know."""

    def close(self) -> None:
        """End the connection."""
        self._loop.end(self._drop)

    @abstractmethod
    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        """Messages that have come; the positions are those behind them, and stay as they are when it fails."""

    @abstractmethod
    async def _drop(self) -> None:
        """Close the connection; raises nothing."""

    async def _read(self, limit: int, wait_s: float) -> Portion:
        contents = await self._connection.attempt(self._next(limit, wait_s), self._drop)
        moved = {
            part: (number, 0) for part, number in self._positions.items() if self._told.get(part) != number
        }
        self._told = dict(self._positions)
        return Portion(contents, moved)

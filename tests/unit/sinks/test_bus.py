"""What sinks and readers of a bus do, whichever bus it is, when its client fails."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, pick
from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.types import Channel
from xiaod.sinks import Refused
from xiaod.sinks.bus import BusConnection, BusError, BusReader, BusSink, Message, TooLargeError, topic_of

CONFIG = NatsConfig(kind="nats")


class Memory(BusConnection):
    """A bus in memory that takes all messages of a call but those that it is told to refuse."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.sent: list[str] = []
        self.topics: set[str] = set()
        self.refused: set[str] = set()
        self.fails: Exception | asyncio.CancelledError | None = None
        self._opened = False

    @property
    def opened(self) -> bool:
        return self._opened

    def login(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None:
        self._opened = False

    async def _publish(self, messages: Sequence[Message]) -> None:
        self._opened = True
        if self.fails is not None:
            raise self.fails
        self.topics = {message.topic for message in messages}
        for number, message in enumerate(messages):
            if message.identifier not in self.refused:
                self.sent.append(message.identifier)
                self.taken.add(number)
        if len(self.taken) < len(messages):
            raise TooLargeError("larger than it takes", [0] if len(messages) == 1 else [])


@pytest.mark.parametrize("channel", [Channel("B\r\nX", "\ud800é", "<&", 'E"'), Channel("", "", "", "")])
def test_any_code_makes_a_topic(channel: Channel) -> None:
    words = topic_of("a.{network}.{station}-{location}.{channel}.{phase}", channel, "P", "final").split(".")
    assert len(words) == 5
    assert all(word.replace("_", "").replace("-", "").isalnum() or set(word) <= {"_", "-"} for word in words)


def test_a_topic_is_no_longer_than_the_bus_takes() -> None:
    class Short(BusSink):
        LONGEST_TOPIC = 20

    bus = Memory()
    sink = Short(CONFIG, AGENCY, bus, CONFIG.subject, CONFIG.event_subject)
    sink.deliver([pick(1, channel=Channel("N" * 30, "S" * 30, "", "EHZ"))], NOW_NS)
    sink.close()
    assert bus.topics == {"xiaod.picks.NNNNNNNN"}


def made() -> tuple[BusSink, Memory]:
    bus = Memory()
    return BusSink(CONFIG, AGENCY, bus, CONFIG.subject, CONFIG.event_subject), bus


def test_what_was_acknowledged_beside_a_refused_one_is_sent_once() -> None:
    sink, bus = made()
    bus.refused = {pick(2).id}
    with pytest.raises(Refused) as told:
        sink.deliver([pick(1), pick(2), pick(3)], NOW_NS)
    assert told.value.picks == set()
    # As the sink_runner does it when nobody says which.
    sink.deliver([pick(1)], NOW_NS)
    with pytest.raises(Refused) as told:
        sink.deliver([pick(2)], NOW_NS)
    assert told.value.picks == {pick(2).id}
    sink.deliver([pick(3), pick(4)], NOW_NS)
    assert bus.sent == [pick(number).id for number in (1, 3, 4)]
    # Another delivery of it is another one.
    sink.deliver([pick(3)], NOW_NS)
    assert bus.sent[-1] == pick(3).id
    sink.close()


@pytest.mark.parametrize("fails", [KeyError("odd"), asyncio.CancelledError(), BusError("memory: away")])
def test_whatever_a_client_raises_is_a_failure_and_the_connection_is_closed(
    fails: Exception | asyncio.CancelledError,
) -> None:
    sink, bus = made()
    sink.deliver([pick(1)], NOW_NS)
    assert bus.opened
    bus.fails = fails
    with pytest.raises(BusError, match="memory: "):
        sink.deliver([pick(2)], NOW_NS)
    assert not bus.opened
    bus.fails = None
    sink.deliver([pick(2)], NOW_NS)
    assert bus.sent == [pick(1).id, pick(2).id]
    sink.close()


class Script(BusReader):
    """Reads as it is told to."""

    def __init__(self, steps: list[Callable[[dict[tuple[str, str], int]], tuple[bytes, ...]]]) -> None:
        super().__init__(CONFIG, Memory(), {("a", ""): (5, 0)})
        self._steps = steps
        self.drops = 0

    async def _next(self, limit: int, wait_s: float) -> tuple[bytes, ...]:
        return self._steps.pop(0)(self._positions)

    async def _drop(self) -> None:
        self.drops += 1


def test_where_a_reader_begins_is_told_though_the_first_read_fails() -> None:
    def begins(positions: dict[tuple[str, str], int]) -> tuple[bytes, ...]:
        positions["b", ""] = 7
        raise ConnectionError("away")

    def reads(positions: dict[tuple[str, str], int]) -> tuple[bytes, ...]:
        positions["a", ""] = 6
        return (b"{}",)

    reader = Script([begins, lambda _: (), reads, lambda _: ()])
    with pytest.raises(BusError, match="memory: ConnectionError: away"):
        reader.read(10, 0.0)
    assert reader.drops == 1
    assert dict(reader.read(10, 0.0).positions) == {("b", ""): (7, 0)}
    assert dict(reader.read(10, 0.0).positions) == {("a", ""): (6, 0)}
    assert dict(reader.read(10, 0.0).positions) == {}
    reader.close()
    assert reader.drops == 2

"""Picks into a stream of NATS JetStream: the bus for networks that outgrow one machine.

In: picks. Out: nothing once the server has acknowledged each one; it is then in the stream. The header ``Nats-Msg-Id`` holds the
identifier of the pick, by which the server drops a repetition. Each pick is sent after the acknowledgment of the one before, so a refusal
in the middle never changes their order. The connection lives in an event loop of the sink's own thread, which runs only during calls of
the sink: the tick each second answers the server's pings.

>>> sink = NatsSink(NatsConfig(kind="nats", servers=["127.0.0.1:9"]), AgencyConfig())
>>> sink.deliver([], now_ns=0)
>>> subject_of("picks.{station}.{location}.{phase}.{stage}", Channel("A B", "X.*", "", "EHZ"), "P", "final")
'picks.X__.--.P.final'
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence

from xiaod.config import AgencyConfig
from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.event import json_of
from xiaod.domain.sharding import ALONE
from xiaod.domain.types import Channel, DocumentStage, Event, PickOrEvent
from xiaod.sinks import ConfiguredSink, Refused
from xiaod.sinks.nats.connection import NatsConnection, TooLargeError
from xiaod.sinks.words import words_of

SERVICE_S = 0.005
"""How long the connection's own tasks run in a tick, and before it is used again."""

_ID = re.compile(r"[!-~]{1,200}")


def subject_of(template: str, channel: Channel, phase: str, stage: DocumentStage) -> str:
    """Subject of a pick; what a word of a subject cannot hold becomes ``_``."""
    return template.format_map(words_of(channel, phase, stage))


def message_id(pick: PickOrEvent) -> str:
    """The pick's identifier, or its hash where a damaged code made one that no header can hold."""
    if _ID.fullmatch(pick.id):
        return pick.id
    return hashlib.sha256(pick.id.encode("utf-8", "surrogatepass")).hexdigest()


class NatsSink(ConfiguredSink):
    """Publishes picks; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: NatsConfig, agency: AgencyConfig) -> None:
        """Check that all secrets can be read; nothing is opened.

        Raises:
            OSError: when one cannot.
        """
        super().__init__(config)
        self._config = config
        self._agency = agency
        self._connection = NatsConnection(config)
        self._runner: asyncio.Runner | None = None
        self._acknowledged: set[str] = set()
        """Picks of a delivery that failed later: they are not sent again, however long the server was away."""
        self._connection.login()

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Publish picks, each acknowledged; without picks, run the connection's own tasks.

        Raises:
            Refused: when one is larger than the server takes.
            BusError: when the server cannot be reached, refuses, or does not acknowledge in time.
        """
        del now_ns
        if not picks and not self._connection.opened:
            return
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(self._publish(picks) if picks else asyncio.sleep(SERVICE_S))

    def close(self) -> None:
        """Close the connection; nothing is held back."""
        if self._runner is not None:
            self._runner.run(self._connection.close())
            self._runner.close()
            self._runner = None

    async def _publish(self, picks: Sequence[PickOrEvent]) -> None:
        if self._connection.opened:
            # If it was lost meanwhile, a new one is opened before anything is sent.
            await asyncio.sleep(SERVICE_S)
        for pick in picks:
            if pick.id in self._acknowledged:
                continue
            if isinstance(pick, Event):
                subject = self._config.event_subject.format(stage=pick.stage, shard=ALONE.index)
            else:
                subject = subject_of(self._config.subject, pick.channel, pick.phase, pick.stage)
            try:
                await self._connection.publish(
                    subject, json_of(pick, self._agency).encode(), message_id(pick)
                )
            except TooLargeError as error:
                raise Refused(str(error), [pick.id]) from error
            self._acknowledged.add(pick.id)
        self._acknowledged.clear()

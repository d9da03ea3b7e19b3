"""Picks as MQTT 5 messages: the document of the JSON Lines, one message for each pick.

With QoS 1 each pick is delivered at least once, in order. :meth:`MqttSink.deliver` returns only when the broker has acknowledged every
message. Otherwise it raises, the picks stay in the store, and what was not acknowledged is sent again, on a new connection if the old one
is lost. The messages that were under way then, 20 at most, may arrive twice, after a crash the whole batch: consumers compare ``id``. With
QoS 0 a message counts as delivered once it is sent, and may be lost.

The session is clean: nothing waits in the client, everything in the store. The status topic is ``online``, retained, while connected;
``offline`` follows at an orderly end, or from the broker as the last will.

>>> sink = MqttSink(MqttConfig(kind="mqtt", server="127.0.0.1:9", timeout_s=1.0), AgencyConfig())
>>> sink.deliver([], now_ns=0)
Traceback (most recent call last):
xiaod.sinks.mqtt.refusals.BrokerError: 127.0.0.1:9: Connection refused
>>> sink.close()
"""

import contextlib
import socket
from collections.abc import Mapping, Sequence

from xiaod.config import AgencyConfig
from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.config.tls import tls_context
from xiaod.domain.codes import EMPTY_LOCATION, safe
from xiaod.domain.event import json_of
from xiaod.domain.sharding import ALONE
from xiaod.domain.types import Channel, Delivered, Event, Pick, RsamValue, StationCode
from xiaod.process.logs import get_logger
from xiaod.sinks import ConfiguredSink, Refused
from xiaod.sinks.mqtt.binary_sensors import BinarySensors
from xiaod.sinks.mqtt.connection import BrokerConnection, Message, password_of
from xiaod.sinks.mqtt.homeassistant import OFFLINE, ONLINE, birth_topic, rsam_sensor_of, sensor_of
from xiaod.sinks.mqtt.refusals import BrokerError, MessageError

MAX_SENSORS = 10_000
"""Sensors that are announced to Home Assistant at most; a damaged record can hold any code."""


def topic_of(pick: Pick, template: str) -> str:
    """The topic of a pick; what a topic level cannot hold becomes ``_``."""
    return template.format(
        **_levels(pick.channel), phase=safe(pick.phase), stage=pick.stage, shard=ALONE.index
    )


def rsam_topic_of(value: RsamValue, template: str) -> str:
    """The topic of a mean of the amplitude."""
    return template.format(**_levels(value.channel), minutes=value.minutes, shard=ALONE.index)


def _levels(channel: Channel) -> dict[str, str]:
    """The codes of a channel as levels of a topic."""
    return {
        "network": safe(channel.network),
        "station": safe(channel.station),
        "location": safe(channel.location) or EMPTY_LOCATION,
        "channel": safe(channel.channel),
    }


class MqttSink(ConfiguredSink):
    """Publishes to a broker; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: MqttConfig, agency: AgencyConfig) -> None:
        """Set up; the connection is opened with the first tick.

        Raises:
            OSError: when the password or a certificate cannot be read.
        """
        super().__init__(config)
        self._config = config
        self._agency = agency
        self._client_id = config.client_id.format(
            host=safe(socket.gethostname()), name=config.name, shard=ALONE.index
        )
        self._status_topic = (config.status_topic or "").format(client_id=self._client_id, shard=ALONE.index)
        self._connection: BrokerConnection | None = None
        self._sensors: dict[str, Message] = {}
        """What announces the sensors of picks, by the topic of their state."""
        self._stations_of: dict[str, StationCode] = {}
        self._sending: Mapping[StationCode, bool | None] = {}
        self._binary_sensors = BinarySensors(config.discovery, self._client_id, self._status_topic, config.of)
        self._seen: set[StationCode] = set()
        """Stations that there were at the last delivery."""
        self._shown: dict[str, str | None] = {}
        """What the broker has of binary sensors: topic -> payload; None: it may have lost it."""
        self._taken: set[str] = set()
        self._log = get_logger("mqtt").bind(sink=config.name)
        password_of(config)
        if config.tls is not None:
            tls_context(config.tls)

    @property
    def takes_stations(self) -> bool:
        """Whether Home Assistant is told which stations send data."""
        return self._announces and self._config.of != "rsam"

    def note_stations(self, sending: Mapping[StationCode, bool | None]) -> None:
        """Take all stations that there are."""
        self._sending = sending

    def deliver(self, picks: Sequence[Delivered], now_ns: int) -> None:
        """Publish picks in order, and wait for the broker's acknowledgment of each.

        Raises:
            Refused: when the broker will never take some.
            OSError: when not all are acknowledged.
        """
        connection = self._connected()
        messages, sensors = self._without_gone()
        if ONLINE in connection.heard():
            # Home Assistant has started, and needs everything again.
            messages += sensors.values()
            self._shown = dict.fromkeys(self._shown)
        picks_at: dict[int, str] = {}
        # What the broker acknowledged of a failed batch is not sent again with it.
        for pick in (pick for pick in picks if pick.id not in self._taken):
            state_topic = self._topic_of(pick)
            if (
                not isinstance(pick, Event)
                and self._announces
                and state_topic not in sensors
                and len(sensors) < MAX_SENSORS
            ):
                sensors[state_topic] = self._sensor(pick, state_topic)
                self._stations_of[state_topic] = pick.channel.network, pick.channel.station
                messages.append(sensors[state_topic])
            picks_at[len(messages)] = pick.id
            text = json_of(pick, self._agency)
            messages.append(Message(state_topic, text, self._config.qos, self._config.retain))
        try:
            connection.publish(messages)
        except BrokerError as error:
            self._taken.update(picks_at[number] for number in picks_at if number < connection.taken)
            if not connection.alive:
                self._drop()
            if not isinstance(error, MessageError):
                raise
            refused = [picks_at[number] for number in sorted(error.refused) if number in picks_at]
            raise (Refused(str(error), refused) if refused else error) from error
        except BaseException:
            # What is under way must not be mistaken for what is sent next.
            self._drop()
            raise
        self._taken.difference_update(pick.id for pick in picks)
        self._sensors = sensors
        self._stations_of = {topic: code for topic, code in self._stations_of.items() if topic in sensors}
        self._seen = set(self._sending)
        if self.takes_stations:
            self._update_binary_sensors(connection, picks, now_ns)

    def close(self) -> None:
        """Publish ``offline`` and disconnect, in bounded time; without a connection the broker publishes the last will."""
        if self._connection is not None:
            # The next run does not know at once what has become of the stations.
            last = [self._retained(*one) for one in self._binary_sensors.last(self._shown).items()]
            if last and self._connection.alive:
                with contextlib.suppress(OSError):
                    self._connection.publish(last)
            self._connection.close(self._status(OFFLINE))
            self._connection = None

    def _connected(self) -> BrokerConnection:
        """The connection; a lost one is reported once, then opened anew."""
        if self._connection is not None:
            if self._connection.alive:
                return self._connection
            # Report it and pause: otherwise two clients with one identifier would disconnect each other without end.
            lost = self._connection.lost
            self._drop()
            if lost is not None:
                raise lost
        connection = BrokerConnection(self._config, self._client_id, self._status(OFFLINE))
        connection.connect()
        online = self._status(ONLINE)
        try:
            if self._announces:
                connection.subscribe(birth_topic(self._config.discovery))
            # A restarted broker may have lost its retained messages.
            connection.publish([*([online] if online else []), *self._sensors.values()])
            self._shown = dict.fromkeys(self._shown)
        except OSError:
            connection.close(None)
            raise
        self._connection = connection
        self._log.info(
            "mqtt.connected",
            server=f"{self._config.host}:{self._config.port}",
            tls=self._config.tls is not None,
            client_id=self._client_id,
            status_topic=self._status_topic,
        )
        if self._config.tls is not None and self._config.tls.insecure:
            self._log.warning(
                "mqtt.insecure",
                consequence="the connection is not authenticated: anyone between can read and answer",
            )
        return connection

    def _drop(self) -> None:
        """Give up a lost connection."""
        if self._connection is not None:
            self._connection.cut()
            self._connection = None

    def _status(self, word: str) -> Message | None:
        if not self._status_topic:
            return None
        # Not QoS 1 in any case: some brokers know QoS 0 alone, and refuse a connection whose last will asks for more.
        return Message(self._status_topic, word, self._config.qos, retain=True)

    def _retained(self, topic: str, payload: str) -> Message:
        return Message(topic, payload, self._config.qos, retain=True)

    def _update_binary_sensors(
        self, connection: BrokerConnection, items: Sequence[Delivered], now_ns: int
    ) -> None:
        """Bring the binary sensors at the broker up to date; an empty message removes one. What fails here holds up no pick."""
        for item in items:
            if not isinstance(item, RsamValue):
                self._binary_sensors.take(item, now_ns)
        shown = self._binary_sensors.wanted(self._sending, now_ns)
        changes = [self._retained(topic, "") for topic in self._shown if topic not in shown]
        changes += [
            self._retained(topic, text) for topic, text in shown.items() if self._shown.get(topic) != text
        ]
        complaint = ""
        while changes:
            some, changes = changes[: connection.together], changes[connection.together :]
            # Until it is acknowledged.
            self._shown |= dict.fromkeys(message.topic for message in some)
            try:
                connection.publish(some)
            except BrokerError as error:
                if not connection.alive:
                    # The next delivery reports it, and all is sent with the next connection.
                    return
                complaint = complaint or str(error)
                if isinstance(error, MessageError):
                    # What is too large keeps those beside it from being sent.
                    changes = [
                        one for number, one in enumerate(some) if number not in error.refused
                    ] + changes
                    some = [one for number, one in enumerate(some) if number in error.refused]
            # What is refused is not sent again before it changes.
            self._shown |= {message.topic: message.payload for message in some}
        self._shown = {topic: text for topic, text in self._shown.items() if topic in shown}
        if complaint:
            self._log.warning("mqtt.binary_sensors_refused", error=complaint)

    def _without_gone(self) -> tuple[list[Message], dict[str, Message]]:
        """What removes the sensors of stations that have gone, and all others."""
        gone = {
            topic
            for topic, code in self._stations_of.items()
            if topic in self._sensors and code in self._seen and code not in self._sending
        }
        stay = {topic: message for topic, message in self._sensors.items() if topic not in gone}
        return [self._retained(self._sensors[topic].topic, "") for topic in gone], stay

    @property
    def _announces(self) -> bool:
        return self._config.discovery.enabled

    def _topic_of(self, item: Delivered) -> str:
        if isinstance(item, RsamValue):
            return rsam_topic_of(item, self._config.rsam_topic)
        if isinstance(item, Event):
            return self._config.event_topic.format(stage=item.stage, shard=ALONE.index)
        return topic_of(item, self._config.topic)

    def _sensor(self, pick: Pick | RsamValue, state_topic: str) -> Message:
        """The message that announces a station, phase and stage, or a mean of its amplitude, to Home Assistant."""
        channel, config = pick.channel, self._config.discovery
        if isinstance(pick, RsamValue):
            return self._retained(
                *rsam_sensor_of(
                    channel.network, channel.station, pick.minutes, state_topic, self._status_topic, config
                )
            )
        # Without {stage} withdrawals come in the topic of early picks.
        stage = (
            "early" if self._config.stage == "early" and "{stage}" not in self._config.topic else pick.stage
        )
        topic, payload = sensor_of(
            channel.network, channel.station, pick.phase, stage, state_topic, self._status_topic, config
        )
        return Message(topic, payload, self._config.qos, retain=True)

"""The binary sensors of Home Assistant: whether it shakes, and whether a station sends data.

In: picks, events, and which stations there are. Out: retained messages, as one table from topics to payloads that is compared with what
the broker has. A topic that is no longer in it is emptied, by which Home Assistant removes the sensor.

*Shaking* (``device_class: vibration``) is on from the announcement of an event until ``shaking_s`` after its first P, unless it is
withdrawn; its attributes say what is known of the last event. A sink that takes picks alone has one at each station instead, which its
picks switch on. An event that is older when it is delivered switches nothing on.

*Data* (``device_class: connectivity``) of each station is off once it is stale; unknown until it has sent data.

State topics lie beside the topic of discovery, as in Home Assistant's examples; its own words are ``ON``, ``OFF``, and ``None`` for
unknown. See https://www.home-assistant.io/integrations/binary_sensor.mqtt/.

>>> sensors = BinarySensors(DiscoveryConfig(enabled=True), "pi", "xiaod/status/pi", "events")
>>> {topic: text for topic, text in sensors.wanted({}, 0).items() if topic.endswith("state")}
{'homeassistant/binary_sensor/xiaod_pi_shaking/state': '{"state":"OFF"}'}
"""

import json
from collections.abc import Mapping
from typing import Any

from xiaod.config.sinks.mqtt import DiscoveryConfig
from xiaod.domain.document import finite
from xiaod.domain.event import about, notice_of
from xiaod.domain.onsets import first_name
from xiaod.domain.timegrid import iso_from_ns, ns_from_s
from xiaod.domain.types import Event, PickOrEvent, StationCode, Wanted
from xiaod.sinks.mqtt.homeassistant import BinarySensor, binary_sensor_of, program_device, station_device

ON, OFF, UNKNOWN = "ON", "OFF", "None"
STATES = {True: ON, False: OFF, None: UNKNOWN}
"""Whether a station sends data -> the state of its sensor."""
MAX_STATIONS = 5_000
"""Stations with binary sensors at most; a damaged record can hold any code."""


class _Shaking:
    """Whether it shakes at one place."""

    def __init__(self) -> None:
        self._until_ns: dict[str, int] = {}
        """What switched it on -> when that ends."""
        self._about: dict[str, Any] = {}

    def take(self, item: PickOrEvent, length_ns: int, now_ns: int) -> None:
        """Take a pick or an event."""
        name = first_name(item)
        if item.stage == "withdrawn":
            self._until_ns.pop(name, None)
        else:
            # A station whose clock is ahead does not shake for longer.
            self._until_ns[name] = min(item.time_ns, now_ns) + length_ns
        self._about = _attributes(item)

    def state(self, now_ns: int) -> str:
        """State and attributes as JSON."""
        self._until_ns = {name: until_ns for name, until_ns in self._until_ns.items() if until_ns > now_ns}
        content = {"state": ON if self._until_ns else OFF, **self._about}
        return json.dumps(content, separators=(",", ":"), allow_nan=False)


class BinarySensors:
    """What Home Assistant should know."""

    def __init__(self, config: DiscoveryConfig, client_id: str, status_topic: str, of: Wanted) -> None:
        """Begin with nothing that shakes.

        Args:
            config: prefix, and how long it shakes.
            client_id: of the connection, unique.
            status_topic: topic of ``online`` and ``offline``; empty: none.
            of: what the sink takes.
        """
        self._config = config
        self._client_id = client_id
        self._status_topic = status_topic
        self._by_events = of != "picks"
        self._length_ns = ns_from_s(config.shaking_s)
        self._everywhere = _Shaking()
        self._stations: dict[StationCode, _Shaking] = {}
        self._data: dict[StationCode, BinarySensor] = {}
        self._shaking: dict[StationCode | None, BinarySensor] = {}
        """What announces the sensors; None: that of all stations together."""

    def take(self, item: PickOrEvent, now_ns: int) -> None:
        """Take a pick or an event; the same one again changes nothing."""
        if not self._length_ns:
            return
        if isinstance(item, Event):
            self._everywhere.take(item, self._length_ns, now_ns)
        elif not self._by_events:
            code = item.channel.network, item.channel.station
            if code in self._stations or len(self._stations) < MAX_STATIONS:
                self._stations.setdefault(code, _Shaking()).take(item, self._length_ns, now_ns)

    def wanted(self, sending: Mapping[StationCode, bool | None], now_ns: int) -> dict[str, str]:
        """Payloads of all topics, each sensor before its state.

        Args:
            sending: all stations: whether each sends data, None: not known.
            now_ns: host time.
        """
        for table in (self._stations, self._data, self._shaking):
            for gone in [code for code in table if code is not None and code not in sending]:
                del table[gone]
        messages: dict[str, str] = {}

        def add(sensor: BinarySensor, state: str) -> None:
            messages[sensor.topic] = sensor.payload
            messages[sensor.state_topic] = state

        if self._length_ns and self._by_events:
            add(self._shaking_of(None), self._everywhere.state(now_ns))
        for code in sorted(sending)[:MAX_STATIONS]:
            if self._length_ns and not self._by_events:
                add(self._shaking_of(code), self._stations.get(code, _Shaking()).state(now_ns))
            add(self._data_of(code), STATES[sending[code]])
        return messages

    def last(self, shown: Mapping[str, str | None]) -> dict[str, str]:
        """The states that stay when nobody watches any more, of the topics that the broker has: data unknown, nothing shakes."""
        states = {topic: UNKNOWN for topic in shown if topic.endswith("_data/state")}
        for topic, text in shown.items():
            if text and topic.endswith("_shaking/state"):
                states[topic] = json.dumps({**json.loads(text), "state": OFF}, separators=(",", ":"))
        return states

    def _shaking_of(self, code: StationCode | None) -> BinarySensor:
        made = self._shaking.get(code)
        if made is None:
            made = self._shaking[code] = binary_sensor_of(
                "_".join(("xiaod", *(code or (self._client_id,)), "shaking")),
                program_device(self._client_id) if code is None else station_device(*code),
                self._status_topic,
                self._config,
                attributes=True,
                name="Shaking",
                device_class="vibration",
            )
        return made

    def _data_of(self, code: StationCode) -> BinarySensor:
        made = self._data.get(code)
        if made is None:
            made = self._data[code] = binary_sensor_of(
                "_".join(("xiaod", *code, "data")),
                station_device(*code),
                self._status_topic,
                self._config,
                name="Data",
                device_class="connectivity",
                entity_category="diagnostic",
            )
        return made


def _attributes(item: PickOrEvent) -> dict[str, Any]:
    """What is known of a pick or an event; little, because Home Assistant records no more than 16 KiB of it."""
    if isinstance(item, Event):
        known: dict[str, Any] = {
            "event_id": item.event_id,
            "stage": item.stage,
            "first_pick_time": iso_from_ns(item.time_ns),
            "stations": item.stations,
            "about": about(item),
            "notice": notice_of(item),
        }
        if item.distances:
            near = item.distances[0]
            known["distance_km"] = finite(near.distance_km, 2)
            known["from"] = f"{near.network}.{near.station}"
        if item.origin is not None:
            # Home Assistant shows what has these two on its map.
            known["latitude"] = finite(item.origin.latitude_deg, 5)
            known["longitude"] = finite(item.origin.longitude_deg, 5)
            known["depth_km"] = finite(item.origin.depth_km, 2)
        if item.magnitude is not None:
            known["magnitude"] = finite(item.magnitude.value, 2)
        return known
    return {"pick_id": item.id, "stage": item.stage, "phase": item.phase, "time": iso_from_ns(item.time_ns)}

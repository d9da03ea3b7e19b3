"""The messages of MQTT discovery, by which Home Assistant finds the stations by itself.

Each station and phase is a sensor: its state is the time of the newest final pick, its attributes are the pick's document. Early picks have
a sensor of their own, and early picks that were withdrawn another one; where both have one topic, a withdrawal makes the state of the first
unknown, until the next. The sensors of a station form one device. What is on or off is a binary sensor, see
:mod:`xiaod.sinks.mqtt.binary_sensors`.

Keys and topics are those of Home Assistant's MQTT discovery for a single component: ``PREFIX/sensor/UNIQUE_ID/config``, retained, with
``device`` and ``origin``; see https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery and /integrations/sensor.mqtt/. A template
that gives ``None`` makes a state unknown (``PAYLOAD_NONE`` of its MQTT integration).

>>> topic, text = sensor_of("BW", "RJOB", "P", "final", "xiaod/BW/RJOB/P/final", "xiaod/status/example", DiscoveryConfig())
>>> topic
'homeassistant/sensor/xiaod_BW_RJOB_P/config'
>>> json.loads(text)["device_class"], json.loads(text)["value_template"]
('timestamp', '{{ value_json.time }}')
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from xiaod import __version__
from xiaod.config.sinks.mqtt import DiscoveryConfig
from xiaod.domain.rsam import UNIT
from xiaod.domain.types import DocumentStage

ONLINE = "online"
OFFLINE = "offline"
"""Home Assistant's own words for availability, and for itself in ``PREFIX/status``."""
RSAM_LATE_S = 120
"""Seconds by which a mean may be late; as long as the metric is shown."""
QOS = 1
"""With which Home Assistant subscribes to picks."""
TEMPLATES: dict[DocumentStage, str] = {
    "final": "{{ value_json.time }}",
    "early": "{{ None if value_json.stage == 'withdrawn' else value_json.time }}",
    "withdrawn": "{{ value_json.time }}",
}
"""What makes the state of a message."""


def birth_topic(config: DiscoveryConfig) -> str:
    """Where Home Assistant publishes that it is online (its birth message) or offline, with its default settings."""
    return f"{config.prefix}/status"


def sensor_of(
    network: str,
    station: str,
    phase: str,
    stage: DocumentStage,
    state_topic: str,
    status_topic: str,
    config: DiscoveryConfig,
) -> tuple[str, str]:
    """Topic and payload that make one phase and stage of a station a sensor.

    Args:
        network: code of the network.
        station: code of the station.
        phase: ``P`` or ``S``.
        stage: of the documents.
        state_topic: topic of the picks.
        status_topic: topic of ``online`` and ``offline``; empty: none.
        config: the prefix.
    """
    device = _identifier("xiaod", network, station)
    names = [phase] if stage == "final" else [phase, stage]
    unique_id = f"{device}_{_identifier(*names)}"
    sensor = {
        "name": " ".join(names),
        "unique_id": unique_id,
        "device_class": "timestamp",
        "icon": "mdi:pulse",
        "qos": QOS,
        "state_topic": state_topic,
        "value_template": TEMPLATES[stage],
        "json_attributes_topic": state_topic,
        **_availability(status_topic),
        **_device(device, f"{network}.{station}", "seismic station"),
    }
    return f"{config.prefix}/sensor/{unique_id}/config", json.dumps(sensor, separators=(",", ":"))


def rsam_sensor_of(
    network: str, station: str, minutes: int, state_topic: str, status_topic: str, config: DiscoveryConfig
) -> tuple[str, str]:
    """Topic and payload that make the mean amplitude of a station over so many minutes a sensor; arguments as of :func:`sensor_of`."""
    unique_id = f"{_identifier('xiaod', network, station)}_rsam{minutes}"
    sensor = {
        "name": f"RSAM {minutes} min",
        "unique_id": unique_id,
        "state_class": "measurement",
        "unit_of_measurement": UNIT,
        "icon": "mdi:chart-line",
        "qos": QOS,
        "state_topic": state_topic,
        "value_template": "{{ value_json.value }}",
        "json_attributes_topic": state_topic,
        # A station that is silent has none.
        "expire_after": 60 * minutes + RSAM_LATE_S,
        **_availability(status_topic),
        **station_device(network, station),
    }
    return f"{config.prefix}/sensor/{unique_id}/config", json.dumps(sensor, separators=(",", ":"))


class BinarySensor(NamedTuple):
    """What makes something a binary sensor."""

    topic: str
    """Of the message that announces it."""
    payload: str
    """Of that message."""
    state_topic: str


def binary_sensor_of(
    identifier: str,
    device: Mapping[str, object],
    status_topic: str,
    config: DiscoveryConfig,
    *,
    attributes: bool = False,
    **keys: str,
) -> BinarySensor:
    """What makes something a binary sensor.

    Args:
        identifier: unique.
        device: what it belongs to, from :func:`station_device` or :func:`program_device`.
        status_topic: topic of ``online`` and ``offline``; empty: none.
        config: the prefix.
        attributes: whether its state is JSON, with the key ``state`` and attributes beside it.
        keys: more of the sensor.
    """
    place = f"{config.prefix}/binary_sensor/{_identifier(identifier)}"
    sensor = {
        "unique_id": _identifier(identifier),
        "qos": QOS,
        "state_topic": f"{place}/state",
        **(
            {"value_template": "{{ value_json.state }}", "json_attributes_topic": f"{place}/state"}
            if attributes
            else {}
        ),
        **keys,
        **_availability(status_topic),
        **device,
    }
    return BinarySensor(f"{place}/config", json.dumps(sensor, separators=(",", ":")), f"{place}/state")


def station_device(network: str, station: str) -> dict[str, object]:
    """A station as a device; the same as that of its other sensors."""
    return _device(_identifier("xiaod", network, station), f"{network}.{station}", "seismic station")


def program_device(client_id: str) -> dict[str, object]:
    """The program as a device: what no single station knows belongs to it."""
    return _device(_identifier("xiaod", client_id), f"xiaod {client_id}", "seismic picker")


def _device(identifier: str, name: str, model: str) -> dict[str, object]:
    return {
        "device": {
            "identifiers": [identifier],
            "name": name,
            "manufacturer": "xiaod",
            "model": model,
            "sw_version": __version__,
        },
        "origin": {"name": "xiaod", "sw_version": __version__},
    }


def _availability(status_topic: str) -> dict[str, str]:
    if not status_topic:
        return {}
    return {
        "availability_topic": status_topic,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
    }


def _identifier(*parts: str) -> str:
    """What an identifier in a discovery topic may hold: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", "_".join(parts))

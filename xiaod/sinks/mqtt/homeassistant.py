"""The messages of MQTT discovery, by which Home Assistant finds the stations by itself.

Each station and phase is a sensor: its state is the time of the newest final pick, its attributes are the pick's document. Early picks have
a sensor of their own, and early picks that were withdrawn another one; where both have one topic, a withdrawal makes the state of the first
unknown, until the next. The sensors of a station form one device.

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

from xiaod import __version__
from xiaod.config.sinks.mqtt import DiscoveryConfig
from xiaod.domain.types import DocumentStage

ONLINE = "online"
OFFLINE = "offline"
"""Home Assistant's own words for availability, and for itself in ``PREFIX/status``."""
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
    available = {
        "availability_topic": status_topic,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
    }
    sensor = {
        "name": " ".join(names),
        "unique_id": unique_id,
        "device_class": "timestamp",
        "icon": "mdi:pulse",
        "qos": QOS,
        "state_topic": state_topic,
        "value_template": TEMPLATES[stage],
        "json_attributes_topic": state_topic,
        **(available if status_topic else {}),
        "device": {
            "identifiers": [device],
            "name": f"{network}.{station}",
            "manufacturer": "xiaod",
            "model": "seismic station",
            "sw_version": __version__,
        },
        "origin": {"name": "xiaod", "sw_version": __version__},
    }
    return f"{config.prefix}/sensor/{unique_id}/config", json.dumps(sensor, separators=(",", ":"))


def _identifier(*parts: str) -> str:
    """What an identifier in a discovery topic may hold: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", "_".join(parts))

"""The sink for an MQTT broker, with the discovery of Home Assistant."""

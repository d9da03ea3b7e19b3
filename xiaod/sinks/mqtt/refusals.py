"""What an MQTT broker says when it refuses something, and what to check then.

The names of reasons are those of MQTT 5 (OASIS, 2019), 2.4, as paho-mqtt gives them.

>>> with_remedy("Not authorized", PUBLISH_REMEDIES)
"Not authorized; the broker's access list must allow this user to write to it"
"""

PERMANENT = {"Packet too large", "Topic name invalid", "Payload format invalid"}
"""Reasons to refuse a message that no waiting changes."""
CONNECT_REMEDIES = {
    "Bad user name or password": "check username and password",
    "Not authorized": "check username and password, and whether the broker lets this user in",
    "Unsupported protocol version": "the broker must speak MQTT 5",
    "Client identifier not valid": "choose another client_id",
    "Banned": "ask the broker's administrator",
    "QoS not supported": "the broker takes QoS 0 alone; set qos: 0",
    "Session taken over": "another client has the same client_id; give each its own",
}
PUBLISH_REMEDIES = {
    "Not authorized": "the broker's access list must allow this user to write to it",
    "Quota exceeded": "the broker's limits must allow more messages",
    "Topic name invalid": "change the topic",
    "Packet too large": "the broker's limit must allow larger messages",
}


class BrokerError(OSError):
    """The broker cannot be reached, or refuses."""


class MessageError(BrokerError):
    """The broker will never take some messages; ``refused`` has their numbers in what was published."""

    def __init__(self, reason: str, refused: frozenset[int]) -> None:
        super().__init__(reason)
        self.refused = refused


def with_remedy(reason: str, remedies: dict[str, str]) -> str:
    """A reason, with what to check where that is known."""
    return f"{reason}; {remedies[reason]}" if reason in remedies else reason

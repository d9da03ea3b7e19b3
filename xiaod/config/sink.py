"""The kinds of sink.

>>> ConsoleConfig(kind="console").name
'console'
"""

from typing import Annotated, Literal

from pydantic import Field

from xiaod.config.filesink import AnssConfig, JsonLinesConfig, QuakeMLConfig, ScmlConfig, TableConfig
from xiaod.config.model import NAME_PATTERN, Model
from xiaod.config.nats import NatsConfig
from xiaod.config.netsink import MqttConfig
from xiaod.config.webhook import WebhookConfig


class ConsoleConfig(Model):
    """A line for each pick on standard output, for a person watching."""

    kind: Literal["console"]
    """A line for each pick on standard output."""
    name: str = Field(default="console", pattern=NAME_PATTERN)
    """Label in logs, metrics and store; different for each sink."""


SinkConfig = Annotated[
    JsonLinesConfig
    | QuakeMLConfig
    | ConsoleConfig
    | ScmlConfig
    | AnssConfig
    | TableConfig
    | MqttConfig
    | WebhookConfig
    | NatsConfig,
    Field(discriminator="kind"),
]

"""Where picks go: the kinds of sink. A new kind is a model, and its line in :data:`SinkConfig`.

>>> [model.kind_name() for model in SINKS][:3]
['console', 'jsonl', 'quakeml']
"""

from typing import Annotated, get_args

from pydantic import Field

from xiaod.config.sinks.console import ConsoleConfig
from xiaod.config.sinks.datalink import DataLinkConfig
from xiaod.config.sinks.file import AnssConfig, JsonLinesConfig, QuakeMLConfig, ScmlConfig, TableConfig
from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.config.sinks.kind import SinkModel
from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.config.sinks.nats import NatsConfig
from xiaod.config.sinks.notify import NotifyConfig
from xiaod.config.sinks.webhook import WebhookConfig

SinkConfig = Annotated[
    ConsoleConfig
    | JsonLinesConfig
    | QuakeMLConfig
    | ScmlConfig
    | AnssConfig
    | TableConfig
    | MqttConfig
    | WebhookConfig
    | NatsConfig
    | KafkaConfig
    | DataLinkConfig
    | NotifyConfig,
    Field(discriminator="kind"),
]
"""A sink of any kind."""

SINKS: tuple[type[SinkModel], ...] = get_args(get_args(SinkConfig)[0])
"""All kinds, in the order of the manual."""

"""The ``console`` sink: a line for each pick on standard output."""

from typing import Literal

from xiaod.config.sinks.kind import SinkModel, SinkName, SinkOf, SinkStages


class ConsoleConfig(SinkModel):
    """A line for each pick on standard output, for a person watching."""

    CODE = "xiaod.sinks.console:ConsoleSink"
    READERS = "a person"
    DELIVERED = "written to standard output"
    REPEATED = "after a crash"
    TOLD_APART = "a word: `early`; `final`, or `confirmed` or `revised` with the shift; `withdrawn`"

    kind: Literal["console"]
    """A line for each pick on standard output."""
    name: SinkName = "console"
    stage: SinkStages = "all"
    of: SinkOf = "picks"

"""A whole self-test.

>>> chosen_sinks(Config.model_validate({"sources": [{"server": "a"}]}), ["pigeon"])
Traceback (most recent call last):
ValueError: --sink: no sink is named 'pigeon'; there are: none
"""

import asyncio
import time
from collections.abc import Sequence

from xiaod.config import Config, SinkConfig
from xiaod.inference import Engine
from xiaod.tools.selftest.event import pick_event
from xiaod.tools.selftest.report import SelftestReport
from xiaod.tools.selftest.sinks import marked, signed, try_sinks


def chosen_sinks(config: Config, names: Sequence[str] | None) -> tuple[SinkConfig, ...]:
    """The sinks of these names; None: all.

    Raises:
        ValueError: when there is no sink of a name.
    """
    known = [sink.name for sink in config.sinks]
    for name in names or ():
        if name not in known:
            raise ValueError(f"--sink: no sink is named {name!r}; there are: {', '.join(known) or 'none'}")
    return tuple(sink for sink in config.sinks if names is None or sink.name in names)


def selftest(config: Config, engine: Engine, sinks: Sequence[SinkConfig], timeout_s: float) -> SelftestReport:
    """Run the test; ``timeout_s`` for picking, and again for the sinks."""
    picked = asyncio.run(pick_event(config, engine, timeout_s))
    if not all(step.ok for step in picked.steps):
        return SelftestReport(picked.steps)
    picks = marked(picked.picks, time.time_ns())
    return SelftestReport((*picked.steps, *try_sinks(signed(config), sinks, picks, timeout_s)))

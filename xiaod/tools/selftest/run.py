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
from xiaod.tools.selftest.outcome import Outcome
from xiaod.tools.selftest.stages import pick_event
from xiaod.tools.selftest.trials import marked, signed, try_sinks


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


def selftest(config: Config, engine: Engine, sinks: Sequence[SinkConfig], timeout_s: float) -> Outcome:
    """Push the event through; ``timeout_s`` for the picking, and again for the sinks."""
    picked = asyncio.run(pick_event(config, engine, timeout_s))
    if not all(step.ok for step in picked.steps):
        return Outcome(picked.steps)
    picks = marked(picked.picks, time.time_ns())
    return Outcome((*picked.steps, *try_sinks(signed(config), sinks, picks, timeout_s)))

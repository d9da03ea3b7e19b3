"""A whole self-test.

>>> chosen_sinks(Config.model_validate({"sources": [{"server": "a"}]}), ["pigeon"])
Traceback (most recent call last):
ValueError: --sink: no sink is named 'pigeon'; there are: none
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from xiaod.config import Config, SinkConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.types import Pick
from xiaod.inference import Engine
from xiaod.pipeline.snippets import PATH
from xiaod.snippets.folder import MINISEED, PICTURE, file_name
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
    with TemporaryDirectory(prefix="xiaod-selftest-") as folder:
        # Sinks may send snippets along; those of a running daemon stay as they are.
        snippets = config.snippets.model_copy(update={"folder": Path(folder)})
        config = config.model_copy(update={"snippets": snippets})
        picked = asyncio.run(pick_event(config, engine, timeout_s))
        if not all(step.ok for step in picked.steps):
            return SelftestReport(picked.steps)
        picks = _with_snippets(picked.picks, marked(picked.picks, time.time_ns()), snippets)
        return SelftestReport((*picked.steps, *try_sinks(signed(config), sinks, picks, timeout_s)))


def _with_snippets(picks: Sequence[Pick], trials: Sequence[Pick], snippets: SnippetConfig) -> list[Pick]:
    """Marked picks with the snippets of their picks, named as they are; without where these were not made in time: none is waited for."""
    suffixes = (MINISEED, PICTURE) if snippets.pictures else (MINISEED,)
    kept = []
    for pick, trial in zip(picks, trials, strict=True):
        files = [snippets.folder / file_name(pick.id, suffix) for suffix in suffixes]
        if pick.snippet is None or not all(file.exists() for file in files):
            kept.append(replace(trial, snippet=None))
            continue
        for file in files:
            file.rename(snippets.folder / file_name(trial.id, file.suffix))
        kept.append(replace(trial, snippet=PATH + file_name(trial.id, MINISEED)))
    return kept

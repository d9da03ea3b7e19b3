"""Second half of a self-test: the same picks to each configured sink, all at the same time, each in its own thread.

A sink is opened as in the daemon, gets the picks once, an event of them where it takes events, and is closed, so that it writes what it
buffers. The daemon's store is not touched. A sink that hangs is left alone after a time limit.

>>> from xiaod.config.sinks.console import ConsoleConfig
>>> destination_of(ConsoleConfig(kind="console"))
'standard output'
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from xiaod.association.coincidence import CoincidenceSettings, associate
from xiaod.config import Config, SinkConfig
from xiaod.config.redact import masked
from xiaod.domain.onsets import event_id_of
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Event, EventPick, Pick, RsamValue, Wanted
from xiaod.pipeline.factory import open_sink
from xiaod.tools.selftest.event import NAME
from xiaod.tools.selftest.report import Step

MINUTE_NS = 60 * NS_PER_S
UNREACHED = ("Connection refused", "Connect call failed")
"""What the system, and asyncio instead, say of a port at which nothing listens."""


def marked(picks: Sequence[Pick], now_ns: int) -> list[Pick]:
    """Picks marked as a test: their identifier ends in ``-selftest-`` and the time of the test."""
    stamp = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    # The latency of an old event has no meaning, and early picks of it are not delivered.
    changes: dict[str, Any] = {
        "created_ns": now_ns,
        "latency": None,
        "early_id": None,
        "outcome": None,
        "moved_s": None,
    }
    return [replace(pick, id=f"{pick.id}-{NAME}-{stamp}", **changes) for pick in picks]


def event_of(picks: Sequence[Pick]) -> Event:
    """The event that marked picks of one station make, marked as they are."""
    kept = [
        EventPick(one.id, one.channel, one.phase, one.time_ns, one.time_uncertainty_s, one.stage)
        for one in sorted(picks, key=lambda one: one.time_ns)
    ]
    found = associate(kept, CoincidenceSettings(stations=1)).clusters
    # A model of one's own may see them in another order: then there is no distance.
    members, distances = (found[0].picks, found[0].distances) if found else (tuple(kept), ())
    first = members[0]
    event_id = f"{event_id_of(first.time_ns, first.channel.instrument)}-{NAME}-{first.id.rpartition('-')[2]}"
    return Event(f"{event_id}-v1", event_id, 1, first.stage, "coincidence", first.time_ns, members, distances)


def signed(config: Config) -> Config:
    """The configuration with an author that says it is a test."""
    agency = config.agency.model_copy(update={"author": f"{config.agency.author}-{NAME}"})
    return config.model_copy(update={"agency": agency})


def destination_of(config: SinkConfig) -> str:
    """Where a sink's picks go, for a person; without secrets."""
    if not config.DESTINATION:
        return "standard output"
    shown = masked(config)
    key = config.DESTINATION if shown[config.DESTINATION] is not None else f"{config.DESTINATION}_file"
    return f"{key} {shown[key]}"


def try_sinks(
    config: Config, sinks: Sequence[SinkConfig], picks: Sequence[Pick], timeout_s: float
) -> list[Step]:
    """Deliver picks to sinks.

    Args:
        config: the configuration, with the author of the picks.
        sinks: those to try.
        picks: final ones, delivered to each; to a sink that takes early picks alone, as such. One that takes events gets the event of
            them, and one that takes means of the amplitude one without data.
        timeout_s: after which a sink that hangs is left alone.
    """

    def delivery(sink: SinkConfig) -> Callable[[], None]:
        def work() -> None:
            # A connection of its own: that of a running daemon stays untouched.
            made = open_sink(config, sink.for_trial())
            early = made.stages == "early"
            taken = [replace(pick, stage="early", polarity=None) for pick in picks] if early else picks
            made.deliver(_items(config, made.wanted, taken), time.time_ns())
            made.close()

        return work

    threads = [_SinkThread(sink.name, delivery(sink)) for sink in sinks]
    until_s = time.monotonic() + timeout_s
    steps = []
    for sink, one in zip(sinks, threads, strict=True):
        result, took_s, reason = one.result(until_s)
        detail = destination_of(sink) + (f": {reason}" if reason else "")
        steps.append(Step("sink", sink.name, result, took_s, detail))
    return steps


def _items(config: Config, wanted: Wanted, picks: Sequence[Pick]) -> Sequence[Any]:
    """What a sink gets that takes these."""
    if wanted == "rsam":
        return [_no_amplitude(config, pick) for pick in picks[:1]]
    events = [] if wanted == "picks" else [event_of(picks)]
    return events if wanted == "events" else [*picks, *events]


def _no_amplitude(config: Config, pick: Pick) -> Any:
    """A mean of the amplitude without data, of the minute of a pick: it harms no table."""
    begin_ns = pick.time_ns // MINUTE_NS * MINUTE_NS
    band = config.rsam.low_hz, config.rsam.high_hz
    return RsamValue(pick.channel, 1, begin_ns, *band, counts=math.nan, share=0.0)


class _SinkThread:
    """One sink's thread."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._begun_s = time.monotonic()
        self._ended: tuple[str, float, str] | None = None
        # The program can end while a daemon thread still runs.
        self._thread = threading.Thread(target=self._run, name=f"{NAME}.{name}", daemon=True)
        self._thread.start()

    def result(self, until_s: float) -> tuple[str, float, str]:
        """Result, seconds and reason, at the latest at a moment of the monotonic clock."""
        self._thread.join(max(0.0, until_s - time.monotonic()))
        return self._ended or ("hung", time.monotonic() - self._begun_s, "gave up waiting")

    def _run(self) -> None:
        result, reason = "delivered", ""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001  the test reports whatever a sink raises
            result = "refused"
            reason = (
                str(error)
                if isinstance(error, OSError) and str(error)
                else f"{type(error).__name__}: {error}"
            )
            if any(words in reason for words in UNREACHED):
                reason += "; is the server running, and does it listen there?"
        self._ended = result, time.monotonic() - self._begun_s, reason

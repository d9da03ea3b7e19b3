"""What is wrong with a running daemon now, in words for the people who look at it.

>>> problems_of(Facts(links={"server": "streaming"}))
[]
>>> [one.code for one in problems_of(Facts(links={"server": "connect_failed"}, failures={"server": "nothing listens there"}))]
['source_down']
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from xiaod.domain.timegrid import span_text

LATE_S = 10.0
"""Data that are older when they arrive are late: early picks are of no use then."""
WAITING_S = 1.75
"""Windows are picked within a second, unless there is more work than the machine can do."""
FULL = 0.9
"""Part of a queue from which it counts as full."""
SOME = 3
"""Stations that are named."""

Code = Literal[
    "source_down",
    "overloaded",
    "data_late",
    "stations_silent",
    "sink_failing",
    "snippets_failing",
    "state_failing",
    "store_failing",
]
HINDERING: frozenset[Code] = frozenset({"source_down", "overloaded", "store_failing"})
"""Those with which the daemon is not ready: picks do not come, or come late, whatever the stations do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the parts of the daemon."""

    links: Mapping[str, str] = field(default_factory=dict)
    """State of each source's connection."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why the last connection of a source ended, or the last attempt failed, while there is no new one."""
    queues: Mapping[str, float] = field(default_factory=dict)
    """How full the queue of each source's records is, 0 to 1."""
    waiting_s: float = 0.0
    """How long the windows have waited that are picked next."""
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    """Of each station that sends data: how old they are when they arrive."""
    silent: int = 0
    """Stations that are subscribed and silent."""
    sinks: Mapping[str, str] = field(default_factory=dict)
    """Why a sink takes no picks."""
    snippets: str = ""
    """Why waveforms around picks are not kept; empty: they are, or nobody wants them."""
    store: str = ""
    """Why picks cannot be stored; empty: they can."""
    state: str = ""
    """Why state cannot be kept; empty: it can."""


def problems_of(facts: Facts) -> list[Problem]:
    """All that is wrong, the worst first."""
    return list(_found(facts))


def _found(facts: Facts) -> Iterator[Problem]:
    for source, why in facts.failures.items():
        # One without a name is called by its address, which the reason may name.
        named_there = source in why.replace(";", " ").split()
        yield Problem(
            "source_down",
            f"no connection: {why}" if named_there else f"source {source}: no connection: {why}",
        )
    for source, state in facts.links.items():
        if state == "ended" and source not in facts.failures:
            yield Problem("source_down", f"source {source}: has ended")
    yield from _of_store(facts)
    full = [source for source, part in facts.queues.items() if part >= FULL]
    if full or facts.waiting_s > WAITING_S:
        waits = f"windows wait {span_text(facts.waiting_s)}, " if facts.waiting_s > WAITING_S else ""
        records = f"records of {', '.join(full)} wait, " if full else ""
        yield Problem(
            "overloaded",
            f"{waits}{records}so picks are late: fewer stations, early: off, or a faster machine",
        )
    late = sorted(
        (name for name, latency_s in facts.latencies_s.items() if latency_s > LATE_S),
        key=lambda name: -facts.latencies_s[name],
    )
    if late:
        named = ", ".join(f"{name} {span_text(facts.latencies_s[name])}" for name in late[:SOME])
        yield Problem(
            "data_late",
            f"{len(late)} of {len(facts.latencies_s)} stations: data are more than {LATE_S:.0f} s old when they arrive "
            f"({named}{', ...' if len(late) > SOME else ''}): the link or the server is slow, or catches up",
        )
    known = facts.silent + len(facts.latencies_s)
    if 2 * facts.silent > known:
        yield Problem("stations_silent", f"{facts.silent} of {known} stations are silent")
    for sink, why in facts.sinks.items():
        yield Problem("sink_failing", f"sink {sink}: {why}")
    if facts.snippets:
        yield Problem("snippets_failing", f"waveforms around picks are not kept: {facts.snippets}")


def _of_store(facts: Facts) -> Iterator[Problem]:
    if facts.store:
        yield Problem("store_failing", f"picks cannot be stored, and picking waits: {facts.store}")
    elif facts.state:
        yield Problem("state_failing", f"state cannot be saved: {facts.state}")
